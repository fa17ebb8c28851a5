"""Errors with a text for the user: one sentence that names the file, the cause and the remedy."""

from __future__ import annotations


class ApicalError(Exception):
    """Base of all errors for the user: exit code 2 on the command line, a banner in the window."""


class CineError(ApicalError):
    """The file cannot be opened as a cine."""


class LabelError(ApicalError):
    """Labels do not fit the cine or the label set, or cannot be read."""


class ProjectError(ApicalError):
    """The project cannot be read or written."""

"""Errors whose text a user may read: one clear sentence that names the file and the way out."""

from __future__ import annotations


class ApicalError(Exception):
    """Base of every error shown as it is: exit code 2 on the command line, a banner in the window."""


class CineError(ApicalError):
    """The file cannot be opened as a cine."""


class LabelError(ApicalError):
    """Labels that do not fit the cine or the label set."""


class ProjectError(ApicalError):
    """The project cannot be read or written."""

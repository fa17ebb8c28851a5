"""Errors of the learning core. Their text is one sentence that a user may read."""

from __future__ import annotations


class CoreError(Exception):
    """Base of the errors below: the input or the files are at fault, not the program."""


class EncoderError(CoreError):
    """An encoder that is not there, or whose weights do not fit what its card says."""


class Cancelled(Exception):  # noqa: N818 - an answer to a question, not a failure
    """The caller's `should_stop` said yes; nothing partial is kept."""

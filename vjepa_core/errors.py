"""Errors of the learning core. Their text is one sentence that a user may read."""

from __future__ import annotations


class CoreError(Exception):
    """Base of the errors below: the input or the files are at fault, not the program."""


class EncoderError(CoreError):
    """An encoder that is not there, or whose weights do not fit what its card says."""


class Cancelled(Exception):  # noqa: N818 - an answer to a question, not a failure
    """The caller's `should_stop` said yes; nothing partial is kept."""


def one_line(error: BaseException) -> str:
    """Say in one line what went wrong, without a full stop: the kind of error and its text.

    Of OpenCV's texts only the failed condition is kept: the rest names versions and paths of its build.
    """
    if isinstance(error, CoreError):
        return str(error).rstrip(".")
    kind = type(error)
    name = kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"
    text = " ".join((getattr(error, "err", None) or str(error)).split())[:200].rstrip(".")
    return f"{name}: {text}" if text else name


def printable(text: str) -> str:
    """Replace characters that a terminal could interpret as control sequences with question marks."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)

"""Errors raised by `vjepa_core`. Their text is one sentence that can be shown to the user."""

from __future__ import annotations


class CoreError(Exception):
    """Base class of errors that are caused by the input or the files, not by the program."""


class EncoderError(CoreError):
    """An encoder does not exist, or its weights do not match its card."""


class Cancelled(Exception):  # noqa: N818 - requested by the caller, not a failure
    """The caller's `should_stop` returned True; partial results are discarded."""


def one_line(error: BaseException) -> str:
    """Describe an error in one line without a full stop: its type and its message.

    From OpenCV's messages only the failed condition is used: the rest lists versions and build paths.
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

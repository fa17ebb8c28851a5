"""Logging: warnings to stderr, unexpected errors to the log file; neither contains patient data."""

from __future__ import annotations

import contextlib
import logging
import sys
import traceback
from collections.abc import Iterator
from datetime import UTC, datetime

from app import paths
from app.domain.errors import ApicalError

_OWN_PACKAGES = ("app", "vjepa_core")
_MAX_BYTES = 1 << 20


class _StderrHandler(logging.Handler):
    """Writes one line per warning to the present `sys.stderr`."""

    def emit(self, record: logging.LogRecord) -> None:
        sys.stderr.write(f"Note: {record.getMessage()}\n")


@contextlib.contextmanager
def warnings_to_stderr() -> Iterator[None]:
    """Print the warnings of our own packages, but not those of libraries, while a command runs."""
    handler = _StderrHandler(logging.WARNING)
    silent = logging.NullHandler()  # else Python prints the warnings of libraries, with patient data
    logging.getLogger().addHandler(silent)
    for name in _OWN_PACKAGES:
        logging.getLogger(name).addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(silent)
        for name in _OWN_PACKAGES:
            logging.getLogger(name).removeHandler(handler)


class ErrorLogHandler(logging.Handler):
    """Passes the exception of every log record to `log_error`."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write the exception of a record to the log file, if it has one."""
        if record.exc_info and record.exc_info[1] is not None:
            log_error(record.exc_info[1])


def log_error(error: BaseException) -> str:
    """Write the origin of an unexpected error to the log file.

    Only files, lines and types of exceptions are written: messages may contain patient data.

    Returns
    -------
    str
        Clause for the user that names the log file, or says that it could not be written.
    """
    lines = [f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} error\n"]
    link: BaseException | None = error
    while link is not None:
        lines.append(f"{type(link).__module__}.{type(link).__qualname__}\n")
        lines += [
            f"  {frame.filename}:{frame.lineno} in {frame.name}\n"
            for frame in traceback.extract_tb(link.__traceback__)
        ]
        link = link.__cause__ or link.__context__
    try:
        file = paths.log_file()
        if file.exists() and file.stat().st_size > _MAX_BYTES:
            file.replace(file.with_suffix(".old.log"))
        with open(file, "a", encoding="utf-8", errors="backslashreplace", opener=paths.private_opener) as log:
            log.writelines(lines)
    except (OSError, ApicalError):
        return "and the log could not be written."
    return f"details are in {file}, please report it."

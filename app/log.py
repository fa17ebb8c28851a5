"""Where the program's own words go: notes to stderr, faults to the log file, no patient data in either."""

from __future__ import annotations

import contextlib
import logging
import sys
import traceback
from collections.abc import Iterator
from datetime import UTC, datetime

from app import paths
from app.domain.errors import ApicalError

_OWN = ("app", "vjepa_core")
_LARGEST = 1 << 20


class _ToStderr(logging.Handler):
    """One line for each warning, to whatever stderr is at that moment."""

    def emit(self, record: logging.LogRecord) -> None:
        sys.stderr.write(f"Note: {record.getMessage()}\n")


@contextlib.contextmanager
def logs() -> Iterator[None]:
    """Show the warnings of our own packages while a command runs; libraries stay silent."""
    handler = _ToStderr(logging.WARNING)
    silent = logging.NullHandler()  # else Python prints what libraries warn of, patient data and all
    logging.getLogger().addHandler(silent)
    for name in _OWN:
        logging.getLogger(name).addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(silent)
        for name in _OWN:
            logging.getLogger(name).removeHandler(handler)


class FaultHandler(logging.Handler):
    """Writes down, as `log_fault` does, every error that a record of the log carries."""

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info and record.exc_info[1] is not None:
            log_fault(record.exc_info[1])


def log_fault(error: BaseException) -> str:
    """Write down where an unforeseen error came from; a clause for the user that says where.

    Files, lines and kinds of error alone: messages may quote a patient's data.
    """
    lines = [f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} fault\n"]
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
        if file.exists() and file.stat().st_size > _LARGEST:
            file.replace(file.with_suffix(".old.log"))
        with open(file, "a", encoding="utf-8", errors="backslashreplace", opener=paths.private_opener) as log:
            log.writelines(lines)
    except (OSError, ApicalError):
        return "and the log could not be written."
    return f"what is known is in {file}, please report it."

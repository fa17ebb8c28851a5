"""Files that are complete or absent: written beside their place, then moved into it."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

_TEMPORARY_NAME = re.compile(r"\.(.+)\.\d+-\d+\.tmp", re.DOTALL)
_numbers = itertools.count()


@contextlib.contextmanager
def replacing(
    path: Path, *, sync: bool = False, private: bool = False, keep_suffix: bool = False
) -> Iterator[Path]:
    """Yield a temporary path that becomes `path` when the block ends, and is removed if the block fails.

    Parameters
    ----------
    path : Path
        File to create or replace; its folder must exist.
    sync : bool
        Wait until the content is on the disk, so that it survives a power cut.
    private : bool
        Before the block begins, create an empty file that only its owner can read.
    keep_suffix : bool
        Give the temporary file the suffix of `path`, for libraries that choose the format by it; otherwise it
        is ".tmp", so that no search by suffix finds it.

    Yields
    ------
    Path
        A new name in the same folder.
    """
    unique = f"{os.getpid()}-{next(_numbers)}.tmp"
    temporary = path.with_name(f".{unique}-{path.name}" if keep_suffix else f".{path.name}.{unique}")
    try:
        if private:
            os.close(os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        yield temporary
        if sync:
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
        _replace(temporary, path)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file that is complete or absent."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def unfinished_name(path: Path) -> str | None:
    """Return the final name of an unfinished temporary file, or None for any other file.

    Such a file remains if a process is killed while writing.
    """
    match = _TEMPORARY_NAME.fullmatch(path.name)
    return None if match is None else match[1]


def _replace(temporary: Path, path: Path) -> None:
    # Windows refuses to replace a file that another process has open, which it rarely has for long.
    for _ in range(20 if os.name == "nt" else 0):
        try:
            temporary.replace(path)
            return
        except PermissionError:
            time.sleep(0.1)
    temporary.replace(path)

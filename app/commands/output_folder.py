"""Folder for the output of a command."""

from __future__ import annotations

from pathlib import Path

from app.domain.errors import ApicalError


def make_folder(out: Path) -> None:
    """Create the folder given with --out.

    Parameters
    ----------
    out : Path

    Raises
    ------
    ApicalError
        The path is a file, or the folder cannot be created.
    """
    from app.storage.errors import export_error

    if out.exists() and not out.is_dir():
        raise ApicalError(f"{out} is a file; give a folder with --out.")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise export_error(out, error) from error

"""Where Apical keeps things on this machine; APICAL_HOME moves all of it into one folder."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

from app.domain.errors import ProjectError


def home() -> Path:
    """Folder of all that Apical keeps: APICAL_HOME, else the user's data folder.

    Raises
    ------
    ProjectError
        If it cannot be made or written to; so do the functions below.
    """
    return _writable(_root())


def projects_dir() -> Path:
    """Folder of the projects."""
    return _writable(_root() / "projects")


def cache_dir() -> Path:
    """Folder of the features, disposable."""
    own = _own_home()
    return _writable(own / "cache" if own else Path(platformdirs.user_cache_dir("apical", appauthor=False)))


def config_dir() -> Path:
    """Folder of the settings."""
    own = _own_home()
    return _writable(own / "config" if own else Path(platformdirs.user_config_dir("apical", appauthor=False)))


def log_file() -> Path:
    """The log, in a folder that is there; the file itself may not be."""
    own = _own_home()
    folder = own / "logs" if own else Path(platformdirs.user_log_dir("apical", appauthor=False))
    return _writable(folder) / "apical.log"


def _own_home() -> Path | None:
    value = os.environ.get("APICAL_HOME", "").strip()
    return Path(value).expanduser().absolute() if value else None


def _root() -> Path:
    return _own_home() or Path(platformdirs.user_data_dir("apical", appauthor=False))


def _writable(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        allowed = os.access(folder, os.W_OK)
    except OSError:
        allowed = False
    if not allowed:
        raise ProjectError(
            f"{folder} cannot be written: allow writing there, or set APICAL_HOME to another folder."
        )
    return folder

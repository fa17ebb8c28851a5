"""Folders of the program on this computer; the variable APICAL_HOME moves them all into one folder."""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path

from app.domain.errors import ProjectError


def home() -> Path:
    """Return the folder of the user's data: APICAL_HOME, or the standard folder of the system.

    This and the functions below create the folder, readable by its owner alone.

    Raises
    ------
    ProjectError
        If the folder cannot be created or written.
    """
    return _writable(_root())


def projects_dir() -> Path:
    """Return the folder of the projects."""
    return _writable(_root() / "projects")


def encoders_dir() -> Path:
    """Return the folder of the user's own encoders."""
    return _writable(_root() / "encoders")


def runs_dir() -> Path:
    """Return the folder of the pre-training runs."""
    return _writable(_root() / "runs")


def cache_dir() -> Path:
    """Return the folder of files that can be computed again."""
    own = _own_home()
    return _writable(own / "cache" if own else _standard("cache"))


def features_dir() -> Path:
    """Return the folder of the feature cache, shared by the window and the command line."""
    return _writable(cache_dir() / "features")


def speed_file() -> Path:
    """Return the file with the measured speed of the processor; it and its folder may not exist."""
    own = _own_home()
    return (own / "cache" if own else _standard("cache")) / "processor.json"


def config_dir() -> Path:
    """Return the folder of the settings."""
    own = _own_home()
    return _writable(own / "config" if own else _standard("config"))


def log_file() -> Path:
    """Return the log file, which may not exist yet."""
    own = _own_home()
    folder = own / "logs" if own else _standard("log")
    return _writable(folder) / "apical.log"


def _standard(kind: str) -> Path:
    """Return the standard folder of the system for a kind of file."""
    # Late import: a training machine that sets APICAL_HOME does not need the library.
    import platformdirs

    dirs = platformdirs.PlatformDirs("apical", appauthor=False)
    return {
        "cache": dirs.user_cache_path,
        "config": dirs.user_config_path,
        "log": dirs.user_log_path,
        "data": dirs.user_data_path,
    }[kind]


def _own_home() -> Path | None:
    value = os.environ.get("APICAL_HOME", "").strip()
    return Path(value).expanduser().absolute() if value else None


def _root() -> Path:
    return _own_home() or _standard("data")


def private_opener(path: str, flags: int) -> int:
    """Open a file for the built-in `open`; a new file is readable by its owner alone."""
    return os.open(path, flags, 0o600)


def _writable(folder: Path) -> Path:
    """Create a folder of the program, make it readable by its owner alone and return it."""
    root = _own_home()
    try:
        if root is not None and not root.exists():
            root.mkdir(0o700, parents=True)
        folder.mkdir(0o700, parents=True, exist_ok=True)
        # APICAL_HOME itself may be a folder that the user shares with others.
        if folder != root and os.name == "posix" and stat.S_IMODE(folder.stat().st_mode) & 0o077:
            with contextlib.suppress(PermissionError):  # the folder belongs to another user
                folder.chmod(0o700)
        allowed = os.access(folder, os.W_OK)
    except OSError:
        allowed = False
    if not allowed:
        raise ProjectError(
            f"{folder} cannot be written: allow writing there, or set APICAL_HOME to another folder."
        )
    return folder

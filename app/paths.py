"""Where Apical keeps things on this machine; APICAL_HOME moves all of it into one folder."""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path

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


def encoders_dir() -> Path:
    """Folder of the user's own encoders."""
    return _writable(_root() / "encoders")


def runs_dir() -> Path:
    """Folder of the pre-training runs."""
    return _writable(_root() / "runs")


def cache_dir() -> Path:
    """Folder of what can be computed again."""
    own = _own_home()
    return _writable(own / "cache" if own else _standard("cache"))


def features_dir() -> Path:
    """Folder of the encoder's features, one for the window and the command line."""
    return _writable(cache_dir() / "features")


def speed_file() -> Path:
    """What was measured of the processor; neither it nor its folder may be there."""
    own = _own_home()
    return (own / "cache" if own else _standard("cache")) / "processor.json"


def config_dir() -> Path:
    """Folder of the settings."""
    own = _own_home()
    return _writable(own / "config" if own else _standard("config"))


def log_file() -> Path:
    """The log, in a folder that is there; the file itself may not be."""
    own = _own_home()
    folder = own / "logs" if own else _standard("log")
    return _writable(folder) / "apical.log"


def _standard(kind: str) -> Path:
    """The folder that the system has for this kind of file."""
    # Late: a training machine that sets APICAL_HOME can do without the library.
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
    """Opener for the built-in `open`: a file that it creates is readable by its owner alone."""
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

"""Notices for the user as data; the user interface composes their texts."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import ClassVar


class Level(IntEnum):
    """Severity of a message."""

    INFO = 0
    WARNING = 1
    ERROR = 2


@dataclass(frozen=True)
class Notice:
    """Something that the user should know. Equal notices are the same notice."""

    level: ClassVar[Level] = Level.INFO


@dataclass(frozen=True)
class Remark(Notice):
    """A sentence that the user interface has composed."""

    text: str


@dataclass(frozen=True)
class ProjectSaved(Notice):
    """The project continues in another file."""

    path: Path


@dataclass(frozen=True)
class ProjectConverted(Notice):
    """A project of an older version was converted; `backup` is the file as it was."""

    level = Level.WARNING
    name: str
    backup: Path


@dataclass(frozen=True)
class ProjectFailed(Notice):
    """A project cannot be opened or saved; `reason` is a sentence of the storage."""

    level = Level.ERROR
    reason: str


@dataclass(frozen=True)
class ProjectNotOpened(Notice):
    """A project was not opened because strokes of the open project are not saved yet."""

    level = Level.ERROR
    name: str
    pending_strokes: int


@dataclass(frozen=True)
class FilesDropped(Notice):
    """Files that were still being opened are not added to the project that was opened meanwhile."""

    level = Level.WARNING
    count: int
    project_name: str


@dataclass(frozen=True)
class FolderNotRead(Notice):
    """A folder cannot be searched for cines; `reason` is a sentence."""

    level = Level.ERROR
    reason: str


@dataclass(frozen=True)
class CineNotOpened(Notice):
    """A cine cannot be opened; `reason` is a sentence that names the file."""

    level = Level.ERROR
    reason: str


@dataclass(frozen=True)
class CineWarning(Notice):
    """A property of an opened file that the user should know; `text` is a sentence of the reader."""

    level = Level.WARNING
    cine_name: str
    text: str


@dataclass(frozen=True)
class AnnotatedElsewhere(Notice):
    """Another project has annotations of a cine that has none in the open one."""

    level = Level.WARNING
    cine_name: str
    project: Path


@dataclass(frozen=True)
class NotSaved(Notice):
    """Strokes could not be written and are kept in memory; `reason` is a sentence of the storage."""

    level = Level.ERROR
    reason: str


@dataclass(frozen=True)
class EngineBusy(Notice):
    """The engine has received a request to stop and is still working on its current step."""


@dataclass(frozen=True)
class EngineRestarted(Notice):
    """The engine ended unexpectedly and a new one is starting."""

    level = Level.WARNING


@dataclass(frozen=True)
class EngineUnavailable(Notice):
    """The engine is not running and is not restarted automatically.

    Attributes
    ----------
    reason : str
        A sentence of the engine; "" if the engine ended too often.
    out_of_memory : bool
        True if the system ended the engine, most likely for lack of memory.
    """

    level = Level.ERROR
    reason: str = ""
    out_of_memory: bool = False


@dataclass(frozen=True)
class LearningFailed(Notice):
    """Learning stopped, or a cine was left out of it; `reason` is a sentence of the engine."""

    level = Level.ERROR
    reason: str
    cine_name: str = ""

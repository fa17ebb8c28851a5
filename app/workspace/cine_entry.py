"""Entries of the workspace's list of cines."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from app.storage.records import CineRecord, CineSummary
from app.workspace.opened_cine import OpenedCine


class CineState(Enum):
    """State of an entry."""

    LISTED = "listed"
    OPENING = "opening"
    OPEN = "open"
    FAILED = "failed"


@dataclass(eq=False)
class CineEntry:
    """A cine in the list, whether or not its file has been opened.

    Attributes
    ----------
    path : Path or None
        File, or folder of images; None for a cine of the project whose path is unknown on this machine.
    record : CineRecord or None
        Row in the project; None for a file that has not been opened in this project.
    state : CineState
        State of the entry.
    error : str
        Reason why the file cannot be opened, in one sentence; "" unless the state is `FAILED`.
    opened : OpenedCine or None
        The open cine; None unless the state is `OPEN`.
    """

    path: Path | None
    record: CineRecord | None = None
    state: CineState = CineState.LISTED
    error: str = ""
    opened: OpenedCine | None = None
    _n_annotated: int = 0
    _n_predicted: int = 0

    @classmethod
    def of_summary(cls, summary: CineSummary) -> CineEntry:
        """Return the entry of a cine of the project, without opening it."""
        entry = cls(summary.record.path)
        entry.set_summary(summary)
        return entry

    def set_summary(self, summary: CineSummary) -> None:
        """Set record and frame counts from a project."""
        self.record = summary.record
        self._n_annotated, self._n_predicted = summary.n_annotated, summary.n_predicted

    @property
    def name(self) -> str:
        """Name of the file, or a number if its path is unknown."""
        if self.path is not None:
            return self.path.name
        return "" if self.record is None else self.record.name

    @property
    def n_frames(self) -> int | None:
        """Number of frames; None before the file was opened for the first time."""
        if self.opened is not None:
            return self.opened.cine.n_frames
        return None if self.record is None else self.record.n_frames

    @property
    def n_annotated(self) -> int:
        """Number of annotated frames."""
        return self._n_annotated if self.opened is None else len(self.opened.recorder.layer.annotated_frames)

    @property
    def n_predicted(self) -> int:
        """Number of frames with a prediction."""
        return self._n_predicted if self.opened is None else len(self.opened.predictions)

    def set_open(self, opened: OpenedCine) -> None:
        """Attach the open cine."""
        self.path, self.record, self.opened = opened.cine.path, opened.record, opened
        self.state, self.error = CineState.OPEN, ""

    def set_failed(self, error: str) -> None:
        """Mark the entry as failed, with the reason."""
        self.state, self.error = CineState.FAILED, error


class CineEntries:
    """The ordered list of entries, with quick look-up by file."""

    def __init__(self) -> None:
        self._entries: list[CineEntry] = []
        self._by_path: dict[Path, CineEntry] = {}

    @property
    def all(self) -> list[CineEntry]:
        """All entries in the order of the list, in a new list."""
        return list(self._entries)

    @property
    def opened(self) -> list[OpenedCine]:
        """The open cines in the order of the list."""
        return [entry.opened for entry in self._entries if entry.opened is not None]

    def add_files(self, paths: Iterable[Path]) -> list[CineEntry]:
        """Return the entries of files; those that are not in the list yet are appended.

        A file gets its own entry if a cine of the project could not be opened from it.
        """
        entries = []
        for path in map(_key, paths):
            entry = self._by_path.get(path)
            if entry is None or (entry.record is not None and entry.state is CineState.FAILED):
                entry = self._insert(CineEntry(path), len(self._entries))
            entries.append(entry)
        return entries

    def add_summaries(self, summaries: Iterable[CineSummary]) -> None:
        """Add cines of the project, each before the first entry that was added to the project later."""
        was_empty = not self._entries
        for summary in summaries:
            path = summary.record.path
            entry = None if path is None else self._by_path.get(_key(path))
            if entry is None:
                self._insert(CineEntry.of_summary(summary), len(self._entries) if was_empty else None)
            elif entry.record is None:
                entry.set_summary(summary)

    def set_paths(self, paths: Mapping[int, Path]) -> None:
        """Set the files of cines of the project whose paths were unknown, by id of the cine."""
        for entry in self._entries:
            if entry.path is None and entry.record is not None and entry.record.id in paths:
                entry.path = paths[entry.record.id]
                self._by_path.setdefault(_key(entry.path), entry)

    def remove(self, entry: CineEntry) -> None:
        """Remove an entry."""
        self._entries.remove(entry)
        self._by_path = {path: other for path, other in self._by_path.items() if other is not entry}

    def clear(self) -> None:
        """Remove all entries."""
        self._entries.clear()
        self._by_path.clear()

    def set_open(self, entry: CineEntry, opened: OpenedCine) -> None:
        """Attach an open cine to its entry."""
        entry.set_open(opened)
        self._by_path[_key(opened.cine.path)] = entry

    def with_content(self, content_hash: str) -> CineEntry | None:
        """Return the entry whose cine has this content hash; None if no known one has."""
        return next((e for e in self._entries if e.record and e.record.content_hash == content_hash), None)

    def of(self, opened: OpenedCine | None) -> CineEntry | None:
        """Return the entry of an open cine; None if there is none."""
        return next((e for e in self._entries if e.opened is opened), None) if opened is not None else None

    def _insert(self, entry: CineEntry, position: int | None) -> CineEntry:
        if position is None:
            records = ((i, other.record) for i, other in enumerate(self._entries))
            later = (i for i, record in records if record and entry.record and record.id > entry.record.id)
            position = next(later, len(self._entries))
        self._entries.insert(position, entry)
        if entry.path is not None:
            self._by_path[_key(entry.path)] = entry
        return entry


def _key(path: Path) -> Path:
    return path.expanduser().absolute()

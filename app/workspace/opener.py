"""Opens cines in a worker thread."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from psygnal import Signal

from app.domain.cine import Cine
from app.domain.errors import ApicalError, CineError
from app.log import log_error
from app.readers.browse import cine_paths
from app.readers.open import open_cine
from app.storage.records import CineRecord
from app.storage.relocate import locate_beside_project, relocate
from app.workspace.cine_entry import CineEntry
from app.workspace.dispatcher import Dispatcher
from app.workspace.opened_cine import OpenedCine

OnOpened = Callable[[OpenedCine], object]
"""Called with a cine once it is open."""


@dataclass(eq=False)
class _Job:
    run: Callable[[], None]
    entry: CineEntry | None = None
    by_user: bool = True


class Opener:
    """Opens one cine after another in a thread; signals are emitted in the thread of the user interface.

    Cines that the user asked for are opened before those in the background. After `abandon`, earlier requests
    emit nothing.

    Parameters
    ----------
    dispatcher : Dispatcher
        Runs callbacks in the thread of the user interface.
    """

    opened = Signal(object, object, object)  # CineEntry, Cine, OnOpened or None
    failed = Signal(object, str)  # CineEntry, reason in a sentence
    search_failed = Signal(str)  # reason in a sentence
    waiting_changed = Signal(int)

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher
        self._generation = 0
        self._threads = ThreadPoolExecutor(max_workers=1, thread_name_prefix="open")
        self._foreground: deque[_Job] = deque()
        self._background: deque[_Job] = deque()
        self._unfinished: set[_Job] = set()
        self._closed = False

    @property
    def waiting(self) -> int:
        """Number of cines and folders that are still being opened."""
        return len(self._unfinished)

    @property
    def requested(self) -> int:
        """Number of those that the user asked for and that are not in the project."""
        return sum(job.by_user and not (job.entry and job.entry.record) for job in self._unfinished)

    def search_folder(self, folder: Path, on_found: Callable[[list[Path]], object]) -> None:
        """Find the cines of a folder, then call `on_found` with their paths."""

        def run() -> None:
            try:
                files = cine_paths([folder])
            except ApicalError as error:
                self._finish(job, generation, self.search_failed.emit, str(error))
            except OSError as error:
                reason = f"{folder} cannot be read ({error.strerror}): check its permissions."
                self._finish(job, generation, self.search_failed.emit, reason)
            else:
                self._finish(job, generation, on_found, files)

        job, generation = _Job(run), self._generation
        self._submit(job)

    def locate(self, records: list[CineRecord], on_located: Callable[[dict[int, Path]], object]) -> None:
        """Find the files of cines whose paths are unknown, then call `on_located` with paths by cine id."""

        def run() -> None:
            self._finish(job, generation, on_located, locate_beside_project(records))

        job, generation = _Job(run, by_user=False), self._generation
        self._submit(job)

    def open(
        self,
        entry: CineEntry,
        search_folder: Path | None,
        on_opened: OnOpened | None = None,
        *,
        background: bool = False,
    ) -> None:
        """Open the file of an entry.

        If the file of a cine of the project was moved, it is searched for near its last path and in
        `search_folder`. A file whose content has changed is not accepted.
        """

        def run() -> None:
            try:
                if entry.path is not None and (record is None or search_folder is None):
                    cine = open_cine(entry.path)
                else:
                    assert record is not None  # noqa: S101 - an entry has a path or a record
                    cine = self._open_record(record, search_folder)
            except ApicalError as error:
                self._finish(job, generation, self.failed.emit, entry, str(error))
            except Exception as error:  # an unexpected error in a reader affects only this file
                reason = f"{entry.name} could not be opened ({type(error).__name__}); {log_error(error)}"
                self._finish(job, generation, self.failed.emit, entry, reason)
            else:
                self._finish(
                    job, generation, self.opened.emit, entry, cine, on_opened, dropped=cine.source.close
                )

        record, generation = entry.record, self._generation
        job = _Job(run, entry, by_user=not background)
        self._submit(job)

    def prioritise(self, entry: CineEntry) -> None:
        """Open a cine that waits in the background before all others."""
        for job in list(self._background):
            if job.entry is entry:
                try:
                    self._background.remove(job)
                except ValueError:  # started in the meantime
                    return
                self._foreground.append(job)

    def abandon(self) -> int:
        """Drop all requests and return the previous value of `requested`."""
        dropped = self.requested
        self._generation += 1
        self._foreground.clear()
        self._background.clear()
        self._unfinished.clear()
        self.waiting_changed.emit(0)
        return dropped

    def close(self) -> None:
        """End the thread; nothing is emitted afterwards."""
        self._closed = True
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _open_record(self, record: CineRecord, search_folder: Path | None) -> Cine:
        def content_hash(path: Path) -> str:
            while self._run_next(self._foreground):  # a search may take a while
                pass
            cine = open_cine(path)
            cine.source.close()
            return cine.content_hash

        if record.path is not None and record.path.exists():
            cine = open_cine(record.path)
            if cine.content_hash == record.content_hash:
                return cine
            cine.source.close()
        folders = (None if record.path is None else record.path.parent, search_folder)
        found = relocate(record, [folder for folder in folders if folder is not None], content_hash)
        if found is None:
            raise CineError(
                f"{record.name} is no longer where it was last opened: open it from its new folder; its "
                "annotations are kept."
            )
        return open_cine(found)

    def _submit(self, job: _Job) -> None:
        self._unfinished.add(job)
        (self._foreground if job.by_user else self._background).append(job)
        self._threads.submit(self._run_one)
        self.waiting_changed.emit(self.waiting)

    def _run_one(self) -> None:
        if not self._run_next(self._foreground):
            self._run_next(self._background)

    @staticmethod
    def _run_next(jobs: deque[_Job]) -> bool:
        try:
            job = jobs.popleft()
        except IndexError:
            return False
        job.run()
        return True

    def _finish(
        self,
        job: _Job,
        generation: int,
        emit: Callable[..., object],
        *outcome: object,
        dropped: Callable[[], None] | None = None,
    ) -> None:
        """Emit the outcome of a job in the thread of the user interface, or drop it after `abandon`."""

        def finish() -> None:
            if self._closed or generation != self._generation:
                if dropped is not None:
                    dropped()
                return
            self._unfinished.discard(job)
            emit(*outcome)
            self.waiting_changed.emit(self.waiting)

        self._dispatcher.post(finish)

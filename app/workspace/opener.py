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
class _Pending:
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
        self._foreground: deque[_Pending] = deque()
        self._background: deque[_Pending] = deque()
        self._unfinished: set[_Pending] = set()
        self._closed = False

    @property
    def waiting(self) -> int:
        """Number of cines and folders that are still being opened."""
        return len(self._unfinished)

    @property
    def requested(self) -> int:
        """Number of unfinished requests of the user for files that are not in the project."""
        return sum(
            pending.by_user and not (pending.entry and pending.entry.record) for pending in self._unfinished
        )

    def find_cines(self, folder: Path, on_found: Callable[[list[Path]], object]) -> None:
        """Find the cines of a folder, then call `on_found` with their paths."""

        def run() -> None:
            try:
                files = cine_paths([folder])
            except ApicalError as error:
                self._finish(pending, generation, self.search_failed.emit, str(error))
            except OSError as error:
                reason = f"{folder} cannot be read ({error.strerror}): check its permissions."
                self._finish(pending, generation, self.search_failed.emit, reason)
            else:
                self._finish(pending, generation, on_found, files)

        pending, generation = _Pending(run), self._generation
        self._submit(pending)

    def locate(self, records: list[CineRecord], on_located: Callable[[dict[int, Path]], object]) -> None:
        """Find the files of cines whose paths are unknown, then call `on_located` with paths by cine id."""

        def run() -> None:
            self._finish(pending, generation, on_located, locate_beside_project(records))

        pending, generation = _Pending(run, by_user=False), self._generation
        self._submit(pending)

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
                self._finish(pending, generation, self.failed.emit, entry, str(error))
            except Exception as error:  # an unexpected error in a reader affects only this file
                reason = f"{entry.name} could not be opened ({type(error).__name__}); {log_error(error)}"
                self._finish(pending, generation, self.failed.emit, entry, reason)
            else:
                self._finish(
                    pending,
                    generation,
                    self.opened.emit,
                    entry,
                    cine,
                    on_opened,
                    on_dropped=cine.source.close,
                )

        record, generation = entry.record, self._generation
        pending = _Pending(run, entry, by_user=not background)
        self._submit(pending)

    def prioritise(self, entry: CineEntry) -> None:
        """Move a cine from the background to the end of the foreground queue."""
        for pending in list(self._background):
            if pending.entry is entry:
                try:
                    self._background.remove(pending)
                except ValueError:  # started in the meantime
                    return
                self._foreground.append(pending)

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

    def _submit(self, pending: _Pending) -> None:
        self._unfinished.add(pending)
        (self._foreground if pending.by_user else self._background).append(pending)
        self._threads.submit(self._run_one)
        self.waiting_changed.emit(self.waiting)

    def _run_one(self) -> None:
        if not self._run_next(self._foreground):
            self._run_next(self._background)

    @staticmethod
    def _run_next(queue: deque[_Pending]) -> bool:
        try:
            pending = queue.popleft()
        except IndexError:
            return False
        pending.run()
        return True

    def _finish(
        self,
        pending: _Pending,
        generation: int,
        emit: Callable[..., object],
        *outcome: object,
        on_dropped: Callable[[], None] | None = None,
    ) -> None:
        """Emit the outcome of a request in the thread of the user interface, or drop it after `abandon`."""

        def finish() -> None:
            if self._closed or generation != self._generation:
                if on_dropped is not None:
                    on_dropped()
                return
            self._unfinished.discard(pending)
            emit(*outcome)
            self.waiting_changed.emit(self.waiting)

        self._dispatcher.post(finish)

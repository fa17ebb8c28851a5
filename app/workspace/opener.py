"""Opening cines without keeping the window waiting."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from psygnal import Signal

from app.domain.cine import Cine
from app.domain.errors import ApicalError, CineError
from app.log import log_fault
from app.readers.browse import cine_paths
from app.readers.open import open_cine
from app.storage.project import Project
from app.storage.records import CineRecord
from app.storage.relocate import relocate
from app.workspace.dispatcher import Dispatcher
from app.workspace.notice import CineNotOpened, FolderNotRead, Notice
from app.workspace.opened_cine import OpenedCine

Then = Callable[[OpenedCine], None]


class Opener:
    """Opens one cine after another in a thread; answers come in the window's.

    What the user asked for comes before the other cines of a project. What was asked for before `abandon`
    is not told any more.
    """

    opened = Signal(object, object, object)  # Cine, what to do once it is there, its record in the project
    failed = Signal(object)  # CineNotOpened or FolderNotRead
    waiting_changed = Signal(int)  # cines still being opened

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher
        self.waiting = 0
        self.wanted = 0  # of these, files and folders that the user named
        self._generation = 0
        self._threads = ThreadPoolExecutor(max_workers=1, thread_name_prefix="open")
        self._jobs: deque[Callable[[], None]] = deque()
        self._jobs_behind: deque[Callable[[], None]] = deque()
        self._closed = False

    def open_file(self, path: Path, then: Then | None) -> None:
        """Open a cine."""
        self._open(path.name, lambda: open_cine(path), then)

    def open_folder(self, folder: Path, then: Then | None) -> None:
        """Open every cine of a folder; `then` is called with the first."""
        generation = self._generation

        def work() -> None:
            try:
                files = cine_paths([folder])
                self._post(self._on_found, generation, files, then)
            except ApicalError as error:
                self._post(self._on_not_done, generation, FolderNotRead(str(error)), True)
            except OSError as error:
                text = f"{folder} cannot be read ({error.strerror}): check its permissions."
                self._post(self._on_not_done, generation, FolderNotRead(text), True)

        self._submit(work)

    def open_record(self, record: CineRecord, then: Then | None, project: Project) -> None:
        """Open a cine of a project, also where it was moved to another place nearby.

        A file that has another content by now is not taken for it.
        """
        folders = [record.path.parent, project.path.parent]

        def content_hash(path: Path) -> str:
            while self._run_next(self._jobs):  # a search may take long: the user goes first
                pass
            cine = open_cine(path)
            cine.source.close()
            return cine.content_hash

        def find() -> Cine:
            if record.path.exists():
                cine = open_cine(record.path)
                if cine.content_hash == record.content_hash:
                    return cine
                cine.source.close()
            found = relocate(record, folders, content_hash)
            if found is None:
                raise CineError(
                    f"{record.path.name} is no longer where it was: open it from its new place; its "
                    "annotations are kept."
                )
            return open_cine(found)

        self._open(record.path.name, find, then, record)

    def abandon(self) -> int:
        """Drop what is still being opened; returns how many files and folders the user had named of it."""
        dropped = self.wanted
        self._generation += 1
        self._jobs.clear()
        self._jobs_behind.clear()
        self.wanted = 0
        self._count(-self.waiting)
        return dropped

    def close(self) -> None:
        """Open nothing more, and tell nothing of what is under way."""
        self._closed = True
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _open(
        self, name: str, read: Callable[[], Cine], then: Then | None, record: CineRecord | None = None
    ) -> None:
        generation = self._generation

        def work() -> None:
            try:
                self._post(self._on_done, generation, read(), then, record)
            except ApicalError as error:
                self._post(self._on_not_done, generation, CineNotOpened(str(error)), record is None)
            except Exception as error:  # a reader's fault must not take the window down
                text = f"{name} could not be opened ({type(error).__name__}); {log_fault(error)}"
                self._post(self._on_not_done, generation, CineNotOpened(text), record is None)

        self._submit(work, behind=record is not None)

    def _submit(self, job: Callable[[], None], *, behind: bool = False) -> None:
        self._count(1)
        self.wanted += not behind
        (self._jobs_behind if behind else self._jobs).append(job)
        self._threads.submit(self._run_one)

    def _run_one(self) -> None:
        if not self._run_next(self._jobs):
            self._run_next(self._jobs_behind)

    @staticmethod
    def _run_next(jobs: deque[Callable[[], None]]) -> bool:
        try:
            job = jobs.popleft()
        except IndexError:
            return False
        job()
        return True

    def _post(self, method: Callable[..., None], *arguments: object) -> None:
        """Call a method with the outcome of a job in the thread of the user interface."""
        self._dispatcher.post(lambda: None if self._closed else method(*arguments))

    def _on_done(self, generation: int, cine: Cine, then: Then | None, record: CineRecord | None) -> None:
        if not self._finished(generation, wanted=record is None):
            cine.source.close()
            return
        self.opened.emit(cine, then, record)

    def _on_found(self, generation: int, files: list[Path], then: Then | None) -> None:
        if generation == self._generation:
            for place, path in enumerate(files):
                self.open_file(path, then if place == 0 else None)
        self._finished(generation, wanted=True)

    def _on_not_done(self, generation: int, notice: Notice, wanted: bool) -> None:
        if self._finished(generation, wanted=wanted):
            self.failed.emit(notice)

    def _finished(self, generation: int, *, wanted: bool) -> bool:
        """Count an answer; False where nobody waits for it any more."""
        if generation != self._generation:
            return False
        self.wanted -= wanted
        self._count(-1)
        return True

    def _count(self, by: int) -> None:
        self.waiting += by
        self.waiting_changed.emit(self.waiting)

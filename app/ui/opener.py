"""Opening cines without keeping the window waiting."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from PySide6.QtCore import QObject, Signal

from app.dicom.browse import cine_paths
from app.dicom.open import open_cine
from app.domain.cine import Cine
from app.domain.errors import ApicalError, CineError
from app.log import log_fault
from app.storage.project import Project
from app.storage.records import CineRecord
from app.storage.relocate import relocate
from app.ui.opened_cine import OpenedCine

Then = Callable[[OpenedCine], None]


class Opener(QObject):
    """Opens one cine after another in a thread; answers come in the window's."""

    opened = Signal(object, object, object)  # Cine, what to do once it is there, the project that asked
    failed = Signal(str)  # why, in a sentence
    waiting_changed = Signal(int)  # cines still being opened

    _done = Signal(object, object, object)
    _found = Signal(object, object)  # cine files of a folder, what to do with the first
    _not_done = Signal(str)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.waiting = 0
        self._threads = ThreadPoolExecutor(max_workers=1, thread_name_prefix="open")
        self._done.connect(self._on_done)
        self._found.connect(self._on_found)
        self._not_done.connect(self._on_not_done)

    def open_file(self, path: Path, then: Then | None) -> None:
        """Open a cine."""
        self._open(lambda: path, then)

    def open_folder(self, folder: Path, then: Then | None) -> None:
        """Open every cine of a folder; `then` is called with the first."""

        def work() -> None:
            try:
                self._found.emit(cine_paths([folder]), then)
            except ApicalError as error:
                self._not_done.emit(str(error))
            except OSError as error:
                self._not_done.emit(f"{folder} cannot be read ({error.strerror}): check its permissions.")

        self._count(1)
        self._threads.submit(work)

    def open_record(self, record: CineRecord, then: Then | None, project: Project) -> None:
        """Open a cine of a project, also where it was moved to another place nearby."""
        folders = [record.path.parent, project.path.parent]

        def find() -> Path:
            if record.path.exists():
                return record.path
            found = relocate(record, folders, lambda p: open_cine(p).content_hash)
            if found is None:
                raise CineError(
                    f"{record.path.name} is no longer where it was: open it from its new place; its "
                    "annotations are kept."
                )
            return found

        self._open(find, then, project)

    def close(self) -> None:
        """Open nothing more, and tell nothing of what is under way."""
        self.blockSignals(True)
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _open(self, find: Callable[[], Path], then: Then | None, project: Project | None = None) -> None:
        def work() -> None:
            name = "A file"
            try:
                path = find()
                name = path.name
                self._done.emit(open_cine(path), then, project)
            except ApicalError as error:
                self._not_done.emit(str(error))
            except Exception as error:  # a reader's fault must not take the window down
                self._not_done.emit(
                    f"{name} could not be opened ({type(error).__name__}); {log_fault(error)}"
                )

        self._count(1)
        self._threads.submit(work)

    def _on_done(self, cine: Cine, then: Then | None, project: Project | None) -> None:
        self._count(-1)
        self.opened.emit(cine, then, project)

    def _on_found(self, files: list[Path], then: Then | None) -> None:
        for place, path in enumerate(files):
            self.open_file(path, then if place == 0 else None)
        self._count(-1)

    def _on_not_done(self, text: str) -> None:
        self._count(-1)
        self.failed.emit(text)

    def _count(self, by: int) -> None:
        self.waiting += by
        self.waiting_changed.emit(self.waiting)

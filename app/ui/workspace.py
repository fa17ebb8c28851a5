"""What the window works on: the project, its open cines, what was drawn and what was predicted.

Knows no widgets. Opening runs in a thread; everything else happens in the window's thread.
"""

from __future__ import annotations

import getpass
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from PySide6.QtCore import QObject, QTimer, Signal

from app import paths as places
from app.dicom.browse import cine_paths
from app.dicom.open import open_cine
from app.domain.cine import Cine, Frame
from app.domain.errors import ApicalError, CineError, ProjectError
from app.domain.history import StrokeKind
from app.domain.labels import LEFT_HEART, LabelSet
from app.engine.session import EngineDied, Event, LearningSession, Learnt, Masks
from app.storage.library import SUFFIX, automatic_path, find_project, projects_in, read_recent, remember
from app.storage.project import Project
from app.storage.recorder import Recorder
from app.storage.records import CineRecord, HeadRecord, Prediction
from app.storage.relocate import relocate
from app.ui.banner import Level
from vjepa_core.encoder.catalogue import DEFAULT_ENCODER
from vjepa_core.messages import Failed, Progress, Ready, Stage

logger = logging.getLogger(__name__)

RETRY_MS = 4000
CANCEL_PATIENCE_MS = 8000
RESTING = (Stage.WAITING, Stage.UP_TO_DATE, Stage.CANCELLED)


@dataclass(eq=False)
class OpenedCine:
    """A cine on the table: pixels, annotations, predictions."""

    cine: Cine
    record: CineRecord
    recorder: Recorder
    predictions: dict[int, Prediction] = field(default_factory=dict)
    frame: int = 0

    @property
    def id(self) -> int:
        return self.record.id

    @property
    def stale(self) -> set[int]:
        """Frames whose prediction belongs to labels that have changed since."""
        revision = self.recorder.annotated.revision
        return {f for f, p in self.predictions.items() if p.revision != revision}


Then = Callable[[OpenedCine], None]


class Workspace(QObject):
    """The state behind the window, and everything that changes it."""

    cines_changed = Signal()
    current_changed = Signal()
    labels_changed = Signal()
    predictions_changed = Signal()
    progress = Signal(object)  # Progress
    engine_ready = Signal(object)  # Ready
    saved_changed = Signal()
    opening_changed = Signal(int)  # cines still being opened
    message = Signal(str, int, object)  # text, Level, (label, callback) or None
    retract = Signal(str)  # a message that no longer holds

    _opened = Signal(object, object, object)  # Cine, what to do once it is there, the project that asked
    _open_failed = Signal(str)
    _event = Signal(object, object)  # a token of the session that speaks, Event

    def __init__(self, encoder: str = DEFAULT_ENCODER) -> None:
        super().__init__()
        self._encoder = encoder
        self.project: Project | None = None
        self.cines: list[OpenedCine] = []
        self.current: OpenedCine | None = None
        self.session: LearningSession | None = None
        self.rater = _rater()
        self.last_progress: Progress | None = None
        self._save_message = ""
        self._opening = 0
        self._head_ids: dict[int, int] = {}
        self._speaker: object = None  # token of the present session
        self._threads = ThreadPoolExecutor(max_workers=1, thread_name_prefix="open")
        self._opened.connect(self._adopt)
        self._open_failed.connect(self._not_opened)
        self._event.connect(self._on_event)
        self._retry = QTimer(self)
        self._retry.setInterval(RETRY_MS)
        self._retry.timeout.connect(self.retry_saving)

    @property
    def label_set(self) -> LabelSet:
        """The structures that can be drawn."""
        return self.project.label_set if self.project is not None else LEFT_HEART

    # Opening

    def open_paths(self, wanted: Sequence[Path], then: Then | None = None) -> None:
        """Open cines, folders of them, or a project; `then` is called with each cine once it is there."""
        cines: list[Path] = []
        for path in wanted:
            if path.suffix == SUFFIX:
                self.open_project(path)
                continue
            try:
                cines.extend(cine_paths([path]))
            except (ApicalError, OSError) as error:
                self._say(str(error), Level.ERROR)
        for place, path in enumerate(dict.fromkeys(cines)):
            self._open_later(lambda p=path: p, then or (self.show if place == 0 else None))  # type: ignore[misc]

    def _open_later(
        self, find: Callable[[], Path], then: Then | None, project: Project | None = None
    ) -> None:
        def work() -> None:
            try:
                self._opened.emit(open_cine(find()), then, project)
            except ApicalError as error:
                self._open_failed.emit(str(error))
            except Exception as error:  # a reader's fault must not take the window down
                logger.exception("a file could not be opened")
                self._open_failed.emit(
                    f"A file could not be opened ({type(error).__name__}: {error}); try another one."
                )

        self._opening += 1
        self.opening_changed.emit(self._opening)
        self._threads.submit(work)

    def _not_opened(self, text: str) -> None:
        self._finish_opening()
        self._say(text, Level.ERROR)

    def _finish_opening(self) -> None:
        self._opening -= 1
        self.opening_changed.emit(self._opening)

    def _adopt(self, cine: Cine, then: Then | None, project: Project | None) -> None:
        self._finish_opening()
        if project is not None and project is not self.project:
            cine.source.close()  # its project was closed while it was being opened
            return
        opened = next((o for o in self.cines if o.cine.content_hash == cine.content_hash), None)
        if opened is not None:
            cine.source.close()
        else:
            try:
                if self.project is None:
                    self._take_project(self._project_for(cine))
                opened = self._place(cine)
            except ProjectError as error:
                cine.source.close()
                self._say(str(error), Level.ERROR)
                return
            self.cines.append(opened)
            self.cines_changed.emit()
            for text in cine.warnings:
                self._say(f"{cine.path.name}: {text}", Level.WARNING)
        if self.current is None:
            self.show(opened)
        elif opened.recorder.annotated.annotated_frames:
            self._teach(opened)
        if then is not None:
            then(opened)

    def _project_for(self, cine: Cine) -> Project:
        """The project that this cine was last worked on in, else a new one of its own."""
        recent = read_recent(places.config_dir() / "recent.json")
        folder = places.projects_dir()
        found = find_project(cine.content_hash, [*projects_in(folder), *recent])
        return Project.open_or_create(found or automatic_path(folder, cine.content_hash))

    def _take_project(self, project: Project) -> None:
        self.project = project
        self._remember(project)

    @staticmethod
    def _remember(project: Project) -> None:
        try:
            remember(places.config_dir() / "recent.json", project.path)
        except ProjectError as error:
            logger.info("the project is not listed as recent: %s", error)

    def _place(self, cine: Cine) -> OpenedCine:
        assert self.project is not None  # noqa: S101 - a project was taken just before
        record = self.project.add_cine(cine)
        opened = OpenedCine(
            cine, record, Recorder(self.project, record.id), self.project.predictions(record.id)
        )
        view = self.project.view()
        frame = view.get("frames", {}).get(str(record.id), 0)
        opened.frame = min(frame, cine.n_frames - 1) if isinstance(frame, int) and frame > 0 else 0
        return opened

    def open_project(self, path: Path) -> None:
        """Close what is open and bring a project back: cines, annotations, head, predictions, view."""
        if self.project is not None and path.resolve() == self.project.path:
            return
        self.retry_saving()
        if self.pending:
            self._say(
                f"{path.name} was not opened because {self.pending} strokes are not saved yet: save the "
                "present project elsewhere first (Ctrl+Shift+S).",
                Level.ERROR,
            )
            return
        try:
            project = Project.open(path)
        except ProjectError as error:
            self._say(str(error), Level.ERROR)
            return
        self.close_project()
        self._take_project(project)
        self.cines_changed.emit()
        remembered = project.view().get("cine")
        for record in project.cines():
            self._open_record(record, show=record.id == remembered)

    def _open_record(self, record: CineRecord, *, show: bool) -> None:
        assert self.project is not None  # noqa: S101 - its record is being opened
        folders = [record.path.parent, self.project.path.parent]

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

        self._open_later(find, self.show if show else None, self.project)

    def close_project(self) -> None:
        """Close cines and project; everything drawn is on disk or was reported as not."""
        self.current = None
        for opened in self.cines:
            opened.recorder.retry()
            if self.session is not None:
                self.session.forget(opened.id)
            opened.cine.source.close()
        self.cines = []
        if self.session is not None:
            self.session.close()
            self.session = None
        if self.project is not None:
            self.project.close()
            self.project = None
        self.current_changed.emit()

    def close(self) -> None:
        """End of the program."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._retry.stop()
        self.blockSignals(True)
        self.close_project()

    def save_as(self, path: Path) -> None:
        """Go on in another project file."""
        if self.project is None:
            return
        try:
            self.project.move_to(path.with_suffix(SUFFIX))
        except ProjectError as error:
            self._say(str(error), Level.ERROR)
            return
        self.retry_saving()
        self._remember(self.project)
        self._say(f"The project is now {self.project.path.name} in {self.project.path.parent}.", Level.INFO)
        self.saved_changed.emit()

    def save_view(self, view: dict[str, Any]) -> None:
        """Keep what the window shows; a view that cannot be written is no loss worth a word."""
        if self.project is None or self.current is None:
            return
        frames = {str(opened.id): opened.frame for opened in self.cines}
        try:
            self.project.save_view({**view, "cine": self.current.id, "frames": frames})
        except ProjectError as error:
            logger.info("the view is not saved: %s", error)

    # Which cine

    def show(self, opened: OpenedCine) -> None:
        """Put a cine on the table."""
        if opened is self.current:
            return
        self.current = opened
        if self.session is None:
            self._start_session()
        if self.session is not None:
            self.session.look(opened.id, opened.frame)
            if not self.session.knows(opened.id):
                self._teach(opened)
        self.current_changed.emit()

    def look(self, frame: int) -> None:
        """Another frame of the current cine is visible."""
        if self.current is not None:
            self.current.frame = frame
            if self.session is not None:
                self.session.look(self.current.id, frame)

    # Drawing

    @property
    def pending(self) -> int:
        """Strokes that are not on the disk."""
        return sum(opened.recorder.pending for opened in self.cines)

    def draw(self, opened: OpenedCine, frame: int, after: Frame, kind: StrokeKind) -> None:
        """Commit a stroke; the annotation is on disk, or reported, when this returns."""
        if opened.recorder.draw(frame, after, kind, self.rater) is not None:
            self._labels_changed(opened)

    def undo(self) -> int | None:
        """Take back the newest stroke of the current cine; returns its frame."""
        return self._step_history(lambda recorder: recorder.undo())

    def redo(self) -> int | None:
        """Draw again what was undone last; returns its frame."""
        return self._step_history(lambda recorder: recorder.redo())

    def _step_history(self, step: Callable[[Recorder], object]) -> int | None:
        opened = self.current
        if opened is None:
            return None
        stroke = step(opened.recorder)
        if stroke is None:
            return None
        self._labels_changed(opened)
        return int(stroke.frame)  # type: ignore[attr-defined]

    def accept(self, frame: int) -> bool:
        """Make the prediction on a frame the annotation; structures drawn by hand stay as drawn."""
        opened = self.current
        if opened is None or frame not in opened.predictions:
            return False
        shown = self.shown_prediction(opened, frame)
        if shown is None or not shown.any():
            return False
        drawn = opened.recorder.annotated.label(frame)
        after = shown if drawn is None else np.where(drawn > 0, drawn, shown)
        self.draw(opened, frame, after.astype(np.uint8), "accept")
        return True

    def clear(self, frame: int) -> None:
        """Take everything drawn off a frame, as one stroke."""
        if self.current is not None and self.current.recorder.annotated.label(frame) is not None:
            cine = self.current.cine
            self.draw(self.current, frame, np.zeros((cine.height, cine.width), np.uint8), "clear")

    @staticmethod
    def shown_prediction(opened: OpenedCine, frame: int) -> Frame | None:
        """The prediction as far as the human has not spoken: without the classes drawn on this frame."""
        prediction = opened.predictions.get(frame)
        if prediction is None:
            return None
        drawn = opened.recorder.annotated.label(frame)
        try:
            mask = prediction.mask
        except ValueError:  # damaged on disk: it will be predicted again
            del opened.predictions[frame]
            return None
        if drawn is None:
            return mask
        keep = ~np.isin(mask, np.unique(drawn)) & (drawn == 0)
        return np.where(keep, mask, 0).astype(np.uint8)

    def correct(self, opened: OpenedCine, frame: int, after: Frame, kind: StrokeKind) -> None:
        """Commit a stroke that started from the prediction: accepting it is a step of its own to undo."""
        shown = self.shown_prediction(opened, frame)
        if shown is not None and opened.recorder.annotated.label(frame) is None:
            opened.recorder.draw(frame, shown, "accept", self.rater)
        self.draw(opened, frame, after, kind)

    def can_correct(self, opened: OpenedCine, frame: int) -> bool:
        """True where a stroke may start from the prediction: there is one, for the labels as they are."""
        return frame in opened.predictions and frame not in opened.stale

    def _labels_changed(self, opened: OpenedCine) -> None:
        if not opened.recorder.annotated.annotated_frames:
            opened.predictions.clear()  # what they were learnt from is gone
        self._check_saved()
        self._teach(opened)
        self.labels_changed.emit()

    def retry_saving(self) -> None:
        """Try again to write strokes that the disk refused."""
        for opened in self.cines:
            if not opened.recorder.retry():
                break
        self._check_saved()

    def _check_saved(self) -> None:
        waiting = next((o.recorder.last_error for o in self.cines if o.recorder.pending), None)
        text = "" if waiting is None else f"Not saved yet, kept in memory: {waiting}"
        if text != self._save_message:
            if self._save_message:
                self.retract.emit(self._save_message)
            if text:
                self._say(text, Level.ERROR, ("Try again", self.retry_saving))
            self._save_message = text
        (self._retry.start if text else self._retry.stop)()
        self.saved_changed.emit()

    # Learning

    def _start_session(self) -> None:
        # Its answers are queued: those of a session that was closed meanwhile belong to another project.
        speaker = self._speaker = object()
        try:
            self.session = LearningSession(
                cache_folder=places.cache_dir(),
                encoder=self._encoder,
                on_event=lambda event: self._event.emit(speaker, event),
            )
            head = self.project.latest_head() if self.project is not None else None
        except ProjectError as error:
            self._say(str(error), Level.ERROR)
            return
        self.last_progress = Progress(0, 0, Stage.STARTING)
        self.progress.emit(self.last_progress)
        if head is not None and head.label_set == self.label_set.name:
            self.session.restore_head(head.blob)

    def _teach(self, opened: OpenedCine) -> None:
        """Tell the engine of a cine and its labels."""
        if self.session is None:
            self._start_session()
        if self.session is None or self.project is None:
            return
        annotated = opened.recorder.annotated
        if not self.session.knows(opened.id):
            self.session.open(opened.id, opened.cine, self.label_set.values)
        learnt = self._learnt(opened)
        if annotated.revision or annotated.annotated_frames:
            self.session.set_labels(opened.id, annotated.revision, dict(annotated.labels), learnt=learnt)

    def _learnt(self, opened: OpenedCine) -> bool:
        """True where the project's head and predictions are the ones for the present annotations."""
        assert self.project is not None  # noqa: S101 - asked only while a project is open
        if opened.stale or len(opened.predictions) < opened.cine.n_frames:
            return False  # the usual case after a stroke: no need to read the head
        try:
            head = self.project.latest_head()
        except ProjectError:
            return False
        return head is not None and head.revisions.get(opened.id) == opened.recorder.annotated.revision

    def cancel_learning(self) -> None:
        """Stop what the engine is at; an engine that does not answer is killed and started anew."""
        if self.session is None:
            return
        self.session.cancel()
        asked, before = self.session, self.last_progress
        if before is None or before.stage in RESTING:
            return  # nothing is under way; an engine that is still starting cannot answer yet

        def check() -> None:
            if self.session is asked and self.last_progress is before:
                asked.kill_engine()

        QTimer.singleShot(CANCEL_PATIENCE_MS, self, check)

    def resume_learning(self) -> None:
        """Go on learning."""
        if self.session is not None:
            self.session.resume()

    def _on_event(self, speaker: object, event: Event) -> None:
        if self.session is None or speaker is not self._speaker:
            return
        match event:
            case Masks():
                self._take_masks(event)
            case Learnt():
                self._keep_head(event)
            case Progress():
                self.last_progress = event
                self.progress.emit(event)
            case Ready():
                self.engine_ready.emit(event)
            case Failed():
                self._say(event.text, Level.ERROR, ("Resume learning", self.resume_learning))
            case EngineDied():
                self.last_progress = None
                if event.restarted:
                    self.progress.emit(Progress(0, 0, Stage.STARTING))
                text = "The learning engine ended unexpectedly"
                if event.restarted:
                    self._say(f"{text} and was started again; nothing that you drew is lost.", Level.WARNING)
                else:
                    self._say(
                        f"{text} three times: drawing goes on without it. Close other programs, then resume.",
                        Level.ERROR,
                        ("Resume learning", self.resume_learning),
                    )

    def _take_masks(self, event: Masks) -> None:
        opened = next((o for o in self.cines if o.id == event.cine_id), None)
        if opened is None or event.revision != opened.recorder.annotated.revision:
            return
        head_id = self._head_ids.get(opened.id) if event.final else None
        fresh = {
            frame: Prediction.of(mask, event.confidence[frame], event.revision, head_id)
            for frame, mask in event.masks.items()
        }
        opened.predictions.update(fresh)
        if event.final and self.project is not None:
            try:
                self.project.save_predictions(opened.id, fresh)
            except ProjectError as error:
                logger.warning("predictions are not saved: %s", error)
        if opened is self.current:
            self.predictions_changed.emit()

    def _keep_head(self, event: Learnt) -> None:
        if self.project is None:
            return
        record = HeadRecord(
            event.blob,
            event.encoder,
            event.encoder_checksum,
            self.label_set.name,
            event.revisions,
            datetime.now(UTC).isoformat(timespec="seconds"),
        )
        try:
            head_id = self.project.save_head(record)
        except ProjectError as error:
            logger.warning("the head is not saved: %s", error)
            return
        self._head_ids = dict.fromkeys((o.id for o in self.cines), head_id)

    def _say(self, text: str, level: Level, action: tuple[str, Callable[[], object]] | None = None) -> None:
        self.message.emit(text, int(level), action)


def _rater() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "rater"

"""Connects the workspace with the learning engine: sends cines and labels, receives predictions."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime

from psygnal import Signal

from app import paths
from app.domain.errors import ProjectError
from app.domain.prediction import Prediction
from app.domain.views import View
from app.encoders import registry
from app.engine.events import EngineDied, EngineNotStarted, Event, HeadFitted, LearningFailure, PredictedMasks
from app.engine.session import LearningSession
from app.storage.label_set_json import predicts_structures, structures_to_json
from app.storage.project import Project
from app.storage.records import HeadRecord
from app.workspace.dispatcher import Dispatcher
from app.workspace.notice import (
    EngineBusy,
    EngineRestarted,
    EngineUnavailable,
    LearningFailed,
    Notice,
    ProjectFailed,
)
from app.workspace.opened_cine import OpenedCine
from vjepa_core.service.messages import (
    RESTING,
    CancelReceived,
    Progress,
    Ready,
    Stage,
    Suggested,
    ViewRecognised,
)

logger = logging.getLogger(__name__)

CONFIRM_TIMEOUT_MS = 8000
KILLED = -9
"""Exit code of a process that the system ended with SIGKILL, on Linux and macOS."""


class Learner:
    """Owns the learning session of the open project.

    Parameters
    ----------
    encoder : str or None
        Name of the encoder; None for the one chosen in the settings.
    dispatcher : Dispatcher
        Runs callbacks in the thread of the user interface: the session reports from other threads.
    raise_notice, clear_notice : callable
        Called with a notice to show, and with a notice that no longer applies.
    """

    predicted = Signal(object)  # OpenedCine
    progress = Signal(object)  # Progress
    stopping = Signal(object)  # Progress of the step that the engine finishes before it stops
    ready = Signal(object)  # Ready
    suggested = Signal(object)  # Suggested
    view_recognised = Signal(object)  # OpenedCine, see its `recognised_view`

    def __init__(
        self,
        encoder: str | None,
        *,
        dispatcher: Dispatcher,
        raise_notice: Callable[[Notice], object],
        clear_notice: Callable[[Notice], object],
    ) -> None:
        self.session: LearningSession | None = None
        self.last_progress: Progress | None = None
        self.obstacle: EngineUnavailable | None = None  # why there is no engine
        self._session_token: object = None  # identifies events of the present session
        self._encoder = encoder
        self._dispatcher = dispatcher
        self._raise_notice, self._clear_notice = raise_notice, clear_notice
        self._raised: set[Notice] = set()  # cleared by `resume`
        self._project: Project | None = None
        self._cines: dict[int, OpenedCine] = {}
        self._head_id: int | None = None  # row of the engine's head in the project
        self._head_encoder = ""  # checksum of the encoder that it reads
        self._stop_requested = False
        self._deferred: list[OpenedCine] = []  # sent when learning is resumed
        self._finishing: Progress | None = None  # step in progress when the engine received the stop

    # Session

    def start(self, project: Project) -> None:
        """Start an engine for a project, with its latest head; does nothing if one is running."""
        if self.session is not None:
            return
        # Events are queued: one that arrives late may be from a closed session of another project.
        token = self._session_token = object()
        try:
            self.session = LearningSession(
                cache_folder=paths.cache_dir(),
                encoder=self._encoder or registry.chosen(),
                on_event=lambda event: self._dispatcher.post(lambda: self._on_event(token, event)),
            )
            head = project.latest_head()
        except ProjectError as error:
            self._raise_notice(ProjectFailed(str(error)))
            return
        self._project = project
        self._set_progress(Progress(0, 0, Stage.STARTING))
        if head is not None and predicts_structures(head.label_set, project.label_set):
            self.session.restore_head(head.blob, dict(head.revisions))
            self._head_id, self._head_encoder = head.id, head.encoder_checksum

    def stop(self) -> None:
        """End the engine and release the project."""
        if self.session is not None:
            self.session.close()
        self.session, self._project, self.last_progress = None, None, None
        self._cines.clear()
        self._deferred.clear()
        self._stop_requested, self._finishing, self._head_id = False, None, None
        self._clear_obstacle()

    # Cines and labels

    def set_visible(self, opened: OpenedCine) -> None:
        """Report the visible cine and frame, which the engine works on first."""
        if self.session is not None:
            self.session.set_visible_frame(opened.id, opened.frame)

    def has_sent(self, opened: OpenedCine) -> bool:
        """Return True if the engine has received this cine."""
        return self.session is not None and self.session.has_cine(opened.id)

    def send_in_background(self, opened: OpenedCine) -> None:
        """Send a cine that is not visible, for its labels; deferred while learning is stopped."""
        if self._stop_requested:
            self._deferred.append(opened)
        else:
            self.send(opened)

    def send(self, opened: OpenedCine) -> None:
        """Send a cine and its labels to the engine; learning continues if it was stopped."""
        session, project = self.session, self._project
        if session is None or project is None:
            return
        self._continue()
        if opened.update_region() and self.has_sent(opened):
            session.close_cine(opened.id)
        self._cines[opened.id] = opened
        if not self.has_sent(opened):
            label_set = project.label_set
            session.open_cine(opened.id, opened.cine, label_set.values, left_heart=label_set.is_left_heart)
        if opened.revision:
            annotated = opened.recorder.layer
            session.set_labels(
                opened.id,
                opened.revision,
                annotated.labels,
                stated=annotated.states_by_frame,
                is_fitted=self._is_fitted(opened, project),
            )

    def _is_fitted(self, opened: OpenedCine, project: Project) -> bool:
        """Return True if the engine's head was fitted to the present annotations and predicted all frames.

        After a correction in another cine there is a new head; masks of the previous head do not count.
        """
        if opened.outdated or len(opened.predictions) < opened.cine.n_frames or self._head_id is None:
            return False  # the usual case after a stroke: no need to read the head
        if any(p.head_id != self._head_id for p in opened.predictions.values()):
            return False
        try:
            head = project.latest_head()
        except ProjectError:
            return False
        return (
            head is not None and head.id == self._head_id and head.revisions.get(opened.id) == opened.revision
        )

    def request_doubts(self, opened: OpenedCine) -> None:
        """Predict a cine again if its predictions are from the project, which does not store doubt."""
        if self.has_sent(opened) and opened.predictions.keys() - opened.doubts.keys():
            self.session.predict_again(opened.id)  # type: ignore[union-attr]

    # Stop and resume

    def cancel(self) -> None:
        """Stop learning.

        A working engine confirms at once and stops after its current step, which may take a while. An engine
        that does not confirm is assumed to hang and is replaced.
        """
        if self.session is None:
            return
        self._clear_finishing()
        self._stop_requested = True
        self.session.cancel()
        session, before = self.session, self.last_progress
        if before is None or before.stage in (*RESTING, Stage.STARTING):
            return  # nothing to stop; a starting engine cannot confirm yet

        def check() -> None:
            if self.session is not session or not self._stop_requested:
                return
            if self._finishing is not None:
                self._raise_notice(EngineBusy())
            elif self.last_progress is before:
                self.restart_engine()

        self._dispatcher.call_later(CONFIRM_TIMEOUT_MS, check)

    def restart_engine(self) -> None:
        """Replace the engine process."""
        if self.session is not None:
            self._set_progress(Progress(0, 0, Stage.STARTING))
            self.session.replace_engine()

    def resume(self) -> None:
        """Continue learning."""
        if self.session is None:
            return
        self._continue()
        self.session.resume()
        starts = self.obstacle is not None
        self._clear_obstacle()
        if starts:
            self._set_progress(Progress(0, 0, Stage.STARTING))

    def _continue(self) -> None:
        self._clear_finishing()
        self._stop_requested = False
        while self._deferred:
            opened = self._deferred.pop(0)
            if not self.has_sent(opened):
                self.send(opened)

    def _clear_finishing(self) -> None:
        if self._finishing is not None:
            self._finishing = None
            self._clear_notice(EngineBusy())

    # Events of the session

    def _on_event(self, token: object, event: Event) -> None:
        if self.session is None or token is not self._session_token:
            return
        match event:
            case PredictedMasks():
                self._on_masks(event)
            case HeadFitted():
                self._on_head(event)
            case Progress():
                if self._finishing is None or event.stage is not self._finishing.stage:
                    self._set_progress(event)
            case Suggested():
                self.suggested.emit(event)
            case ViewRecognised():
                self._on_view(event)
            case LearningFailure():
                opened = self._cines.get(event.cine_id) if event.cine_id is not None else None
                name = "" if opened is None else opened.cine.path.name
                self._raise_until_resumed(LearningFailed(event.text, name))
            case CancelReceived() | Ready() | EngineNotStarted() | EngineDied():
                self._on_engine_event(event)

    def _on_engine_event(self, event: CancelReceived | Ready | EngineNotStarted | EngineDied) -> None:
        match event:
            case CancelReceived():
                last = self.last_progress
                if self._stop_requested and last is not None:
                    self._finish(last)
            case Ready():
                if event.encoder_checksum != self._head_encoder:
                    self._head_id = None  # the engine rejected the head: it reads another encoder's features
                self._clear_obstacle()
                self.ready.emit(event)
            case EngineNotStarted():
                self._set_obstacle(EngineUnavailable(event.text))
            case EngineDied() if event.restarted:
                self._set_progress(Progress(0, 0, Stage.STARTING))
                self._raise_notice(EngineRestarted())
            case EngineDied():
                self._set_obstacle(EngineUnavailable(out_of_memory=event.exit_code == KILLED))

    def _finish(self, last: Progress) -> None:
        if last.stage not in (*RESTING, Stage.STARTING):
            self._finishing = last
            self.stopping.emit(last)

    def _set_progress(self, progress: Progress) -> None:
        self._clear_finishing()
        if progress.stage is Stage.NOT_RECOGNISED:
            self._delete_predictions(progress)
        self.last_progress = progress
        self.progress.emit(progress)

    def _set_obstacle(self, notice: EngineUnavailable) -> None:
        self.obstacle = notice
        self._set_progress(Progress(0, 0, Stage.CANCELLED))
        self._raise_until_resumed(notice)

    def _raise_until_resumed(self, notice: Notice) -> None:
        self._raised.add(notice)
        self._raise_notice(notice)

    def _clear_obstacle(self) -> None:
        self.obstacle = None
        while self._raised:
            self._clear_notice(self._raised.pop())

    # Predictions and heads

    def _on_masks(self, event: PredictedMasks) -> None:
        opened = self._cines.get(event.cine_id)
        if opened is None or event.revision != opened.revision:
            return
        # A draft comes from the head that ships with the program, not from one of the project.
        head_id = self._head_id if event.final and not event.draft else None
        predictions = {
            frame: Prediction.of(
                mask, event.expected_dice[frame], event.revision, head_id, event.structure_dice.get(frame)
            )
            for frame, mask in event.masks.items()
        }
        opened.predictions.update(predictions)
        opened.doubts.update(event.doubts)
        opened.findings.update(event.findings)
        if event.final and self._project is not None:
            try:
                self._project.save_predictions(opened.id, predictions, opened.recorder.layer.rater)
            except ProjectError as error:
                logger.warning("predictions are not saved: %s", error)
        self.predicted.emit(opened)

    def _on_view(self, event: ViewRecognised) -> None:
        opened = self._cines.get(event.cine_id)
        if opened is not None:
            opened.recognised_view = None if event.view is None else View(event.view)
            self.view_recognised.emit(opened)

    def _delete_predictions(self, progress: Progress) -> None:
        """Delete the predictions of a cine that no head recognises, also in the project."""
        opened = self._cines.get(progress.cine_id)
        if opened is None or progress.revision != opened.revision or not opened.predictions:
            return
        opened.clear_predictions()
        if self._project is not None:
            try:
                self._project.delete_predictions(opened.id, opened.recorder.layer.rater)
            except ProjectError as error:
                logger.warning("predictions are not deleted: %s", error)
        self.predicted.emit(opened)

    def _on_head(self, event: HeadFitted) -> None:
        self._head_id, self._head_encoder = None, event.encoder_checksum
        if self._project is None or event.blob is None:
            return
        record = HeadRecord(
            event.blob,
            event.encoder,
            event.encoder_checksum,
            structures_to_json(self._project.label_set),
            event.revisions,
            datetime.now(UTC).isoformat(timespec="seconds"),
        )
        try:
            self._head_id = self._project.save_head(record)
        except ProjectError as error:
            logger.warning("the head is not saved: %s", error)

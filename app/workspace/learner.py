"""Between the workspace and the engine: what to tell it, and what to do with its answers."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime

from psygnal import Signal

from app import paths as places
from app.domain.errors import ProjectError
from app.encoders import registry
from app.engine.session import EngineDied, Event, LearningSession, Learnt, Masks, NotStarted
from app.storage.codec import draws_structures, structures_to_json
from app.storage.project import Project
from app.storage.records import HeadRecord, Prediction
from app.workspace.dispatcher import Dispatcher
from app.workspace.notice import Level
from app.workspace.opened_cine import OpenedCine
from vjepa_core.service.messages import RESTING, CancelReceived, Failed, Progress, Ready, Stage, Suggested

logger = logging.getLogger(__name__)

CANCEL_PATIENCE_MS = 8000
KILLED = -9
"""Exit code of a process that the system killed, on Linux and macOS: SIGKILL."""

BUSY = "The learning engine is finishing its present step, which takes long on this machine."

Say = Callable[[str, Level, tuple[str, Callable[[], object]] | None], None]


class Learner:
    """Keeps one learning session for one open project.

    Parameters
    ----------
    encoder : str or None
        Name of the encoder; None for the chosen one.
    say, retract : callable
        Show a message to the user, and take it away by its text once it no longer holds.
    dispatcher : Dispatcher
        Runs callbacks in the thread of the user interface: the session reports from other threads.
    """

    predicted = Signal(object)  # OpenedCine
    progress = Signal(object)  # Progress
    stopping = Signal(object)  # Progress: what is being finished before the engine stops
    ready = Signal(object)  # Ready
    suggested = Signal(object)  # Suggested

    def __init__(
        self,
        encoder: str | None,
        say: Say,
        retract: Callable[[str], object],
        dispatcher: Dispatcher,
    ) -> None:
        self._dispatcher = dispatcher
        self._encoder = encoder
        self._say, self._retract = say, retract
        self.session: LearningSession | None = None
        self.last_progress: Progress | None = None
        self.obstacle = ""  # why there is no engine, in a sentence
        self._told_to_resume: set[str] = set()  # messages that offer it
        self._project: Project | None = None
        self._cines: dict[int, OpenedCine] = {}
        self._head_id: int | None = None  # of the engine's head, where the project keeps it
        self._head_encoder = ""  # checksum of what that head reads
        self._stop_asked = False  # and nothing has gone on since
        self._postponed: list[OpenedCine] = []  # to be taught when learning goes on
        self._finishing: Progress | None = None  # what is under way since the engine heard of the stop
        self._speaker: object = None  # token of the present session

    def start(self, project: Project) -> None:
        """Start an engine for a project, with the head kept there; nothing if it runs already."""
        if self.session is not None:
            return
        # Its answers are queued: those of a session that was closed meanwhile belong to another project.
        speaker, dispatcher = object(), self._dispatcher
        self._speaker = speaker
        try:
            self.session = LearningSession(
                cache_folder=places.cache_dir(),
                encoder=self._encoder or registry.chosen(),
                on_event=lambda event: dispatcher.post(lambda: self._on_event(speaker, event)),
            )
            head = project.latest_head()
        except ProjectError as error:
            self._say(str(error), Level.ERROR, None)
            return
        self._project = project
        self._tell_progress(Progress(0, 0, Stage.STARTING))
        if head is not None and draws_structures(head.label_set, project.label_set):
            self.session.restore_head(head.blob, dict(head.revisions))
            self._head_id, self._head_encoder = head.id, head.encoder_checksum

    def stop(self) -> None:
        """End the engine and forget the project."""
        if self.session is not None:
            self.session.close()
        self.session, self._project, self.last_progress = None, None, None
        self._cines.clear()
        self._postponed.clear()
        self._stop_asked, self._finishing, self._head_id = False, None, None
        self._overcome()

    def look(self, opened: OpenedCine) -> None:
        """Tell which frame of which cine is visible."""
        if self.session is not None:
            self.session.look(opened.id, opened.frame)

    def knows(self, opened: OpenedCine) -> bool:
        """True where the engine was told of this cine."""
        return self.session is not None and self.session.knows(opened.id)

    def teach_behind(self, opened: OpenedCine) -> None:
        """Tell the engine of a cine that is not looked at, for its labels; once learning is not stopped."""
        if self._stop_asked:
            self._postponed.append(opened)
        else:
            self.teach(opened)

    def teach(self, opened: OpenedCine) -> None:
        """Tell the engine of a cine and its labels; what was stopped goes on."""
        session, project = self.session, self._project
        if session is None or project is None:
            return
        self._go_on()
        if opened.fit_region() and self.knows(opened):
            session.forget(opened.id)
        self._cines[opened.id] = opened
        if not self.knows(opened):
            label_set = project.label_set
            session.open(opened.id, opened.cine, label_set.values, left_heart=label_set.is_left_heart)
        if opened.revision:
            annotated = opened.recorder.layer
            session.set_labels(
                opened.id,
                opened.revision,
                annotated.labels,
                stated=annotated.states_by_frame,
                learnt=self._learnt(opened, project),
            )

    def _learnt(self, opened: OpenedCine, project: Project) -> bool:
        """True where the engine's head was fitted to the present annotations and predicted every frame.

        A correction of another cine makes a new head; masks that were kept of the old one do not count.
        """
        if opened.stale or len(opened.predictions) < opened.cine.n_frames or self._head_id is None:
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

    def redraw(self, opened: OpenedCine) -> None:
        """Have a cine predicted once more where its masks were kept and the doubts about them were not."""
        if self.knows(opened) and opened.predictions.keys() - opened.doubts.keys():
            self.session.redraw(opened.id)  # type: ignore[union-attr]

    def cancel(self) -> None:
        """Stop what the engine is at.

        An engine that is alive says so at once and stops after the present step, however long that takes. One
        that says nothing hangs, and is replaced.
        """
        if self.session is None:
            return
        self._finished()
        self._stop_asked = True
        self.session.cancel()
        asked, before = self.session, self.last_progress
        if before is None or before.stage in (*RESTING, Stage.STARTING):
            return  # nothing is under way; an engine that is still starting cannot answer yet

        def check() -> None:
            if self.session is not asked or not self._stop_asked:
                return  # it was closed, or learning goes on
            if self._finishing is not None:
                self._say(BUSY, Level.INFO, ("Restart the engine", self._replace_engine))
            elif self.last_progress is before:
                self._replace_engine()

        self._dispatcher.call_later(CANCEL_PATIENCE_MS, check)

    def _replace_engine(self) -> None:
        if self.session is not None:
            self._tell_progress(Progress(0, 0, Stage.STARTING))
            self.session.kill_engine(True)

    def _go_on(self) -> None:
        """Whatever was stopped goes on: with new labels, another cine, or `resume`."""
        self._finished()
        self._stop_asked = False
        while self._postponed:
            opened = self._postponed.pop(0)
            if not self.knows(opened):
                self.teach(opened)

    def _finished(self) -> None:
        if self._finishing is not None:
            self._finishing = None
            self._retract(BUSY)

    def _on_cancel_received(self) -> None:
        last = self.last_progress
        if self._stop_asked and last is not None and last.stage not in (*RESTING, Stage.STARTING):
            self._finishing = last
            self.stopping.emit(last)

    def resume(self) -> None:
        """Go on learning."""
        if self.session is None:
            return
        self._go_on()
        self.session.resume()
        starts = bool(self.obstacle)
        self._overcome()
        if starts:
            self._tell_progress(Progress(0, 0, Stage.STARTING))

    # Answers

    def _on_event(self, speaker: object, event: Event) -> None:
        if self.session is None or speaker is not self._speaker:
            return
        match event:
            case Masks():
                self._take_masks(event)
            case Learnt():
                self._keep_head(event)
            case Progress():
                if self._finishing is None or event.stage is not self._finishing.stage:
                    self._tell_progress(event)
            case Suggested():
                self.suggested.emit(event)
            case Failed():
                self._tell_failure(event)
            case CancelReceived() | Ready() | NotStarted() | EngineDied():
                self._on_engine_event(event)

    def _on_engine_event(self, event: CancelReceived | Ready | NotStarted | EngineDied) -> None:
        match event:
            case CancelReceived():
                self._on_cancel_received()
            case Ready():
                if event.encoder_checksum != self._head_encoder:
                    self._head_id = None  # it reads another encoder's features: the engine refused it
                self._overcome()
                self.ready.emit(event)
            case NotStarted():
                self._tell_obstacle(event.text)
            case EngineDied():
                self._tell_death(event)

    def _tell_progress(self, progress: Progress) -> None:
        self._finished()
        if progress.stage is Stage.NOT_RECOGNISED:
            self._forget_predictions(progress)
        self.last_progress = progress
        self.progress.emit(progress)

    def _tell_failure(self, event: Failed) -> None:
        opened = self._cines.get(event.cine_id) if event.cine_id is not None else None
        self._tell_to_resume(event.text if opened is None else f"{opened.cine.path.name}: {event.text}")

    def _tell_death(self, event: EngineDied) -> None:
        text = "The learning engine ended unexpectedly"
        if event.restarted:
            self._tell_progress(Progress(0, 0, Stage.STARTING))
            self._say(f"{text} and was started again; nothing that you drew is lost.", Level.WARNING, None)
            return
        advice = "Resume to try again, or choose another encoder."
        if event.exit_code == KILLED:
            advice = "The system ended it, most likely for lack of memory: close other programs, then resume."
        self._tell_obstacle(f"{text} three times: drawing goes on without it. {advice}")

    def _tell_obstacle(self, text: str) -> None:
        self.obstacle = text
        self._tell_progress(Progress(0, 0, Stage.CANCELLED))
        self._tell_to_resume(text)

    def _tell_to_resume(self, text: str) -> None:
        self._told_to_resume.add(text)
        self._say(text, Level.ERROR, ("Resume learning", self.resume))

    def _overcome(self) -> None:
        """Take back what was said of an engine that had stopped."""
        self.obstacle = ""
        while self._told_to_resume:
            self._retract(self._told_to_resume.pop())

    def _take_masks(self, event: Masks) -> None:
        opened = self._cines.get(event.cine_id)
        if opened is None or event.revision != opened.revision:
            return
        # The head that ships drew a draft, and none of the project's.
        head_id = self._head_id if event.final and not event.draft else None
        fresh = {
            frame: Prediction.of(mask, event.confidence[frame], event.revision, head_id)
            for frame, mask in event.masks.items()
        }
        opened.predictions.update(fresh)
        opened.doubts.update(event.doubts)
        opened.findings.update(event.findings)
        if event.final and self._project is not None:
            try:
                self._project.save_predictions(opened.id, fresh)
            except ProjectError as error:
                logger.warning("predictions are not saved: %s", error)
        self.predicted.emit(opened)

    def _forget_predictions(self, told: Progress) -> None:
        """No head knows this cine: what an earlier one drew on it is neither shown nor kept."""
        opened = self._cines.get(told.cine_id)
        if opened is None or told.revision != opened.revision or not opened.predictions:
            return
        opened.forget_predictions()
        if self._project is not None:
            try:
                self._project.forget_predictions(opened.id)
            except ProjectError as error:
                logger.warning("predictions are still kept: %s", error)
        self.predicted.emit(opened)

    def _keep_head(self, event: Learnt) -> None:
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

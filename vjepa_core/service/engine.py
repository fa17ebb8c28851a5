"""The engine process: owns torch and the GPU, takes requests from a pipe, answers with reports.

One thread listens, so that a request interrupts work within one step; the other works on what is most urgent:
preparing the visible cine, then fitting, then predicting outward from the visible frame, then preparing other
cines that have labels.
"""

from __future__ import annotations

import contextlib
import copy
import logging
import os
import queue
import threading
import time
from collections.abc import Sequence
from enum import Enum, auto
from multiprocessing.connection import Connection
from pathlib import Path

from vjepa_core.encoder.load import load_encoder
from vjepa_core.encoder.precision import inference_device, inference_dtype
from vjepa_core.errors import Cancelled, CoreError, one_line
from vjepa_core.fewshot.applicability import KNOWN, load_recogniser
from vjepa_core.fewshot.bounded_cache import BoundedCache
from vjepa_core.fewshot.feature_cache import FeatureCache
from vjepa_core.fewshot.fit import Fit, FitConfig
from vjepa_core.fewshot.head import Head, OlderHeadError, load_head, save_head
from vjepa_core.fewshot.prepared_cine import PreparedCine
from vjepa_core.fewshot.starter import Starter, load_starter, new_head
from vjepa_core.fewshot.suggest import next_cine
from vjepa_core.memory import is_lack_of_memory
from vjepa_core.service.cine_state import CineState
from vjepa_core.service.messages import (
    Cancel,
    CancelReceived,
    CineReceived,
    CloseCine,
    Failed,
    HeadReady,
    LabelsReceived,
    Look,
    OpenCine,
    Predicted,
    Progress,
    Ready,
    Redraw,
    Report,
    Request,
    RestoreHead,
    Resume,
    SetLabels,
    Shutdown,
    Stage,
    Suggested,
)
from vjepa_core.service.recognition import Recognition

logger = logging.getLogger(__name__)

PREVIEW_EVERY_S = 0.6
"""While fitting, the visible frame is predicted anew this often."""

REPORT_EVERY_S = 0.05
"""Progress is told no more often than this: the window has better things to do than to count frames."""


POSITIONS_BYTES = 384 << 20
"""Bound on what the motion of all cines together keeps of carried positions."""


class _Task(Enum):
    PREPARE = auto()
    FIT = auto()
    PREDICT = auto()


class InterruptedWork(Exception):  # noqa: N818 - no error
    """A request came in that changes what should be done next."""


class Engine:
    """The engine's state and its loop; `run` returns when told to shut down or when the pipe breaks."""

    def __init__(
        self,
        connection: Connection,
        *,
        cache_folder: Path,
        scratch_folder: Path,
        encoder: str,
        encoder_folders: Sequence[Path] | None = None,
    ) -> None:
        self._connection = connection
        self._sending = threading.Lock()  # both threads report
        self._requests: queue.SimpleQueue[Request] = queue.SimpleQueue()
        self._arrived = threading.Event()
        self._scratch = scratch_folder
        self._cache = FeatureCache(cache_folder)
        self._encoder_name, self._encoder_folders = encoder, encoder_folders
        self._device = inference_device()
        self._positions = BoundedCache(POSITIONS_BYTES)
        self._cines: dict[int, CineState] = {}
        self._at: CineState | None = None  # the cine that is worked on; None while it is no single one
        self._looking_at = 0
        self._look_told = False  # until a `Look` comes, the cine that was opened last is looked at
        self._head: Head | None = None
        self._fitted_to: dict[int, int] = {}  # revisions by cine that the head has learnt
        self._starter: Starter | None = None
        self._fit: Fit | None = None
        self._taught: list[CineState] = []  # whose labels the fit under way learns
        self._cut_short: Fit | None = None  # cut short by a new stroke: the next fit goes on from its head
        self._cancelled = False
        self._closing = False
        self._told: Progress | None = None
        self._suggested: Suggested | None = None
        self._last_report = 0.0
        self._last_preview = 0.0

    # Talking

    def _listen(self) -> None:
        while True:
            try:
                request = self._connection.recv()
            except (EOFError, OSError):
                request = Shutdown()
            if isinstance(request, Cancel):
                self._tell(CancelReceived())  # at once: the step under way may take long
            self._requests.put(request)
            self._arrived.set()
            if isinstance(request, Shutdown):
                return

    def _tell(self, report: Report) -> None:
        try:
            with self._sending:
                self._connection.send(report)
        except OSError:
            self._closing = True

    def _tell_idle(self, stage: Stage) -> None:
        work = self._visible
        progress = Progress(work.cine_id if work else 0, work.revision if work else 0, stage)
        if progress != self._told:
            self._told = progress
            self._tell(progress)

    def _progress(
        self, work: CineState, stage: Stage, done: int, total: int, loss: float | None = None
    ) -> None:
        self._told = None
        now = time.monotonic()
        if 0 < done < total and now - self._last_report < REPORT_EVERY_S:
            return
        self._last_report = now
        self._tell(Progress(work.cine_id, work.revision, stage, done, total, loss))

    # Requests

    def _take_requests(self) -> None:
        self._arrived.clear()
        while True:
            try:
                request = self._requests.get_nowait()
            except queue.Empty:
                return
            try:
                self._take(request)
            except Exception as error:  # whatever is wrong with one request, the others are taken
                logger.exception("a request could not be taken")
                self._tell(_not_taken(request, error))

    def _take(self, request: Request) -> None:
        match request:
            case OpenCine():
                self._open(request)
            case CloseCine():
                self._close(request)
            case SetLabels():
                self._take_labels(request)
            case Look():
                self._looking_at, self._look_told = request.cine_id, True
                if request.cine_id in self._cines:
                    self._cines[request.cine_id].visible_frame = request.frame
            case Redraw():
                if request.cine_id in self._cines:  # else it is still on its way, or was forgotten
                    self._cines[request.cine_id].predict_all()
            case RestoreHead():
                self._restore(Path(request.path), dict(request.revisions))
            case Cancel():
                self._cancelled = True
                self._fit = self._cut_short = None
            case Resume():
                self._cancelled = False
                if request.failed_too:
                    self._try_again()
            case Shutdown():
                self._closing = True

    def _open(self, request: OpenCine) -> None:
        work = CineState(request, request.frames.open(), self._positions)
        self._cines[request.cine_id] = work
        if not self._look_told:
            self._looking_at = request.cine_id
        if self._head is not None and self._head.config.classes != request.classes:
            self._head, self._fitted_to = None, {}  # it draws other structures
        self._tell(CineReceived(request.cine_id))

    def _close(self, request: CloseCine) -> None:
        if self._cines.pop(request.cine_id, None) in self._taught:
            self._fit = None

    def _try_again(self) -> None:
        for work in self._cines.values():
            work.has_failed = False

    def _take_labels(self, request: SetLabels) -> None:
        work = self._cines[request.cine_id]
        pixels = None if request.labels is None else request.labels.open()
        had_labels = work.is_labelled
        work.set_labels(request, pixels)
        # Labels said to be learnt need the head that learnt them: it may have been refused.
        learnt = request.is_fitted or self._fitted_to.get(request.cine_id) == request.revision
        work.is_fitted = learnt and self._head is not None
        work.has_masks = work.has_masks and work.is_fitted
        if work.is_fitted and not work.has_masks:
            work.predict_all()
        if request.labels is not None:
            self._tell(LabelsReceived(request.labels))
        if self._fit is not None and self._fit.done_steps:
            self._cut_short = self._fit
        self._fit = None
        if not had_labels and not work.is_labelled and not request.is_fitted:
            work.predict_all()  # nothing was named, but what is drawn belongs to another revision now
        work.had_labels = (had_labels or work.had_labels) and not work.is_labelled
        if had_labels and not work.is_labelled and work.left_heart:
            self._unlearn(work)
        self._cancelled = False

    def _restore(self, path: Path, revisions: dict[int, int]) -> None:
        """Take a kept head; an older one, or one over another encoder, is passed over: labels make anew."""
        try:
            head = load_head(path)
        except OlderHeadError as error:
            logger.info("the kept head is passed over: %s", error)
            return
        if head.config.encoder_checksum == self._card.checksum:
            self._head, self._fitted_to = head.to(self._device), revisions
            self._recognition.restore(path)

    def _interrupted(self) -> bool:
        """Take what came in; True where the work under way should be dropped or looked at anew."""
        if self._arrived.is_set():
            before = self._urgency()
            self._take_requests()
            return self._closing or self._cancelled or self._urgency() != before
        return self._closing

    def _urgency(self) -> tuple[object, ...]:
        labels = tuple((i, w.revision) for i, w in self._cines.items())
        return (labels, self._looking_at, self._cancelled)

    # Working

    @property
    def _visible(self) -> CineState | None:
        return self._cines.get(self._looking_at) or next(iter(self._cines.values()), None)

    def run(self) -> None:
        """Work until told to stop."""
        threading.Thread(target=self._listen, name="listener", daemon=True).start()
        try:
            encoder, card = load_encoder(
                self._encoder_name,
                self._device,
                self._encoder_folders,
                matrices=inference_dtype(self._device),
            )
            self._starter = load_starter(card)
            if self._starter is not None:
                self._starter.head.to(self._device)
        except Exception as error:
            logger.exception("the encoder could not be loaded")
            # The process stays: one that ended would be taken for a crash and started again, and again.
            self._tell(Failed(str(error) if isinstance(error, CoreError) else self._no_encoder(error)))
            while not self._closing:
                self._closing = isinstance(self._requests.get(), Shutdown)
            return
        self._encoder, self._card = encoder, card
        self._recognition = Recognition(self._starter, load_recogniser(card.checksum))
        self._tell(Ready(str(self._device), card.name, card.checksum, card.trained))
        while not self._closing:
            self._take_requests()
            try:
                idle = self._cancelled or not self._work_once()
            except (Cancelled, InterruptedWork):
                continue
            except Exception as error:  # a fault of one cine or library must not end the engine
                logger.exception("work failed")
                self._give_up(error)
                continue
            if idle and not self._closing:
                if self._cancelled:
                    self._tell_idle(Stage.CANCELLED)
                self._arrived.wait()

    def _no_encoder(self, error: BaseException) -> str:
        what = one_line(error)
        if is_lack_of_memory(error):
            what = "it needs more memory than there is"
        return f"The encoder {self._encoder_name} cannot be loaded ({what}): choose a smaller one or another."

    def _give_up(self, error: Exception) -> None:
        """Do not try again what has failed, until `Resume` or new labels; go on with other cines."""
        work, self._at = self._at, None
        if is_lack_of_memory(error):
            self._fit, self._cancelled = None, True
            text = "The engine ran out of memory: close other cines or programs, then press Resume learning."
            self._tell(Failed(text))
        elif work is None:  # of a fit: nobody knows which cine is at fault
            self._fit, self._cancelled = None, True
            advice = "your strokes are safe, and Resume learning tries again"
            self._tell(Failed(f"Learning stopped ({one_line(error)}): {advice}."))
        else:
            work.has_failed = True
            text = f"This cine is left out of learning ({one_line(error)}): Resume learning tries it again."
            self._tell(Failed(text, work.cine_id))

    def _next(self) -> tuple[_Task, CineState] | None:
        """The most urgent piece of work: what the user looks at comes before other cines."""
        work = self._visible
        if work is None:
            return None
        if not work.is_prepared and not work.has_failed:
            return _Task.PREPARE, work
        behind = [w for w in self._cines.values() if w.is_labelled and not w.is_prepared and not w.has_failed]
        ready = [w for w in self._cines.values() if w.is_labelled and w.is_prepared and not w.has_failed]
        unlearnt = [w for w in ready if not w.is_fitted]
        # The visible cine's labels are learnt at once, those of other cines when all are prepared: one fit.
        if self._fit is not None or work in unlearnt or (unlearnt and not behind):
            return _Task.FIT, work
        if not work.has_failed:
            at, self._at = self._at, work
            head = self._head_for(work)
            self._at = at
            if head is not work.predicted_by and work.predicted_by is not None and head is not None:
                work.predict_all()  # say, labels of other cines came in since
            if head is not None and work.waiting:
                return _Task.PREDICT, work
        return (_Task.PREPARE, behind[0]) if behind else None

    def _work_once(self) -> bool:
        """Do the most urgent piece of work; False where there is nothing to do."""
        for known in self._cines.values():
            if known.is_prepared and known.pipeline.has_open_labels and not known.has_failed:
                self._at = known
                self._teacher(known)
                known.pipeline.complete_labels()
        visible = self._visible
        if (
            self._starter is not None
            and visible is not None
            and visible.left_heart
            and not visible.has_failed
        ):
            self._at = visible
            self._recognition.drafts(visible)  # its draft is needed beside answers of other heads too
        self._at = None
        job = self._next()
        if job is None:
            self._rest()
            return False
        task, work = job
        if task is _Task.PREPARE:
            self._at = work
            self._prepare(work)
        elif task is _Task.FIT:
            self._continue_fit(work, self._fit or self._begin_fit(work))
        else:
            self._at = work
            head = self._head_for(work)
            assert head is not None  # noqa: S101 - else there was nothing to predict
            self._predict_next(work, head)
        return True

    def _rest(self) -> None:
        """Say that everything is done, and what to outline next."""
        work = self._visible
        if work is None:
            return
        if work.has_failed:
            self._tell_idle(Stage.CANCELLED)
            return
        self._suggest(work)
        self._at = work
        self._tell_idle(self._idle_stage(work, self._head_for(work)))

    def _teacher(self, work: CineState) -> Head | None:
        """What guesses at pixels that a scribble leaves open: the starter's head, where it applies."""
        return self._starter.head if self._starter is not None and self._recognition.drafts(work) else None

    def _suggest(self, work: CineState) -> None:
        """Tell which frame of a cine to outline next, and whether a label in another would teach more.

        Nothing is suggested about a cine that no head knows, nor from it.
        """
        if self._refused(work):
            told = Suggested(work.cine_id, work.revision, None, None)
        else:
            others = (w for w in self._cines.values() if w is not work and w.is_prepared and not w.has_failed)
            found = {}
            for one in (work, *others):
                self._at = one
                if one is work or not self._refused(one):
                    found[one.cine_id] = one.suggestion()
            best = next_cine({cine: one.gain for cine, one in found.items()})
            other = None if best == work.cine_id else best
            told = Suggested(work.cine_id, work.revision, found[work.cine_id].frame, other)
        if told != self._suggested:
            self._suggested = told
            self._tell(told)

    def _unlearn(self, work: CineState) -> None:
        """The last label of a cine is gone, and with it what the head learnt from that."""
        others = [other for other in self._cines.values() if other.is_labelled]
        for other in others:
            other.is_fitted = False  # a fit to what is left follows
        self._fitted_to = {}
        if not others:
            self._head = self._cut_short = None
        for known in self._cines.values() if not others else [work]:
            known.predict_all()

    def _head_for(self, work: CineState) -> Head | None:
        """What draws a cine: the fitted head, or the starter's.

        A cine that nobody has outlined keeps its draft while the fitted head knows a single other one; a head
        that was kept of labels that are no longer there draws nothing.
        """
        labelled, head = sum(bool(w.is_labelled) for w in self._cines.values()), self._head
        if work.is_labelled:
            return head
        if self._starter is not None and work.left_heart:
            if self._keeps_draft(work):
                return self._starter.head
            if not labelled:
                return None
        if head is None or self._recognition.may_draw(head, work, self._cines.values()):
            return head
        # What is annotated may be other views: the starter still knows an apical one.
        drafts = self._starter is not None and self._recognition.drafts(work)
        return self._starter.head if self._starter is not None and drafts else None

    def _keeps_draft(self, work: CineState) -> bool:
        """Whether the starter draws a cine: nobody outlined it, and at most one other."""
        labelled = sum(bool(w.is_labelled) for w in self._cines.values())
        few = labelled <= 1 or self._head is None
        return not work.is_labelled and few and self._recognition.drafts(work)

    def _refused(self, work: CineState) -> bool:
        """Whether there are heads, and none of them knows this cine."""
        if work.is_labelled or not work.is_prepared or self._head_for(work) is not None:
            return False
        return self._head is not None or work.pipeline.starter_applies is False

    def _is_draft(self, head: Head | None) -> bool:
        return self._starter is not None and head is self._starter.head

    def _idle_stage(self, work: CineState, head: Head | None) -> Stage:
        if head is None:
            return Stage.NOT_RECOGNISED if self._refused(work) else Stage.WAITING
        return Stage.DRAFT if self._is_draft(head) else Stage.UP_TO_DATE

    def _prepare(self, work: CineState) -> None:
        stages = {"motion": Stage.MOTION, "features": Stage.FEATURES}

        def on_progress(stage: str, done: int, total: int) -> None:
            self._progress(work, stages[stage], done, total)

        def should_stop() -> bool:
            before, revision = self._urgency(), work.revision
            self._take_requests()
            if self._urgency() == before:
                return self._closing
            # New strokes on this cine do not stop the encoder; they are carried along meanwhile.
            if self._visible is work and work.pipeline.can_carry and work.revision != revision:
                self._tell_carried(work)
            # Nor does anything that is less urgent, such as another cine that was opened behind this one.
            return self._closing or self._cancelled or self._next() != (_Task.PREPARE, work)

        work.prepare(
            (self._encoder, self._card), self._cache, on_progress=on_progress, should_stop=should_stop
        )

    def _begin_fit(self, work: CineState) -> Fit:
        """Start from the newest head there is; a short fit will do where it has learnt something already.

        Cines whose features are not there yet take part in the next fit.
        """
        self._taught = [
            w for w in self._cines.values() if w.is_labelled and w.is_prepared and not w.has_failed
        ]
        cines = [w.pipeline.cine for w in self._taught if w.pipeline.cine is not None]
        config = FitConfig().for_labels(sum(len(cine.labels) for cine in cines), len(cines))
        newest, warm = self._head, self._head is not None
        if self._cut_short is not None:
            newest = self._cut_short.averaged
            warm = warm or self._cut_short.done_steps >= config.steps - config.warm_steps
        if newest is not None:
            head = copy.deepcopy(newest)
            if self._head is not None:
                head.heard.copy_(self._head.heard)  # a net that a cut fit had only begun with has not learnt
        elif self._starter is not None:
            head = self._starter.beginning(work.classes, left_heart=work.left_heart)
        else:
            head = new_head(self._card, work.classes)
        silent: list[PreparedCine] = []
        if config.says(sum(len(cine.labels) for cine in cines), len(cines))[1]:
            works = self._cines.values()
            teaching = [w for w in works if w.is_unlabelled_example and not w.has_failed]
            teaching = [w for w in teaching if self._recognition.resembles(w, works)]
            silent = [w.pipeline.cine for w in teaching if w.pipeline.cine is not None]
        fit = Fit(head.to(self._device), cines, config, warm=warm, unlabelled=silent)
        self._fit = fit
        self._progress(work, Stage.FITTING, 0, fit.total)  # a first answer takes time, on busy cores
        if work.pipeline.can_carry and not work.shows_fit and not work.pipeline.starter_applies:
            # Something to look at on every frame at once. A draft is worth more, and it is on the screen.
            self._tell_carried(work)
        self._last_preview = 0.0
        return fit

    def _continue_fit(self, work: CineState, fit: Fit) -> None:
        previews = work.is_prepared and not work.has_failed
        if previews and not work.is_labelled:
            resembles = self._recognition.resembles(work, self._cines.values())
            previews = resembles and not self._keeps_draft(work)
        while True:
            loss = fit.step()
            self._progress(work, Stage.FITTING, fit.done_steps, fit.total, loss)
            if fit.done:  # before any request is taken: a finished fit is never given up
                self._finish_fit(work, fit, loss)
                return
            if previews and time.monotonic() - self._last_preview > PREVIEW_EVERY_S:
                self._at = work
                self._tell_predicted(
                    work, work.predict(fit.averaged, work.next_preview_frames()), final=False
                )
                self._at = None
                # Predicting one frame costs about a step: the preview may never take most of the time.
                self._last_preview = time.monotonic()
            if self._interrupted():
                raise InterruptedWork

    def _finish_fit(self, work: CineState, fit: Fit, loss: float) -> None:
        """Make the fitted head the present one and keep it; every cine wants its predictions."""
        self._head = fit.averaged
        self._fit = self._cut_short = None
        taught, self._taught = self._taught, []
        self._fitted_to = {w.cine_id: w.revision for w in taught}
        for other in self._cines.values():
            other.is_fitted = other in taught or not other.is_labelled
            other.has_masks = False
            other.predicted_by = None
            other.predict_all()
            if other.pipeline.cine is not None and other is not work:
                other.pipeline.cine.free_carried()
        path = self._scratch / "head.safetensors"
        known = self._recognition.learn(self._cines.values())
        save_head(self._head, path, None if known is None else {KNOWN: known.to_text()})
        revisions, card = tuple(self._fitted_to.items()), self._card
        self._tell(HeadReady(str(path), card.name, card.checksum, revisions, fit.done_steps, loss))

    def _predict_next(self, work: CineState, head: Head) -> None:
        frames, shown, draft = work.next_frames(), work.shows_fit, self._is_draft(head)
        work.predicted_by = head
        self._tell_predicted(work, work.predict(head, frames), final=True, draft=draft)
        work.shows_fit = shown if draft else work.shows_fit  # a draft was not learnt from this cine's labels
        done = work.n_frames - len(work.waiting)
        self._progress(work, Stage.PREDICTING, done, work.n_frames)

    def _tell_carried(self, work: CineState) -> None:
        for confidence in work.carry_labels():
            self._tell_predicted(work, confidence, final=False)

    def _tell_predicted(
        self, work: CineState, confidence: dict[int, float], *, final: bool, draft: bool = False
    ) -> None:
        frames, dice = tuple(confidence), tuple(confidence.values())
        findings = tuple(tuple(map(str, work.findings(frame))) for frame in frames)
        self._tell(Predicted(work.cine_id, work.revision, frames, dice, final, draft, findings))


def _not_taken(request: Request, error: Exception) -> Failed:
    if isinstance(request, OpenCine | SetLabels):
        what = "a cine" if isinstance(request, OpenCine) else "the outlines of a cine"
        if is_lack_of_memory(error):
            advice = "close other cines or programs, then press Resume learning"
            return Failed(
                f"The engine has too little memory for {what}: {advice}.", request.cine_id, lost=True
            )
        text = f"The engine could not take {what} ({one_line(error)}): Resume learning sends it again."
        return Failed(text, request.cine_id, lost=True)
    return Failed(f"The engine could not take {type(request).__name__} ({one_line(error)}).")


def serve(
    connection: Connection,
    cache_folder: str,
    scratch_folder: str,
    encoder: str,
    encoder_folders: Sequence[str] | None = None,
) -> None:
    """Entry point of the engine process; the encoder is looked for in these folders, or where it ships."""
    if hasattr(os, "nice"):
        with contextlib.suppress(OSError):
            os.nice(5)  # the window comes first
    Engine(
        connection,
        cache_folder=Path(cache_folder),
        scratch_folder=Path(scratch_folder),
        encoder=encoder,
        encoder_folders=None if encoder_folders is None else [Path(folder) for folder in encoder_folders],
    ).run()

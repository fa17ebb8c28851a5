"""The engine process: owns torch and the GPU, takes requests from a pipe, answers with reports.

One thread listens, so that a request interrupts work within one step; the other works on what is most urgent:
knowing the cine, then fitting, then predicting outward from the frame that the user looks at.
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
from multiprocessing.connection import Connection
from pathlib import Path

from vjepa_core.encoder.load import load_encoder
from vjepa_core.encoder.precision import inference_device, inference_dtype
from vjepa_core.errors import Cancelled, CoreError
from vjepa_core.fewshot.applicability import KNOWN, load_recogniser
from vjepa_core.fewshot.feature_cache import FeatureCache
from vjepa_core.fewshot.fit import Fit, FitConfig
from vjepa_core.fewshot.head import Head, OlderHeadError, load_head, save_head
from vjepa_core.fewshot.segmenter import new_head
from vjepa_core.fewshot.starter import Starter, load_starter
from vjepa_core.fewshot.study import StudyCine
from vjepa_core.fewshot.suggest import next_cine
from vjepa_core.memory import is_lack_of_memory
from vjepa_core.messages import (
    Cancel,
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
from vjepa_core.recognition import Recognition
from vjepa_core.work import CineWork

logger = logging.getLogger(__name__)

PREVIEW_EVERY_S = 0.6
"""While fitting, the visible frame is predicted anew this often."""

REPORT_EVERY_S = 0.05
"""Progress is told no more often than this: the window has better things to do than to count frames."""


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
        self._requests: queue.SimpleQueue[Request] = queue.SimpleQueue()
        self._arrived = threading.Event()
        self._scratch = scratch_folder
        self._cache = FeatureCache(cache_folder)
        self._encoder_name, self._encoder_folders = encoder, encoder_folders
        self._device = inference_device()
        self._cines: dict[int, CineWork] = {}
        self._looking_at = 0
        self._head: Head | None = None
        self._starter: Starter | None = None
        self._fit: Fit | None = None
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
            self._requests.put(request)
            self._arrived.set()
            if isinstance(request, Shutdown):
                return

    def _tell(self, report: Report) -> None:
        try:
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
        self, work: CineWork, stage: Stage, done: int, total: int, loss: float | None = None
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
            except (OSError, ValueError, KeyError, CoreError) as error:
                logger.exception("a request could not be taken")
                self._tell(Failed(f"The engine could not take {type(request).__name__}: {error}"))

    def _take(self, request: Request) -> None:
        match request:
            case OpenCine():
                work = CineWork(request, request.frames.open())
                self._cines[request.cine_id] = work
                self._looking_at = request.cine_id
                self._tell(CineReceived(request.cine_id))
            case CloseCine():
                self._cines.pop(request.cine_id, None)
                self._fit = None
            case SetLabels():
                self._take_labels(request)
            case Look():
                self._looking_at = request.cine_id
                if request.cine_id in self._cines:
                    self._cines[request.cine_id].visible = request.frame
            case Redraw():
                if request.cine_id in self._cines:  # else it is still on its way, or was forgotten
                    self._cines[request.cine_id].predict_all()
            case RestoreHead():
                self._restore(Path(request.path))
            case Cancel():
                self._cancelled = True
                self._fit = self._cut_short = None
            case Resume():
                self._cancelled = False
            case Shutdown():
                self._closing = True

    def _take_labels(self, request: SetLabels) -> None:
        work = self._cines[request.cine_id]
        pixels = None if request.labels is None else request.labels.open()
        had_labels = bool(work.labels)
        work.set_labels(request, pixels)
        # Labels said to be learnt need the head that learnt them: it may have been refused.
        work.learnt = work.learnt and self._head is not None
        if request.labels is not None:
            self._tell(LabelsReceived(request.labels))
        if self._fit is not None and self._fit.done_steps:
            self._cut_short = self._fit
        self._fit = None
        if not had_labels and not work.labels and not request.learnt:
            work.predict_all()  # nothing was named, but what is drawn belongs to another revision now
        work.withdrawn = (had_labels or work.withdrawn) and not work.labels
        if had_labels and not work.labels and work.left_heart:
            self._unlearn(work)
        self._cancelled = False

    def _restore(self, path: Path) -> None:
        """Take a kept head; an older one, or one over another encoder, is passed over: labels make anew."""
        try:
            head = load_head(path)
        except OlderHeadError as error:
            logger.info("the kept head is passed over: %s", error)
            return
        if head.config.encoder_checksum == self._card.checksum:
            self._head = head.to(self._device)
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
    def _visible(self) -> CineWork | None:
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
        except (CoreError, RuntimeError, MemoryError, OSError) as error:
            logger.exception("the encoder could not be loaded")
            # The process stays: one that ended would be taken for a crash and started again, and again.
            self._tell(Failed(str(error) if isinstance(error, CoreError) else self._no_encoder(error)))
            while not self._closing:
                self._closing = isinstance(self._requests.get(), Shutdown)
            return
        self._encoder, self._card = encoder, card
        self._starter = load_starter(card)
        if self._starter is not None:
            self._starter.head.to(self._device)
        self._recognition = Recognition(self._starter, load_recogniser(card.checksum))
        self._tell(Ready(str(self._device), card.name, card.checksum, card.trained))
        while not self._closing:
            self._take_requests()
            try:
                idle = self._cancelled or not self._work_once()
            except (Cancelled, InterruptedWork):
                continue
            except (RuntimeError, MemoryError, ValueError, OSError, CoreError) as error:
                logger.exception("work failed")
                self._fit = None
                self._cancelled = True  # not again and again; the next stroke or Resume tries anew
                self._tell(Failed(self._explain(error), self._looking_at))
                continue
            if idle and not self._closing:
                if self._cancelled:
                    self._tell_idle(Stage.CANCELLED)
                self._arrived.wait()

    def _no_encoder(self, error: BaseException) -> str:
        what = f"{type(error).__name__}: {error}"
        if is_lack_of_memory(error):
            what = "it needs more memory than there is"
        return f"The encoder {self._encoder_name} cannot be loaded ({what}): choose a smaller one or another."

    @staticmethod
    def _explain(error: BaseException) -> str:
        if is_lack_of_memory(error):
            return "The engine ran out of memory: close other cines or programs, then press Resume learning."
        reason = f"{type(error).__name__}: {error}"
        return f"Learning stopped ({reason}). Your strokes are safe; press Resume learning."

    def _work_once(self) -> bool:
        """Do the most urgent piece of work; False where there is nothing to do."""
        work = self._visible
        if work is None:
            return False
        if not work.prepared:
            self._prepare(work)
            return True
        for other in self._cines.values():
            if other.labels and not other.prepared:
                self._prepare(other)
                return True
        for known in self._cines.values():
            if known.has_open_labels:
                known.complete_labels(self._teacher(known))
        if self._fit is None and any(w.labels and not w.learnt for w in self._cines.values()):
            self._begin_fit(work)
        if self._fit is not None:
            self._continue_fit(work)
            return True
        head = self._head_for(work)
        if head is not work.drawn_by and work.drawn_by is not None and head is not None:
            work.predict_all()  # say, labels of other cines came in since
        if head is not None and work.to_predict:
            self._predict_next(work, head)
            return True
        self._suggest(work)
        self._tell_idle(self._idle_stage(work, head))
        return False

    def _teacher(self, work: CineWork) -> Head | None:
        """What guesses at pixels that a scribble leaves open: the starter's head, where it applies."""
        return self._starter.head if self._starter is not None and self._recognition.drafts(work) else None

    def _suggest(self, work: CineWork) -> None:
        """Tell which frame of a cine to outline next, and whether a label in another would teach more.

        Nothing is suggested about a cine that no head knows, nor from it.
        """
        if self._refused(work):
            told = Suggested(work.cine_id, work.revision, None, None)
        else:
            others = [one for one in self._cines.values() if one is not work and one.prepared]
            known = [work, *(one for one in others if not self._refused(one))]
            found = {one.cine_id: one.suggestion() for one in known}
            best = next_cine({cine: one.gain for cine, one in found.items()})
            other = None if best == work.cine_id else best
            told = Suggested(work.cine_id, work.revision, found[work.cine_id].frame, other)
        if told != self._suggested:
            self._suggested = told
            self._tell(told)

    def _unlearn(self, work: CineWork) -> None:
        """The last label of a cine is gone, and with it what the head learnt from that."""
        others = [other for other in self._cines.values() if other.labels]
        for other in others:
            other.learnt = False  # a fit to what is left follows
        if not others:
            self._head = self._cut_short = None
        for known in self._cines.values() if not others else [work]:
            known.predict_all()

    def _head_for(self, work: CineWork) -> Head | None:
        """What draws a cine: the fitted head, or the starter's.

        A cine that nobody has outlined keeps its draft while the fitted head knows a single other one; a head
        that was kept of labels that are no longer there draws nothing.
        """
        labelled, head = sum(bool(w.labels) for w in self._cines.values()), self._head
        if work.labels:
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

    def _keeps_draft(self, work: CineWork) -> bool:
        """Whether the starter draws a cine: nobody outlined it, and at most one other."""
        labelled = sum(bool(w.labels) for w in self._cines.values())
        few = labelled <= 1 or self._head is None
        return not work.labels and few and self._recognition.drafts(work)

    def _refused(self, work: CineWork) -> bool:
        """Whether there are heads, and none of them knows this cine."""
        if work.labels or not work.prepared or self._head_for(work) is not None:
            return False
        return self._head is not None or work.drafts is False

    def _is_draft(self, head: Head | None) -> bool:
        return self._starter is not None and head is self._starter.head

    def _idle_stage(self, work: CineWork, head: Head | None) -> Stage:
        if head is None:
            return Stage.NOT_RECOGNISED if self._refused(work) else Stage.WAITING
        return Stage.DRAFT if self._is_draft(head) else Stage.UP_TO_DATE

    def _prepare(self, work: CineWork) -> None:
        stages = {"motion": Stage.MOTION, "features": Stage.FEATURES}

        def on_progress(stage: str, done: int, total: int) -> None:
            self._progress(work, stages[stage], done, total)

        def should_stop() -> bool:
            before = self._urgency()
            self._take_requests()
            if self._urgency() != before:
                # New strokes do not send the encoder back to the start; they are carried along meanwhile.
                if self._visible is work and work.can_carry:
                    self._tell_carried(work)
                return self._closing or self._cancelled or self._visible is not work
            return self._closing

        work.prepare(self._encoder, self._card, self._cache, on_progress=on_progress, should_stop=should_stop)

    def _begin_fit(self, work: CineWork) -> None:
        """Start from the newest head there is; a short fit will do where it has learnt something already."""
        cines = [w.study for w in self._cines.values() if w.labels and w.study is not None]
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
        silent: list[StudyCine] = []
        if config.says(sum(len(cine.labels) for cine in cines), len(cines))[1]:
            works = self._cines.values()
            teaching = [w for w in works if w.may_teach and self._recognition.resembles(w, works)]
            silent = [w.study for w in teaching if w.study is not None]
        self._fit = Fit(head.to(self._device), cines, config, warm=warm, unlabelled=silent)
        self._progress(work, Stage.FITTING, 0, self._fit.total)  # a first answer takes time, on busy cores
        if work.can_carry and not work.shown:
            # Something to look at on every frame at once; the head will do better in a moment.
            self._tell_carried(work)
        self._last_preview = 0.0

    def _continue_fit(self, work: CineWork) -> None:
        fit = self._fit
        assert fit is not None  # noqa: S101 - the caller has just looked
        previews = bool(work.labels) or (
            not self._keeps_draft(work) and self._recognition.resembles(work, self._cines.values())
        )
        while not fit.done:
            loss = fit.step()
            self._progress(work, Stage.FITTING, fit.done_steps, fit.total, loss)
            if previews and time.monotonic() - self._last_preview > PREVIEW_EVERY_S:
                self._tell_predicted(work, work.predict(fit.averaged, work.next_to_preview()), final=False)
                # Predicting one frame costs about a step: the preview may never take most of the time.
                self._last_preview = time.monotonic()
            if self._interrupted():
                raise InterruptedWork
        self._head = fit.averaged
        self._fit = self._cut_short = None
        for other in self._cines.values():
            other.learnt = True
            other.drawn_by = None
            other.predict_all()
            if other.study is not None and other is not work:
                other.study.forget_carried()
        self._save_head(fit.done_steps, loss)

    def _save_head(self, steps: int, loss: float) -> None:
        assert self._head is not None  # noqa: S101 - the fit has just made it
        path = self._scratch / "head.safetensors"
        known = self._recognition.learn(self._cines.values())
        save_head(self._head, path, None if known is None else {KNOWN: known.to_text()})
        revisions = tuple((w.cine_id, w.revision) for w in self._cines.values() if w.labels)
        self._tell(HeadReady(str(path), self._card.name, self._card.checksum, revisions, steps, loss))

    def _predict_next(self, work: CineWork, head: Head) -> None:
        frames, shown, draft = work.next_to_predict(), work.shown, self._is_draft(head)
        work.drawn_by = head
        self._tell_predicted(work, work.predict(head, frames), final=True, draft=draft)
        work.shown = shown if draft else work.shown  # a draft was not learnt from this cine's labels
        done = work.n_frames - len(work.to_predict)
        self._progress(work, Stage.PREDICTING, done, work.n_frames)

    def _tell_carried(self, work: CineWork) -> None:
        for confidence in work.carry_labels():
            self._tell_predicted(work, confidence, final=False)

    def _tell_predicted(
        self, work: CineWork, confidence: dict[int, float], *, final: bool, draft: bool = False
    ) -> None:
        frames, dice = tuple(confidence), tuple(confidence.values())
        findings = tuple(tuple(map(str, work.findings(frame))) for frame in frames)
        self._tell(Predicted(work.cine_id, work.revision, frames, dice, final, draft, findings))


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

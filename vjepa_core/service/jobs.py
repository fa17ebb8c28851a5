"""The jobs of the engine.

Jobs run in short parts. After each, the engine handles new requests and chooses the next job, so that a more
urgent job interrupts the current one.
"""

from __future__ import annotations

import contextlib
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator

from vjepa_core.errors import Cancelled
from vjepa_core.fewshot.fit import Fit, FitConfig
from vjepa_core.fewshot.head import Head, save_head
from vjepa_core.fewshot.recogniser import REFERENCE_KEY
from vjepa_core.fewshot.suggest import next_cine
from vjepa_core.service.cine_state import CineState
from vjepa_core.service.engine_state import EngineState, RunningFit
from vjepa_core.service.messages import HeadReady, Stage, Suggested

PREVIEW_INTERVAL_S = 0.6
"""Time between two predictions of the visible frame during a fit."""


class JobError(Exception):
    """A job failed on one cine; `__cause__` is the original error.

    Parameters
    ----------
    cine : CineState
    """

    def __init__(self, cine: CineState) -> None:
        super().__init__(f"work on cine {cine.cine_id} failed")
        self.cine = cine


@contextlib.contextmanager
def attributed_to(cine: CineState) -> Iterator[None]:
    """Convert any error to a `JobError` for this cine."""
    try:
        yield
    except JobError:
        raise
    except Exception as error:
        raise JobError(cine) from error


class Job(ABC):
    """A unit of work of the engine.

    Parameters
    ----------
    state : EngineState
    cine : CineState, optional
        Cine of the job.
    """

    def __init__(self, state: EngineState, cine: CineState | None = None) -> None:
        self.state, self.cine = state, cine

    @abstractmethod
    def run(self, should_yield: Callable[[Job], bool]) -> None:
        """Run a part of the job.

        Parameters
        ----------
        should_yield : callable
            Handles new requests and returns True if a job other than the given one should run now; called
            during long parts.
        """

    def is_same(self, other: Job | None) -> bool:
        """Return True if another job has the same type and cine."""
        return type(self) is type(other) and other is not None and self.cine is other.cine


class PrepareJob(Job):
    """Computes motion and features of a cine, decides if the starter head applies, and finds the view."""

    def __init__(self, state: EngineState, cine: CineState) -> None:
        super().__init__(state, cine)
        self._cine = cine

    def run(self, should_yield: Callable[[Job], bool]) -> None:
        """Prepare the cine until it is complete or another job is more urgent."""
        state, cine = self.state, self._cine
        stages = {"motion": Stage.MOTION, "features": Stage.FEATURES}

        def on_progress(stage: str, done: int, total: int) -> None:
            state.reporter.progress(cine, stages[stage], done, total)

        def should_stop() -> bool:
            revision = cine.revision
            if should_yield(self):
                return True
            # New labels do not interrupt the encoder; they are carried along the motion meanwhile.
            if cine.revision != revision and state.visible is cine and cine.pipeline.can_carry:
                report_carried(state, cine)
            return False

        with attributed_to(cine), contextlib.suppress(Cancelled):
            cine.prepare(state.encoder, state.cache, on_progress=on_progress, should_stop=should_stop)
            state.heads.recognition.decide_starter(cine)
            state.reporter.view(cine, state.heads.recognition.view_of(cine))


class CompleteLabelsJob(Job):
    """Estimates labels for the unlabelled pixels of scribbled frames."""

    def __init__(self, state: EngineState, cine: CineState) -> None:
        super().__init__(state, cine)
        self._cine = cine

    def run(self, should_yield: Callable[[Job], bool]) -> None:
        """Complete all labels of the cine."""
        with attributed_to(self._cine):
            self.state.heads.recognition.decide_starter(self._cine)
            self._cine.pipeline.complete_labels()


class FitJob(Job):
    """Fits a head to the labels of all prepared cines and predicts previews of the visible cine."""

    def run(self, should_yield: Callable[[Job], bool]) -> None:
        """Run one step of the fit."""
        visible = self.state.visible
        if visible is None:
            return
        running = self.state.running_fit or self._begin(visible)
        fit = running.fit
        loss = fit.step()
        self.state.reporter.progress(visible, Stage.FITTING, fit.done_steps, fit.total, loss)
        if fit.done:
            self._finish(running, visible, loss)
        elif time.monotonic() - running.last_preview > PREVIEW_INTERVAL_S:
            self._preview(running, visible)

    def _begin(self, visible: CineState) -> RunningFit:
        """Begin a fit from the newest head; it is short if the head was fitted to some of the labels."""
        state = self.state
        fitted = [cine for cine in state.labelled_cines if cine.is_prepared]
        cines = [cine.pipeline.prepared for cine in fitted]
        n_labels = sum(len(cine.labels) for cine in cines)
        config = FitConfig().for_labels(n_labels, len(cines))
        interrupted, is_warm = state.interrupted_fit, state.heads.fitted is not None
        if interrupted is not None:
            is_warm = is_warm or interrupted.done_steps >= config.steps - config.warm_steps
        head = state.heads.initial_head(visible, interrupted)
        _, fits_image_net = config.active_nets(n_labels, len(cines))
        unlabelled = self._unlabelled() if fits_image_net else []
        fit = Fit(
            head, cines, config, warm=is_warm, unlabelled=[cine.pipeline.prepared for cine in unlabelled]
        )
        state.running_fit = running = RunningFit(fit, fitted)
        state.reporter.progress(visible, Stage.FITTING, 0, fit.total)
        has_draft = bool(visible.pipeline.starter_applies)
        if visible.pipeline.can_carry and not visible.shows_fit and not has_draft:
            # Carried labels are available before the first preview. A draft is better, and already visible.
            report_carried(state, visible)
        return running

    def _unlabelled(self) -> list[CineState]:
        """Return the unlabelled cines that resemble the labelled ones."""
        cines = self.state.all_cines
        usable = [cine for cine in cines if cine.is_unlabelled_example and not cine.has_failed]
        return [cine for cine in usable if self.state.heads.recognition.resembles(cine, cines)]

    def _preview(self, running: RunningFit, cine: CineState) -> None:
        if not cine.is_prepared or cine.has_failed:
            return
        heads, cines = self.state.heads, self.state.all_cines
        with attributed_to(cine):
            is_recognised = cine.is_labelled or heads.recognition.resembles(cine, cines)
            if is_recognised and not heads.keeps_draft(cine, cines):
                predicted = cine.predict(running.fit.averaged, cine.next_preview_frames())
                self.state.reporter.predicted(cine, predicted, final=False)
        # The interval begins after the preview, which may take as long as several steps.
        running.last_preview = time.monotonic()

    def _finish(self, running: RunningFit, visible: CineState, loss: float) -> None:
        """Save the head and request its predictions for all cines."""
        state, heads = self.state, self.state.heads
        fit, fitted = running.fit, running.cines
        heads.fitted = fit.averaged
        heads.fitted_revisions = {cine.cine_id: cine.revision for cine in fitted}
        state.discard_fit()
        for cine in state.all_cines:
            cine.is_fitted = cine in fitted or not cine.is_labelled
            cine.has_masks = False
            cine.predicted_by = None
            cine.predict_all()
            if cine.pipeline.cine is not None and cine is not visible:
                cine.pipeline.cine.free_carried()
        path = state.scratch_folder / "head.safetensors"
        reference = heads.recognition.remember_fit(state.all_cines)
        metadata = None if reference is None else {REFERENCE_KEY: reference.to_text()}
        save_head(heads.fitted, path, metadata)
        revisions, card = tuple(heads.fitted_revisions.items()), heads.card
        state.reporter.send(HeadReady(str(path), card.name, card.checksum, revisions, fit.done_steps, loss))


class PredictJob(Job):
    """Predicts the waiting frames of a cine, outward from the visible one."""

    def __init__(self, state: EngineState, cine: CineState, head: Head) -> None:
        super().__init__(state, cine)
        self._cine, self._head = cine, head

    def run(self, should_yield: Callable[[Job], bool]) -> None:
        """Predict a few frames."""
        cine, heads, reporter = self._cine, self.state.heads, self.state.reporter
        with attributed_to(cine):
            heads.recognition.decide_starter(cine)  # a fitted head's prediction may use the draft
            is_draft, shows_fit = heads.is_draft(self._head), cine.shows_fit
            cine.predicted_by = self._head
            predicted = cine.predict(self._head, cine.next_frames())
            reporter.predicted(cine, predicted, final=True, draft=is_draft)
            if is_draft:
                cine.shows_fit = shows_fit
            done = cine.n_frames - len(cine.waiting)
            reporter.progress(cine, Stage.PREDICTING, done, cine.n_frames)


class SuggestJob(Job):
    """Suggests the frame to outline next and reports that no other job is left."""

    def run(self, should_yield: Callable[[Job], bool]) -> None:
        """Report the suggestion and the resting stage."""
        state, cine = self.state, self.state.visible
        if cine is None:
            return
        stage = Stage.CANCELLED
        if not cine.has_failed:
            self._suggest(cine)
            with attributed_to(cine):
                stage = state.heads.resting_stage(cine, state.all_cines)
        state.reporter.resting(cine, stage)
        state.needs_suggestion = False

    def _suggest(self, visible: CineState) -> None:
        """Report the frame to annotate next, and another cine if that would help more.

        Cines that no head applies to get no suggestion and are not suggested.
        """
        state, heads = self.state, self.state.heads
        with attributed_to(visible):
            is_unrecognised = heads.is_unrecognised(visible, state.all_cines)
        if is_unrecognised:
            state.reporter.suggested(Suggested(visible.cine_id, visible.revision, None, None))
            return
        usable = [cine for cine in state.all_cines if cine.is_prepared and not cine.has_failed]
        suggestions = {}
        for cine in (visible, *(other for other in usable if other is not visible)):
            with attributed_to(cine):
                if cine is visible or not heads.is_unrecognised(cine, state.all_cines):
                    suggestions[cine.cine_id] = cine.suggestion()
        best = next_cine({cine_id: one.gain for cine_id, one in suggestions.items()})
        other = None if best == visible.cine_id else best
        frame = suggestions[visible.cine_id].frame
        state.reporter.suggested(Suggested(visible.cine_id, visible.revision, frame, other))


def report_carried(state: EngineState, cine: CineState) -> None:
    """Write and report the carried labels of all frames of a cine."""
    with attributed_to(cine):
        for predicted in cine.carry_labels():
            state.reporter.predicted(cine, predicted, final=False)

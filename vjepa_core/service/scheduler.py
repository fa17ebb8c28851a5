"""Choice of the engine's next job."""

from __future__ import annotations

from vjepa_core.service.engine_state import EngineState
from vjepa_core.service.jobs import (
    CompleteLabelsJob,
    FitJob,
    Job,
    PredictJob,
    PrepareJob,
    SuggestJob,
    attributed_to,
)


class Scheduler:
    """Chooses the most urgent job: the visible cine comes before other cines.

    Jobs, the most urgent first: prepare the visible cine, complete scribbles, fit, predict the visible
    cine, prepare other cines with labels, suggest the next frame.

    Parameters
    ----------
    state : EngineState
    """

    def __init__(self, state: EngineState) -> None:
        self._state = state
        self._by_priority = (
            self._prepare_visible,
            self._complete_labels,
            self._fit,
            self._predict_visible,
            self._prepare_labelled,
            self._suggest,
        )

    def next_job(self) -> Job | None:
        """Return the most urgent job; None if there is nothing to do."""
        if self._state.visible is None or self._state.is_cancelled or self._state.is_closing:
            return None
        return next((job for find in self._by_priority if (job := find()) is not None), None)

    def _prepare_visible(self) -> Job | None:
        cine = self._state.visible
        if cine is None or cine.is_prepared or cine.has_failed:
            return None
        return PrepareJob(self._state, cine)

    def _complete_labels(self) -> Job | None:
        for cine in self._state.labelled_cines:
            if cine.is_prepared and cine.pipeline.has_open_labels:
                return CompleteLabelsJob(self._state, cine)
        return None

    def _fit(self) -> Job | None:
        state = self._state
        if state.running_fit is not None:
            return FitJob(state)
        unfitted = [cine for cine in state.labelled_cines if cine.is_prepared and not cine.is_fitted]
        is_complete = all(cine.is_prepared for cine in state.labelled_cines)
        # Labels of the visible cine are fitted at once, those of other cines together, once all are prepared.
        return FitJob(state) if state.visible in unfitted or (unfitted and is_complete) else None

    def _predict_visible(self) -> Job | None:
        state, cine = self._state, self._state.visible
        if cine is None or cine.has_failed:
            return None
        with attributed_to(cine):
            head = state.heads.head_for(cine, state.all_cines)
        if head is None:
            return None
        if cine.predicted_by not in (None, head):
            cine.predict_all()  # for example, after other cines were labelled
        return PredictJob(state, cine, head) if cine.waiting else None

    def _prepare_labelled(self) -> Job | None:
        unprepared = (cine for cine in self._state.labelled_cines if not cine.is_prepared)
        return next((PrepareJob(self._state, cine) for cine in unprepared), None)

    def _suggest(self) -> Job | None:
        return SuggestJob(self._state) if self._state.needs_suggestion else None

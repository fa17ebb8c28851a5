"""Handling of the program's requests."""

from __future__ import annotations

import logging
from pathlib import Path

from vjepa_core.errors import one_line
from vjepa_core.fewshot.bounded_cache import BoundedCache
from vjepa_core.memory import is_lack_of_memory
from vjepa_core.service.cine_state import CineState
from vjepa_core.service.engine_state import EngineState
from vjepa_core.service.messages import (
    Cancel,
    CineReceived,
    CloseCine,
    Failed,
    FailureKind,
    LabelsReceived,
    OpenCine,
    PredictAgain,
    Request,
    RestoreHead,
    Resume,
    SetLabels,
    SetVisibleFrame,
    Shutdown,
)

logger = logging.getLogger(__name__)

POSITIONS_BYTES = 384 << 20
"""Size in bytes of the cache of carried positions, for all cines together."""


class RequestHandler:
    """Applies requests to the state of the engine.

    Parameters
    ----------
    state : EngineState
    """

    def __init__(self, state: EngineState) -> None:
        self._state = state
        self._positions = BoundedCache(POSITIONS_BYTES)

    def handle(self, request: Request) -> None:
        """Apply a request; an error is reported and does not affect the next request."""
        self._state.needs_suggestion = True
        try:
            self._apply(request)
        except Exception as error:
            logger.exception("a request failed")
            self._state.reporter.send(_failure(request, error))

    def _apply(self, request: Request) -> None:  # noqa: PLR0912 - one case for each request
        state = self._state
        match request:
            case OpenCine():
                self._open(request)
            case CloseCine():
                cine = state.cines.pop(request.cine_id, None)
                if state.running_fit is not None and cine in state.running_fit.cines:
                    state.running_fit = None
            case SetLabels():
                self._set_labels(request)
            case SetVisibleFrame():
                state.visible_id, state.is_visible_set = request.cine_id, True
                if request.cine_id in state.cines:
                    state.cines[request.cine_id].visible_frame = request.frame
            case PredictAgain():
                if request.cine_id in state.cines:  # otherwise it was closed or is not open yet
                    state.cines[request.cine_id].predict_all()
            case RestoreHead():
                state.heads.restore(Path(request.path), dict(request.revisions))
            case Cancel():
                state.is_cancelled = True
                state.discard_fit()
            case Resume():
                state.is_cancelled = False
                if request.retry_failed:
                    for cine in state.all_cines:
                        cine.has_failed = False
            case Shutdown():
                state.is_closing = True

    def _open(self, request: OpenCine) -> None:
        state = self._state
        state.cines[request.cine_id] = CineState(request, request.frames.open(), self._positions)
        if not state.is_visible_set:
            state.visible_id = request.cine_id
        state.heads.drop_other_classes(request.classes)
        state.reporter.send(CineReceived(request.cine_id))

    def _set_labels(self, request: SetLabels) -> None:
        state, heads = self._state, self._state.heads
        cine = state.cines[request.cine_id]
        was_labelled = cine.is_labelled
        cine.set_labels(request, None if request.labels is None else request.labels.open())
        # The head that was fitted to these labels may not have been restored.
        is_fitted = request.is_fitted or heads.fitted_revisions.get(request.cine_id) == request.revision
        cine.is_fitted = is_fitted and heads.fitted is not None
        cine.has_masks = cine.has_masks and cine.is_fitted
        if cine.is_fitted and not cine.has_masks:
            cine.predict_all()
        if request.labels is not None:
            state.reporter.send(LabelsReceived(request.labels))
        state.interrupt_fit()
        if not was_labelled and not cine.is_labelled and not request.is_fitted:
            cine.predict_all()  # still unlabelled, but the masks belong to another revision
        cine.had_labels = (was_labelled or cine.had_labels) and not cine.is_labelled
        if was_labelled and not cine.is_labelled and cine.left_heart:
            self._forget_fit(cine)
        state.is_cancelled = False

    def _forget_fit(self, cine: CineState) -> None:
        """Fit again without a cine whose last label was removed; without other labels, discard the head."""
        state = self._state
        others = [other for other in state.all_cines if other.is_labelled]
        for other in others:
            other.is_fitted = False  # the remaining labels are fitted again
        state.heads.fitted_revisions = {}
        if not others:
            state.heads.fitted = state.interrupted_fit = None
        for affected in [cine] if others else state.all_cines:
            affected.predict_all()


def _failure(request: Request, error: Exception) -> Failed:
    cause, out_of_memory = one_line(error), is_lack_of_memory(error)
    match request:
        case OpenCine():
            return Failed(FailureKind.OPEN_CINE, cause, out_of_memory, request.cine_id)
        case SetLabels():
            return Failed(FailureKind.SET_LABELS, cause, out_of_memory, request.cine_id)
    return Failed(FailureKind.REQUEST, f"{type(request).__name__}: {cause}", out_of_memory)

"""Times from an annotation to the engine's masks, through the same session as the window."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from app.bench.memory_cine import FramesInMemory, memory_cine
from app.domain.cine import Calibration, Cine, Frame
from app.domain.errors import ApicalError
from app.domain.labels import LEFT_HEART
from app.engine.events import EngineDied, Event, LearningFailure, PredictedMasks
from app.engine.session import LearningSession
from vjepa_core.service.messages import RESTING, Progress, Stage

if TYPE_CHECKING:
    from vjepa_core.bench.fit_live import AnnotatedCine, Annotation, Response
    from vjepa_core.bench.scored_cines import ScoredCine

_CINE_ID = 1
_POLL_S = 0.2
"""Time between checks of the queue, so that Ctrl+C is handled."""


def program_responses(cache_folder: Path, encoder: str) -> Callable[[AnnotatedCine], list[Response]]:
    """Return the function by which `vjepa_core.bench.fit_live.run` measures the program.

    Each cine gets a new engine. The time starts when a label is sent, after the features and the draft are
    complete, and ends when the window could show a mask.

    Parameters
    ----------
    cache_folder : Path
        Folder of the cache; its subfolder "features" is used.
    encoder : str

    Returns
    -------
    callable
        Function from an annotated cine to the responses, one for each annotation.
    """

    def measure(case: AnnotatedCine) -> list[Response]:
        with _session(cache_folder, encoder) as (session, events):
            session.set_visible_frame(_CINE_ID, case.annotations[0].visible)
            session.open_cine(
                _CINE_ID, in_memory(case.cine), LEFT_HEART.values, left_heart=LEFT_HEART.is_left_heart
            )
            _until(events, 0, *RESTING)
            responses = []
            for revision, annotation in enumerate(case.annotations, start=1):
                session.set_visible_frame(_CINE_ID, annotation.visible)
                started = time.perf_counter()
                session.set_labels(_CINE_ID, revision, case.labels(annotation))
                received = _until(events, revision, Stage.UP_TO_DATE)
                responses.append(_ResponseTimes.of(received, revision, started, annotation).to_response())
        return responses

    return measure


Timed = tuple[float, Event]


@contextmanager
def _session(cache_folder: Path, encoder: str) -> Iterator[tuple[LearningSession, queue.SimpleQueue[Timed]]]:
    events: queue.SimpleQueue[Timed] = queue.SimpleQueue()
    session = LearningSession(
        cache_folder=cache_folder,
        encoder=encoder,
        on_event=lambda event: events.put((time.perf_counter(), event)),
    )
    try:
        yield session, events
    finally:
        session.close()


def _until(events: queue.SimpleQueue[Timed], revision: int, *stages: Stage) -> list[Timed]:
    """Collect the events until one of these stages is reached at this revision."""
    received: list[Timed] = []
    while True:
        try:
            at, event = events.get(timeout=_POLL_S)
        except queue.Empty:
            continue
        received.append((at, event))
        if isinstance(event, LearningFailure):
            raise ApicalError(event.text)
        if isinstance(event, EngineDied):
            raise ApicalError("The engine ended during the measurement: close other programs and try again.")
        if not isinstance(event, Progress) or event.stage not in stages:
            continue
        if (event.cine_id, event.revision) == (_CINE_ID, revision):
            return received


@dataclass
class _ResponseTimes:
    """Times at which the mask of the visible frame changed, and the final masks."""

    started: float
    visible: int
    shown_at: list[float] = field(default_factory=list)
    carried: tuple[float, Frame] | None = None
    preview: tuple[float, Frame] | None = None
    masks: dict[int, Frame] = field(default_factory=dict)
    last_mask_at: float = 0.0

    @classmethod
    def of(
        cls, received: Iterable[Timed], revision: int, started: float, annotation: Annotation
    ) -> _ResponseTimes:
        response = cls(started, annotation.visible)
        fitting = False
        for at, event in received:
            if isinstance(event, Progress) and event.revision == revision:
                fitting = fitting or (event.stage is Stage.FITTING and event.done > 0)
            elif isinstance(event, PredictedMasks) and event.revision == revision:
                response._add(at, event, fitting=fitting)
        return response

    def _add(self, at: float, event: PredictedMasks, *, fitting: bool) -> None:
        if event.final:
            self.masks.update(event.masks)
            self.last_mask_at = at
        mask = event.masks.get(self.visible)
        if mask is None:
            return
        self.shown_at.append(at)
        # The engine reports its first step before it sends a mask of the fitted head.
        if fitting:
            self.preview = self.preview or (at, mask)
        else:
            self.carried = self.carried or (at, mask)

    def to_response(self) -> Response:
        from vjepa_core.bench.fit_live import Response

        if self.preview is None:
            raise ApicalError("The engine sent no preview: try again with another cine.")
        return Response(
            self.preview[0] - self.started,
            self.preview[1],
            self.last_mask_at - self.started,
            self.masks,
            None if self.carried is None else self.carried[0] - self.started,
            None if self.carried is None else self.carried[1],
            max(
                (after - before for before, after in zip(self.shown_at, self.shown_at[1:], strict=False)),
                default=0.0,
            ),
        )


def in_memory(scored: ScoredCine) -> Cine:
    """Create a cine from frames in memory, with the whole image as its region."""
    aspect = scored.pixel_aspect
    calibration = None if aspect == 1.0 else Calibration(1.0, aspect, "given")
    return memory_cine(scored.frames.shape, scored.fps, calibration, FramesInMemory(scored.frames))

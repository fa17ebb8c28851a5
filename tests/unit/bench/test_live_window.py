"""The program's side of the fit benchmark."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.bench import live
from app.domain.errors import ApicalError
from app.engine.events import EngineDied, Event, LearningFailure, PredictedMasks
from tests.unit.bench.test_fit_live import cine
from vjepa_core.bench.fit_live import AnnotatedCine
from vjepa_core.service.messages import Progress, Stage


def masks(
    revision: int, value: int, *frames: int, final: bool = False, draft: bool = False
) -> PredictedMasks:
    drawn = {frame: np.full((48, 64), value, np.uint8) for frame in frames}
    return PredictedMasks(1, revision, drawn, dict.fromkeys(frames, 1.0), final, draft)


def events_after(revision: int, visible: int) -> list[Event]:
    rest = [frame for frame in range(8) if frame != visible]
    return [
        masks(revision - 1, 9, visible),  # of the previous labels
        Progress(1, revision, Stage.FITTING, 0, 80),  # the fit begins; the next masks are still carried
        masks(revision, 1, visible, 0),
        Progress(1, revision, Stage.FITTING, 1, 80, 1.0),
        masks(revision, 2, visible),
        Progress(1, revision, Stage.FITTING, 2, 80, 1.0),
        masks(revision, 3, visible, 3),
        masks(revision, 4, visible, final=True),
        masks(revision, 5, *rest, final=True),
        Progress(1, revision, Stage.UP_TO_DATE),
    ]


class Session:
    """Sends the given events at each revision; revision 0 is the opened cine."""

    events_at: Callable[[int, int], list[Event]]
    closed = False

    def __init__(self, *, on_event: Callable[[Event], None], **_: Any) -> None:
        self._on_event, self.visible = on_event, -1
        Session.closed = False

    def set_visible_frame(self, cine_id: int, frame: int) -> None:
        self.visible = frame

    def open_cine(self, cine_id: int, cine: Any, classes: Any, *, left_heart: bool) -> None:
        assert left_heart
        assert (cine.n_frames, cine.frame(3).shape, round(cine.timing.fps)) == (8, (48, 64), 30)
        self._emit(0)

    def set_labels(self, cine_id: int, revision: int, labels: Any) -> None:
        assert len(labels) == revision
        self._emit(revision)

    def _emit(self, revision: int) -> None:
        for event in Session.events_at(revision, self.visible):
            self._on_event(event)

    def close(self) -> None:
        Session.closed = True


@pytest.fixture
def ask(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Callable[[int, int], list[Event]]], Any]:
    monkeypatch.setattr(live, "LearningSession", Session)

    def start(events_at: Callable[[int, int], list[Event]]) -> Any:
        monkeypatch.setattr(Session, "events_at", staticmethod(events_at), raising=False)
        return live.program_responses(tmp_path, "any")(AnnotatedCine.of(cine()))

    return start


def test_the_preview_is_the_first_mask_after_a_step(ask: Any) -> None:
    draft = [masks(0, 7, 0, final=True, draft=True), Progress(1, 0, Stage.DRAFT)]
    both = ask(lambda revision, visible: events_after(revision, visible) if revision else draft)
    assert Session.closed
    for response in both:
        assert response.carried[0, 0] == 1
        assert response.preview[0, 0] == 2
        assert 0 <= response.carried_s <= response.preview_s <= response.whole_s
        assert 0 <= response.gap_s <= response.whole_s
        assert sorted(response.masks) == list(range(8))
    assert both[0].masks[7][0, 0] == 4
    assert both[0].masks[0][0, 0] == 5


def test_without_carried_labels_the_first_mask_is_the_preview(ask: Any) -> None:
    def events_at(revision: int, visible: int) -> list[Event]:
        return events_after(revision, visible)[3:] if revision else [Progress(1, 0, Stage.NOT_RECOGNISED)]

    for response in ask(events_at):
        assert (response.carried, response.carried_s) == (None, None)
        assert response.preview[0, 0] == 2


@pytest.mark.parametrize(
    ("event", "message"),
    [
        (LearningFailure("The engine ran out of memory: close other cines.", 1), "ran out of memory"),
        (EngineDied(-9, True), "ended during the measurement"),
        (Progress(1, 1, Stage.UP_TO_DATE), "no preview"),
    ],
)
def test_an_engine_failure_is_one_sentence(ask: Any, event: Event, message: str) -> None:
    with pytest.raises(ApicalError, match=message):
        ask(lambda revision, visible: [event] if revision else [Progress(1, 0, Stage.WAITING)])
    assert Session.closed

"""Requests that interrupt work, errors, and cines in the background."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from app.engine.texts import failure_text
from tests.unit.service.test_service import FRAMES, TIMEOUT_S, Client, client, features  # noqa: F401 - fixtures
from vjepa_core.fewshot import features as feature_module
from vjepa_core.fewshot.fit import Fit, FitConfig
from vjepa_core.service import jobs
from vjepa_core.service.cine_state import CineState
from vjepa_core.service.messages import (
    Cancel,
    CancelReceived,
    CineReceived,
    CloseCine,
    Failed,
    HeadReady,
    OpenCine,
    Predicted,
    Progress,
    RestoreHead,
    Resume,
    SetVisibleFrame,
    SharedArray,
    Stage,
)

pytestmark = pytest.mark.slow

Requests = Callable[[Client], list[Any]]


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def send_and_wait(client: Client, requests: list[Any]) -> None:  # noqa: F811
    """Send from within a job; return when the inbox has received all."""
    client.engine.inbox.arrived.clear()
    client.send(*requests)
    assert client.engine.inbox.arrived.wait(TIMEOUT_S)


def at_last_step(monkeypatch: pytest.MonkeyPatch, act: Callable[[], None]) -> None:
    """Call a function in the last step of the first fit."""
    acts = [act]

    class InterruptedFit(Fit):
        def step(self) -> float:
            loss = super().step()
            if self.done and acts:
                acts.pop()()
            return loss

    monkeypatch.setattr(jobs, "Fit", InterruptedFit)


@pytest.mark.parametrize(
    "requests",
    [
        lambda _: [SetVisibleFrame(1, 4)],
        lambda c: [c.open(2)],
        lambda _: [CloseCine(2)],
        lambda _: [Resume()],
    ],
    ids=["look", "open", "close", "resume"],
)
def test_a_request_in_the_last_step_does_not_affect_the_complete_fit(
    client: Client,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    requests: Requests,
) -> None:
    at_last_step(monkeypatch, lambda: send_and_wait(client, requests(client)))
    client.send(client.open(), SetVisibleFrame(1, 0), client.labels(1, 0))
    client.wait_for(Stage.UP_TO_DATE, 1)
    (head,) = client.of(HeadReady)
    assert (head.revisions, head.steps) == (((1, 1),), 8)
    assert {f for p in client.of(Predicted) if p.final for f in p.frames} == set(range(FRAMES))
    assert client.of(Failed) == []


def test_cancel_in_the_last_step_keeps_the_fitted_head(
    client: Client,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    at_last_step(monkeypatch, lambda: send_and_wait(client, [Cancel()]))
    client.send(client.open(), client.labels(1, 0))
    client.wait_for(Stage.CANCELLED)
    assert [head.revisions for head in client.of(HeadReady)] == [((1, 1),)]
    client.send(Resume())
    client.wait_for(Stage.UP_TO_DATE, 1)
    assert len(client.of(HeadReady)) == 1  # nothing was fitted again


def test_labels_in_the_last_step_start_a_warm_fit_from_the_fitted_head(
    client: Client,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    at_last_step(monkeypatch, lambda: send_and_wait(client, [client.labels(2, 0, 3)]))
    client.send(client.open(), client.labels(1, 0))
    client.wait_for(Stage.UP_TO_DATE, 2)
    assert [(head.revisions, head.steps) for head in client.of(HeadReady)] == [(((1, 1),), 8), (((1, 2),), 3)]
    assert client.of(Failed) == []


def test_a_request_in_the_last_frames_does_not_affect_the_predictions(
    client: Client,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    predict = CineState.predict
    sent: list[int] = []

    def interrupted(work: CineState, head: Any, frames: list[int]) -> dict[int, float]:
        reported = predict(work, head, frames)
        if not work.waiting and not sent:
            sent.append(1)
            send_and_wait(client, [SetVisibleFrame(1, 2)])
        return reported

    monkeypatch.setattr(CineState, "predict", interrupted)
    client.send(client.open(), client.labels(1, 0))
    client.wait_for(Stage.UP_TO_DATE, 1)
    final = [f for p in client.of(Predicted) if p.final for f in p.frames]
    assert sorted(final) == list(range(FRAMES))
    assert sent


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Replace the encoder by zeros; the list gets an entry for every clip."""
    clips: list[int] = []

    def encode(_encoder: object, frames: torch.Tensor, depths: Any) -> torch.Tensor:
        clips.append(len(clips))
        return torch.zeros(len(depths), len(frames), frames.shape[1] // 2, 14, 14, 384)

    monkeypatch.setattr(feature_module, "_encode", encode)
    return clips


def long_cine(client: Client, cine: int, n: int = 48) -> OpenCine:  # noqa: F811
    """A cine of five clips of noise."""
    frames = np.random.default_rng(cine).integers(0, 255, (n, 224, 224), np.uint8)
    masks = SharedArray.create(client.folder / f"long{cine}", (n, 60, 60))
    return OpenCine(cine, client.share(f"noise{cine}", frames), masks, 60, 60, 30.0, (1, 2, 3))


def at_clip(monkeypatch: pytest.MonkeyPatch, number: int, act: Callable[[], None]) -> None:
    encode = feature_module._encode
    clips: list[int] = []

    def interrupted(*args: Any) -> torch.Tensor:
        clips.append(1)
        if len(clips) == number:
            act()
        return encode(*args)

    monkeypatch.setattr(feature_module, "_encode", interrupted)


@pytest.fixture
def own_cache(tmp_path: Path, encoded: list[int], monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(jobs, "FitConfig", lambda: FitConfig(steps=4, warm_steps=2))
    own = Client(tmp_path, tmp_path / "features")
    yield own
    own.end()


def test_opening_a_cine_does_not_change_the_visible_one(
    own_cache: Client, encoded: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    other = own_cache.open(2)
    at_clip(monkeypatch, 2, lambda: send_and_wait(own_cache, [other]))
    own_cache.send(long_cine(own_cache, 1), SetVisibleFrame(1, 0))
    own_cache.wait_for(Stage.WAITING)
    own_cache.wait(lambda: CineReceived(2) in own_cache.of(CineReceived))
    assert len(encoded) == 5
    assert {p.cine_id for p in own_cache.of(Progress) if p.cine_id} == {1}


def test_preparation_of_an_interrupted_cine_resumes_where_it_stopped(
    own_cache: Client, encoded: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    other = own_cache.open(2)
    at_clip(monkeypatch, 3, lambda: send_and_wait(own_cache, [other, SetVisibleFrame(2, 0)]))
    own_cache.send(long_cine(own_cache, 1), SetVisibleFrame(1, 0))
    own_cache.wait(lambda: any(p.cine_id == 2 and p.stage is Stage.WAITING for p in own_cache.of(Progress)))
    assert len(encoded) == 4
    own_cache.send(SetVisibleFrame(1, 0))
    own_cache.wait(lambda: any(p.cine_id == 1 and p.stage is Stage.WAITING for p in own_cache.of(Progress)))
    assert len(encoded) == 6  # five of the long cine, one of the other


def test_a_labelled_cine_is_prepared_after_the_visible_one_and_fitted(own_cache: Client) -> None:
    c = own_cache
    c.send(c.open(1), c.open(2), c.labels(3, 1, cine=2), SetVisibleFrame(1, 0), c.labels(1, 0, cine=1))
    c.wait(lambda: any(len(h.revisions) == 2 for h in c.of(HeadReady)))
    assert [dict(h.revisions) for h in c.of(HeadReady)] == [{1: 1}, {1: 1, 2: 3}]
    done = next(i for i, r in enumerate(c.reports) if isinstance(r, Progress) and r.stage is Stage.PREDICTING)
    behind = next(i for i, r in enumerate(c.reports) if isinstance(r, Progress) and r.cine_id == 2)
    assert done < behind


def test_opening_a_cine_in_the_background_does_not_interrupt_another_one(
    own_cache: Client, encoded: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    c = own_cache
    third = c.open(3)
    at_clip(monkeypatch, 3, lambda: send_and_wait(c, [third]))
    c.send(c.open(1), SetVisibleFrame(1, 0))
    c.wait_for(Stage.WAITING)
    c.send(long_cine(c, 2), c.labels(1, 0, cine=2))
    c.wait_for(Stage.FEATURES)
    c.wait(
        lambda: any(p.cine_id == 2 and p.done == p.total for p in c.of(Progress) if p.stage is Stage.FEATURES)
    )
    assert len(encoded) == 6


def test_a_head_restored_with_its_revisions_predicts_without_a_fit(client: Client) -> None:  # noqa: F811
    """The client's masks may be of an older head although the labels are fitted."""
    client.send(client.open(), client.labels(1, 0))
    client.wait_for(Stage.UP_TO_DATE, 1)
    (head,) = client.of(HeadReady)
    since = len(client.reports)
    client.send(CloseCine(1), RestoreHead(head.path, ((1, 5),)), client.open(), client.labels(5, 0))
    client.wait_for(Stage.UP_TO_DATE, 5, since)
    assert client.of(HeadReady, since) == []
    predicted = [f for p in client.of(Predicted, since) if p.final and p.revision == 5 for f in p.frames]
    assert sorted(predicted) == list(range(FRAMES))


def test_a_head_for_other_structures_is_dropped(client: Client) -> None:  # noqa: F811
    client.send(client.open(), client.labels(1, 0))
    client.wait_for(Stage.UP_TO_DATE, 1)
    (head,) = client.of(HeadReady)
    since = len(client.reports)
    other = OpenCine(**{**vars(client.open(2)), "classes": (1, 2)})
    client.send(
        CloseCine(1), RestoreHead(head.path, ((2, 1),)), other, client.labels(1, 0, cine=2, is_fitted=True)
    )
    client.wait_for(Stage.UP_TO_DATE, 1, since)
    assert len(client.of(HeadReady, since)) == 1
    assert client.of(Failed) == []


def raise_opencv_error() -> None:
    cv2.resize(np.zeros((0, 0), np.uint8), (3, 3))


def raising(error: Exception) -> Callable[[], None]:
    def act() -> None:
        raise error

    return act


ERRORS = [
    (raise_opencv_error, "cv2.error: !ssize.empty()"),
    (raising(IndexError("list index out of range")), "IndexError: list index out of range"),
    (raising(TypeError("unsupported operand")), "TypeError: unsupported operand"),
    (raising(ZeroDivisionError("division by zero")), "ZeroDivisionError"),
    (raising(UnboundLocalError("loss")), "UnboundLocalError"),
]


@pytest.mark.parametrize(("error", "cause"), ERRORS)
def test_an_error_in_a_fit_is_reported_once_with_its_cause(
    client: Client,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    error: Callable[[], None],
    cause: str,
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Fit, "step", lambda _: error())
        client.send(client.open(), client.labels(1, 0))
        client.wait_for(Stage.CANCELLED)
    (failed,) = client.of(Failed)
    assert cause in failure_text(failed, "any")
    assert failure_text(failed, "any").endswith(".")
    assert "\n" not in failure_text(failed, "any")
    assert "memory" not in failure_text(failed, "any")
    assert "close other" not in failure_text(failed, "any")
    client.send(Resume())
    client.wait_for(Stage.UP_TO_DATE, 1)


@pytest.mark.parametrize(
    "error", ["(-4:Insufficient memory) Failed to allocate 8 bytes", "Cannot allocate memory"]
)
def test_out_of_memory_is_reported_as_such(
    client: Client,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    error: str,
) -> None:
    monkeypatch.setattr(Fit, "step", lambda _: raising(RuntimeError(error))())
    client.send(client.open(), client.labels(1, 0))
    client.wait_for(Stage.CANCELLED)
    (failed,) = client.of(Failed)
    assert "close other cines or programs" in failure_text(failed, "any")


@pytest.mark.parametrize(("error", "cause"), ERRORS[:3])
def test_an_error_in_one_cine_does_not_stop_the_others(
    client: Client,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    error: Callable[[], None],
    cause: str,
) -> None:
    prepare, calls = CineState.prepare, []

    def failing(work: CineState, *args: Any, **words: Any) -> None:
        if work.cine_id == 1:
            calls.append(1)
            error()
        prepare(work, *args, **words)

    with monkeypatch.context() as patch:
        patch.setattr(CineState, "prepare", failing)
        client.send(client.open(1), SetVisibleFrame(1, 0), client.labels(1, 0, cine=1))
        client.wait_for(Stage.CANCELLED)
        client.send(client.open(2), SetVisibleFrame(2, 0), client.labels(1, 2, cine=2))
        client.wait_for(Stage.UP_TO_DATE)
    (failed,) = client.of(Failed)
    assert failed.cine_id == 1
    assert cause in failure_text(failed, "any")
    assert len(calls) == 1
    assert [head.revisions for head in client.of(HeadReady)] == [((2, 1),)]
    client.send(Resume(), SetVisibleFrame(1, 0))
    client.wait(lambda: any(dict(head.revisions) == {1: 1, 2: 1} for head in client.of(HeadReady)))


def test_a_failed_request_is_reported_and_the_next_one_is_handled(
    client: Client,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    client.send(client.open())
    client.wait_for(Stage.WAITING)
    with monkeypatch.context() as patch:
        patch.setattr(CineState, "set_labels", lambda *_: raise_opencv_error())
        client.send(client.labels(1, 0))
        client.wait(lambda: client.of(Failed))
    (failed,) = client.of(Failed)
    assert "outlines" in failure_text(failed, "any")
    assert "ssize.empty" in failure_text(failed, "any")
    assert (failed.cine_id, failed.is_request_lost) == (1, True)
    client.send(client.labels(2, 0))
    client.wait_for(Stage.UP_TO_DATE, 2)


def test_a_busy_engine_acknowledges_cancel_at_once(
    client: Client,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A single step may take longer than a user waits for a response."""
    at_it, go_on = threading.Event(), threading.Event()
    step = Fit.step

    def slow(fit: Fit) -> float:
        at_it.set()
        assert go_on.wait(TIMEOUT_S)
        return step(fit)

    monkeypatch.setattr(Fit, "step", slow)
    client.send(client.open(), client.labels(1, 0))
    try:
        client.wait(at_it.is_set)
        client.send(Cancel())
        client.wait(lambda: client.of(CancelReceived))
        assert Stage.CANCELLED not in client.stages()
    finally:
        go_on.set()
    client.wait_for(Stage.CANCELLED)

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
from tests.unit.service.test_service import FRAMES, TIMEOUT_S, Driver, driver, features  # noqa: F401 - fixtures
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

Requests = Callable[[Driver], list[Any]]


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def send_and_wait(driver: Driver, requests: list[Any]) -> None:  # noqa: F811
    """Send from within a job; return when the inbox has received all."""
    driver.engine.inbox.arrived.clear()
    driver.send(*requests)
    assert driver.engine.inbox.arrived.wait(TIMEOUT_S)


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
    ids=["show", "open", "close", "resume"],
)
def test_a_request_in_the_last_step_does_not_affect_the_complete_fit(
    driver: Driver,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    requests: Requests,
) -> None:
    at_last_step(monkeypatch, lambda: send_and_wait(driver, requests(driver)))
    driver.send(driver.open(), SetVisibleFrame(1, 0), driver.labels(1, 0))
    driver.wait_for(Stage.UP_TO_DATE, 1)
    (head,) = driver.of(HeadReady)
    assert (head.revisions, head.steps) == (((1, 1),), 8)
    assert {f for p in driver.of(Predicted) if p.final for f in p.frames} == set(range(FRAMES))
    assert driver.of(Failed) == []


def test_cancel_in_the_last_step_keeps_the_fitted_head(
    driver: Driver,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    at_last_step(monkeypatch, lambda: send_and_wait(driver, [Cancel()]))
    driver.send(driver.open(), driver.labels(1, 0))
    driver.wait_for(Stage.CANCELLED)
    assert [head.revisions for head in driver.of(HeadReady)] == [((1, 1),)]
    driver.send(Resume())
    driver.wait_for(Stage.UP_TO_DATE, 1)
    assert len(driver.of(HeadReady)) == 1  # nothing was fitted a second time


def test_labels_in_the_last_step_start_a_warm_fit_from_the_fitted_head(
    driver: Driver,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    at_last_step(monkeypatch, lambda: send_and_wait(driver, [driver.labels(2, 0, 3)]))
    driver.send(driver.open(), driver.labels(1, 0))
    driver.wait_for(Stage.UP_TO_DATE, 2)
    assert [(head.revisions, head.steps) for head in driver.of(HeadReady)] == [(((1, 1),), 8), (((1, 2),), 3)]
    assert driver.of(Failed) == []


def test_a_request_in_the_last_frames_does_not_affect_the_predictions(
    driver: Driver,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    predict = CineState.predict
    sent: list[int] = []

    def interrupted(work: CineState, head: Any, frames: list[int]) -> dict[int, float]:
        reported = predict(work, head, frames)
        if not work.waiting and not sent:
            sent.append(1)
            send_and_wait(driver, [SetVisibleFrame(1, 2)])
        return reported

    monkeypatch.setattr(CineState, "predict", interrupted)
    driver.send(driver.open(), driver.labels(1, 0))
    driver.wait_for(Stage.UP_TO_DATE, 1)
    final = [f for p in driver.of(Predicted) if p.final for f in p.frames]
    assert sorted(final) == list(range(FRAMES))
    assert sent


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Replace the encoder with one that returns zeros; return a list with one entry per encoded clip."""
    clips: list[int] = []

    def encode(_encoder: object, frames: torch.Tensor, depths: Any) -> torch.Tensor:
        clips.append(len(clips))
        return torch.zeros(len(depths), len(frames), frames.shape[1] // 2, 14, 14, 384)

    monkeypatch.setattr(feature_module, "_encode", encode)
    return clips


def long_cine(driver: Driver, cine: int, n: int = 48) -> OpenCine:  # noqa: F811
    """A cine of noise that is encoded in five clips."""
    frames = np.random.default_rng(cine).integers(0, 255, (n, 224, 224), np.uint8)
    masks = SharedArray.create(driver.folder / f"long{cine}", (n, 60, 60))
    return OpenCine(cine, driver.share(f"noise{cine}", frames), masks, 60, 60, 30.0, (1, 2, 3))


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
def fresh_driver(tmp_path: Path, encoded: list[int], monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(jobs, "FitConfig", lambda: FitConfig(steps=4, warm_steps=2))
    fresh = Driver(tmp_path, tmp_path / "features")
    yield fresh
    fresh.end()


def test_opening_a_cine_does_not_change_the_visible_one(
    fresh_driver: Driver, encoded: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    other = fresh_driver.open(2)
    at_clip(monkeypatch, 2, lambda: send_and_wait(fresh_driver, [other]))
    fresh_driver.send(long_cine(fresh_driver, 1), SetVisibleFrame(1, 0))
    fresh_driver.wait_for(Stage.WAITING)
    fresh_driver.wait(lambda: CineReceived(2) in fresh_driver.of(CineReceived))
    assert len(encoded) == 5
    assert {p.cine_id for p in fresh_driver.of(Progress) if p.cine_id} == {1}


def test_preparation_of_an_interrupted_cine_resumes_where_it_stopped(
    fresh_driver: Driver, encoded: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    other = fresh_driver.open(2)
    at_clip(monkeypatch, 3, lambda: send_and_wait(fresh_driver, [other, SetVisibleFrame(2, 0)]))
    fresh_driver.send(long_cine(fresh_driver, 1), SetVisibleFrame(1, 0))
    fresh_driver.wait(
        lambda: any(p.cine_id == 2 and p.stage is Stage.WAITING for p in fresh_driver.of(Progress))
    )
    assert len(encoded) == 4
    fresh_driver.send(SetVisibleFrame(1, 0))
    fresh_driver.wait(
        lambda: any(p.cine_id == 1 and p.stage is Stage.WAITING for p in fresh_driver.of(Progress))
    )
    assert len(encoded) == 6  # five of the long cine, one of the other


def test_a_labelled_cine_is_prepared_after_the_visible_one_and_fitted(fresh_driver: Driver) -> None:
    c = fresh_driver
    c.send(c.open(1), c.open(2), c.labels(3, 1, cine=2), SetVisibleFrame(1, 0), c.labels(1, 0, cine=1))
    c.wait(lambda: any(len(h.revisions) == 2 for h in c.of(HeadReady)))
    assert [dict(h.revisions) for h in c.of(HeadReady)] == [{1: 1}, {1: 1, 2: 3}]
    done = next(i for i, r in enumerate(c.reports) if isinstance(r, Progress) and r.stage is Stage.PREDICTING)
    behind = next(i for i, r in enumerate(c.reports) if isinstance(r, Progress) and r.cine_id == 2)
    assert done < behind


def test_opening_a_cine_in_the_background_does_not_interrupt_another_one(
    fresh_driver: Driver, encoded: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    c = fresh_driver
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


def test_a_head_restored_with_its_revisions_predicts_without_a_fit(driver: Driver) -> None:  # noqa: F811
    """The program's masks may come from an older head although the labels are fitted."""
    driver.send(driver.open(), driver.labels(1, 0))
    driver.wait_for(Stage.UP_TO_DATE, 1)
    (head,) = driver.of(HeadReady)
    since = len(driver.reports)
    driver.send(CloseCine(1), RestoreHead(head.path, ((1, 5),)), driver.open(), driver.labels(5, 0))
    driver.wait_for(Stage.UP_TO_DATE, 5, since)
    assert driver.of(HeadReady, since) == []
    predicted = [f for p in driver.of(Predicted, since) if p.final and p.revision == 5 for f in p.frames]
    assert sorted(predicted) == list(range(FRAMES))


def test_a_head_for_other_structures_is_dropped(driver: Driver) -> None:  # noqa: F811
    driver.send(driver.open(), driver.labels(1, 0))
    driver.wait_for(Stage.UP_TO_DATE, 1)
    (head,) = driver.of(HeadReady)
    since = len(driver.reports)
    other = OpenCine(**{**vars(driver.open(2)), "classes": (1, 2)})
    driver.send(
        CloseCine(1), RestoreHead(head.path, ((2, 1),)), other, driver.labels(1, 0, cine=2, is_fitted=True)
    )
    driver.wait_for(Stage.UP_TO_DATE, 1, since)
    assert len(driver.of(HeadReady, since)) == 1
    assert driver.of(Failed) == []


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
    driver: Driver,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    error: Callable[[], None],
    cause: str,
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Fit, "step", lambda _: error())
        driver.send(driver.open(), driver.labels(1, 0))
        driver.wait_for(Stage.CANCELLED)
    (failed,) = driver.of(Failed)
    assert cause in failure_text(failed, "any")
    assert failure_text(failed, "any").endswith(".")
    assert "\n" not in failure_text(failed, "any")
    assert "memory" not in failure_text(failed, "any")
    assert "close other" not in failure_text(failed, "any")
    driver.send(Resume())
    driver.wait_for(Stage.UP_TO_DATE, 1)


@pytest.mark.parametrize(
    "error", ["(-4:Insufficient memory) Failed to allocate 8 bytes", "Cannot allocate memory"]
)
def test_out_of_memory_is_reported_as_such(
    driver: Driver,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    error: str,
) -> None:
    monkeypatch.setattr(Fit, "step", lambda _: raising(RuntimeError(error))())
    driver.send(driver.open(), driver.labels(1, 0))
    driver.wait_for(Stage.CANCELLED)
    (failed,) = driver.of(Failed)
    assert "close other cines or programs" in failure_text(failed, "any")


@pytest.mark.parametrize(("error", "cause"), ERRORS[:3])
def test_an_error_in_one_cine_does_not_stop_the_others(
    driver: Driver,  # noqa: F811
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
        driver.send(driver.open(1), SetVisibleFrame(1, 0), driver.labels(1, 0, cine=1))
        driver.wait_for(Stage.CANCELLED)
        driver.send(driver.open(2), SetVisibleFrame(2, 0), driver.labels(1, 2, cine=2))
        driver.wait_for(Stage.UP_TO_DATE)
    (failed,) = driver.of(Failed)
    assert failed.cine_id == 1
    assert cause in failure_text(failed, "any")
    assert len(calls) == 1
    assert [head.revisions for head in driver.of(HeadReady)] == [((2, 1),)]
    driver.send(Resume(), SetVisibleFrame(1, 0))
    driver.wait(lambda: any(dict(head.revisions) == {1: 1, 2: 1} for head in driver.of(HeadReady)))


def test_a_failed_request_is_reported_and_the_next_one_is_handled(
    driver: Driver,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    driver.send(driver.open())
    driver.wait_for(Stage.WAITING)
    with monkeypatch.context() as patch:
        patch.setattr(CineState, "set_labels", lambda *_: raise_opencv_error())
        driver.send(driver.labels(1, 0))
        driver.wait(lambda: driver.of(Failed))
    (failed,) = driver.of(Failed)
    assert "outlines" in failure_text(failed, "any")
    assert "ssize.empty" in failure_text(failed, "any")
    assert (failed.cine_id, failed.is_request_lost) == (1, True)
    driver.send(driver.labels(2, 0))
    driver.wait_for(Stage.UP_TO_DATE, 2)


def test_a_busy_engine_acknowledges_cancel_at_once(
    driver: Driver,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A single step may take longer than a user waits for a response."""
    step_started, may_continue = threading.Event(), threading.Event()
    step = Fit.step

    def slow(fit: Fit) -> float:
        step_started.set()
        assert may_continue.wait(TIMEOUT_S)
        return step(fit)

    monkeypatch.setattr(Fit, "step", slow)
    driver.send(driver.open(), driver.labels(1, 0))
    try:
        driver.wait(step_started.is_set)
        driver.send(Cancel())
        driver.wait(lambda: driver.of(CancelReceived))
        assert Stage.CANCELLED not in driver.stages()
    finally:
        may_continue.set()
    driver.wait_for(Stage.CANCELLED)

"""The engine suggests the frame and the cine to outline next."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from tests.unit.service.test_service import FRAMES, Driver, driver, features  # noqa: F401 - fixtures
from vjepa_core.fewshot import suggest
from vjepa_core.fewshot.suggest import Suggestion
from vjepa_core.service.cine_state import CineState
from vjepa_core.service.messages import Predicted, SetVisibleFrame, Stage, Suggested

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def _last(driver: Driver) -> Suggested:  # noqa: F811
    return driver.of(Suggested)[-1]


def test_the_first_suggestion_is_reported_once(driver: Driver) -> None:  # noqa: F811
    driver.send(driver.open())
    driver.wait_for(Stage.WAITING)
    (reported,) = driver.of(Suggested)
    assert (reported.cine_id, reported.revision, reported.next_cine_id) == (1, 0, None)
    assert reported.frame in range(FRAMES)
    driver.send(SetVisibleFrame(1, 3), SetVisibleFrame(1, 4), driver.labels(1, 0))
    driver.wait_for(Stage.UP_TO_DATE, 1)
    assert driver.of(Suggested)[0] == reported
    assert all(one.revision == 1 for one in driver.of(Suggested)[1:])


def test_another_frame_is_suggested_after_the_last_prediction(
    driver: Driver,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(suggest, "MIN_GAIN", 1e-9)  # these frames are easy
    driver.send(driver.open(), driver.labels(1, 0))
    driver.wait_for(Stage.UP_TO_DATE, 1)
    reported = _last(driver)
    assert reported.revision == 1
    assert reported.frame is not None
    assert reported.frame not in (0, 3)  # the image repeats every three frames
    reports = [report for report in driver.reports if isinstance(report, Suggested | Predicted)]
    assert reports[-1] is reported  # once all frames have their final masks


def test_the_cine_in_which_a_label_helps_more_is_suggested(
    driver: Driver,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gain = {1: 0.01, 2: 0.03}
    monkeypatch.setattr(CineState, "suggestion", lambda self: Suggestion(4, gain[self.cine_id]))
    driver.send(driver.open(2), driver.labels(1, 0, cine=2))
    driver.wait_for(Stage.UP_TO_DATE, 1)
    assert _last(driver) == Suggested(2, 1, 4, None)
    driver.send(driver.open(1))
    driver.wait(lambda: _last(driver).cine_id == 1)
    assert _last(driver) == Suggested(1, 0, 4, 2)
    driver.send(SetVisibleFrame(2, 0))  # reported again on return, because the window may have dropped it
    driver.wait(lambda: _last(driver).cine_id == 2)
    assert _last(driver) == Suggested(2, 1, 4, None)


def test_removed_labels_do_not_influence_the_suggestion(driver: Driver) -> None:  # noqa: F811
    driver.send(driver.open())
    driver.wait_for(Stage.WAITING)
    first = _last(driver)
    driver.send(driver.labels(1, 0))
    driver.wait_for(Stage.UP_TO_DATE, 1)
    driver.send(driver.labels(2))
    driver.wait_for(Stage.UP_TO_DATE, 2)
    assert _last(driver) == replace(first, revision=2)

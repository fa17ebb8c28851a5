"""The engine suggests the frame and the cine to outline next."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from tests.unit.service.test_service import FRAMES, Client, client, features  # noqa: F401 - fixtures
from vjepa_core.fewshot import suggest
from vjepa_core.fewshot.suggest import Suggestion
from vjepa_core.service.cine_state import CineState
from vjepa_core.service.messages import Predicted, SetVisibleFrame, Stage, Suggested

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def _last(client: Client) -> Suggested:  # noqa: F811
    return client.of(Suggested)[-1]


def test_the_first_suggestion_is_reported_once(client: Client) -> None:  # noqa: F811
    client.send(client.open())
    client.wait_for(Stage.WAITING)
    (reported,) = client.of(Suggested)
    assert (reported.cine_id, reported.revision, reported.next_cine_id) == (1, 0, None)
    assert reported.frame in range(FRAMES)
    client.send(SetVisibleFrame(1, 3), SetVisibleFrame(1, 4), client.labels(1, 0))
    client.wait_for(Stage.UP_TO_DATE, 1)
    assert client.of(Suggested)[0] == reported
    assert all(one.revision == 1 for one in client.of(Suggested)[1:])


def test_another_frame_is_suggested_after_the_last_prediction(
    client: Client,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(suggest, "MIN_GAIN", 1e-9)  # they are easy pictures
    client.send(client.open(), client.labels(1, 0))
    client.wait_for(Stage.UP_TO_DATE, 1)
    reported = _last(client)
    assert reported.revision == 1
    assert reported.frame is not None
    assert reported.frame not in (0, 3)  # the picture repeats every three frames
    reports = [report for report in client.reports if isinstance(report, Suggested | Predicted)]
    assert reports[-1] is reported  # once all frames have their final masks


def test_the_cine_in_which_a_label_helps_more_is_suggested(
    client: Client,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gain = {1: 0.01, 2: 0.03}
    monkeypatch.setattr(CineState, "suggestion", lambda self: Suggestion(4, gain[self.cine_id]))
    client.send(client.open(2), client.labels(1, 0, cine=2))
    client.wait_for(Stage.UP_TO_DATE, 1)
    assert _last(client) == Suggested(2, 1, 4, None)
    client.send(client.open(1))
    client.wait(lambda: _last(client).cine_id == 1)
    assert _last(client) == Suggested(1, 0, 4, 2)
    client.send(SetVisibleFrame(2, 0))  # back again: reported anew, for the window may have forgotten
    client.wait(lambda: _last(client).cine_id == 2)
    assert _last(client) == Suggested(2, 1, 4, None)


def test_removed_labels_do_not_influence_the_suggestion(client: Client) -> None:  # noqa: F811
    client.send(client.open())
    client.wait_for(Stage.WAITING)
    first = _last(client)
    client.send(client.labels(1, 0))
    client.wait_for(Stage.UP_TO_DATE, 1)
    client.send(client.labels(2))
    client.wait_for(Stage.UP_TO_DATE, 2)
    assert _last(client) == replace(first, revision=2)

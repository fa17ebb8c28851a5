"""The engine says which frame to outline next, and where else."""

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


def test_a_frame_to_begin_with_is_told_once(client: Client) -> None:  # noqa: F811
    client.send(client.open())
    client.wait_for(Stage.WAITING)
    (told,) = client.of(Suggested)
    assert (told.cine_id, told.revision, told.next_cine_id) == (1, 0, None)
    assert told.frame in range(FRAMES)
    client.send(SetVisibleFrame(1, 3), SetVisibleFrame(1, 4), client.labels(1, 0))
    client.wait_for(Stage.UP_TO_DATE, 1)
    assert client.of(Suggested)[0] == told
    assert all(one.revision == 1 for one in client.of(Suggested)[1:])


def test_after_the_last_prediction_another_frame_is_told(
    client: Client,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(suggest, "WORTHWHILE", 1e-9)  # they are easy pictures
    client.send(client.open(), client.labels(1, 0))
    client.wait_for(Stage.UP_TO_DATE, 1)
    told = _last(client)
    assert told.revision == 1
    assert told.frame is not None
    assert told.frame not in (0, 3)  # the picture repeats every three frames
    heard = [report for report in client.heard if isinstance(report, Suggested | Predicted)]
    assert heard[-1] is told  # once all frames have their final masks


def test_the_cine_where_a_label_teaches_more_is_told(
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
    client.send(SetVisibleFrame(2, 0))  # back again: told anew, for the window may have forgotten
    client.wait(lambda: _last(client).cine_id == 2)
    assert _last(client) == Suggested(2, 1, 4, None)


def test_undone_labels_count_for_nothing(client: Client) -> None:  # noqa: F811
    client.send(client.open())
    client.wait_for(Stage.WAITING)
    first = _last(client)
    client.send(client.labels(1, 0))
    client.wait_for(Stage.UP_TO_DATE, 1)
    client.send(client.labels(2))
    client.wait_for(Stage.UP_TO_DATE, 2)
    assert _last(client) == replace(first, revision=2)

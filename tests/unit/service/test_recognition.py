"""The engine draws nothing on a cine that no head knows, says nothing of it, and learns nothing from it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.unit.service.test_service import (
    FRAMES,
    SIZE,
    Client,
    StubStarter,
    client,
    features,
    left_heart,
    with_starter,
)
from vjepa_core.bench.synthetic_pictures import textures
from vjepa_core.fewshot.findings import CAP
from vjepa_core.fewshot.head import save_head
from vjepa_core.service.cine_state import CineState
from vjepa_core.service.messages import (
    HeadReady,
    OpenCine,
    Predicted,
    RestoreHead,
    SetVisibleFrame,
    Stage,
    Suggested,
)
from vjepa_core.service.recognition import Recognition

__all__ = ["client", "features", "with_starter"]


def strange(client: Client, cine: int) -> OpenCine:
    """A page of letters."""
    page = textures(5, seed=3)[0][4]
    frames: NDArray[np.uint8] = np.repeat(page[None], FRAMES, axis=0)
    return replace(client.open(cine), frames=client.share(f"strange{cine}", frames))


def predicted(client: Client, cine: int, since: int = 0) -> list[Predicted]:
    return [p for p in client.of(Predicted, since) if p.cine_id == cine]


def test_a_fitted_head_draws_a_cine_like_its_own_and_no_other(client: Client) -> None:
    client.send(client.open(1), client.labels(1, 0, 3))
    client.wait_for(Stage.UP_TO_DATE, 1)
    client.send(strange(client, 2), SetVisibleFrame(2, 0))
    client.wait_for(Stage.NOT_RECOGNISED)
    assert predicted(client, 2) == []
    assert [told for told in client.of(Suggested) if told.cine_id == 2] == [Suggested(2, 0, None, None)]
    since = len(client.heard)
    client.send(client.open(3), SetVisibleFrame(3, 0))
    client.wait(lambda: {f for p in predicted(client, 3) for f in p.frames} == set(range(FRAMES)))
    client.send(SetVisibleFrame(1, 0))
    client.wait_for(Stage.UP_TO_DATE, 1, since)
    assert all(told.next_cine_id != 2 for told in client.of(Suggested, since))


def test_a_cine_that_was_not_recognised_is_drawn_once_it_is_outlined_itself(
    client: Client,
) -> None:
    client.send(client.open(1), client.labels(1, 0))
    client.wait_for(Stage.UP_TO_DATE, 1)
    client.send(strange(client, 2), SetVisibleFrame(2, 0))
    client.wait_for(Stage.NOT_RECOGNISED)
    since = len(client.heard)
    client.send(client.labels(1, 0, cine=2))
    client.wait_for(Stage.UP_TO_DATE, 1, since)
    drawn = {f for p in predicted(client, 2, since) if p.final for f in p.frames}
    assert drawn == set(range(FRAMES))


def test_previews_of_a_fit_are_not_shown_on_a_cine_that_is_not_recognised(
    with_starter: Callable[[bool], tuple[Client, list[StubStarter]]],
) -> None:
    client, _ = with_starter(False)
    client.send(left_heart(client, 1), replace(strange(client, 2), left_heart=True), SetVisibleFrame(2, 0))
    client.wait_for(Stage.NOT_RECOGNISED)
    client.send(client.labels(1, 0, cine=1))
    client.wait(lambda: client.of(HeadReady))
    since = len(client.heard)
    client.wait_for(Stage.NOT_RECOGNISED, since=since)
    assert predicted(client, 2) == []


def test_what_a_kept_head_learnt_from_is_known_again(client: Client, tmp_path: Path) -> None:
    client.send(client.open(1), client.labels(1, 0))
    client.wait_for(Stage.UP_TO_DATE, 1)
    path = Path(client.of(HeadReady)[-1].path)
    again = Recognition(None, None)
    again.restore(path)
    known = again.reference_cines([])
    assert known is not None
    assert len(known.embeddings) == 1
    bare = tmp_path / "bare"
    save_head(client.engine.state.heads.fitted, bare)  # type: ignore[arg-type]
    client.send(RestoreHead(str(bare)))
    again.restore(bare)
    assert again.reference_cines([]) is None


def test_an_implausible_prediction_is_named_and_its_expected_dice_capped(
    client: Client,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whatever the softmax says of a cavity in two pieces."""
    import torch

    from vjepa_core.fewshot import pipeline

    torn = torch.zeros(4, 112, 112)
    torn[1, 30:50, 30:80] = torn[1, 60:80, 30:80] = 1
    torn[0] = 1 - torn[1]

    def answer(_head: object, _cine: object, frames: list[int], _draft: object) -> torch.Tensor:
        return torn.expand(len(frames), -1, -1, -1)

    monkeypatch.setattr(pipeline, "predict_with_draft", answer)
    client.send(client.open(1), client.labels(1, 0))
    client.wait_for(Stage.UP_TO_DATE, 1)
    final = [p for p in client.of(Predicted) if p.final]
    told = {f: (c, r) for p in final for f, c, r in zip(p.frames, p.confidence, p.findings, strict=True)}
    assert told[0][1] == ()  # outlined by a human
    for frame in range(1, FRAMES):
        assert told[frame][0] <= CAP
        assert told[frame][1] == ("pieces",)


def test_masks_of_the_engine_stay_inside_the_fan(client: Client) -> None:
    y, x = np.mgrid[:224, :224]
    inside = np.abs(x - 112) < 0.6 * (y + 4)
    grain = np.random.default_rng(0).integers(40, 200, (FRAMES, 224, 224))
    frames = np.where(inside, grain, 0).astype(np.uint8)
    label = np.zeros((1, SIZE, SIZE), np.uint8)
    label[0, 20:40, 8:40] = 1  # across the edge of the fan
    opened = replace(client.open(1), frames=client.share("fan", frames))
    request = replace(client.labels(1, 0), labels=client.share("across", label))
    client.send(opened, request)
    client.wait_for(Stage.UP_TO_DATE, 1)
    small = cv2.resize(inside.astype(np.uint8), (SIZE, SIZE), interpolation=cv2.INTER_AREA)
    masks = np.array(client.masks[1].open())
    assert masks.any()
    assert not (masks[:, small == 0] > 0).any()


def test_a_cine_that_no_head_knows_does_not_teach(client: Client) -> None:
    client.send(client.open(1), client.labels(1, 0))
    client.wait_for(Stage.UP_TO_DATE, 1)
    client.send(strange(client, 2), SetVisibleFrame(2, 0))
    client.wait_for(Stage.NOT_RECOGNISED)
    works = client.engine.state.cines
    assert isinstance(works[2], CineState)
    assert works[2].is_unlabelled_example
    assert not client.engine.state.heads.recognition.resembles(works[2], list(works.values()))

"""A cine that no head recognises gets no masks, no suggestion, and is not used in fits."""

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
from vjepa_core.bench.synthetic_images import textures
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
    """A cine that shows a page of letters."""
    page = textures(5, seed=3)[0][4]
    frames: NDArray[np.uint8] = np.repeat(page[None], FRAMES, axis=0)
    return replace(client.open(cine), frames=client.share(f"strange{cine}", frames))


def predicted(client: Client, cine: int, since: int = 0) -> list[Predicted]:
    return [p for p in client.of(Predicted, since) if p.cine_id == cine]


def test_a_fitted_head_predicts_similar_cines_only(client: Client) -> None:
    client.send(client.open(1), client.labels(1, 0, 3))
    client.wait_for(Stage.UP_TO_DATE, 1)
    client.send(strange(client, 2), SetVisibleFrame(2, 0))
    client.wait_for(Stage.NOT_RECOGNISED)
    assert predicted(client, 2) == []
    assert [reported for reported in client.of(Suggested) if reported.cine_id == 2] == [
        Suggested(2, 0, None, None)
    ]
    since = len(client.reports)
    client.send(client.open(3), SetVisibleFrame(3, 0))
    client.wait(lambda: {f for p in predicted(client, 3) for f in p.frames} == set(range(FRAMES)))
    client.send(SetVisibleFrame(1, 0))
    client.wait_for(Stage.UP_TO_DATE, 1, since)
    assert all(reported.next_cine_id != 2 for reported in client.of(Suggested, since))


def test_an_unrecognised_cine_is_predicted_once_it_is_outlined(
    client: Client,
) -> None:
    client.send(client.open(1), client.labels(1, 0))
    client.wait_for(Stage.UP_TO_DATE, 1)
    client.send(strange(client, 2), SetVisibleFrame(2, 0))
    client.wait_for(Stage.NOT_RECOGNISED)
    since = len(client.reports)
    client.send(client.labels(1, 0, cine=2))
    client.wait_for(Stage.UP_TO_DATE, 1, since)
    drawn = {f for p in predicted(client, 2, since) if p.final for f in p.frames}
    assert drawn == set(range(FRAMES))


def test_an_unrecognised_cine_gets_no_previews(
    with_starter: Callable[[bool], tuple[Client, list[StubStarter]]],
) -> None:
    client, _ = with_starter(False)
    client.send(left_heart(client, 1), replace(strange(client, 2), left_heart=True), SetVisibleFrame(2, 0))
    client.wait_for(Stage.NOT_RECOGNISED)
    client.send(client.labels(1, 0, cine=1))
    client.wait(lambda: client.of(HeadReady))
    since = len(client.reports)
    client.wait_for(Stage.NOT_RECOGNISED, since=since)
    assert predicted(client, 2) == []


def test_the_file_of_a_head_contains_its_reference_cines(client: Client, tmp_path: Path) -> None:
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


def test_a_finding_is_reported_and_caps_the_expected_dice(
    client: Client,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A cavity in two pieces, with a certain softmax."""
    import torch

    from vjepa_core.fewshot import pipeline

    in_pieces = torch.zeros(4, 112, 112)
    in_pieces[1, 30:50, 30:80] = in_pieces[1, 60:80, 30:80] = 1
    in_pieces[0] = 1 - in_pieces[1]

    def predict(_head: object, _cine: object, frames: list[int], _draft: object) -> torch.Tensor:
        return in_pieces.expand(len(frames), -1, -1, -1)

    monkeypatch.setattr(pipeline, "predict_with_draft", predict)
    client.send(client.open(1), client.labels(1, 0))
    client.wait_for(Stage.UP_TO_DATE, 1)
    final = [p for p in client.of(Predicted) if p.final]
    reported = {f: (c, r) for p in final for f, c, r in zip(p.frames, p.confidence, p.findings, strict=True)}
    assert reported[0][1] == ()  # outlined by a human
    for frame in range(1, FRAMES):
        assert reported[frame][0] <= CAP
        assert reported[frame][1] == ("pieces",)


def test_masks_are_inside_the_sector(client: Client) -> None:
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


def test_an_unrecognised_cine_is_not_used_as_an_unlabelled_example(client: Client) -> None:
    client.send(client.open(1), client.labels(1, 0))
    client.wait_for(Stage.UP_TO_DATE, 1)
    client.send(strange(client, 2), SetVisibleFrame(2, 0))
    client.wait_for(Stage.NOT_RECOGNISED)
    works = client.engine.state.cines
    assert isinstance(works[2], CineState)
    assert works[2].is_unlabelled_example
    assert not client.engine.state.heads.recognition.resembles(works[2], list(works.values()))

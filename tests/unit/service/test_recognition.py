"""A cine that no head recognises gets no masks and no suggestion, and is not used in fits."""

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
    Driver,
    StubStarter,
    driver,
    features,
    left_heart,
    with_starter,
)
from vjepa_core.bench.synthetic_images import textures
from vjepa_core.fewshot.findings import CAP
from vjepa_core.fewshot.head import save_head
from vjepa_core.fewshot.view_recogniser import RecognisedView
from vjepa_core.service import engine
from vjepa_core.service.cine_state import CineState
from vjepa_core.service.messages import (
    Failed,
    HeadReady,
    OpenCine,
    Predicted,
    RestoreHead,
    SetVisibleFrame,
    Stage,
    Suggested,
    ViewRecognised,
)
from vjepa_core.service.recognition import Recognition

__all__ = ["driver", "features", "with_starter"]


def letters(driver: Driver, cine: int) -> OpenCine:
    """A cine that shows a page of letters."""
    page = textures(5, seed=3)[0][4]
    frames: NDArray[np.uint8] = np.repeat(page[None], FRAMES, axis=0)
    return replace(driver.open(cine), frames=driver.share(f"letters{cine}", frames))


def predicted(driver: Driver, cine: int, since: int = 0) -> list[Predicted]:
    return [p for p in driver.of(Predicted, since) if p.cine_id == cine]


def test_a_fitted_head_predicts_similar_cines_only(driver: Driver) -> None:
    driver.send(driver.open(1), driver.labels(1, 0, 3))
    driver.wait_for(Stage.UP_TO_DATE, 1)
    driver.send(letters(driver, 2), SetVisibleFrame(2, 0))
    driver.wait_for(Stage.NOT_RECOGNISED)
    assert predicted(driver, 2) == []
    assert [reported for reported in driver.of(Suggested) if reported.cine_id == 2] == [
        Suggested(2, 0, None, None)
    ]
    since = len(driver.reports)
    driver.send(driver.open(3), SetVisibleFrame(3, 0))
    driver.wait(lambda: {f for p in predicted(driver, 3) for f in p.frames} == set(range(FRAMES)))
    driver.send(SetVisibleFrame(1, 0))
    driver.wait_for(Stage.UP_TO_DATE, 1, since)
    assert all(reported.next_cine_id != 2 for reported in driver.of(Suggested, since))


def test_an_unrecognised_cine_is_predicted_once_it_is_outlined(
    driver: Driver,
) -> None:
    driver.send(driver.open(1), driver.labels(1, 0))
    driver.wait_for(Stage.UP_TO_DATE, 1)
    driver.send(letters(driver, 2), SetVisibleFrame(2, 0))
    driver.wait_for(Stage.NOT_RECOGNISED)
    since = len(driver.reports)
    driver.send(driver.labels(1, 0, cine=2))
    driver.wait_for(Stage.UP_TO_DATE, 1, since)
    drawn = {f for p in predicted(driver, 2, since) if p.final for f in p.frames}
    assert drawn == set(range(FRAMES))


def test_an_unrecognised_cine_gets_no_previews(
    with_starter: Callable[[bool], tuple[Driver, list[StubStarter]]],
) -> None:
    driver, _ = with_starter(False)
    driver.send(left_heart(driver, 1), replace(letters(driver, 2), left_heart=True), SetVisibleFrame(2, 0))
    driver.wait_for(Stage.NOT_RECOGNISED)
    driver.send(driver.labels(1, 0, cine=1))
    driver.wait(lambda: driver.of(HeadReady))
    since = len(driver.reports)
    driver.wait_for(Stage.NOT_RECOGNISED, since=since)
    assert predicted(driver, 2) == []


class StubViews:
    """A view recogniser that always answers A2C."""

    def recognise(self, embedding: object) -> RecognisedView:
        return RecognisedView("A2C", 0.95)


@pytest.mark.parametrize(("applies", "view", "probability"), [(True, "A2C", 0.95), (False, None, 0.0)])
def test_the_view_is_reported_once_the_cine_is_prepared(
    with_starter: Callable[[bool], tuple[Driver, list[StubStarter]]],
    monkeypatch: pytest.MonkeyPatch,
    applies: bool,
    view: str | None,
    probability: float,
) -> None:
    monkeypatch.setattr(engine, "load_view_recogniser", lambda _card: StubViews())
    driver, _ = with_starter(applies)
    driver.send(left_heart(driver, 1))
    driver.wait_for(Stage.DRAFT if applies else Stage.NOT_RECOGNISED)
    driver.send(driver.labels(1, 0))
    driver.wait_for(Stage.UP_TO_DATE, 1)
    assert driver.of(ViewRecognised) == [ViewRecognised(1, view, probability)]


def test_no_view_is_reported_without_a_view_recogniser(
    with_starter: Callable[[bool], tuple[Driver, list[StubStarter]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "load_view_recogniser", lambda _card: None)
    driver, _ = with_starter(True)
    driver.send(left_heart(driver, 1))
    driver.wait_for(Stage.DRAFT)
    assert driver.of(ViewRecognised) == []
    assert driver.of(Failed) == []


def test_the_file_of_a_head_contains_its_reference_cines(driver: Driver, tmp_path: Path) -> None:
    driver.send(driver.open(1), driver.labels(1, 0))
    driver.wait_for(Stage.UP_TO_DATE, 1)
    path = Path(driver.of(HeadReady)[-1].path)
    again = Recognition(None, None)
    again.restore(path)
    known = again.reference_cines([])
    assert known is not None
    assert len(known.embeddings) == 1
    bare = tmp_path / "bare"
    save_head(driver.engine.state.heads.fitted, bare)  # type: ignore[arg-type]
    driver.send(RestoreHead(str(bare)))
    again.restore(bare)
    assert again.reference_cines([]) is None


def test_a_finding_is_reported_and_caps_the_expected_dice(
    driver: Driver,
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
    driver.send(driver.open(1), driver.labels(1, 0))
    driver.wait_for(Stage.UP_TO_DATE, 1)
    final = [p for p in driver.of(Predicted) if p.final]
    reported = {
        f: (c, r) for p in final for f, c, r in zip(p.frames, p.expected_dice, p.findings, strict=True)
    }
    assert reported[0][1] == ()  # outlined by a human
    for frame in range(1, FRAMES):
        assert reported[frame][0] <= CAP
        assert reported[frame][1] == ("pieces",)


def test_masks_are_inside_the_sector(driver: Driver) -> None:
    y, x = np.mgrid[:224, :224]
    inside = np.abs(x - 112) < 0.6 * (y + 4)
    grain = np.random.default_rng(0).integers(40, 200, (FRAMES, 224, 224))
    frames = np.where(inside, grain, 0).astype(np.uint8)
    label = np.zeros((1, SIZE, SIZE), np.uint8)
    label[0, 20:40, 8:40] = 1  # across the edge of the sector
    opened = replace(driver.open(1), frames=driver.share("fan", frames))
    request = replace(driver.labels(1, 0), labels=driver.share("across", label))
    driver.send(opened, request)
    driver.wait_for(Stage.UP_TO_DATE, 1)
    small = cv2.resize(inside.astype(np.uint8), (SIZE, SIZE), interpolation=cv2.INTER_AREA)
    masks = np.array(driver.masks[1].open())
    assert masks.any()
    assert not (masks[:, small == 0] > 0).any()


def test_an_unrecognised_cine_is_not_used_as_an_unlabelled_example(driver: Driver) -> None:
    driver.send(driver.open(1), driver.labels(1, 0))
    driver.wait_for(Stage.UP_TO_DATE, 1)
    driver.send(letters(driver, 2), SetVisibleFrame(2, 0))
    driver.wait_for(Stage.NOT_RECOGNISED)
    works = driver.engine.state.cines
    assert isinstance(works[2], CineState)
    assert works[2].is_unlabelled_example
    assert not driver.engine.state.heads.recognition.resembles(works[2], list(works.values()))

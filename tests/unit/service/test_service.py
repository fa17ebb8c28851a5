"""The engine, driven through its pipe: order of work, interruptions and errors."""

from __future__ import annotations

import copy
import hashlib
import json
import multiprocessing
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file

from app.engine.texts import failure_text
from vjepa_core.encoder.catalogue import DEFAULT_ENCODER, EncoderCard
from vjepa_core.encoder.models import create_encoder
from vjepa_core.fewshot.draft import fill_from_draft
from vjepa_core.fewshot.fit import Fit, FitConfig
from vjepa_core.fewshot.head import GRID_SIZE, Head, load_head, save_head
from vjepa_core.fewshot.prepared_cine import FrameLabel, PreparedCine
from vjepa_core.fewshot.starter import new_head
from vjepa_core.resources import resource_path
from vjepa_core.service import engine, jobs
from vjepa_core.service.cine_state import CineState
from vjepa_core.service.messages import (
    DOUBT_SIZE,
    Cancel,
    CineReceived,
    CloseCine,
    Failed,
    HeadReady,
    LabelsReceived,
    OpenCine,
    PredictAgain,
    Predicted,
    Progress,
    Ready,
    RestoreHead,
    Resume,
    SetLabels,
    SetVisibleFrame,
    SharedArray,
    Shutdown,
    Stage,
)

pytestmark = pytest.mark.slow

FRAMES, SIZE = 6, 60
TIMEOUT_S = 120.0  # on a busy machine


def image(index: int, size: int) -> NDArray[np.uint8]:
    image = np.full((size, size), 40, np.uint8)
    cv2.circle(image, (size // 2, size // 2), size // 4 + index % 3, (200,), -1)
    return image


class Driver:
    """An engine in a thread, driven through the program's end of its pipe."""

    def __init__(self, folder: Path, features: Path, encoder: str = DEFAULT_ENCODER, **more: Any) -> None:
        self.folder = folder
        self.pipe, theirs = multiprocessing.Pipe()
        self.reports: list[Any] = []
        self.masks: dict[int, SharedArray] = {}
        self.doubts: dict[int, SharedArray] = {}
        self._theirs: Connection = theirs
        self.engine = engine.Engine(
            theirs, cache_folder=features, scratch_folder=folder, encoder=encoder, **more
        )
        self.thread = threading.Thread(target=self.engine.run)
        self.thread.start()

    def send(self, *requests: Any) -> None:
        for request in requests:
            self.pipe.send(request)

    def share(self, name: str, array: NDArray[np.uint8]) -> SharedArray:
        shared = SharedArray.create(self.folder / name, array.shape)
        shared.open(writable=True)[...] = array
        return shared

    def open(self, cine: int = 1) -> OpenCine:
        frames = np.stack([image(i + cine, 224) for i in range(FRAMES)])
        self.masks[cine] = SharedArray.create(self.folder / f"masks{cine}", (FRAMES, SIZE, SIZE))
        size = (FRAMES, DOUBT_SIZE, DOUBT_SIZE)
        self.doubts[cine] = SharedArray.create(self.folder / f"doubts{cine}", size)
        return OpenCine(
            cine,
            self.share(f"frames{cine}", frames),
            self.masks[cine],
            SIZE,
            SIZE,
            30.0,
            (1, 2, 3),
            doubts=self.doubts[cine],
        )

    def labels(self, revision: int, *frames: int, cine: int = 1, is_fitted: bool = False) -> SetLabels:
        images = [(image(i + cine, SIZE) > 100).astype(np.uint8) for i in frames]
        shared = self.share(f"labels{cine}-{revision}", np.stack(images)) if images else None
        return SetLabels(cine, revision, frames, shared, is_fitted)

    def of(self, kind: type, since: int = 0) -> list[Any]:
        return [report for report in self.reports[since:] if isinstance(report, kind)]

    def stages(self, since: int = 0) -> list[Stage]:
        return [p.stage for p in self.of(Progress, since)]

    def wait(self, condition: Callable[[], object]) -> None:
        until = time.monotonic() + TIMEOUT_S
        while not condition():
            assert time.monotonic() < until, f"timeout; the last reports are {self.reports[-3:]}"
            if self.pipe.poll(0.05):
                self.reports.append(self.pipe.recv())

    def wait_for(self, stage: Stage, revision: int | None = None, since: int = 0) -> None:
        def is_reported() -> bool:
            found = [p for p in self.of(Progress, since) if p.stage is stage]
            return any(revision in (None, p.revision) for p in found)

        self.wait(is_reported)

    def end(self) -> None:
        self.send(Shutdown())
        self.thread.join(TIMEOUT_S)
        assert not self.thread.is_alive()
        self.pipe.close()
        self._theirs.close()


@pytest.fixture(scope="module")
def features(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Feature cache shared by all tests, which use the same cines."""
    return tmp_path_factory.mktemp("features")


@pytest.fixture
def driver(tmp_path: Path, features: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Driver]:
    monkeypatch.setattr(jobs, "FitConfig", lambda: FitConfig(steps=8, warm_steps=3))
    driver = Driver(tmp_path, features)
    yield driver
    driver.end()


def test_the_engine_reports_its_encoder_and_waits_for_labels(driver: Driver) -> None:
    driver.send(driver.open())
    driver.wait_for(Stage.WAITING)
    (ready,) = driver.of(Ready)
    assert ready.encoder == DEFAULT_ENCODER
    assert driver.of(CineReceived) == [CineReceived(1)]
    assert driver.of(Predicted) == []


def test_the_whole_cine_is_predicted_outward_from_the_visible_frame(driver: Driver) -> None:
    driver.send(driver.open(), SetVisibleFrame(1, 5), driver.labels(1, 0, 3))
    driver.wait_for(Stage.UP_TO_DATE)
    (received,) = driver.of(LabelsReceived)
    assert received.labels.path.endswith("labels1-1")
    final = [p for p in driver.of(Predicted) if p.final]
    assert final[0].frames[0] == 5
    assert sorted(f for p in final for f in p.frames) == list(range(FRAMES))
    assert {p.revision for p in driver.of(Predicted)} == {1}
    assert all(0 <= c <= 1 for p in final for c in p.expected_dice)
    assert all(len(p.structure_dice) == len(p.frames) for p in final)
    assert all(0 <= c <= 1 for p in final for each in p.structure_dice for c in each.values())
    assert any(each for p in final for each in p.structure_dice)
    (head,) = driver.of(HeadReady)
    assert head.revisions == ((1, 1),)
    assert Path(head.path).exists()
    assert set(np.unique(driver.masks[1].open())) <= {0, 1, 2, 3}
    assert driver.doubts[1].open().any(axis=(1, 2)).all()  # every frame has some doubt


def test_the_fit_is_reported_before_the_first_masks(driver: Driver) -> None:
    """On a busy machine the first masks take seconds; progress must be visible before."""
    driver.send(driver.open())
    driver.wait_for(Stage.WAITING)
    since = len(driver.reports)
    driver.send(driver.labels(1, 0))
    driver.wait_for(Stage.UP_TO_DATE, 1)
    relevant = [report for report in driver.reports[since:] if isinstance(report, Progress | Predicted)]
    assert relevant[0] == Progress(1, 1, Stage.FITTING, 0, 8)
    assert isinstance(relevant[1], Predicted)


def test_stored_masks_are_predicted_again_on_request(driver: Driver) -> None:
    driver.send(driver.open(), driver.labels(1, 0, 3))
    driver.wait_for(Stage.UP_TO_DATE)
    before, since = np.array(driver.masks[1].open()), len(driver.reports)
    driver.doubts[1].open(writable=True)[...] = 0
    driver.send(PredictAgain(1))
    driver.wait_for(Stage.UP_TO_DATE, since=since)
    assert not driver.of(HeadReady, since)
    assert sorted(f for p in driver.of(Predicted, since) for f in p.frames) == list(range(FRAMES))
    assert np.array_equal(driver.masks[1].open(), before)
    assert driver.doubts[1].open().any(axis=(1, 2)).all()


def test_a_second_fit_is_short_and_reports_its_revision(driver: Driver) -> None:
    driver.send(driver.open(), driver.labels(1, 0))
    driver.wait_for(Stage.UP_TO_DATE, 1)
    since = len(driver.reports)
    driver.send(driver.labels(2, 0, 4))
    driver.wait_for(Stage.UP_TO_DATE, 2)
    fits = [p for p in driver.of(Progress, since) if p.stage is Stage.FITTING]
    assert {(p.total, p.revision) for p in fits} == {(3, 2)}
    assert {p.revision for p in driver.of(Predicted, since)} == {2}


def test_cancel_and_resume(driver: Driver) -> None:
    driver.send(driver.open())
    driver.wait_for(Stage.WAITING)
    driver.send(driver.labels(1, 0), Cancel())
    driver.wait_for(Stage.CANCELLED)
    assert driver.of(HeadReady) == []
    driver.send(Resume())
    driver.wait_for(Stage.UP_TO_DATE)
    assert len(driver.of(HeadReady)) == 1


def test_new_labels_resume_after_cancel(driver: Driver) -> None:
    driver.send(driver.open(), Cancel())
    driver.wait_for(Stage.CANCELLED)
    driver.send(driver.labels(1, 0))
    driver.wait_for(Stage.UP_TO_DATE)


def test_fitted_labels_need_their_head(driver: Driver) -> None:
    """If the head is rejected, the labels are fitted again."""
    driver.send(driver.open(), driver.labels(5, 0, is_fitted=True))
    driver.wait_for(Stage.UP_TO_DATE)
    assert driver.of(HeadReady)[0].revisions == ((1, 5),)


def test_a_restored_head_makes_a_fit_unnecessary(driver: Driver) -> None:
    driver.send(driver.open(), driver.labels(1, 0))
    driver.wait_for(Stage.UP_TO_DATE)
    since = len(driver.reports)
    driver.send(RestoreHead(driver.of(HeadReady)[0].path), driver.labels(2, 0, 1, is_fitted=True))
    driver.wait_for(Stage.UP_TO_DATE, 2)
    assert Stage.FITTING not in driver.stages(since)
    assert driver.of(Failed) == []


def test_a_head_over_another_encoder_is_not_used(driver: Driver, tmp_path: Path, features: Path) -> None:
    driver.send(driver.open(), driver.labels(1, 0))
    driver.wait_for(Stage.UP_TO_DATE)
    old = driver.of(HeadReady)[0]
    own = tmp_path / "own"
    own.mkdir()
    card = write_user_encoder(own)
    other = Driver(own, features, "own", encoder_folders=[resource_path("encoders"), own])
    try:
        other.send(RestoreHead(old.path), other.open(), other.labels(1, 0, is_fitted=True))
        other.wait_for(Stage.UP_TO_DATE)
        assert other.of(Ready)[0].encoder == "own"
        (head,) = other.of(HeadReady)  # the labels were fitted again
        assert (head.encoder, head.encoder_checksum) == ("own", card["checksum"])
        assert head.encoder_checksum != old.encoder_checksum
        assert len(list(features.glob("*.safetensors"))) >= 2  # one cine, features of either encoder
        assert other.of(Failed) == []
    finally:
        other.end()


@pytest.mark.parametrize("problem", ["older", "damaged", "missing"])
def test_a_saved_head_that_cannot_be_used_is_fitted_again(
    driver: Driver, tmp_path: Path, problem: str
) -> None:
    if problem == "older":
        save_file({}, str(tmp_path / "old"), metadata={"format": "apical-head-1"})
    elif problem == "damaged":
        (tmp_path / "old").write_bytes(b"not a head")
    driver.send(RestoreHead(str(tmp_path / "old")), driver.open(), driver.labels(1, 0, is_fitted=True))
    driver.wait_for(Stage.UP_TO_DATE)
    assert len(driver.of(HeadReady)) == 1  # the labels were fitted again
    assert driver.of(Failed) == []


class StubStarter:
    """A starter with an untrained head that applies or not, as specified."""

    def __init__(self, card: EncoderCard, applies: bool) -> None:
        self.head = new_head(card, (1, 2, 3))
        self._applies = applies
        self.n_calls = 0

    def initial_head(self, classes: tuple[int, ...], *, left_heart: bool) -> Head:
        assert left_heart
        assert classes == self.head.config.classes
        return copy.deepcopy(self.head)

    def applies(self, cine: object) -> bool:
        self.n_calls += 1
        return self._applies


@pytest.fixture
def with_starter(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, features: Path
) -> Iterator[Callable[[bool], tuple[Driver, list[StubStarter]]]]:
    """Return a function that starts an engine with a starter head."""
    clients: list[Driver] = []

    def start(applies: bool) -> tuple[Driver, list[StubStarter]]:
        starters: list[StubStarter] = []

        def load(card: EncoderCard) -> StubStarter:
            starters.append(StubStarter(card, applies))
            return starters[0]

        monkeypatch.setattr(engine, "load_starter", load)
        monkeypatch.setattr(jobs, "FitConfig", lambda: FitConfig(steps=8, warm_steps=3))
        clients.append(Driver(tmp_path, features))
        return clients[0], starters

    yield start
    for driver in clients:
        driver.end()


def test_a_draft_is_predicted_before_any_label_and_after_all_are_removed(
    with_starter: Callable[[bool], tuple[Driver, list[StubStarter]]],
) -> None:
    driver, starters = with_starter(True)
    driver.send(replace(driver.open(), left_heart=True))
    driver.wait_for(Stage.DRAFT)
    assert {f for p in driver.of(Predicted) for f in p.frames} == set(range(FRAMES))
    assert driver.of(HeadReady) == []
    driver.send(driver.labels(1, 0))
    driver.wait_for(Stage.UP_TO_DATE, 1)
    since = len(driver.reports)
    driver.send(driver.labels(2))
    driver.wait_for(Stage.DRAFT, 2, since)
    again = [p for p in driver.reports[since:] if isinstance(p, Predicted)]
    assert {f for p in again for f in p.frames} == set(range(FRAMES))
    assert starters[0].n_calls == 1


def test_a_draft_is_not_replaced_by_carried_labels(
    with_starter: Callable[[bool], tuple[Driver, list[StubStarter]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    driver, _ = with_starter(True)
    driver.send(replace(driver.open(), left_heart=True))
    driver.wait_for(Stage.DRAFT)
    carried: list[int] = []
    carry = CineState.carry_labels

    def count(work: CineState) -> Iterator[dict[int, float]]:
        carried.append(work.cine_id)
        return carry(work)

    monkeypatch.setattr(CineState, "carry_labels", count)
    driver.send(driver.labels(1, 0))
    driver.wait_for(Stage.UP_TO_DATE, 1)
    assert carried == []


def test_structures_that_are_not_outlined_on_a_cine_come_from_its_draft(
    with_starter: Callable[[bool], tuple[Driver, list[StubStarter]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    driver, _ = with_starter(True)
    calls: list[tuple[int, list[bool]]] = []

    def record(found: torch.Tensor, draft: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
        calls.append((driver.engine.state.visible_id, known.tolist()))
        return fill_from_draft(found, draft, known)

    monkeypatch.setattr("vjepa_core.fewshot.pipeline.fill_from_draft", record)
    everything = replace(driver.labels(1, 0), stated=((1, 2, 3),))
    cavity = replace(driver.labels(1, 0, cine=2), stated=((1,),))
    driver.send(replace(driver.open(), left_heart=True), replace(driver.open(2), left_heart=True))
    driver.send(everything, cavity, SetVisibleFrame(2, 0))
    driver.wait(lambda: any(p.final and p.cine_id == 2 and p.revision == 1 for p in driver.of(Predicted)))
    assert (2, [True, True, False, False]) in calls
    assert all(known == [True, True, False, False] for cine, known in calls if cine == 2)


def test_structures_stated_to_be_absent_reach_the_labels(driver: Driver) -> None:
    driver.send(driver.open(), replace(driver.labels(1, 0, 3), stated=((1, 3), (1, 2, 3))))
    driver.wait_for(Stage.UP_TO_DATE, 1)
    labels = driver.engine.state.cines[1].pipeline.labels
    assert labels[0].stated.tolist() == [True, True, False, True]
    assert labels[3].stated.tolist() == [True, True, True, True]
    assert labels[0].target[..., 3].max() == 0


def test_a_draft_is_predicted_again_after_labels_without_a_structure(
    with_starter: Callable[[bool], tuple[Driver, list[StubStarter]]],
) -> None:
    driver, _ = with_starter(True)
    driver.send(replace(driver.open(), left_heart=True))
    driver.wait_for(Stage.DRAFT)
    since = len(driver.reports)
    driver.send(driver.labels(1))
    driver.wait_for(Stage.DRAFT, 1, since)
    again = [p for p in driver.of(Predicted, since) if p.revision == 1]
    assert {f for p in again for f in p.frames} == set(range(FRAMES))


def test_predicting_a_cine_again_before_it_has_arrived_is_not_an_error(
    with_starter: Callable[[bool], tuple[Driver, list[StubStarter]]],
) -> None:
    driver, _ = with_starter(True)
    driver.send(PredictAgain(7), replace(driver.open(), left_heart=True))
    driver.wait_for(Stage.DRAFT)
    assert driver.of(Failed) == []


@pytest.mark.parametrize("applies", [True, False])
def test_a_scribble_is_completed_by_the_starter_head_only_if_it_applies(
    with_starter: Callable[[bool], tuple[Driver, list[StubStarter]]],
    monkeypatch: pytest.MonkeyPatch,
    applies: bool,
) -> None:
    heads: list[object] = []

    def complete(cine: PreparedCine, head: object) -> dict[int, FrameLabel]:
        heads.append(head)
        return dict(cine.labels)

    monkeypatch.setattr("vjepa_core.fewshot.pipeline.complete_labels", complete)
    driver, starters = with_starter(applies)
    driver.send(replace(driver.open(), left_heart=True))
    driver.wait_for(Stage.DRAFT if applies else Stage.NOT_RECOGNISED)
    scribble = np.full((1, SIZE, SIZE), 255, np.uint8)
    scribble[0, 10:20, 10:20] = 1
    driver.send(SetLabels(1, 1, (0,), driver.share("scribble", scribble)))
    driver.wait_for(Stage.UP_TO_DATE, 1)
    assert heads
    assert all(head is (starters[0].head if applies else None) for head in heads)


def test_there_is_no_draft_if_the_starter_head_does_not_apply(
    with_starter: Callable[[bool], tuple[Driver, list[StubStarter]]],
) -> None:
    driver, _ = with_starter(False)
    driver.send(replace(driver.open(), left_heart=True))
    driver.wait_for(Stage.NOT_RECOGNISED)
    assert driver.of(Predicted) == []
    driver.send(driver.labels(1, 0))
    driver.wait_for(Stage.UP_TO_DATE, 1)


def test_there_is_no_draft_of_other_structures(
    with_starter: Callable[[bool], tuple[Driver, list[StubStarter]]],
) -> None:
    driver, starters = with_starter(True)
    driver.send(driver.open())
    driver.wait_for(Stage.WAITING)
    assert driver.of(Predicted) == []
    assert starters[0].n_calls == 0


def test_a_fit_starts_from_a_copy_of_the_starter_head(
    with_starter: Callable[[bool], tuple[Driver, list[StubStarter]]],
) -> None:
    driver, starters = with_starter(True)
    driver.wait(lambda: bool(starters))
    before = {name: value.clone() for name, value in starters[0].head.state_dict().items()}
    driver.send(replace(driver.open(), left_heart=True), driver.labels(1, 0))
    driver.wait_for(Stage.UP_TO_DATE, 1)
    after = starters[0].head.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())


def test_after_one_label_the_draft_is_used_where_only_it_follows_the_beat(
    with_starter: Callable[[bool], tuple[Driver, list[StubStarter]]],
) -> None:
    driver, _ = with_starter(True)
    request = replace(driver.open(), left_heart=True)
    driver.send(request)
    driver.wait_for(Stage.DRAFT)
    grid = np.hypot(*(np.mgrid[:GRID_SIZE, :GRID_SIZE] - GRID_SIZE / 2))
    radii = [SIZE // 4, SIZE // 4, 20, 25, 25, 25]  # in pixels of the region; the frames hardly change
    inside = torch.from_numpy(np.stack([grid < radius * GRID_SIZE / SIZE for radius in radii])).float()
    work = driver.engine.state.cines[1]
    assert work.pipeline.draft is not None
    work.pipeline.draft.store(range(FRAMES), torch.stack([1 - inside, inside, 0 * inside, 0 * inside], 1))
    label = (np.hypot(*(np.mgrid[:SIZE, :SIZE] - SIZE / 2)) < SIZE // 4).astype(np.uint8)
    driver.send(SetLabels(1, 1, (0,), driver.share("one", label[None])))
    driver.wait_for(Stage.UP_TO_DATE, 1)
    areas = (request.masks.open() == 1).sum((1, 2))
    assert areas[0] == pytest.approx(np.pi * 15**2, rel=0.15)
    assert areas[4] == pytest.approx(np.pi * 25**2, rel=0.05)


def test_a_cine_keeps_its_draft_while_one_other_is_outlined(
    with_starter: Callable[[bool], tuple[Driver, list[StubStarter]]],
) -> None:
    driver, _ = with_starter(True)
    driver.send(replace(driver.open(1), left_heart=True), driver.labels(1, 0))
    driver.wait_for(Stage.UP_TO_DATE, 1)
    driver.send(replace(driver.open(2), left_heart=True), SetVisibleFrame(2, 0))
    driver.wait_for(Stage.DRAFT)


def left_heart(driver: Driver, cine: int) -> OpenCine:
    return replace(driver.open(cine), left_heart=True)


def test_a_cine_whose_labels_are_removed_gets_a_draft_and_the_others_a_fit(
    with_starter: Callable[[bool], tuple[Driver, list[StubStarter]]],
) -> None:
    driver, _ = with_starter(True)
    driver.send(left_heart(driver, 1), left_heart(driver, 2))
    driver.send(driver.labels(1, 0, cine=1), driver.labels(1, 2, cine=2), SetVisibleFrame(2, 0))
    driver.wait(lambda: any(len(h.revisions) == 2 for h in driver.of(HeadReady)))
    driver.wait_for(Stage.UP_TO_DATE)
    since = len(driver.reports)
    driver.send(driver.labels(2, cine=2))
    driver.wait_for(Stage.DRAFT, 2, since)
    drawn = [p for p in driver.of(Predicted, since) if p.cine_id == 2 and p.revision == 2]
    assert {f for p in drawn for f in p.frames} == set(range(FRAMES))
    assert all(p.draft for p in drawn if p.final)
    assert dict(driver.of(HeadReady, since)[-1].revisions) == {1: 1}


def test_without_any_labels_every_cine_gets_a_draft_again(
    with_starter: Callable[[bool], tuple[Driver, list[StubStarter]]],
) -> None:
    driver, _ = with_starter(True)
    driver.send(left_heart(driver, 1), left_heart(driver, 2), left_heart(driver, 3))
    driver.send(driver.labels(1, 0, cine=1), driver.labels(1, 2, cine=2), SetVisibleFrame(3, 0))
    driver.wait(lambda: any(p.cine_id == 3 and p.final and not p.draft for p in driver.of(Predicted)))
    driver.wait_for(Stage.UP_TO_DATE)
    since = len(driver.reports)
    driver.send(driver.labels(2, cine=1), driver.labels(2, cine=2), SetVisibleFrame(3, 1))
    driver.wait_for(Stage.DRAFT, None, since)
    drafts = [p for p in driver.of(Predicted, since) if p.cine_id == 3 and p.draft]
    assert {f for p in drafts for f in p.frames} == set(range(FRAMES))


def test_a_cine_without_labels_does_not_discard_a_restored_head(
    with_starter: Callable[[bool], tuple[Driver, list[StubStarter]]], tmp_path: Path
) -> None:
    driver, starters = with_starter(True)
    driver.wait(lambda: bool(starters))
    save_head(starters[0].head, tmp_path / "kept.safetensors")
    driver.send(RestoreHead(str(tmp_path / "kept.safetensors")))
    driver.send(left_heart(driver, 1), driver.labels(2, cine=1))  # removed before the project was closed
    driver.send(left_heart(driver, 2), driver.labels(1, 0, cine=2, is_fitted=True), SetVisibleFrame(2, 0))
    driver.wait_for(Stage.UP_TO_DATE)
    assert driver.of(HeadReady) == []


def test_a_restored_head_without_labelled_cines_predicts_nothing(
    with_starter: Callable[[bool], tuple[Driver, list[StubStarter]]], tmp_path: Path
) -> None:
    driver, starters = with_starter(False)
    driver.wait(lambda: bool(starters))
    save_head(starters[0].head, tmp_path / "kept.safetensors")
    driver.send(RestoreHead(str(tmp_path / "kept.safetensors")), left_heart(driver, 1))
    driver.wait_for(Stage.NOT_RECOGNISED)
    assert driver.of(Predicted) == []


def test_a_draft_is_replaced_once_two_other_cines_are_labelled(
    with_starter: Callable[[bool], tuple[Driver, list[StubStarter]]],
) -> None:
    driver, starters = with_starter(True)
    driver.wait(lambda: bool(starters))
    driver.send(left_heart(driver, 1))
    driver.wait_for(Stage.DRAFT)
    driver.send(left_heart(driver, 2), left_heart(driver, 3), SetVisibleFrame(1, 0))
    driver.send(driver.labels(1, 0, cine=2), driver.labels(1, 2, cine=3))
    driver.wait_for(Stage.UP_TO_DATE)
    last = {f: p.draft for p in driver.of(Predicted) if p.cine_id == 1 and p.final for f in p.frames}
    assert last == dict.fromkeys(range(FRAMES), False)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), "it needs more memory than is available"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 7.20 GiB"), "choose a smaller one"),
        (RuntimeError("no kernel"), "RuntimeError: no kernel"),
    ],
)
def test_an_encoder_that_cannot_be_loaded_is_reported_once(
    error: BaseException, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(engine, "load_encoder", load)
    driver = Driver(tmp_path, tmp_path)
    try:
        driver.wait(lambda: bool(driver.of(Failed)))
        (failed,) = driver.of(Failed)
        assert expected in failure_text(failed, "any")
        assert driver.thread.is_alive()
    finally:
        driver.end()
    assert not driver.thread.is_alive()


def write_user_encoder(folder: Path) -> dict[str, Any]:
    """Write a tiny encoder with its card, as trained by a user."""
    architecture = "vit_tiny_patch16_224_t2"
    torch.manual_seed(1)
    save_file(create_encoder(architecture).state_dict(), folder / "own.safetensors")
    checksum = hashlib.sha256((folder / "own.safetensors").read_bytes()).hexdigest()
    card = {"name": "own", "family": "V-JEPA 2.1", "architecture": architecture, "parameters": 1}
    card |= {"licence": "MIT", "description": "-", "trained": True, "fps": 30, "checksum": checksum}
    card |= {"file": "own.safetensors", "depths": [2, 5, 8, 11]}
    (folder / "own.json").write_text(json.dumps(card), encoding="utf-8")
    return card


def test_another_cine_is_predicted_when_it_becomes_visible(driver: Driver) -> None:
    driver.send(driver.open(1), driver.labels(1, 0))
    driver.wait_for(Stage.UP_TO_DATE)
    driver.send(driver.open(2), SetVisibleFrame(2, 3))
    driver.wait(
        lambda: {f for p in driver.of(Predicted) if p.cine_id == 2 for f in p.frames} == set(range(6))
    )
    assert next(p for p in driver.of(Predicted) if p.cine_id == 2).frames[0] == 3


def test_labels_of_two_cines_are_fitted_together(driver: Driver) -> None:
    driver.send(driver.open(1), driver.open(2))
    driver.send(driver.labels(1, 0, cine=1), driver.labels(4, 2, cine=2))
    driver.wait(lambda: any(len(h.revisions) == 2 for h in driver.of(HeadReady)))
    assert dict(driver.of(HeadReady)[-1].revisions) == {1: 1, 2: 4}


def test_cines_without_labels_are_used_if_both_nets_are_fitted(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "FitConfig", lambda: FitConfig(both_from=1, both_steps=8, warm_steps=3))
    used: list[list[int]] = []

    class RecordingFit(Fit):
        def __init__(self, *args: Any, unlabelled: Sequence[PreparedCine], **words: Any) -> None:
            super().__init__(*args, unlabelled=unlabelled, **words)
            used.append([cine.cine_id for cine in unlabelled])

    monkeypatch.setattr(jobs, "Fit", RecordingFit)
    driver.send(driver.open(2))
    driver.wait_for(Stage.WAITING)
    driver.send(driver.open(1), driver.labels(1, 0, 3))
    driver.wait_for(Stage.UP_TO_DATE, revision=1)
    assert used == [[2]]
    driver.send(driver.labels(1, 0, cine=2), driver.labels(2, cine=2))  # outlined, and removed
    driver.send(driver.labels(2, 0, 4))
    driver.wait(lambda: any(head.revisions == ((1, 2),) for head in driver.of(HeadReady)))
    assert used[-1] == []


def test_many_labels_are_fitted_by_the_image_net_only(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = FitConfig(steps=8, both_from=1, both_steps=4, warm_steps=3, alone_from=2)
    monkeypatch.setattr(jobs, "FitConfig", lambda: many)
    driver.send(driver.open())
    for revision, frames, total, in_use in (
        (1, (0, 3), 10, [False, True]),
        (2, (0, 3, 5), 6, [False, True]),  # continues from the fitted head
        (3, (0,), 4, [True, True]),  # the other net was not fitted to these labels
    ):
        since = len(driver.reports)
        driver.send(driver.labels(revision, *frames))
        driver.wait_for(Stage.UP_TO_DATE, revision)
        fits = [p for p in driver.of(Progress, since) if p.stage is Stage.FITTING]
        assert {p.total for p in fits} == {total}
        assert load_head(Path(driver.of(HeadReady)[-1].path)).in_use.tolist() == in_use
    assert driver.of(Failed) == []


def test_a_closed_cine_is_removed(driver: Driver) -> None:
    driver.send(driver.open(1), driver.labels(1, 0))
    driver.wait_for(Stage.FITTING)
    driver.send(CloseCine(1), CloseCine(77), driver.open(2))
    driver.wait_for(Stage.WAITING)
    assert driver.of(Failed) == []


def test_bad_requests_are_reported_and_do_not_stop_the_engine(driver: Driver, tmp_path: Path) -> None:
    gone = SharedArray(str(tmp_path / "gone"), (FRAMES, 224, 224))
    opened = driver.open()
    driver.send(
        OpenCine(9, gone, gone, SIZE, SIZE, 30.0, (1,)),
        SetLabels(9, 1, (), None),
        opened,
        SetLabels(1, 1, (0, 1), SharedArray(opened.frames.path, (1, SIZE, SIZE))),
    )
    driver.wait(lambda: len(driver.of(Failed)) == 3)
    driver.send(driver.labels(2, 0))
    driver.wait_for(Stage.UP_TO_DATE, 2)


def test_a_failed_job_is_reported_and_not_repeated(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []

    def fail(*_: object) -> None:
        calls.append(1)
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    with monkeypatch.context() as patch:
        patch.setattr(CineState, "predict", fail)
        driver.send(driver.open(), driver.labels(1, 0))
        driver.wait_for(Stage.CANCELLED)
    assert len(calls) == 1
    (failed,) = driver.of(Failed)
    assert "out of memory" in failure_text(failed, "any")
    assert failure_text(failed, "any").endswith(".")
    driver.send(Resume())
    driver.wait_for(Stage.UP_TO_DATE)


def test_removed_labels_start_no_fit(driver: Driver) -> None:
    driver.send(driver.open(), driver.labels(1, 0))
    driver.wait_for(Stage.UP_TO_DATE, 1)
    since = len(driver.reports)
    driver.send(driver.labels(2))
    driver.wait_for(Stage.UP_TO_DATE, 2, since)
    assert Stage.FITTING not in driver.stages(since)
    assert driver.of(Predicted, since) == []


def test_the_end_of_the_pipe_ends_the_engine(tmp_path: Path, features: Path) -> None:
    driver = Driver(tmp_path, features)
    driver.send(driver.open())
    driver.pipe.close()
    driver.thread.join(TIMEOUT_S)
    assert not driver.thread.is_alive()

"""Phantom labels as a term of the objective."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.unit.pretraining.runs import clips, tiny
from vjepa_core.phantom import PhantomSource
from vjepa_core.pretraining.augment import Augment
from vjepa_core.pretraining.build import build_objective, build_student
from vjepa_core.pretraining.config import PretrainConfig
from vjepa_core.pretraining.dense_labels import (
    CELLS,
    CLASSES,
    DenseLabelHead,
    LabelledPhantoms,
    class_fractions,
)
from vjepa_core.pretraining.distributed import World
from vjepa_core.pretraining.ema import create_teacher
from vjepa_core.pretraining.errors import PretrainingError
from vjepa_core.pretraining.loop import Trainer, pretrain
from vjepa_core.pretraining.masks import MaskSampler, random_tubes
from vjepa_core.pretraining.objective import Batch, weighted_sum
from vjepa_core.pretraining.source import MemorySource


def test_class_fractions_of_cells_match_the_pixels() -> None:
    labels = torch.zeros(1, 4, 32, 32, dtype=torch.uint8)
    labels[:, :2, :4, :4] = 1  # first cell of the first token, in the first tubelet
    labels[:, 2, 16:20, 4:8] = 3  # second cell of token (1, 1, 0), in one frame of two
    found = class_fractions(labels, (2, 2, 2))
    assert found.shape == (1, 8, CELLS * CELLS, CLASSES)
    torch.testing.assert_close(found.sum(-1), torch.ones(1, 8, CELLS * CELLS))
    assert found[0, 0, 0].tolist() == [0, 1, 0, 0]
    assert found[0, 6, 1].tolist() == [0.5, 0, 0, 0.5]
    assert found[..., 1].sum() == 1


def test_the_loss_is_minimal_for_the_true_labels() -> None:
    labels = torch.zeros(1, 2, 32, 32, dtype=torch.uint8)
    labels[..., :16] = 2
    head = DenseLabelHead(2)
    tokens = torch.zeros(1, 4, 2)
    tokens[0, [0, 2], 0] = 1  # left
    tokens[0, [1, 3], 1] = 1  # right
    with torch.no_grad():
        head.proj.bias.zero_()
        head.proj.weight.zero_()
        even = head([tokens], labels, (1, 2, 2))
        weights = head.proj.weight.view(CELLS * CELLS, CLASSES, 2)
        weights[:, 2, 0] = weights[:, 0, 1] = 20.0
        right = head([tokens], labels, (1, 2, 2))
    assert float(even) == pytest.approx(torch.tensor(4.0).log().item(), abs=1e-5)
    assert float(right) < 1e-4


def test_labels_are_cropped_like_the_images() -> None:
    truth = LabelledPhantoms(PhantomSource(2, 64), augment=Augment.none(), degrees=40.0, scale=(0.5, 0.5))
    frames, labels = truth.labelled(2, torch.Generator().manual_seed(0))
    again, _ = truth.labelled(2, torch.Generator().manual_seed(0))
    assert torch.equal(frames, again)
    assert frames.shape == labels.shape == (2, 2, 64, 64)
    assert frames.dtype == labels.dtype == torch.uint8
    assert set(labels.unique().tolist()) <= {0, 1, 2, 3}
    # Blood is dark and the wall bright only if images and labels have the same crop.
    grey = frames.float()
    assert grey[labels == 1].mean() < grey[labels == 2].mean()


@pytest.mark.parametrize("deep", [False, True])
def test_both_terms_give_every_trained_weight_a_gradient(deep: bool) -> None:
    config = tiny(deep=deep, pixels={"peak": 1.0}, truth={"peak": 1.0})
    objective = build_objective(build_student(config), config)
    generator = torch.Generator().manual_seed(0)
    labelled = (clips(2), torch.randint(0, 4, clips(2).shape, dtype=torch.uint8))
    draw = objective.draw(clips(2), generator, labelled)
    targets, _ = objective.targets(create_teacher(objective.student), draw.clips)
    terms = objective(draw, targets)
    assert {"jepa", "pixels", "truth"} <= set(terms)
    weighted_sum(terms, dict.fromkeys(terms, 1.0)).backward()
    assert [n for n, p in objective.named_parameters() if p.requires_grad and p.grad is None] == []


def test_the_pixel_term_is_invariant_to_gain() -> None:
    config = tiny(pixels={"peak": 1.0}, loc={"peak": 0.0})
    objective = build_objective(build_student(config), config)
    dim, bright = clips(2) // 4, clips(2) // 4 * 3
    found = []
    for shown in (dim, bright):
        draw = objective.draw(shown, torch.Generator().manual_seed(0))
        targets, _ = objective.targets(create_teacher(objective.student), shown)
        with torch.no_grad():
            objective.predictor.proj.weight.zero_()
            found.append(float(objective(draw, targets)["pixels"].detach()))
    assert found[0] == pytest.approx(found[1], rel=1e-3)
    assert found[0] == pytest.approx(1.0, rel=0.05)  # a constant prediction of standardised grey levels


def test_labelled_clips_are_divided_among_parts() -> None:
    config = tiny(truth={"peak": 1.0})
    objective = build_objective(build_student(config), config)
    labelled = (clips(2), torch.ones_like(clips(2)))
    draw = objective.draw(clips(4), torch.Generator().manual_seed(0), labelled)
    parts = [draw.part(i, i + 1) for i in range(4)]
    assert sum(len(part.labelled[0]) for part in parts) == 2
    assert any(not len(part.labelled[0]) for part in parts)
    teacher = create_teacher(objective.student)

    def truth(part: Batch) -> float:
        targets, _ = objective.targets(teacher, part.clips)
        return float(objective(part, targets)["truth"].detach())

    assert sum(truth(part) for part in parts) / 4 == pytest.approx(truth(draw), rel=1e-4)


def test_a_resumed_run_with_labels_is_reproducible(tmp_path: Path) -> None:
    config = tiny(truth={"peak": 1.0}, truth_share=0.5, steps=3)
    source = MemorySource(clips(8))
    truth = LabelledPhantoms(PhantomSource(config.frames, config.size))
    whole: list[float] = []
    pretrain(config, source, tmp_path / "a", labelled=truth, on_step=lambda e: whole.append(e["loss_truth"]))
    parts: list[float] = []
    pretrain(
        config,
        source,
        tmp_path / "b",
        labelled=truth,
        on_step=lambda e: parts.append(e["loss_truth"]),
        should_stop=lambda: len(parts) == 0,
    )
    pretrain(
        config,
        source,
        tmp_path / "b",
        labelled=truth,
        resume=True,
        on_step=lambda e: parts.append(e["loss_truth"]),
    )
    assert parts == pytest.approx(whole, rel=1e-5)


def test_missing_labels_give_an_error(tmp_path: Path) -> None:
    config = tiny(truth={"peak": 1.0})
    with pytest.raises(PretrainingError, match="labelled"):
        Trainer(config, MemorySource(clips(4)), tmp_path / "run", World(torch.device("cpu")))


def test_random_tubes_hide_single_positions_in_all_frames() -> None:
    grid = (4, 10, 10)
    sampler = MaskSampler(grid, (random_tubes(grid, 0.9),))
    (masks,) = sampler(16, torch.Generator().manual_seed(0))
    assert 0.05 < masks.context.shape[1] / 400 < 0.12
    assert masks.target.shape[1] / 400 > 0.8
    positions = masks.context % 100
    seen = torch.stack([torch.bincount(row, minlength=100) for row in positions])
    # A visible position is visible at most times; a few tokens are dropped for a fixed length.
    assert seen[seen > 0].float().mean() > 2.5


def test_labelled_clips_of_several_lengths_have_the_same_number_of_frames() -> None:
    truth = LabelledPhantoms(PhantomSource(4, 64), lengths=(2, 4))
    generator = torch.Generator().manual_seed(0)
    shapes = {tuple(truth.labelled(2, generator)[1].shape) for _ in range(8)}
    assert shapes == {(4, 2, 64, 64), (2, 4, 64, 64)}


def test_sharding_allows_one_length_only() -> None:
    with pytest.raises(PretrainingError, match="one length only"):
        PretrainConfig(truth_frames=(2, 16), shard=True)


@pytest.mark.parametrize("lengths", [(3,), (0, 2), (18,)])
def test_invalid_lengths_are_rejected(lengths: tuple[int, ...]) -> None:
    with pytest.raises(PretrainingError, match="truth_frames must be multiples of 2"):
        PretrainConfig(truth_frames=lengths)

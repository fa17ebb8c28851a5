"""Augmentations: reproducible, constant within a clip, black outside the sector, never flipped."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import pytest
import torch
from torch.nn import functional

from vjepa_core.pretraining.augment import Augment, contact_sheet, save_contact_sheet, speckle


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def clips(n: int = 6, frames: int = 4, side: int = 64) -> torch.Tensor:
    """Return static clips of a smooth sector, so that differences between frames come from augmentation."""
    noise = torch.rand(n, 1, 8, 8, generator=seeded(1)) * 120 + 60
    image = functional.interpolate(noise, (side, side), mode="bilinear")
    y, x = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    inside = (x - side / 2).abs() < 0.8 * y
    return (image * inside).to(torch.uint8).repeat(1, frames, 1, 1)


def test_augmentation_keeps_the_shape_and_is_reproducible() -> None:
    before = clips()
    copy = before.clone()
    first, second = Augment()(before, seeded()), Augment()(before, seeded())
    assert first.shape == before.shape
    assert first.dtype == torch.uint8
    assert torch.equal(first, second)
    assert torch.equal(before, copy)  # the input is not changed
    assert not torch.equal(first, Augment()(before, seeded(1)))


def test_black_stays_black() -> None:
    before = clips(32)
    after = Augment()(before, seeded())
    assert after[before == 0].max() == 0


def test_augment_none_changes_nothing() -> None:
    before = clips()
    assert torch.equal(Augment.none()(before, seeded()), before)


@pytest.mark.parametrize("name", [f.name for f in fields(Augment)])
def test_every_effect_changes_clips(name: str) -> None:
    only = replace(Augment.none(), **{name: getattr(Augment(), name)})
    before = clips(16)
    after = only(before, seeded())
    changed = (after.float() - before.float()).abs().flatten(1).mean(1) > 0.2
    assert 2 <= int(changed.sum()) < 16  # some clips are changed, others are not
    if name not in ("speckle", "haze"):
        assert torch.equal(after, after[:, :1].expand_as(after))  # the same in all frames


def test_clips_are_never_flipped() -> None:
    before = clips(32)
    before[..., :32] //= 3
    after = Augment(sector=0, shadow=0)(before, seeded()).float()
    assert (after[..., 32:].mean((1, 2, 3)) > after[..., :32].mean((1, 2, 3))).all()


def test_speckle_strength_and_memory() -> None:
    strength = torch.full((8,), 0.2)
    loose = speckle(strength, (6, 96, 96), seeded(), torch.zeros(8))
    assert abs(float(loose.std()) - 0.2) < 0.02
    fixed = speckle(strength, (6, 96, 96), seeded(), torch.ones(8))
    assert torch.equal(fixed, fixed[:, :1].expand_as(fixed))
    across = (loose[..., 1:] * loose[..., :-1]).mean()
    along = (loose[..., 1:, :] * loose[..., :-1, :]).mean()
    assert across > along > 0  # wider across the beam


@pytest.mark.parametrize("bad", [torch.zeros(2, 4, 8, 8), torch.zeros(4, 8, 8, dtype=torch.uint8)])
def test_bad_input_is_rejected(bad: torch.Tensor) -> None:
    with pytest.raises(ValueError, match="uint8"):
        Augment()(bad, seeded())


def test_an_invalid_strength_is_rejected() -> None:
    with pytest.raises(ValueError, match="negative"):
        Augment(gain=-1)


def test_a_contact_sheet_is_written(tmp_path: Path) -> None:
    assert contact_sheet(clips(3), columns=8, side=32).shape == (3 * 34, 4 * 34)
    save_contact_sheet(tmp_path / "sheet.png", clips(2), clips(2), side=32)
    assert (tmp_path / "sheet.png").stat().st_size > 100

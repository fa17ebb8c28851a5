"""Sources of clips."""

from __future__ import annotations

import pytest
import torch

from vjepa_core.pretraining.data import CineClipSource, LoadedCine
from vjepa_core.pretraining.source import ClipSource, MemorySource, MixedSource, marked_batch


def _flat(value: int) -> MemorySource:
    return MemorySource(torch.full((3, 2, 16, 16), value, dtype=torch.uint8))


def test_a_mixture_has_the_given_fractions() -> None:
    mixed = MixedSource([_flat(1), _flat(2), _flat(3)], [2, 1, 0])
    assert isinstance(mixed, ClipSource)
    generator = torch.Generator().manual_seed(0)
    counts = torch.zeros(4)
    for _ in range(60):
        batch = mixed.batch(7, generator)
        assert batch.shape == (7, 2, 16, 16)
        counts += batch[:, 0, 0, 0].long().bincount(minlength=4)
    assert counts[3] == 0
    assert counts[1] / counts[2] == pytest.approx(2.0, rel=0.1)


def test_clips_are_reproducible() -> None:
    source = MemorySource(torch.randint(0, 256, (9, 2, 16, 16), dtype=torch.uint8))
    a, b = (source.batch(5, torch.Generator().manual_seed(7)) for _ in range(2))
    assert torch.equal(a, b)


def test_invalid_input_is_rejected() -> None:
    with pytest.raises(ValueError, match="uint8"):
        MemorySource(torch.zeros(3, 2, 16, 16))
    with pytest.raises(ValueError, match="weight"):
        MixedSource([_flat(1)], [1, 2])
    with pytest.raises(ValueError, match="negative"):
        MixedSource([_flat(1)], [-1])


def test_a_mixture_returns_the_moving_flags() -> None:
    stills = CineClipSource(
        torch.full((3, 16, 16), 9, dtype=torch.uint8),
        [LoadedCine("still", 0.0, 1)] * 3,
        shares={"still": 1.0},
        size=16,
        clip=2,
    )
    mixed = MixedSource([_flat(200), stills], [1, 1])
    shown, moving = marked_batch(mixed, 8, torch.Generator().manual_seed(0))
    assert moving.sum() == 4
    assert torch.equal(moving, shown[:, 0, 8, 8] == 200)
    assert torch.equal(shown, mixed.batch(8, torch.Generator().manual_seed(0)))
    assert marked_batch(_flat(1), 3, torch.Generator())[1].all()

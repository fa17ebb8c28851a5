"""Pseudo-cines: match both still images, change smoothly, and have consistent masks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from vjepa_core.pretraining.pseudo import PairBank, PseudoSource, contraction_curve, pseudo_cine
from vjepa_core.pretraining.registration import exponential, pixel_grid, register, signed_distance, warp

SIDE = 96


def heart(scale: float) -> tuple[np.ndarray, np.ndarray]:
    """Return an image and labels of a ventricle of some size above an atrium with the opposite change."""
    y, x = np.mgrid[:SIDE, :SIDE]
    base = 58 - 8 * (1 - scale)
    inner = ((x - 48) / (16 * scale)) ** 2 + ((y - base) / (40 * scale + 4)) ** 2 < 1
    outer = ((x - 48) / (16 * scale + 9)) ** 2 + ((y - base) / (40 * scale + 12)) ** 2 < 1
    atrium = ((x - 48) / (14 / scale)) ** 2 + ((y - base) / 24) ** 2 < 1
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[atrium & (y >= base)] = 3
    mask[outer & (y < base)] = 2
    mask[inner & (y < base)] = 1
    fan = np.abs(x - 48) < 0.9 * (y + 2)
    grain = np.random.default_rng(0).integers(0, 40, (SIDE, SIDE))
    image = (np.choose(mask, [60, 20, 160, 25]) + grain) * fan
    return image.astype(np.uint8), mask


def bank() -> PairBank:
    stills = [
        (f"patient000{p}_4CH_{moment}", *heart(s))
        for p in range(2)
        for moment, s in (("ED", 1.0), ("ES", 0.65))
    ]
    made = PairBank.from_stills([*stills, ("patient0009_4CH_ED", *heart(1.0))], size=SIDE)
    assert made is not None
    return made


@pytest.fixture(scope="module", name="pairs")
def _pairs() -> PairBank:
    return bank()


def dice(a: np.ndarray, b: np.ndarray, label: int) -> float:
    return 2 * float(((a == label) & (b == label)).sum()) / float((a == label).sum() + (b == label).sum())


def test_the_contraction_curve_is_periodic_smooth_and_short_in_systole() -> None:
    phase = torch.linspace(0, 1, 1001)
    contraction = contraction_curve(phase)
    assert contraction.min() >= -1e-6
    assert contraction.max() <= 1 + 1e-6
    assert abs(float(contraction[0])) < 1e-6
    assert abs(float(contraction[-1])) < 1e-6
    assert float(phase[contraction.argmax()]) < 0.5  # systole is the shorter part
    assert contraction.diff().abs().max() < 0.01
    torch.testing.assert_close(contraction_curve(phase + 3), contraction, atol=1e-4, rtol=0)


def test_registration_matches_both_images() -> None:
    ed, es = (torch.from_numpy(signed_distance(heart(s)[1]))[None] for s in (1.0, 0.65))
    velocity = register(ed, es)
    coarse, full = pixel_grid(56, 56, ed.device), pixel_grid(SIDE, SIDE, ed.device)
    forward = torch.nn.functional.interpolate(exponential(velocity, coarse), (SIDE, SIDE), mode="bilinear")
    before, after = (ed - es).abs().mean(), (warp(ed, forward, full) - es).abs().mean()
    assert after < 0.25 * before
    # Rows and columns stay in order, so nothing folds.
    assert (forward[:, 0].diff(dim=-1) > -2 / SIDE).all()
    assert (forward[:, 1].diff(dim=-2) > -2 / SIDE).all()


def test_forward_and_backward_deformation_cancel() -> None:
    velocity = 0.1 * torch.sin(3 * pixel_grid(32, 32, torch.device("cpu"))).permute(0, 3, 1, 2)
    coarse = pixel_grid(32, 32, velocity.device)
    forward, backward = exponential(velocity, coarse), exponential(-velocity, coarse)
    inner = (slice(None), slice(None), slice(6, -6), slice(6, -6))
    assert (forward + warp(backward, forward, coarse))[inner].abs().max() < 0.005


def test_only_complete_pairs_are_used(pairs: PairBank) -> None:
    assert pairs.names == ("patient0000_4CH", "patient0001_4CH")
    assert PairBank.from_stills([("patient0009_4CH_ED", *heart(1.0))]) is None
    assert PairBank.from_stills([]) is None


def test_the_cine_of_a_pair_contracts_and_fills_with_its_labels(pairs: PairBank) -> None:
    cine = pseudo_cine(pairs, 0, frames=24, fps=24.0, beats_per_minute=60.0, grain=0.0, sway=0.0)
    assert cine.frames.shape == cine.masks.shape == (24, SIDE, SIDE)
    assert cine.frames.dtype == cine.masks.dtype == np.uint8
    last = int(cine.contraction.argmax())
    ed, es = heart(1.0)[1], heart(0.65)[1]
    for label in (1, 2, 3):
        assert dice(cine.masks[0], ed, label) > 0.9
        assert dice(cine.masks[last], es, label) > 0.85
    cavity = (cine.masks == 1).sum((1, 2))
    assert (np.diff(cavity[: last + 1]) <= 8).all()  # contracts, then fills
    assert cavity[last] < 0.6 * cavity[0]
    # The image deforms with its labels: the cavity stays dark and the wall bright.
    for frame, mask in zip(cine.frames, cine.masks, strict=True):
        assert frame[mask == 1].mean() + 50 < frame[mask == 2].mean()


def test_cines_are_reproducible(pairs: PairBank) -> None:
    first, second, other = (pseudo_cine(pairs, 0, frames=6, seed=s).frames for s in (3, 3, 4))
    np.testing.assert_array_equal(first, second)
    assert (first != other).any()


def test_the_source_returns_moving_clips(pairs: PairBank) -> None:
    source = PseudoSource(pairs, clip=8)
    clips = source.batch(5, torch.Generator().manual_seed(0))
    assert clips.shape == (5, 8, SIDE, SIDE)
    assert clips.dtype == torch.uint8
    assert torch.equal(clips, source.batch(5, torch.Generator().manual_seed(0)))
    assert clips.float().diff(dim=1).abs().mean((1, 2, 3)).min() > 0.3  # every clip moves
    doubled = PseudoSource(pairs, clip=8, transform=lambda x, _: x // 2)
    assert torch.equal(doubled.batch(5, torch.Generator().manual_seed(0)), clips // 2)


@pytest.mark.data
def test_real_pairs_are_registered(data_dir: Path) -> None:
    arrays = np.load(data_dir / "camus" / "camus_trainval_224.npz")
    names, images, masks = (arrays[f"train_{k}"][:8] for k in ("name", "img", "mask"))
    found = PairBank.from_stills(zip(map(str, names), images, masks, strict=True))
    assert found is not None
    assert len(found) == 4
    cine = pseudo_cine(found, 1, frames=12, fps=12.0, beats_per_minute=60.0, sway=0.0)
    still = found.masks[1].numpy()
    last = int(cine.contraction.argmax())
    for label in (1, 2):
        assert dice(cine.masks[0], still[0], label) > 0.95
        assert dice(cine.masks[last], still[1], label) > 0.88

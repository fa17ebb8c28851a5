"""Phantom cines: contents, reproducibility, and similarity to ultrasound in appearance and motion."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest
import torch
from torch import Tensor

from tests.unit.phantom.phantom_hearts import at_contractions, hearts
from vjepa_core.phantom import A2C, A4C, PhantomBatch, PhantomSource, make_cines
from vjepa_core.phantom.draw import RandomValues
from vjepa_core.phantom.imaging import Scanner, draw_scanner, insonify, scan_convert
from vjepa_core.phantom.motion import locate
from vjepa_core.phantom.scatter import draw_scatterers


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def scatterers_only(scanner: Scanner) -> Scanner:
    """Return the scanner without clutter, noise, reflections, shadows, smoothing and clipping."""
    off = {"clutter": -200.0, "noise": -200.0, "span": 120.0, "gamma": 1.0}
    off |= dict.fromkeys(("specular", "persistence", "compound", "loss", "beams", "gain"), 0.0)
    return replace(scanner, **{name: torch.full_like(getattr(scanner, name), v) for name, v in off.items()})


@pytest.fixture(scope="module")
def small() -> PhantomBatch:
    return make_cines(6, frames=5, size=96, generator=seeded())


def test_shapes_and_types(small: PhantomBatch) -> None:
    assert small.frames.shape == small.masks.shape == (6, 5, 96, 96)
    assert small.frames.dtype == small.masks.dtype == torch.uint8
    assert small.volume.shape == small.phase.shape == (6, 5)
    assert small.mm_per_px.shape == (6, 2)
    for name in ("edv", "esv", "ef", "fps", "heart_rate", "view"):
        assert getattr(small, name).shape == (6,)
    torch.testing.assert_close(small.ef, 1 - small.esv / small.edv)
    assert set(small.masks.unique().tolist()) == {0, 1, 2, 3}
    # Square pixels of a plausible size: 90 to 300 mm for the image.
    torch.testing.assert_close(small.mm_per_px[:, 0], small.mm_per_px[:, 1])
    assert bool(((small.mm_per_px * 96 > 90) & (small.mm_per_px * 96 < 300)).all())


def test_cines_are_reproducible_and_differ_between_seeds(small: PhantomBatch) -> None:
    again = make_cines(6, frames=5, size=96, generator=seeded())
    for field in fields(PhantomBatch):
        assert torch.equal(getattr(small, field.name), getattr(again, field.name))
    other = make_cines(6, frames=5, size=96, generator=seeded(1))
    assert not torch.equal(small.frames, other.frames)


def test_autocast_has_no_effect() -> None:
    plain = make_cines(1, frames=2, size=48, generator=seeded())
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(plain.frames, make_cines(1, frames=2, size=48, generator=seeded()).frames)


def test_cines_generated_in_chunks_are_complete_and_different() -> None:
    cines = make_cines(5, frames=2, size=48, generator=seeded(), chunk=2)
    assert len(cines.frames) == 5
    assert len({tuple(cine.flatten().tolist()) for cine in cines.frames}) == 5


@pytest.mark.parametrize("view", [A4C, A2C])
def test_the_requested_view_is_generated(view: int) -> None:
    assert make_cines(3, frames=1, size=32, generator=seeded(), view=view).view.tolist() == [view] * 3


@pytest.mark.parametrize(
    "wrong",
    [
        {"n": 0},
        {"frames": 0},
        {"size": 16},
        {"chunk": 0},
        {"view": 7},
        {"fps": (0.0, 30.0)},
        {"fps": (40.0, 30.0)},
    ],
)
def test_invalid_arguments_are_rejected(wrong: dict) -> None:
    with pytest.raises(ValueError, match=r"cannot generate|not a range|unknown view"):
        make_cines(wrong.pop("n", 1), generator=seeded(), **wrong)


def test_the_sector_is_on_black_and_the_cavity_darker_than_the_wall() -> None:
    cines = make_cines(12, frames=1, size=128, generator=seeded(2))
    corner = cines.frames[:, :, -16:, :16].float(), cines.frames[:, :, :40, :20].float()
    assert all(float(part.max()) == 0 for part in corner)
    lit = (cines.frames > 0).float().mean(dim=(1, 2, 3))
    assert bool(((lit > 0.1) & (lit < 0.75)).all())
    frames, masks = cines.frames.float(), cines.masks
    cavity = torch.stack([f[m == 1].mean() for f, m in zip(frames, masks, strict=True)])
    wall = torch.stack([f[m == 2].mean() for f, m in zip(frames, masks, strict=True)])
    assert float((wall > cavity + 8).float().mean()) > 0.8, "nearly every image must be readable"
    assert float((wall - cavity).mean()) > 25


def test_a_stretched_sector_fills_the_square() -> None:
    cines = make_cines(3, frames=1, size=64, generator=seeded(3), stretch=True)
    lit = cines.frames.amax(dim=(0, 1)) > 0
    assert bool(lit[-1].any() and lit[:, :2].any() and lit[:, -2:].any())
    assert bool((cines.mm_per_px[:, 0] < cines.mm_per_px[:, 1]).all())


def test_masks_and_volumes_are_correlated() -> None:
    cines = make_cines(6, frames=24, size=64, generator=seeded(4), fps=(20.0, 20.0))
    area = (cines.masks == 1).sum((-2, -1)).float()
    for volume, cavity in zip(cines.volume, area, strict=True):
        assert float(torch.corrcoef(torch.stack([volume, cavity]))[0, 1]) > 0.97
    # 1.2 s contain about one beat, so that the volume comes close to both extremes.
    stroke = (cines.volume - cines.esv[:, None]) / (cines.edv - cines.esv)[:, None]
    assert bool((stroke.amin(1) < 0.2).all() and (stroke.amax(1) > 0.8).all())


def test_the_source_returns_training_clips() -> None:
    source = PhantomSource(frames=4, size=48)
    clips = source.batch(3, seeded(5))
    assert clips.shape == (3, 4, 48, 48)
    assert clips.dtype == torch.uint8
    assert torch.equal(clips, source.labelled(3, seeded(5)).frames)
    generator = seeded(5)
    source.batch(3, generator)
    assert not torch.equal(clips, source.batch(3, generator)), "the generator must advance"


def test_speckle_moves_with_the_tissue() -> None:
    heart, beat = hearts(4, seed=11), at_contractions(4, [0.0, 0.35])
    draw = RandomValues(4, seeded(6), torch.device("cpu"))
    scanner = draw_scanner(draw, heart.apex_z + heart.length + 40, 240, 120)
    position = locate(heart, beat, *scanner.beam_grid())
    speckle, _, _ = draw_scatterers(draw).at(position, beat.seconds)
    level = torch.full_like(position.u, -20.0)  # constant, so that only speckle is visible
    scanner = scatterers_only(scanner)
    zero = torch.zeros_like(level)
    grey = insonify(scanner, level, zero, speckle, glint=zero, draw=draw, seconds=beat.seconds)
    followed, in_place = _correlations(position.u, position.s, _walls(heart, position), grey)
    assert followed > 0.55
    assert followed > in_place + 0.3


def _walls(heart, position) -> Tensor:
    middle = (position.s > 0.35 * heart.length) & (position.s < 0.9 * heart.length)
    return middle & (position.u.abs() > position.endo + 1) & (position.u.abs() < position.epi - 1)


def _correlations(u: Tensor, s: Tensor, wall: Tensor, grey: Tensor) -> tuple[float, float]:
    """Compute the correlation of two frames along the motion and at the same pixels."""
    followed, in_place = [], []
    for i in range(len(grey)):
        where = [torch.nonzero(wall[i, t], as_tuple=True) for t in (0, 1)]
        spots = [torch.stack([u[i, t][w], s[i, t][w]], 1) for t, w in enumerate(where)]
        nearest = torch.cdist(spots[0], spots[1]).argmin(1)
        before, after = grey[i, 0][where[0]], grey[i, 1][where[1]][nearest]
        followed.append(torch.corrcoef(torch.stack([before, after]))[0, 1])
        in_place.append(torch.corrcoef(torch.stack([before, grey[i, 1][where[0]]]))[0, 1])
    return float(torch.stack(followed).mean()), float(torch.stack(in_place).mean())


def test_speckle_width_grows_with_depth() -> None:
    draw = RandomValues(6, seeded(7), torch.device("cpu"))
    scanner = draw_scanner(draw, torch.full((6, 1, 1, 1), 150.0), 300, 150)
    scanner = scatterers_only(scanner)
    level = torch.full((6, 1, 300, 150), -20.0)
    scatterers = draw.noise(2, 1, 300, 150).transpose(0, 1)
    zero = torch.zeros_like(level)
    grey = insonify(scanner, level, zero, scatterers, glint=zero, draw=draw, seconds=zero[..., :1, :1])
    x, z = torch.meshgrid(torch.arange(-20.0, 20.0, 0.5), torch.arange(30.0, 150.0, 0.5), indexing="xy")
    x, z = (c.expand(6, 1, *c.shape) for c in (x, z))
    image = scan_convert(scanner, grey, x, z)
    near, deep = (_lateral_correlation(image[..., rows, :]) for rows in (slice(20, 60), slice(160, 220)))
    assert deep > _lateral_correlation(image[..., 160:220, :].mT) + 0.2, "a cell is wider than it is long"
    assert deep > near + 0.1


def _lateral_correlation(image: Tensor, step: int = 4) -> float:
    """Compute the mean correlation of pixels 2 mm apart laterally."""
    a, b = image[..., :-step], image[..., step:]
    a, b = (c - c.mean(dim=(-2, -1), keepdim=True) for c in (a, b))
    return float(((a * b).mean((-2, -1)) / (a.std((-2, -1)) * b.std((-2, -1)))).mean())

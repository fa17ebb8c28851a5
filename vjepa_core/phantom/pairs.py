"""Phantom hearts in two views at end-diastole and end-systole: labels and true values, no images."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from vjepa_core.phantom.beat import Beat, draw_beat
from vjepa_core.phantom.cines import pixel_grid
from vjepa_core.phantom.draw import RandomValues
from vjepa_core.phantom.geometry import A2C, A4C, Heart, Sides, draw_heart
from vjepa_core.phantom.imaging import draw_scanner
from vjepa_core.phantom.motion import labels, locate
from vjepa_core.phantom.truth import endocardium, in_image

_FRAMES, _FPS = 60, 30.0
_SIDE = 224  # pixels, as of phantom cines


@dataclass(frozen=True)
class LabelledView:
    """One view of a phantom heart at end-diastole and end-systole.

    Attributes
    ----------
    masks : Tensor
        Labels as in `PhantomBatch`, shape (2, 224, 224), uint8.
    mm_per_px : Tensor
        Height and width of a pixel in mm, shape (2,).
    volume : Tensor
        Volume of the body with circular cross-sections in ml, shape (2,).
    endocardium : Tensor
        True endocardial line as in `PhantomBatch`, shape (2, points, 2).
    """

    masks: Tensor
    mm_per_px: Tensor
    volume: Tensor
    endocardium: Tensor


@dataclass(frozen=True)
class PhantomPair:
    """One heart in an A4C and an A2C view.

    Attributes
    ----------
    a4c, a2c : LabelledView
    volume : Tensor
        Volume in ml of the body whose elliptical cross-sections have the diameters of both views, shape (2,).
    """

    a4c: LabelledView
    a2c: LabelledView
    volume: Tensor


def make_pairs(n: int, generator: torch.Generator) -> Iterator[PhantomPair]:
    """Generate hearts in two views, one at a time.

    End-diastole and end-systole are the largest and the smallest ventricle on a cine of two seconds.

    Parameters
    ----------
    n : int
        Number of hearts.
    generator : torch.Generator
        Source of all random numbers.
    """
    device = torch.device("cpu")
    for _ in range(n):
        with torch.no_grad():
            draw = RandomValues(1, generator, device)
            heart = draw_heart(draw, A4C)
            other = other_view(heart, draw)
            beat = _both_phases(heart, draw_beat(draw, _FRAMES, (_FPS, _FPS)))
            volume = heart.volume(beat.contraction, other).flatten()
            yield PhantomPair(_labelled(heart, beat, draw), _labelled(other, beat, draw), volume)


def _labelled(heart: Heart, beat: Beat, draw: RandomValues) -> LabelledView:
    """Draw a scanner, whose sector gives the pixel size, and label the heart on its pixels."""
    reach = heart.apex_z + heart.length + heart.atrium_length * draw.uniform(0.7, 1.3)
    scanner = draw_scanner(draw, (reach + 4.0).clamp(max=200.0), rows=64, columns=32)
    x, z, mm_per_px = pixel_grid(scanner, _SIDE, stretch=False)
    return LabelledView(
        labels(heart, locate(heart, beat, x, z))[0],
        mm_per_px[0],
        heart.volume(beat.contraction).flatten(),
        in_image(endocardium(heart, beat), x, z, mm_per_px)[0],
    )


def _both_phases(heart: Heart, beat: Beat) -> Beat:
    """Return end-diastole and end-systole of one beat."""
    volume = heart.volume(beat.contraction)
    frames = [int(volume.argmax()), int(volume.argmin())]
    at_frames = {field.name: getattr(beat, field.name) for field in fields(beat)}
    return Beat(
        **{name: value[:, frames] if value.shape[1] > 1 else value for name, value in at_frames.items()}
    )


def other_view(heart: Heart, draw: RandomValues) -> Heart:
    """Return hearts of an A4C view in an A2C view.

    Both planes contain the long axis: length, shortening and the change of the contraction along the axis are
    the same. The widths differ by up to 15 %, the contraction by up to 10 %; shape, walls and position in the
    image are drawn anew.
    """
    drawn = draw_heart(draw, A2C)
    breadth = (heart.width.left + heart.width.right) * draw.uniform(0.85, 1.15)
    left = draw.uniform(0.44, 0.56)
    squeeze = (heart.squeeze.left + heart.squeeze.right) / 2.0
    return replace(
        drawn,
        length=heart.length,
        shortening=heart.shortening,
        gradient=heart.gradient,
        width=Sides(breadth * left, breadth * (1.0 - left)),
        squeeze=Sides(squeeze * draw.uniform(0.9, 1.1), squeeze * draw.uniform(0.9, 1.1)),
    )

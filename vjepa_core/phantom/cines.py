"""Generate synthetic cines with labels from random hearts, rhythms and scanners."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from vjepa_core.phantom.beat import draw_beat
from vjepa_core.phantom.draw import RandomValues
from vjepa_core.phantom.geometry import draw_heart
from vjepa_core.phantom.imaging import Scanner, draw_scanner, insonify, scan_convert
from vjepa_core.phantom.motion import labels, locate
from vjepa_core.phantom.scatter import draw_scatterers
from vjepa_core.phantom.tissue import LevelNoise, draw_tissue_levels, echogenicity
from vjepa_core.phantom.truth import endocardium, in_image


@dataclass(frozen=True)
class PhantomBatch:
    """B synthetic cines of T frames with labels and true values.

    Attributes
    ----------
    frames : Tensor
        Shape (B, T, H, W), uint8.
    masks : Tensor
        Labels 0 background, 1 LV cavity, 2 myocardium, 3 left atrium, also outside the sector; shape
        (B, T, H, W), uint8.
    edv, esv, ef : Tensor
        Volumes in ml from the imaged plane by disk summation for a beat of nominal strength, and ejection
        fraction 0..1; shape (B,).
    volume : Tensor
        Volume in every frame in ml, shape (B, T).
    phase : Tensor
        Phase of the beat, 0..1, 0 at end-diastole, shape (B, T).
    fps, heart_rate : Tensor
        Frame rate in Hz and heart rate in beats per minute, shape (B,).
    mm_per_px : Tensor
        Height and width of a pixel in mm, shape (B, 2).
    view : Tensor
        Index into `geometry.VIEWS`, shape (B,).
    endocardium : Tensor
        True endocardial line from the left hinge point over the apex to the right one, (y, x) in mm from the
        upper left corner of the image, shape (B, T, points, 2).
    """

    frames: Tensor
    masks: Tensor
    edv: Tensor
    esv: Tensor
    ef: Tensor
    volume: Tensor
    phase: Tensor
    fps: Tensor
    heart_rate: Tensor
    mm_per_px: Tensor
    view: Tensor
    endocardium: Tensor


def make_cines(
    n: int,
    *,
    frames: int = 16,
    size: int = 224,
    generator: torch.Generator,
    device: torch.device | str = "cpu",
    view: int | None = None,
    fps: tuple[float, float] = (20.0, 80.0),
    stretch: bool = False,
    chunk: int = 16,
) -> PhantomBatch:
    """Generate synthetic apical cines.

    Parameters
    ----------
    n : int
        Number of cines B.
    frames, size : int
        Number of frames of a cine and side of the square image in pixels.
    generator : torch.Generator
        Source of all random numbers: the same state gives the same cines on the same device.
    device : torch.device or str
        Device of the cines.
    view : int, optional
        0 A4C, 1 A2C; default: random with equal probability.
    fps : (float, float)
        Range of the frame rate in Hz.
    stretch : bool
        Stretch the sector to fill the square instead of keeping its aspect ratio.
    chunk : int
        Number of cines generated together, to limit memory.

    Returns
    -------
    PhantomBatch
        The cines with their labels.

    Raises
    ------
    ValueError
        If an argument is out of range.
    """
    if min(n, frames, chunk) < 1 or size < 32:
        raise ValueError(
            f"cannot generate {n} cines of {frames} frames of {size} pixels in chunks of {chunk}: "
            "the minimum is 1 each, and 32 pixels"
        )
    if not 0 < fps[0] <= fps[1]:
        raise ValueError(f"{fps} is not a range of frame rates in Hz")
    if view not in (None, 0, 1):
        raise ValueError(f"unknown view {view}: use 0 for A4C or 1 for A2C")
    device = torch.device(device)
    # Always float32, even within a caller's autocast: the envelope spans 100 dB.
    with torch.no_grad(), torch.autocast(device.type, enabled=False):
        parts = [
            _generate(
                RandomValues(min(chunk, n - start), generator, device),
                frames=frames,
                size=size,
                view=view,
                fps=fps,
                stretch=stretch,
            )
            for start in range(0, n, chunk)
        ]
    names = [field.name for field in fields(PhantomBatch)]
    return PhantomBatch(**{name: torch.cat([getattr(part, name) for part in parts]) for name in names})


def _generate(
    draw: RandomValues, *, frames: int, size: int, view: int | None, fps: tuple[float, float], stretch: bool
) -> PhantomBatch:
    heart, beat = draw_heart(draw, view), draw_beat(draw, frames, fps)
    reach = heart.apex_z + heart.length + heart.atrium_length * draw.uniform(0.7, 1.3)
    # The imaging depth often exceeds that of the heart.
    reach = reach + draw.chance(0.3) * draw.uniform(0.0, 60.0)
    scanner = draw_scanner(
        draw, (reach + 4.0).clamp(max=200.0), max(192, 3 * size // 2), max(96, 3 * size // 4)
    )
    x, z = scanner.beam_grid()
    position = locate(heart, beat, x, z)
    speckle, fine, broad = draw_scatterers(draw).at(position, beat.seconds)
    level, blood = echogenicity(
        heart, beat, draw_tissue_levels(draw), position, LevelNoise(fine, broad, scanner.streaks)
    )
    grey = insonify(
        scanner,
        level,
        blood,
        speckle,
        draw=draw,
        seconds=beat.seconds,
        glint=(0.5 + 0.8 * fine).clamp(min=0.0),
    )
    x, z, mm_per_px = pixel_grid(scanner, size, stretch)
    image = scan_convert(scanner, grey, x, z)
    # Labels also beyond the edges of the sector, as in manual outlines.
    masks = labels(heart, locate(heart, beat, x, z))
    return PhantomBatch(
        frames=(image * 255.0).round().to(torch.uint8),
        masks=masks,
        edv=heart.edv.flatten(),
        esv=heart.esv.flatten(),
        ef=((heart.edv - heart.esv) / heart.edv).flatten(),
        volume=heart.volume(beat.contraction).flatten(1),
        phase=beat.phase.flatten(1),
        fps=beat.fps.flatten(),
        heart_rate=beat.heart_rate.flatten(),
        mm_per_px=mm_per_px,
        view=heart.view.flatten().long(),
        endocardium=in_image(endocardium(heart, beat), x, z, mm_per_px),
    )


def pixel_grid(scanner: Scanner, size: int, stretch: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Return x and z of every pixel in mm, each (B, 1, size, size), and the pixel size (B, 2) in mm.

    The sector touches the border of the image along its longer side and is centred along the other.
    """
    end = scanner.near + scanner.depth
    # The image starts where the edges of the sector meet the arc of the probe.
    top = scanner.near * torch.cos(scanner.half_angle)
    height, width = end - top, 2.0 * end * torch.sin(scanner.half_angle)
    longer = torch.maximum(height, width)
    extent_z, extent_x = (height, width) if stretch else (longer, longer)
    position = (torch.arange(size, device=end.device) + 0.5) / size - 0.5
    x, z = position * extent_x, top + 0.5 * height + position.view(-1, 1) * extent_z
    x, z = torch.broadcast_tensors(x, z)
    return x, z, torch.cat([extent_z, extent_x], 1).view(-1, 2) / size


@dataclass(frozen=True)
class PhantomSource:
    """Source of random phantom clips for pre-training.

    Attributes
    ----------
    frames, size : int
        Number of frames and side in pixels of a clip.
    device : torch.device or str
        Device of the clips.
    fps : (float, float)
        Range of the frame rate in Hz.
    stretch : float
        Fraction of the batches in which the sector fills the square.
    chunk : int
        Number of clips generated together.
    """

    frames: int = 16
    size: int = 224
    device: torch.device | str = "cpu"
    fps: tuple[float, float] = (8.0, 30.0)
    stretch: float = 0.5
    chunk: int = 16

    def batch(self, n: int, generator: torch.Generator) -> Tensor:
        """Return `n` clips (n, T, H, W), uint8, on `device`."""
        return self.labelled(n, generator).frames

    def labelled(self, n: int, generator: torch.Generator) -> PhantomBatch:
        """Return `n` clips with their labels; the same clips as `batch`."""
        chance = torch.rand(1, generator=generator, device=generator.device)
        return make_cines(
            n,
            frames=self.frames,
            size=self.size,
            generator=generator,
            device=self.device,
            fps=self.fps,
            stretch=bool(chance < self.stretch),
            chunk=self.chunk,
        )

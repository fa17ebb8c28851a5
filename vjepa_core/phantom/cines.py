"""Whole cines: hearts, rhythms and scanners drawn, pictures and truths made, a few at once."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from vjepa_core.phantom.beat import draw_beat
from vjepa_core.phantom.draw import Draw
from vjepa_core.phantom.geometry import draw_heart
from vjepa_core.phantom.imaging import Scanner, draw_scanner, insonify, scan_convert
from vjepa_core.phantom.motion import labels, locate
from vjepa_core.phantom.scatter import draw_scatterers
from vjepa_core.phantom.tissue import Unevenness, draw_look, echogenicity


@dataclass(frozen=True)
class PhantomBatch:
    """Synthetic cines and what is true of them; B cines of T frames.

    Attributes
    ----------
    frames : Tensor
        uint8 (B, T, H, W).
    masks : Tensor
        uint8 (B, T, H, W): 0 background, 1 LV cavity, 2 myocardium, 3 left atrium; also outside the sector.
    edv, esv, ef : Tensor
        Volumes (ml) of the imaged plane by disk summation for a beat of nominal strength, and
        (edv - esv) / edv, 0..1; (B,).
    volume : Tensor
        Volume of every frame, ml, (B, T).
    phase : Tensor
        0..1 through the beat, 0 at end-diastole, (B, T).
    fps, heart_rate : Tensor
        Hz and beats a minute, (B,).
    mm_per_px : Tensor
        Height and width of a pixel, (B, 2).
    view : Tensor
        Index into `geometry.VIEWS`, (B,).
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
    """Make synthetic apical cines.

    Parameters
    ----------
    n : int
        Cines, B.
    frames, size : int
        Frames of a cine; side of the square picture in pixels.
    generator : torch.Generator
        The only source of chance: the same state gives the same cines on the same device.
    device : torch.device or str
        Where they are made and stay.
    view : int, optional
        0 A4C, 1 A2C; half of each if not given.
    fps : (float, float)
        Range of the frame rate, Hz.
    stretch : bool
        Stretch the sector to fill the square instead of keeping its shape.
    chunk : int
        Cines made at once.

    Raises
    ------
    ValueError
        If a number makes no sense.
    """
    if min(n, frames, chunk) < 1 or size < 32:
        raise ValueError(
            f"cannot make {n} cines of {frames} frames of {size} pixels, {chunk} at once: "
            "1 or more of each and 32 pixels are the least"
        )
    if not 0 < fps[0] <= fps[1]:
        raise ValueError(f"{fps} is no range of frame rates in Hz")
    if view not in (None, 0, 1):
        raise ValueError(f"no view {view}: 0 is A4C, 1 is A2C")
    device = torch.device(device)
    # Never in a caller's half precision: the envelope spans 100 dB.
    with torch.no_grad(), torch.autocast(device.type, enabled=False):
        parts = [
            _make(
                Draw(min(chunk, n - start), generator, device),
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


def _make(
    draw: Draw, *, frames: int, size: int, view: int | None, fps: tuple[float, float], stretch: bool
) -> PhantomBatch:
    heart, beat = draw_heart(draw, view), draw_beat(draw, frames, fps)
    reach = heart.apex_z + heart.length + heart.atrium_length * draw.uniform(0.7, 1.3)
    # Many look deeper than the heart reaches.
    reach = reach + draw.chance(0.3) * draw.uniform(0.0, 60.0)
    scanner = draw_scanner(
        draw, (reach + 4.0).clamp(max=200.0), max(192, 3 * size // 2), max(96, 3 * size // 4)
    )
    x, z = scanner.beam_grid()
    place = locate(heart, beat, x, z)
    speckle, fine, broad = draw_scatterers(draw).at(place, beat.seconds)
    level, blood = echogenicity(heart, beat, draw_look(draw), place, Unevenness(fine, broad, scanner.streaks))
    grey = insonify(
        scanner,
        level,
        blood,
        speckle,
        draw=draw,
        seconds=beat.seconds,
        glint=(0.5 + 0.8 * fine).clamp(min=0.0),
    )
    x, z, mm_per_px = _picture_grid(scanner, size, stretch)
    picture = scan_convert(scanner, grey, x, z)
    # Also beyond the edges of the sector, where people go on with an outline.
    truth = labels(heart, locate(heart, beat, x, z))
    return PhantomBatch(
        frames=(picture * 255.0).round().to(torch.uint8),
        masks=truth,
        edv=heart.edv.flatten(),
        esv=heart.esv.flatten(),
        ef=((heart.edv - heart.esv) / heart.edv).flatten(),
        volume=heart.volume(beat.contraction).flatten(1),
        phase=beat.phase.flatten(1),
        fps=beat.fps.flatten(),
        heart_rate=beat.heart_rate.flatten(),
        mm_per_px=mm_per_px,
        view=heart.view.flatten().long(),
    )


def _picture_grid(scanner: Scanner, size: int, stretch: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Place of every pixel, mm, each (B, 1, size, size), and the pixels' height and width, (B, 2).

    The sector touches the picture's border on its longer side and lies in the middle of the other.
    """
    end = scanner.near + scanner.depth
    # The arc of the probe is cut by the sector's edges: the picture starts there.
    top = scanner.near * torch.cos(scanner.half_angle)
    height, width = end - top, 2.0 * end * torch.sin(scanner.half_angle)
    longer = torch.maximum(height, width)
    tall, wide = (height, width) if stretch else (longer, longer)
    at = (torch.arange(size, device=end.device) + 0.5) / size - 0.5
    x, z = at * wide, top + 0.5 * height + at.view(-1, 1) * tall
    x, z = torch.broadcast_tensors(x, z)
    return x, z, torch.cat([tall, wide], 1).view(-1, 2) / size


@dataclass(frozen=True)
class PhantomSource:
    """Endless clips for pre-training.

    Attributes
    ----------
    frames, size : int
        Frames of a clip and side of its square.
    device : torch.device or str
    fps : (float, float)
        Range of the frame rate, Hz.
    stretch : float
        Share of the batches in which the sector fills the square.
    chunk : int
        Clips made at once.
    """

    frames: int = 16
    size: int = 224
    device: torch.device | str = "cpu"
    fps: tuple[float, float] = (8.0, 30.0)
    stretch: float = 0.5
    chunk: int = 16

    def batch(self, n: int, generator: torch.Generator) -> Tensor:
        """`n` clips, uint8 (n, T, H, W), on `device`."""
        return self.labelled(n, generator).frames

    def labelled(self, n: int, generator: torch.Generator) -> PhantomBatch:
        """The same with the truth."""
        dice = torch.rand(1, generator=generator, device=generator.device)
        return make_cines(
            n,
            frames=self.frames,
            size=self.size,
            generator=generator,
            device=self.device,
            fps=self.fps,
            stretch=bool(dice < self.stretch),
            chunk=self.chunk,
        )

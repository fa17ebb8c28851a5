"""Heart rhythm: contraction and valve opening in every frame."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from vjepa_core.phantom.draw import RandomValues, bump, smoothstep


@dataclass(frozen=True)
class Beat:
    """State of B hearts at T times; every tensor has the shape (B, T, 1, 1) unless stated otherwise.

    Attributes
    ----------
    contraction : Tensor
        0 at end-diastole, 1 at end-systole of a beat of nominal strength.
    opening : Tensor
        Opening of the mitral and tricuspid valves, 0 closed to 1 open.
    breath : Tensor
        Respiration, -1..1.
    seconds : Tensor
        Time since the first frame in seconds.
    phase : Tensor
        Phase of the beat, 0..1, 0 at end-diastole.
    fps, heart_rate : Tensor
        Frame rate in Hz and heart rate in beats per minute, (B, 1, 1, 1).
    """

    contraction: Tensor
    opening: Tensor
    breath: Tensor
    seconds: Tensor
    phase: Tensor
    fps: Tensor
    heart_rate: Tensor


def draw_beat(draw: RandomValues, frames: int, fps: tuple[float, float] = (20.0, 80.0)) -> Beat:
    """Draw random rhythms.

    Parameters
    ----------
    draw : RandomValues
        Source of random numbers.
    frames : int
        Number of frames T.
    fps : (float, float)
        Range of the frame rate in Hz.
    """
    rate = draw.uniform(*fps)
    heart_rate = draw.normal(72.0, 16.0, 45.0, 130.0)
    seconds = torch.arange(frames, device=draw.device).view(1, -1, 1, 1) / rate
    # Enough beats for the slowest frame rate, with variable length and strength.
    beats = 2 + math.ceil(frames / fps[0] * 130.0 / 60.0 * 1.2)
    irregular = 0.02 + 0.12 * draw.chance(0.1)
    periods = 60.0 / heart_rate * (1.0 + irregular * draw.noise(1, 1, beats).clamp(-2.0, 2.0))
    strength = 1.0 + 0.03 * draw.noise(1, 1, beats).clamp(-2.0, 2.0)
    starts = torch.cat([torch.zeros_like(periods[..., :1]), periods.cumsum(-1)[..., :-1]], -1)
    clock = seconds + draw.uniform(0.0, 1.0) * periods[..., :1]
    index = ((clock >= starts).sum(-1, keepdim=True) - 1).clamp(0, beats - 1)  # (B, T, 1, 1)
    whole = (draw.n, frames, 1, beats)
    start, period, power = (x.expand(whole).gather(-1, index) for x in (starts, periods, strength))
    contraction, opening = beat_curves(clock - start, period, draw.uniform(0.55, 0.8))
    breath = torch.sin(2 * math.pi * (draw.uniform(0.15, 0.35) * seconds + draw.uniform(0.0, 1.0)))
    return Beat(contraction * power, opening, breath, seconds, (clock - start) / period, rate, heart_rate)


def beat_curves(since_r: Tensor, period: Tensor, early: Tensor) -> tuple[Tensor, Tensor]:
    """Compute contraction and valve opening during one beat.

    Electromechanical systole lasts 546 - 2.1 HR milliseconds (Weissler, Circulation 1968, QS2 in men). The
    shape of the curves is a design choice: no change during isovolumic phases of 50 ms, then early filling,
    diastasis, which disappears at high heart rates, and atrial contraction.

    Parameters
    ----------
    since_r : Tensor
        Seconds since the R wave.
    period : Tensor
        Seconds from R to R.
    early : Tensor
        Fraction of the filling in the early (E) wave.

    Returns
    -------
    contraction, opening : Tensor
        Values 0..1 in the shape of `since_r`.
    """
    systole = (0.546 - 0.0021 * 60.0 / period).clamp(min=0.2)
    opens = systole + 0.05
    diastole = period - opens
    e, a = (0.5 * diastole).clamp(max=0.22), (0.4 * diastole).clamp(max=0.16)
    shortened = smoothstep((since_r - 0.04) / (systole - 0.04))
    filled = early * smoothstep((since_r - opens) / e)
    filled = filled + (1.0 - early) * smoothstep((since_r - period + a) / a)
    e_wave = bump((since_r - opens - 0.45 * e) / (0.5 * e))
    a_wave = bump((since_r - period + 0.55 * a) / (0.45 * a))
    # Between the waves the leaflets are half closed.
    diastasis = 0.35 * smoothstep((since_r - opens) / (0.5 * e)) * smoothstep((period - since_r) / (0.5 * a))
    opening = torch.maximum(e_wave, torch.maximum(0.75 * a_wave, diastasis))
    shut = smoothstep((since_r - opens + 0.03) / 0.04) * smoothstep((period - since_r) / 0.03)
    return shortened - filled, opening * shut

"""Which frame to outline next, and in which cine: where a label is expected to teach most.

A label tells most about moments of the beat that look like its own, in this beat and in others. A frame is
worth what it tells about frames that are in doubt and that no annotated frame tells as much about (a facility
location, whose greedy choice is close to the best one).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vjepa_core.fewshot.features import CineFeatures

REACH = 0.4
"""How unlike a frame may be and still be told about, in the median distance of two frames of the cine."""

WORTHWHILE = 0.002
"""A label that is expected to raise the cine's mean Dice by less is not worth asking for."""


@dataclass(frozen=True)
class Suggestion:
    """The frame to outline next.

    Attributes
    ----------
    frame : int or None
        None where no further label would help much.
    gain : float
        By how much the mean of Dice over the cine's frames is expected to rise, in 0..1.
    """

    frame: int | None
    gain: float


def moments(features: CineFeatures, n_frames: int) -> NDArray[np.float32]:
    """What each frame looks like: the mean of its deepest tokens, without what all frames have in common.

    Parameters
    ----------
    features : CineFeatures
    n_frames : int
        T of the cine.

    Returns
    -------
    (T, D) float32
    """
    pooled = features.values[-1:].float().mean((2, 3), keepdim=True)
    seen = CineFeatures(pooled, features.times).at_many(range(n_frames)).reshape(n_frames, -1).numpy()
    return np.asarray(seen - seen.mean(0), np.float32)


def likeness(seen: NDArray[np.float32]) -> NDArray[np.float32]:
    """How much a label on one frame tells about another, from what they look like.

    exp(-(d / h)^2 / 2) of the distance d between two frames, where h is `REACH` times the median distance in
    the cine. Where frames lie in time has no part in it: a label reaches the same phase of other beats.

    Parameters
    ----------
    seen : (T, D) float32
        As `moments` gives it; T >= 1.

    Returns
    -------
    (T, T) float32
        Symmetric, in 0..1, 1 on the diagonal; all 1 where all frames are the same.
    """
    norm = (seen**2).sum(1)
    squared = np.maximum(norm[:, None] + norm - 2.0 * seen @ seen.T, 0.0)
    np.fill_diagonal(squared, 0.0)
    others = squared[np.triu_indices(len(seen), 1)]
    reach = REACH**2 * float(np.median(others)) if len(others) else 0.0
    # Below this, frames differ by rounding alone.
    least = 1e-6 * max(float(norm.mean()), 1e-6)
    return np.asarray(np.exp(-squared / (2.0 * max(reach, least))), np.float32)


def gains(
    alike: NDArray[np.float32], doubt: ArrayLike, annotated: Collection[int] = ()
) -> NDArray[np.float64]:
    """By how much the cine's mean Dice is expected to rise with a label on each frame.

    The mean over frames g of doubt(g) max(0, alike(f, g) - the most that an annotated frame is like g).

    Parameters
    ----------
    alike : (T, T) float32
        As `likeness` gives it.
    doubt : (T,) float
        1 - the expected Dice of each frame as it is now, in 0..1; what is not finite counts as 1.
    annotated : collection of int
        Frames that have a label.

    Returns
    -------
    (T,) float64
        0 on annotated frames.

    Raises
    ------
    ValueError
        If the sizes do not agree, or a frame is not in the cine.
    """
    n = len(alike)
    wanted = np.asarray(doubt, np.float64)
    chosen = sorted(annotated)
    if alike.shape != (n, n) or wanted.shape != (n,) or not all(0 <= f < n for f in chosen):
        raise ValueError(f"likeness {alike.shape}, doubt {wanted.shape}, annotated {chosen} do not agree")
    wanted = np.clip(np.nan_to_num(wanted, nan=1.0), 0.0, 1.0)
    told = alike[chosen].max(0) if chosen else np.zeros(n, np.float32)
    gain = np.maximum(alike - told, 0.0) @ wanted / max(n, 1)
    gain[chosen] = 0.0
    return np.asarray(gain, np.float64)


def next_frame(alike: NDArray[np.float32], doubt: ArrayLike, annotated: Collection[int] = ()) -> Suggestion:
    """The frame of the largest gain, the first of equal ones; for the parameters see `gains`.

    With no label and doubt of 1 throughout it is the frame that is most like all others.
    """
    gain = gains(alike, doubt, annotated)
    if not len(gain):
        return Suggestion(None, 0.0)
    best = int(gain.argmax())
    enough = best in annotated or gain[best] < WORTHWHILE
    return Suggestion(None if enough else best, float(gain[best]))


def first_frames(alike: NDArray[np.float32], count: int) -> list[int]:
    """At most `count` frames that together tell most about a cine without labels, the best first.

    Fewer where there are not so many frames that differ.
    """
    chosen: list[int] = []
    while len(chosen) < count:
        found = next_frame(alike, np.ones(len(alike)), chosen).frame
        if found is None:
            break
        chosen.append(found)
    return chosen


def next_cine(gain: Mapping[int, float]) -> int | None:
    """The cine in which a label is expected to teach most, the first of equal ones.

    Parameters
    ----------
    gain : mapping
        Of each cine, `Suggestion.gain`: cines count alike, however long they are.

    Returns
    -------
    int or None
        None where no label in any of them is worth asking for.
    """
    best = max(gain, key=lambda cine: gain[cine], default=None)
    return None if best is None or gain[best] < WORTHWHILE else best

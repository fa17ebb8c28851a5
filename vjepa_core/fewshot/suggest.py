"""Suggestion of the frame to outline next, and of the cine in which a label is expected to help most.

A label is most informative about similar frames, which show the same phase of the cardiac cycle in this or
another beat. The gain of a frame is the reduction of doubt on frames that are more similar to it than to any
annotated frame. This is a facility location problem, whose greedy solution is close to the optimum.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vjepa_core.fewshot.features import CineFeatures

SIMILARITY_SCALE = 0.4
"""Scale of the similarity of two frames, relative to the median distance of two frames of the cine."""

MIN_GAIN = 0.002
"""Minimum expected increase of the mean Dice of the cine for which a label is suggested."""


@dataclass(frozen=True)
class Suggestion:
    """The frame to outline next.

    Attributes
    ----------
    frame : int or None
        None if no further label is expected to help much.
    gain : float
        Expected increase of the mean Dice over the frames of the cine, 0..1.
    """

    frame: int | None
    gain: float


def frame_embeddings(features: CineFeatures, n_frames: int) -> NDArray[np.float32]:
    """Return the mean deepest token of each frame, centred over the cine.

    Parameters
    ----------
    features : CineFeatures
    n_frames : int
        Number of frames T of the cine.

    Returns
    -------
    (T, D) float32
    """
    pooled = features.values[-1:].float().mean((2, 3), keepdim=True)
    embeddings = CineFeatures(pooled, features.times).at_many(range(n_frames)).reshape(n_frames, -1).numpy()
    return np.asarray(embeddings - embeddings.mean(0), np.float32)


def similarity(embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the similarity of all pairs of frames: how informative a label on one is about the other.

    It is exp(-(d / h)^2 / 2) for a distance d between two frames, where h is `SIMILARITY_SCALE` times the
    median distance in the cine. The position in time is not used: a label is informative about the same phase
    of other beats.

    Parameters
    ----------
    embeddings : (T, D) float32
        Result of `frame_embeddings`; T >= 1.

    Returns
    -------
    (T, T) float32
        Symmetric, in 0..1, 1 on the diagonal; all 1 if all frames are equal.
    """
    norm = (embeddings**2).sum(1)
    squared = np.maximum(norm[:, None] + norm - 2.0 * embeddings @ embeddings.T, 0.0)
    np.fill_diagonal(squared, 0.0)
    others = squared[np.triu_indices(len(embeddings), 1)]
    scale = SIMILARITY_SCALE**2 * float(np.median(others)) if len(others) else 0.0
    # Smaller distances are rounding errors.
    smallest = 1e-6 * max(float(norm.mean()), 1e-6)
    return np.asarray(np.exp(-squared / (2.0 * max(scale, smallest))), np.float32)


def gains(
    similar: NDArray[np.float32], doubt: ArrayLike, annotated: Collection[int] = ()
) -> NDArray[np.float64]:
    """Return the expected increase of the mean Dice of the cine with a label on each frame.

    It is the mean over frames g of doubt(g) max(0, similar(f, g) - largest similarity of g to an annotated
    frame).

    Parameters
    ----------
    similar : (T, T) float32
        Result of `similarity`.
    doubt : (T,) float
        1 - expected Dice of each frame, in 0..1; values that are not finite count as 1.
    annotated : collection of int
        Frames with a label.

    Returns
    -------
    (T,) float64
        0 on annotated frames.

    Raises
    ------
    ValueError
        If the sizes do not agree, or a frame is not in the cine.
    """
    n = len(similar)
    weight = np.asarray(doubt, np.float64)
    chosen = sorted(annotated)
    if similar.shape != (n, n) or weight.shape != (n,) or not all(0 <= f < n for f in chosen):
        raise ValueError(f"similarity {similar.shape}, doubt {weight.shape}, annotated {chosen} do not agree")
    weight = np.clip(np.nan_to_num(weight, nan=1.0), 0.0, 1.0)
    covered = similar[chosen].max(0) if chosen else np.zeros(n, np.float32)
    gain = np.maximum(similar - covered, 0.0) @ weight / max(n, 1)
    gain[chosen] = 0.0
    return np.asarray(gain, np.float64)


def next_frame(
    similar: NDArray[np.float32],
    doubt: ArrayLike,
    annotated: Collection[int] = (),
    *,
    excluded: Collection[int] = (),
) -> Suggestion:
    """Suggest the frame with the largest gain; the first one if several are equal.

    Without labels and with a doubt of 1 throughout, it is the frame most similar to all others.

    Parameters
    ----------
    similar, doubt, annotated
        See `gains`.
    excluded : collection of int
        Frames that are not suggested.
    """
    gain = gains(similar, doubt, annotated)
    if not len(gain):
        return Suggestion(None, 0.0)
    gain[list(excluded)] = 0.0
    best = int(gain.argmax())
    is_enough = best in annotated or gain[best] < MIN_GAIN
    return Suggestion(None if is_enough else best, float(gain[best]))


def first_frames(similar: NDArray[np.float32], count: int) -> list[int]:
    """Return up to `count` frames that together are most informative, the best one first.

    Fewer are returned if no further frame has a sufficient gain.
    """
    chosen: list[int] = []
    while len(chosen) < count:
        frame = next_frame(similar, np.ones(len(similar)), chosen).frame
        if frame is None:
            break
        chosen.append(frame)
    return chosen


def next_cine(gain: Mapping[int, float]) -> int | None:
    """Return the cine in which a label is expected to help most; the first one if several are equal.

    Parameters
    ----------
    gain : mapping
        `Suggestion.gain` of each cine; cines count equally, regardless of their length.

    Returns
    -------
    int or None
        None if no gain reaches `MIN_GAIN`.
    """
    best = max(gain, key=lambda cine: gain[cine], default=None)
    return None if best is None or gain[best] < MIN_GAIN else best

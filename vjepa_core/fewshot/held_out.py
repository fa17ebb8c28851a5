"""Choose labelled frames to hold out, so that a head fitted to the others can be evaluated on them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MAX_FRAMES = 8
"""Maximum number of held-out frames; each requires a fit. Two encoders take a minute or two on a CPU."""

MAX_CINES = 4
"""Maximum number of cines with held-out frames; each has to be encoded."""

_PREVIEWS = 3


@dataclass(frozen=True)
class Target:
    """Frame to predict without its own label.

    Attributes
    ----------
    cine, frame : int
        Number of the cine and of the frame.
    scored : tuple of int
        Label values to score; empty for a frame without labels, which is predicted for visual comparison
        only.
    """

    cine: int
    frame: int
    scored: tuple[int, ...]


def choose_targets(
    labels: Mapping[int, Mapping[int, NDArray[np.uint8]]],
    lengths: Mapping[int, int],
    classes: Sequence[int],
    *,
    labelled: Mapping[int, Collection[int]] | None = None,
    max_frames: int = MAX_FRAMES,
    max_cines: int = MAX_CINES,
) -> list[Target]:
    """Choose frames to hold out, spread over cines and time.

    A frame is held out, and a class is scored on it, only if another labelled frame of the cine contains the
    class. If there is no such frame, a few frames without labels are chosen for visual comparison. The choice
    depends on the labels only.

    Parameters
    ----------
    labels : mapping of int to mapping of int to ndarray
        Label images (h, w) by cine and frame.
    lengths : mapping of int to int
        Number of frames of each cine.
    classes : sequence of int
        Label values.
    labelled : mapping of int to collection of int, optional
        Frames of each cine that are used for fitting, including those with scribbles only, which are not
        chosen for visual comparison. Default: the frames in `labels`.
    max_frames, max_cines : int
        Limits on the number of frames and cines.
    """
    candidates = {
        cine: [Target(cine, f, scored) for f in sorted(images) if (scored := _scored(images, f, classes))]
        for cine, images in labels.items()
    }
    if not any(candidates.values()):
        return _previews(labels, lengths, classes, labelled or labels)
    chosen = sorted(candidates, key=lambda cine: -len(candidates[cine]))[:max_cines]
    counts = dict.fromkeys(chosen, 0)
    while sum(counts.values()) < max_frames:
        remaining = [cine for cine in chosen if counts[cine] < len(candidates[cine])]
        if not remaining:
            break
        counts[min(remaining, key=lambda cine: counts[cine])] += 1
    return [target for cine in labels if cine in counts for target in _spread(candidates[cine], counts[cine])]


def _scored(images: Mapping[int, NDArray[np.uint8]], frame: int, classes: Sequence[int]) -> tuple[int, ...]:
    present = np.unique(images[frame])
    others = [np.unique(label) for other, label in images.items() if other != frame]
    return tuple(value for value in classes if value in present and any(value in other for other in others))


def _previews(
    labels: Mapping[int, Mapping[int, NDArray[np.uint8]]],
    lengths: Mapping[int, int],
    classes: Sequence[int],
    labelled: Mapping[int, Collection[int]],
) -> list[Target]:
    for cine, images in labels.items():
        free = [Target(cine, frame, ()) for frame in range(lengths[cine]) if frame not in labelled[cine]]
        if free and any(np.isin(label, classes).any() for label in images.values()):
            return _spread(free, _PREVIEWS)
    return []


def _spread(targets: Sequence[Target], n: int) -> list[Target]:
    """Choose at most n targets at regular intervals, away from both ends."""
    n = min(n, len(targets))
    return [targets[int((i + 0.5) * len(targets) / n)] for i in range(n)]

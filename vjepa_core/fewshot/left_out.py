"""Which labelled frames to leave out, so that a head fitted to the others can be measured on them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MOST_FRAMES = 8
"""Left-out frames, a fit each: with them two encoders take a minute or two on a CPU."""

MOST_CINES = 4
"""Cines that they come from: each has to be encoded."""

_PREVIEWS = 3


@dataclass(frozen=True)
class Target:
    """A frame to draw without its own label: number of the cine, frame, label values to score.

    `scored` is empty where nothing is drawn on the frame: such a one is for the eye.
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
    most: int = MOST_FRAMES,
    most_cines: int = MOST_CINES,
) -> list[Target]:
    """Frames to leave out, spread over cines and over time; a few to look at where there are none.

    A frame is left out, and a class scored on it, only where another labelled frame of the cine shows the
    class. The choice depends on the labels alone.

    Parameters
    ----------
    labels, lengths : mapping
        What is drawn on each cine, as label images (h, w) by frame, and how many frames it has.
    classes : sequence of int
        Label values.
    labelled : mapping, optional
        Frames of each cine that are learnt from, those of scribbles among them: they are not left out to be
        looked at. Default: those of `labels`.
    """
    candidates = {
        cine: [Target(cine, f, scored) for f in sorted(drawn) if (scored := _scored(drawn, f, classes))]
        for cine, drawn in labels.items()
    }
    if not any(candidates.values()):
        return _previews(labels, lengths, classes, labelled or labels)
    fullest = sorted(candidates, key=lambda cine: -len(candidates[cine]))[:most_cines]
    share = dict.fromkeys(fullest, 0)
    while sum(share.values()) < most:
        unused = [cine for cine in fullest if share[cine] < len(candidates[cine])]
        if not unused:
            break
        share[min(unused, key=lambda cine: share[cine])] += 1
    return [target for cine in labels if cine in share for target in _spread(candidates[cine], share[cine])]


def _scored(drawn: Mapping[int, NDArray[np.uint8]], frame: int, classes: Sequence[int]) -> tuple[int, ...]:
    here = np.unique(drawn[frame])
    others = [np.unique(label) for other, label in drawn.items() if other != frame]
    return tuple(value for value in classes if value in here and any(value in other for other in others))


def _previews(
    labels: Mapping[int, Mapping[int, NDArray[np.uint8]]],
    lengths: Mapping[int, int],
    classes: Sequence[int],
    labelled: Mapping[int, Collection[int]],
) -> list[Target]:
    for cine, drawn in labels.items():
        free = [Target(cine, frame, ()) for frame in range(lengths[cine]) if frame not in labelled[cine]]
        if free and any(np.isin(label, classes).any() for label in drawn.values()):
            return _spread(free, _PREVIEWS)
    return []


def _spread(targets: Sequence[Target], n: int) -> list[Target]:
    """At most n of them at even distances, the ends left alone where there are many."""
    n = min(n, len(targets))
    return [targets[int((i + 0.5) * len(targets) / n)] for i in range(n)]

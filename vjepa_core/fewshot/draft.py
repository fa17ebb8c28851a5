"""What the starter head draws on a cine without labels, and its use beside a head fitted to few of them.

A head fitted to one outlined frame knows one phase of the beat. Towards the other phase it relies on the
label that motion carries there, which lags behind where optical flow loses the tissue. The starter head has
seen many hearts in both phases: its outlines follow another rater, but they do follow the beat. Where an
answer has changed less since the annotated frame than the draft has, the draft replaces it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vjepa_core.fewshot.fit import predict
from vjepa_core.fewshot.head import Head
from vjepa_core.fewshot.overlap import AGREED, agreement
from vjepa_core.fewshot.prepared_cine import FrameLabel, PreparedCine

OTHER_PHASE = (0.05, 0.15)
"""Change of the draft since the annotated frame, 1 - mean Dice: where it begins to count and where fully."""

MISSED = 0.04
"""So much of that change missing from an answer lets the draft take its place entirely."""

UNSTEADY = 0.05
"""The draft may differ by this much, 1 - mean Dice, from one frame to the next where nothing moves."""


class Draft:
    """The starter head's answers on a cine, as if nothing had been outlined on it; each is computed once.

    Parameters
    ----------
    head : Head
        The starter's, on the device where it is to run.
    cine : PreparedCine
        To which the starter applies, with its features.
    """

    def __init__(self, head: Head, cine: PreparedCine) -> None:
        self.head = head
        self._cine = cine
        self._kept: dict[int, NDArray[np.uint8]] = {}  # 255 is certain; 50 kB a frame

    def __call__(self, frames: Sequence[int]) -> Tensor:
        """Probabilities (len(frames), K, grid, grid) of background and classes."""
        missing = sorted({frame for frame in frames if frame not in self._kept})
        if missing:
            self.keep(missing, predict(self.head, replace(self._cine, labels={}), missing))
        stacked = torch.from_numpy(np.stack([self._kept[frame] for frame in frames])).float()
        return stacked / stacked.sum(1, keepdim=True)

    def keep(self, frames: Sequence[int], probabilities: Tensor) -> None:
        """Take over answers that were computed elsewhere, by the same head without labels."""
        for frame, maps in zip(frames, probabilities, strict=True):
            self._kept[frame] = (255 * maps).round().byte().numpy()

    def knows(self, frames: Sequence[int]) -> bool:
        """Whether the answers on these frames, and what `blended` needs besides, are there already."""
        return self._kept.keys() >= {*frames, *_needed(self._cine)}


def answer(head: Head, cine: PreparedCine, frames: Sequence[int], draft: Draft | None) -> Tensor:
    """What to show on some frames of a cine: the answer of a head, with the draft where that is better.

    Parameters
    ----------
    head : Head
    cine : PreparedCine
    frames : sequence of int
    draft : Draft, optional
        Of this cine; None where the starter head does not apply to it, or draws other structures.

    Returns
    -------
    (len(frames), K, grid, grid) float
        Probabilities of background and classes, on the CPU.
    """
    found = predict(head, cine, frames)
    if draft is None:
        return found
    if head is draft.head:
        if not cine.labels:
            draft.keep(frames, found)
        return found
    return blended(found, cine, frames, draft)


def blended(probabilities: Tensor, cine: PreparedCine, frames: Sequence[int], draft: Draft) -> Tensor:
    """Mix answers with the draft, by how much each has changed since the annotated frame.

    Parameters
    ----------
    probabilities : (len(frames), K, grid, grid) float
        Of background and classes, for example a fitted head's.
    cine : PreparedCine
        With its labels.
    frames : sequence of int
    draft : Draft
        Of this cine and the same classes.

    Returns
    -------
    (len(frames), K, grid, grid) float
    """
    if not _outlined(cine):
        return probabilities
    drafted = _only(draft(frames), cine.outlined_classes)
    share = draft_share(probabilities, drafted, cine, frames, draft)[:, None, None, None]
    return torch.lerp(probabilities, drafted, share)


def with_unlearnt(probabilities: Tensor, drafted: Tensor, learnt: Tensor) -> Tensor:
    """Let the draft draw the structures that a fitted head has not learnt, where that head draws nothing.

    After outlining one structure of a draft, the user still sees the others. The draft is read as if it knew
    only these and background, so that no gap remains where its own border of a learnt structure lies
    elsewhere.

    Parameters
    ----------
    probabilities, drafted : (B, K, grid, grid) float
        Of a fitted head and of the draft.
    learnt : (K,) bool
        Background, and the classes that the head has learnt.

    Returns
    -------
    (B, K, grid, grid) float
    """
    others = ~learnt
    others[0] = True
    rest = drafted * others[None, :, None, None]
    rest = rest / rest.sum(1, keepdim=True).clamp_min(1e-6)
    kept = probabilities * learnt[None, :, None, None]
    kept[:, 0] = 0
    return kept + (1.0 - kept.sum(1, keepdim=True)) * rest


def draft_share(
    probabilities: Tensor, drafted: Tensor, cine: PreparedCine, frames: Sequence[int], draft: Draft
) -> Tensor:
    """Share of the draft in the answer on each frame, (len(frames),) in 0..1.

    Each frame is compared with the annotated frame that is most like it in the draft. It is 0 where the draft
    does not agree with what was outlined there: then it says nothing about this heart.
    """
    references = [_Reference(frame, label, cine, draft) for frame, label in _outlined(cine).items()]
    shares = []
    for own, other in zip(probabilities.argmax(1).numpy(), drafted.argmax(1).numpy(), strict=True):
        nearest = min(references, key=lambda one: one.change_of_draft(other))
        expected = nearest.change_of_draft(other)
        low, high = OTHER_PHASE
        far = np.clip((expected - low) / (high - low), 0.0, 1.0)
        missed = np.clip((expected - nearest.change_of_answer(own)) / MISSED, 0.0, 1.0)
        shares.append(far * missed if nearest.fits else 0.0)
    return torch.tensor(shares, dtype=torch.float32)


class _Reference:
    """An annotated frame with what the draft shows there."""

    def __init__(self, frame: int, label: FrameLabel, cine: PreparedCine, draft: Draft) -> None:
        self._drawn = label.stated
        self._label = self._shown(label.target.argmax(-1))
        here, *around = (
            _only(draft([frame, *_neighbours(frame, cine)]), cine.outlined_classes).argmax(1).numpy()
        )
        self._draft = self._shown(here)
        self.fits = agreement(self._draft, self._label) >= AGREED
        # A draft that errs on this very frame differs from its neighbours: that is no motion of the heart.
        apart = [1.0 - agreement(self._draft, self._shown(one)) for one in around]
        self._error = max(0.0, min(apart, default=0.0) - UNSTEADY)

    def change_of_draft(self, drafted: NDArray[np.int64]) -> float:
        """From here to a frame with this draft, 1 - mean Dice."""
        return 1.0 - agreement(self._draft, self._shown(drafted)) - self._error

    def change_of_answer(self, answered: NDArray[np.int64]) -> float:
        """From the outlines here to an answer on another frame, 1 - mean Dice."""
        return 1.0 - agreement(self._label, self._shown(answered))

    def _shown(self, classes: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Only what was outlined here."""
        return np.where(self._drawn[classes], classes, 0).astype(np.uint8)


def _outlined(cine: PreparedCine) -> dict[int, FrameLabel]:
    return {frame: label for frame, label in cine.labels.items() if label.stated[1:].any()}


def _neighbours(frame: int, cine: PreparedCine) -> list[int]:
    return [f for f in (frame - 1, frame + 1) if 0 <= f < cine.n_frames]


def _needed(cine: PreparedCine) -> set[int]:
    """Frames whose draft `blended` looks at, whichever frames are asked for."""
    return {near for frame in _outlined(cine) for near in (frame, *_neighbours(frame, cine))}


def _only(probabilities: Tensor, drawn: Tensor) -> Tensor:
    """Classes that nobody outlined on the cine count as background."""
    kept = probabilities * drawn[None, :, None, None]
    kept[:, 0] += 1.0 - kept.sum(1)
    return kept

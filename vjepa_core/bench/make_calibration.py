"""Fit the shipped calibration: from confidence indicators to expected Dice and error probability of pixels.

``python -m vjepa_core.bench.make_calibration CAMUS.npz [OUT.json] [--cines N] [--frames T] [--drafts-only]``

Heads are fitted as in the program, from the shipped head, on phantom cines and on pseudo-cines of CAMUS's
training patients. Because the shipped head was fitted to these patients, its drafts are evaluated on still
images of every second validation patient; the others are used by `apical bench uncertainty`. Ctrl+C stops the
evaluation and fits the maps to the observations so far.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vjepa_core.bench.camus import BenchError, load_camus
from vjepa_core.bench.reliability import Observation
from vjepa_core.bench.scored_cines import phantom_cines, pseudo_cines
from vjepa_core.bench.uncertainty import (
    CARRIED_EDGES,
    SOFTMAX_EDGES,
    observe_cines,
    observe_stills,
    split_by_patient,
)
from vjepa_core.encoder.load import load_encoder
from vjepa_core.encoder.precision import inference_device, inference_dtype
from vjepa_core.fewshot.confidence import DICE_FLOOR
from vjepa_core.fewshot.dice_calibration import (
    SHIPPED,
    Calibration,
    Linear,
    Situation,
    nines,
    read,
    sigmoid,
    write,
)
from vjepa_core.fewshot.starter import load_starter
from vjepa_core.resources import resource_path

RIDGE = 1e-3
"""Weight of the squared weights, relative to the mean loss of an observation."""

KNOTS = 24

_FIRST_SEED = 0xCA11B << 8
"""First seed of phantoms that are not used by any benchmark."""


def fit(observations: Sequence[Observation]) -> Calibration:
    """Fit the maps of one situation.

    Raises
    ------
    BenchError
        If there are no observations.
    """
    if not observations:
        raise BenchError("There are no observations for the calibration: use more cines.")
    indicators = np.stack([one.indicators for one in observations])
    dice = np.array([one.dice for one in observations])
    frame = logistic(indicators, dice, np.ones(len(observations)))
    rows, counts, wrong = _pixels(observations, sigmoid(frame(indicators)))
    pixel = logistic(rows, 1 - wrong / counts, counts)
    return Calibration(frame, pixel, *knots(pixel(rows), counts, wrong))


def logistic(x: NDArray[np.float64], y: NDArray[np.float64], row_weights: NDArray[np.float64]) -> Linear:
    """Fit a logistic regression with non-negative weights.

    Parameters
    ----------
    x : ndarray of float
        Indicators, shape (N, indicators).
    y : ndarray of float
        Targets 0..1, shape (N,).
    row_weights : ndarray of float
        Weight of each row, shape (N,).
    """
    use = np.ptp(x, axis=0) > 1e-9
    share = row_weights / row_weights.sum()
    while True:
        coefficients = _newton(np.column_stack([np.ones(len(x)), x[:, use]]), y, share)
        if not use.any() or coefficients[1:].min() >= 0:
            break
        use[np.flatnonzero(use)[coefficients[1:].argmin()]] = False
    weights = np.zeros(x.shape[1])
    weights[use] = coefficients[1:]
    return Linear(float(coefficients[0]), tuple(weights.tolist()))


def _newton(
    x: NDArray[np.float64], y: NDArray[np.float64], share: NDArray[np.float64]
) -> NDArray[np.float64]:
    weights = np.zeros(x.shape[1])
    ridge = np.diag([1e-9] + [RIDGE] * (x.shape[1] - 1))

    def loss(w: NDArray[np.float64]) -> float:
        z = x @ w
        return float(share @ (np.logaddexp(0, z) - y * z) + 0.5 * w @ ridge @ w)

    for _ in range(100):
        p = sigmoid(x @ weights)
        slope = x.T @ (share * (p - y)) + ridge @ weights
        curve = (x * (share * p * (1 - p))[:, None]).T @ x + ridge
        step, length = np.linalg.solve(curve, slope), 1.0
        while length > 1e-6 and loss(weights - length * step) > loss(weights):
            length /= 2
        weights = weights - length * step
        if np.abs(length * step).max() < 1e-8:
            break
    return weights


def _pixels(
    observations: Sequence[Observation], expected: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return indicators, number of pixels and number of wrong pixels of each non-empty cell and frame."""
    softmax, carried = np.meshgrid(
        *((e[:-1] + e[1:]) / 2 for e in (SOFTMAX_EDGES, CARRIED_EDGES)), indexing="ij"
    )
    rows, counts, wrong = [], [], []
    for one, dice in zip(observations, expected, strict=True):
        filled = one.cells[..., 0] > 0
        frame = np.full(int(filled.sum()), nines(np.array(dice), DICE_FLOOR))
        rows.append(np.column_stack([softmax[filled], carried[filled], frame]))
        counts.append(one.cells[filled][:, 0])
        wrong.append(one.cells[filled][:, 1])
    return np.concatenate(rows), np.concatenate(counts), np.concatenate(wrong)


def knots(
    scores: NDArray[np.float64], counts: NDArray[np.float64], wrong: NDArray[np.float64]
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Compute a monotone map from score to error probability as scores and probabilities of a few knots.

    Each knot has about the same number of wrong pixels. Neighbouring knots are merged if they are not
    monotone.

    Parameters
    ----------
    scores, counts, wrong : ndarray of float
        Score, number of pixels and number of wrong pixels, shape (N,).
    """
    order = np.argsort(scores, kind="stable")
    scores, counts, wrong = scores[order], counts[order], wrong[order]
    knot = np.minimum(np.cumsum(wrong) / max(wrong.sum(), 1e-9) * KNOTS, KNOTS - 1).astype(int)
    merged: list[list[float]] = []  # sum of scores, pixels, wrong pixels
    for k in np.unique(knot):
        rows = knot == k
        merged.append(
            [float(scores[rows] @ counts[rows]), float(counts[rows].sum()), float(wrong[rows].sum())]
        )
        while len(merged) > 1 and not _better(merged[-1], merged[-2]):
            last = merged.pop()
            merged[-1] = [a + b for a, b in zip(merged[-1], last, strict=True)]
    return tuple(total / n for total, n, _ in merged), tuple(map(_wrong, merged))


def _better(one: Sequence[float], other: Sequence[float]) -> bool:
    """Return True for a lower error at a higher score, by more than the rounding of the file."""
    return _wrong(one) < _wrong(other) and one[0] / one[1] > other[0] / other[1] + 1e-3


def _wrong(part: Sequence[float]) -> float:
    return part[2] / part[1]


def make(camus: Path, out: Path, *, cines: int, frames: int, drafts_only: bool = False) -> dict[str, Any]:
    """Evaluate, fit and write the calibration; return the description in the file.

    Parameters
    ----------
    camus, out : Path
        CAMUS file and output file.
    cines, frames : int
        Number of phantoms and of pseudo-cines, and their number of frames.
    drafts_only : bool
        Evaluate drafts only, and keep the maps of the other situations in `out`.
    """
    encoder = load_encoder(device=(device := inference_device()), matrices=inference_dtype(device))
    starter = load_starter(encoder[1])
    if starter is None:
        raise BenchError(f"There is no starter head for {encoder[1].name}: create one with make_starter.")
    head = starter.head.to(device)
    observations: list[Observation] = []
    try:
        # Drafts first, because they are fast: a run that is stopped early has observations of all situations.
        observations.extend(
            observe_stills(
                split_by_patient(load_camus(camus)[1])[0], encoder, head, on_progress=_print_progress
            )
        )
        cines_to_observe = [] if drafts_only else pseudo_cines(camus, cines, frames=frames, training=True)
        cines_to_observe += [] if drafts_only else phantom_cines(cines, frames=frames, first=_FIRST_SEED)
        for count in (1, 2, 3):
            observations.extend(
                observe_cines(
                    cines_to_observe,
                    encoder,
                    start=starter,
                    counts=[count],
                    carried=True,
                    on_progress=_print_progress,
                )
            )
    except KeyboardInterrupt:
        sys.stderr.write("stopped: fitting to the observations so far\n")
    return calibrate(observations, out, encoder[1].checksum, keep=drafts_only)


def calibrate(
    observations: Sequence[Observation], out: Path, checksum: str, *, keep: bool = False
) -> dict[str, Any]:
    """Fit and write the maps of every situation; return the description in the file.

    Parameters
    ----------
    observations : sequence of Observation
        Observations.
    out : Path
        Output file.
    checksum : str
        Checksum of the encoder.
    keep : bool
        Keep the maps in `out` of situations without observations.

    Raises
    ------
    BenchError
        If there are no observations of a situation, unless its maps are kept.
    CoreError
        If maps are to be kept and `out` is damaged.
    """
    groups = {
        situation: [one for one in observations if one.situation is situation] for situation in Situation
    }
    kept = {situation: one for situation, one in read(out).items() if not groups[situation]} if keep else {}
    before = json.loads(out.read_text(encoding="utf-8"))["about"] if kept else {}
    about = {
        "what": "expected Dice of a frame and probability that a pixel is wrong, from confidence indicators",
        "made by": "python -m vjepa_core.bench.make_calibration",
        "cines": "phantoms, and pseudo-cines of CAMUS's training patients; 1 to 3 frames annotated",
        "drafts": "stills of every other CAMUS validation patient",
        "seen": {
            situation.value: before["seen"][situation.value] if situation in kept else _counts(group)
            for situation, group in groups.items()
        },
        "kept, and of which encoder": {situation.value: before["encoder"] for situation in kept},
        "encoder": checksum,
    }
    maps = {situation: kept.get(situation) or fit(group) for situation, group in groups.items()}
    write(out, maps, about)
    return about


def _counts(observations: Sequence[Observation]) -> dict[str, int]:
    return {"cines": len({(one.kind, one.cine) for one in observations}), "frames": len(observations)}


def _print_progress(stage: str, done: int, total: int) -> None:
    sys.stderr.write(f"{stage}: {done} of {total}\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Fit the shipped calibration.")
    parser.add_argument("camus", type=Path)
    parser.add_argument("out", type=Path, nargs="?", default=resource_path(SHIPPED))
    parser.add_argument("--cines", type=int, default=12, help="number of pseudo-cines and of phantoms")
    parser.add_argument("--frames", type=int, default=40, help="frames of each cine")
    parser.add_argument("--drafts-only", action="store_true", help="keep the maps of the other situations")
    arguments = parser.parse_args()
    make(
        arguments.camus,
        arguments.out,
        cines=arguments.cines,
        frames=arguments.frames,
        drafts_only=arguments.drafts_only,
    )

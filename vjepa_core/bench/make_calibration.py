"""Fit the calibration that ships: from signs of trust to expected Dice, and to the share of wrong pixels.

``python -m vjepa_core.bench.make_calibration CAMUS.npz [OUT.json] [--cines N] [--frames T] [--drafts-only]``

Fits as the program's, from the head that ships, on phantom cines and on pseudo-cines of CAMUS's training
patients. That head was fitted to those patients, so its drafts are looked at on stills of every other
validation patient; those between are left for `apical bench uncertainty`. Ctrl+C ends looking early and fits
to what was seen.
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
from vjepa_core.bench.reliability import Seen
from vjepa_core.bench.scored_cines import phantom_cines, pseudo_cines
from vjepa_core.bench.uncertainty import CARRIED_EDGES, SOFTMAX_EDGES, halves, on_cines, on_stills
from vjepa_core.encoder.load import load_encoder
from vjepa_core.encoder.precision import inference_device, inference_dtype
from vjepa_core.fewshot.calibration import (
    SHIPPED,
    Calibration,
    Linear,
    Situation,
    nines,
    read,
    sigmoid,
    write,
)
from vjepa_core.fewshot.confidence import DICE_FLOOR
from vjepa_core.fewshot.starter import load_starter
from vjepa_core.resources import resource_path

RIDGE = 1e-3
"""Of the squared weights, against the mean loss of an observation."""

KNOTS = 24

_FIRST = 0xCA11B << 8
"""Seeds of phantoms that no benchmark draws."""


def fit(seen: Sequence[Seen]) -> Calibration:
    """The maps of one situation.

    Raises
    ------
    BenchError
        If there is nothing to fit to.
    """
    if not seen:
        raise BenchError("Nothing was seen to calibrate with: let it look at more cines.")
    signs, dice = np.stack([one.signs for one in seen]), np.array([one.dice for one in seen])
    frame = logistic(signs, dice, np.ones(len(seen)))
    rows, many, wrong = _pixels(seen, sigmoid(frame(signs)))
    pixel = logistic(rows, 1 - wrong / many, many)
    return Calibration(frame, pixel, *knots(pixel(rows), many, wrong))


def logistic(x: NDArray[np.float64], y: NDArray[np.float64], many: NDArray[np.float64]) -> Linear:
    """Logistic regression of shares on signs, no weight negative.

    Parameters
    ----------
    x : (N, signs) float
    y : (N,) float
        In 0..1.
    many : (N,) float
        How much each row counts.
    """
    use = np.ptp(x, axis=0) > 1e-9
    share = many / many.sum()
    while True:
        found = _newton(np.column_stack([np.ones(len(x)), x[:, use]]), y, share)
        if not use.any() or found[1:].min() >= 0:
            break
        use[np.flatnonzero(use)[found[1:].argmin()]] = False
    weights = np.zeros(x.shape[1])
    weights[use] = found[1:]
    return Linear(float(found[0]), tuple(weights.tolist()))


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
    seen: Sequence[Seen], expected: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Signs, number of pixels and number of wrong ones, of every cell of every frame that has any."""
    softmax, carried = np.meshgrid(
        *((e[:-1] + e[1:]) / 2 for e in (SOFTMAX_EDGES, CARRIED_EDGES)), indexing="ij"
    )
    rows, many, wrong = [], [], []
    for one, dice in zip(seen, expected, strict=True):
        there = one.cells[..., 0] > 0
        frame = np.full(int(there.sum()), nines(np.array(dice), DICE_FLOOR))
        rows.append(np.column_stack([softmax[there], carried[there], frame]))
        many.append(one.cells[there][:, 0])
        wrong.append(one.cells[there][:, 1])
    return np.concatenate(rows), np.concatenate(many), np.concatenate(wrong)


def knots(
    scores: NDArray[np.float64], many: NDArray[np.float64], wrong: NDArray[np.float64]
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Share of wrong pixels by score, made to fall: scores and shares of a few knots.

    The knots have as many wrong pixels each; neighbours whose shares would rise, or scores not, are merged.

    Parameters
    ----------
    scores, many, wrong : (N,) float
        Score, number of pixels, number of wrong ones.
    """
    order = np.argsort(scores, kind="stable")
    scores, many, wrong = scores[order], many[order], wrong[order]
    place = np.minimum(np.cumsum(wrong) / max(wrong.sum(), 1e-9) * KNOTS, KNOTS - 1).astype(int)
    merged: list[list[float]] = []  # sum of scores, pixels, wrong ones
    for k in np.unique(place):
        rows = place == k
        merged.append([float(scores[rows] @ many[rows]), float(many[rows].sum()), float(wrong[rows].sum())])
        while len(merged) > 1 and not _better(merged[-1], merged[-2]):
            last = merged.pop()
            merged[-1] = [a + b for a, b in zip(merged[-1], last, strict=True)]
    return tuple(total / n for total, n, _ in merged), tuple(map(_wrong, merged))


def _better(one: Sequence[float], other: Sequence[float]) -> bool:
    """Wrong less often at a higher score, by more than the file's four places leave of it."""
    return _wrong(one) < _wrong(other) and one[0] / one[1] > other[0] / other[1] + 1e-3


def _wrong(part: Sequence[float]) -> float:
    return part[2] / part[1]


def make(camus: Path, out: Path, *, cines: int, frames: int, drafts_only: bool = False) -> dict[str, Any]:
    """Look, fit and write; returns what the file says of itself.

    Parameters
    ----------
    camus, out : Path
    cines, frames : int
        How many phantoms, and as many pseudo-cines, and their length.
    drafts_only : bool
        Look at drafts alone, and leave the maps of the other situations as they are in `out`.
    """
    encoder = load_encoder(device=(device := inference_device()), matrices=inference_dtype(device))
    starter = load_starter(encoder[1])
    if starter is None:
        raise BenchError(
            f"There is no head to start from over {encoder[1].name}: make one with make_starter."
        )
    head = starter.head.to(device)
    seen: list[Seen] = []
    try:
        # Drafts first: they are quick, and a run that is stopped early then has some of everything.
        seen.extend(on_stills(halves(load_camus(camus)[1])[0], encoder, head, on_progress=_tell))
        made = [] if drafts_only else pseudo_cines(camus, cines, frames=frames, training=True)
        made += [] if drafts_only else phantom_cines(cines, frames=frames, first=_FIRST)
        for count in (1, 2, 3):
            seen.extend(
                on_cines(made, encoder, start=starter, counts=[count], carried=True, on_progress=_tell)
            )
    except KeyboardInterrupt:
        sys.stderr.write("stopped: fitting to what was seen\n")
    return calibrate(seen, out, encoder[1].checksum, keep=drafts_only)


def calibrate(seen: Sequence[Seen], out: Path, checksum: str, *, keep: bool = False) -> dict[str, Any]:
    """Fit the maps of every situation and write them, with a word on how they were made, which is returned.

    Parameters
    ----------
    seen : sequence of Seen
    out : Path
    checksum : str
        Of the encoder.
    keep : bool
        Leave the maps of a situation of which nothing was seen as they are in `out`.

    Raises
    ------
    BenchError
        If nothing was seen of a situation, unless its maps are kept.
    CoreError
        If they are to be kept and `out` is damaged.
    """
    groups = {situation: [one for one in seen if one.situation is situation] for situation in Situation}
    kept = {situation: one for situation, one in read(out).items() if not groups[situation]} if keep else {}
    before = json.loads(out.read_text(encoding="utf-8"))["about"] if kept else {}
    about = {
        "what": "expected Dice of a frame and probability that a pixel is wrong, from signs of trust",
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


def _counts(seen: Sequence[Seen]) -> dict[str, int]:
    return {"cines": len({(one.kind, one.cine) for one in seen}), "frames": len(seen)}


def _tell(stage: str, done: int, total: int) -> None:
    sys.stderr.write(f"{stage}: {done} of {total}\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Fit the calibration that ships.")
    parser.add_argument("camus", type=Path)
    parser.add_argument("out", type=Path, nargs="?", default=resource_path(SHIPPED))
    parser.add_argument("--cines", type=int, default=12, help="pseudo-cines, and as many phantoms")
    parser.add_argument("--frames", type=int, default=40, help="of each")
    parser.add_argument(
        "--drafts-only", action="store_true", help="leave the maps of the other situations as they are"
    )
    asked = parser.parse_args()
    make(asked.camus, asked.out, cines=asked.cines, frames=asked.frames, drafts_only=asked.drafts_only)

"""Does the program know where it is wrong? Expected Dice of frames, and of pixels, against the truth.

The program's own numbers stand beside those of the head's softmax alone, over the same predictions.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from vjepa_core.bench.camus import CLASSES, Stills, dice
from vjepa_core.bench.frozen import as_studies, features
from vjepa_core.bench.scored_cines import ScoredCine, annotated_frames
from vjepa_core.errors import Cancelled
from vjepa_core.fewshot.calibration import Calibration, Situation
from vjepa_core.fewshot.confidence import (
    SOFTMAX_FLOOR,
    frame_confidence,
    frame_signs,
    pixel_signs,
    situation,
    trust,
)
from vjepa_core.fewshot.feature_cache import FeatureCache
from vjepa_core.fewshot.fit import predict
from vjepa_core.fewshot.head import GRID_SIZE, Head
from vjepa_core.fewshot.segmenter import PREDICT_FRAMES, LoadedEncoder, label_image, prepare_cine, segment
from vjepa_core.fewshot.study import StudyCine, frame_label
from vjepa_core.preprocessing import Letterbox

BINS = 15
"""Of an expected calibration error: equal parts of 0 to 1 for pixels; for frames, whose Dice are all much
the same, groups of equally many."""

BORDER = 3
"""Pixels of the head's grid from a drawn or a true border that count as near it."""

SOFTMAX_EDGES = np.linspace(0.0, -np.log(SOFTMAX_FLOOR), 24)
CARRIED_EDGES = np.array([0.0, 0.05, 0.35, 0.65, 0.95, 1.0])

_CACHE_BYTES = 8 << 30
OnProgress = Callable[[str, int, int], None]


@dataclass(frozen=True, eq=False)
class Seen:
    """One predicted frame whose truth is known.

    Attributes
    ----------
    kind, situation : str, Situation
        Of the cine, "still" among them, and what the prediction rests on.
    cine, annotated : int
        Which one, and how many of its frames were annotated.
    dice : float
        True mean Dice, on the picture's own pixels.
    signs : (5,) float
        See `frame_signs`.
    cells : (23, 5, 2) float
        By softmax (`SOFTMAX_EDGES`) and carried probability of the drawn label (`CARRIED_EDGES`): how many
        pixels of the head's grid, and how many of them wrong.
    expected : dict
        "ours" and "softmax": expected Dice.
    pixels : dict
        "ours", "softmax" and "ours near borders", "softmax near borders": (15, 3) by bins of the
        probability to be right: how many pixels, sum of that probability, how many right.
    """

    kind: str
    situation: Situation
    cine: int
    annotated: int
    dice: float
    signs: NDArray[np.float64]
    cells: NDArray[np.float64]
    expected: dict[str, float]
    pixels: dict[str, NDArray[np.float64]]


def observe(
    study: StudyCine,
    frames: Sequence[int],
    probabilities: Tensor,
    truth: Sequence[NDArray[np.uint8]],
    *,
    carried: bool = False,
    calibration: Calibration | None = None,
    **where: Any,
) -> Iterator[Seen]:
    """Hold predictions of some frames against the truth; a frame without structures is left out.

    Parameters
    ----------
    study : StudyCine
        With its labels; none of `frames` is among them.
    frames : sequence of int
    probabilities : (len(frames), K, grid, grid) float
    truth : sequence of array
        (h, w) label images of the frames.
    carried, calibration
        As for `trust`.
    where
        `kind`, `cine` and `annotated`.
    """
    classes = tuple(CLASSES)
    prior = study.prior(frames, probabilities.shape[1])
    signs = frame_signs(study, frames, probabilities, prior)
    found = trust(study, frames, probabilities, carried=carried, calibration=calibration)
    of_pixels = pixel_signs(probabilities, prior, found.dice.numpy())
    softmax = probabilities.float().amax(1).numpy()
    plain = frame_confidence(probabilities)
    inside = _inside(study.box)
    for i, image in enumerate(truth):
        label = frame_label(image, study.box, classes)
        drawn, true = probabilities[i].argmax(0).numpy(), label.target.argmax(-1)
        known = (label.weight > 0.5) & inside
        mask = label_image(probabilities[i], study.box, classes)
        silent = image == 255
        real = dice(np.where(silent, 0, mask)[None], np.where(silent, 0, image)[None])["mean"]
        if np.isnan(real):
            continue
        right = drawn == true
        near = known & _near_border(drawn, true)
        both = {"ours": 1.0 - found.wrong[i].numpy(), "softmax": softmax[i]}
        yield Seen(
            situation=situation(study, carried=carried),
            dice=real,
            signs=signs[i],
            cells=_cells(of_pixels[i][known], right[known]),
            expected={"ours": float(found.dice[i]), "softmax": float(plain[i])},
            pixels={
                **{what: reliability(sure[known], right[known]) for what, sure in both.items()},
                **{
                    f"{what} near borders": reliability(sure[near], right[near])
                    for what, sure in both.items()
                },
            },
            **where,
        )


def on_cines(
    cines: Sequence[ScoredCine],
    encoder: LoadedEncoder,
    *,
    start: Head | None,
    counts: Sequence[int] = (1, 2, 3),
    seed: int = 0,
    carried: bool = False,
    on_progress: OnProgress = lambda _stage, _done, _total: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Iterator[Seen]:
    """Annotate a few frames of each cine, fit as the program does, and look at all others.

    Parameters
    ----------
    cines : sequence of ScoredCine
    encoder : (module, card)
    start : Head, optional
        That fits start from; at a count of 0 it draws by itself. A count of 0 without one is left out.
    counts : sequence of int
        How many frames are annotated, see `annotated_frames`.
    seed : int
    carried : bool
        Look at what motion carries as well, which the window shows until the head is there.
    on_progress, should_stop : callable
        It ends early, without an error, once `should_stop` says yes.
    """
    lessons = [(i, count) for i in range(len(cines)) for count in counts if count < len(cines[i].labels)]
    lessons = [(i, count) for i, count in lessons if count or start is not None]
    with tempfile.TemporaryDirectory(prefix="apical-") as folder:
        cache = FeatureCache(Path(folder), _CACHE_BYTES)
        for done, (i, count) in enumerate(lessons):
            cine = cines[i]
            on_progress(f"cine {i + 1} of {len(cines)}, {count} annotated", done, len(lessons))
            lesson = _Lesson(cine, i, annotated_frames(cine.labels, count) if count else [], carried)
            try:
                if count:
                    segment(
                        cine.frames,
                        {frame: cine.labels[frame] for frame in lesson.annotated},
                        tuple(CLASSES),
                        fps=cine.fps,
                        encoder=encoder,
                        start=start,
                        cache=cache,
                        seed=seed,
                        watch=lesson.watch,
                        should_stop=should_stop,
                    )
                elif start is not None:
                    study = prepare_cine(
                        i, cine.frames, *encoder, fps=cine.fps, cache=cache, should_stop=should_stop
                    )
                    lesson.draft(start, study, should_stop)
            except Cancelled:
                return
            yield from lesson.seen
        on_progress("cines", len(lessons), len(lessons))


class _Lesson:
    """A cine, which of its frames are annotated, and what was seen on the others."""

    def __init__(self, cine: ScoredCine, number: int, annotated: list[int], carried: bool) -> None:
        self.annotated = annotated
        self.seen: list[Seen] = []
        self._cine, self._carried = cine, carried
        self._where: dict[str, Any] = {"kind": cine.kind, "cine": number, "annotated": len(annotated)}

    def watch(self, study: StudyCine, frames: Sequence[int], probabilities: Tensor) -> None:
        """Take predictions of some frames."""
        rest = [k for k, f in enumerate(frames) if f in self._cine.labels and f not in self.annotated]
        if not rest:
            return
        scored = [frames[k] for k in rest]
        truth = [self._cine.labels[frame] for frame in scored]
        self.seen += observe(study, scored, probabilities[rest], truth, **self._where)
        if self._carried and self.annotated:
            moved = study.prior(scored, probabilities.shape[1])
            self.seen += observe(study, scored, moved, truth, carried=True, **self._where)

    def draft(self, head: Head, study: StudyCine, should_stop: Callable[[], bool]) -> None:
        """Let a head draw all labelled frames by itself."""
        order = sorted(self._cine.labels)
        for first in range(0, len(order), PREDICT_FRAMES):
            if should_stop():
                raise Cancelled
            chosen = order[first : first + PREDICT_FRAMES]
            self.watch(study, chosen, predict(head, study, chosen))


def halves(stills: Stills) -> tuple[Stills, Stills]:
    """Stills to calibrate drafts with, and those to score them on: every other patient each."""
    patients = np.unique(stills.patients)
    return stills.of(patients[::2]), stills.of(patients[1::2])


def on_stills(
    stills: Stills,
    encoder: LoadedEncoder,
    head: Head,
    *,
    on_progress: OnProgress = lambda _stage, _done, _total: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Iterator[Seen]:
    """Let a head draw stills that have no label of their own.

    Parameters
    ----------
    stills : Stills
    encoder : (module, card)
    head : Head
        Fitted to others.
    on_progress, should_stop : callable
    """
    group = 16
    for first in range(0, len(stills), group):
        if should_stop():
            return
        on_progress("stills", first, len(stills))
        part = stills.images[first : first + group]
        for k, study in enumerate(as_studies(part, features(encoder[0], part))):
            answer, truth = predict(head, study, [0]), stills.masks[first + k]
            yield from observe(study, [0], answer, [truth], kind="still", cine=first + k, annotated=0)
    on_progress("stills", len(stills), len(stills))


# Figures


def reliability(sure: NDArray[Any], right: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(15, 3) by bins of `sure` (N,) in 0..1: how many, sum of `sure`, how many `right` (N,)."""
    which = np.minimum((sure * BINS).astype(int), BINS - 1)
    sums = [np.bincount(which, weights, BINS) for weights in (None, sure, right)]
    return np.stack(sums, 1).astype(np.float64)


def calibration_error(bins: NDArray[np.float64]) -> float:
    """Expected calibration error of what `reliability` made: mean distance of expected and true shares."""
    total = bins[:, 0].sum()
    return float(np.abs(bins[:, 1] - bins[:, 2]).sum() / total) if total else float("nan")


def frame_error(expected: NDArray[np.float64], true: NDArray[np.float64]) -> float:
    """Expected calibration error of Dice (N,): frames by what was expected, in groups of equally many."""
    order = np.argsort(expected, kind="stable")
    groups = np.array_split(order, min(BINS, len(order)))
    return float(sum(abs((expected[g] - true[g]).sum()) for g in groups) / len(order))


def correlation(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """Pearson's; NaN where one of them does not vary."""
    if len(x) < 3 or np.ptp(x) < 1e-9 or np.ptp(y) < 1e-9:
        return float("nan")
    return float(np.corrcoef(x, y)[0, 1])


def ranks(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ranks from 0, equal values sharing theirs."""
    _, place, count = np.unique(x, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(count) - (count + 1) / 2)[place], np.float64)


def summary(seen: Sequence[Seen]) -> list[dict[str, Any]]:
    """What all frames of a kind and number of annotated ones say, ours and the softmax alone.

    Returns
    -------
    list of dict
        ``kind, situation, annotated, cines, frames, dice`` (true mean), ``what``, ``expected`` (mean),
        ``frame_ece, pearson, spearman`` (over all frames), ``within`` (mean of Spearman's within cines),
        ``pixel_ece, border_ece``. None where there is too little to tell.
    """
    groups: dict[tuple[Any, ...], list[Seen]] = {}
    for one in seen:
        groups.setdefault((one.kind, one.situation.value, one.annotated), []).append(one)
    return [
        {
            "kind": kind,
            "situation": rests_on,
            "annotated": annotated,
            "cines": len({one.cine for one in members}),
            "frames": len(members),
            "dice": float(np.mean([one.dice for one in members])),
            **_figures(members, what),
        }
        for (kind, rests_on, annotated), members in sorted(groups.items())
        for what in ("ours", "softmax")
    ]


def _figures(members: Sequence[Seen], what: str) -> dict[str, Any]:
    expected = np.array([one.expected[what] for one in members])
    true = np.array([one.dice for one in members])
    within = []
    for cine in {one.cine for one in members}:
        rows = np.array([one.cine == cine for one in members])
        within.append(correlation(ranks(expected[rows]), ranks(true[rows])))
    known = [value for value in within if not np.isnan(value)]
    found = {
        "expected": float(expected.mean()),
        "frame_ece": frame_error(expected, true),
        "pearson": correlation(expected, true),
        "spearman": correlation(ranks(expected), ranks(true)),
        "within": float(np.mean(known)) if known else float("nan"),
        "pixel_ece": calibration_error(np.sum([one.pixels[what] for one in members], 0)),
        "border_ece": calibration_error(np.sum([one.pixels[f"{what} near borders"] for one in members], 0)),
    }
    return {"what": what, **{name: None if np.isnan(value) else value for name, value in found.items()}}


ERRORS = {
    "frame_ece": "calibration error of frames",
    "pixel_ece": "calibration error of pixels",
    "border_ece": "calibration error of pixels near borders",
}


def ratios(table: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Calibration errors of the softmax over ours, and what either ranking of frames misses.

    Parameters
    ----------
    table : sequence of dict
        As `summary` makes it.

    Returns
    -------
    dict
        Over 1 is in our favour.
    """
    found = {}
    for ours, softmax in zip(table[::2], table[1::2], strict=True):
        where = f"{ours['kind']}, {ours['annotated']} annotated"
        for name, words in ERRORS.items():
            if ours[name] is not None and softmax[name] is not None:
                found[f"{where}: {words}, softmax over ours"] = softmax[name] / max(ours[name], 1e-6)
        if ours["spearman"] is not None and softmax["spearman"] is not None:
            missed = (1 - softmax["spearman"]) / max(1 - ours["spearman"], 1e-6)
            found[f"{where}: 1 - rank correlation with true Dice, softmax over ours"] = missed
    return found


def _cells(signs: NDArray[np.float64], right: NDArray[np.bool_]) -> NDArray[np.float64]:
    place, size = np.zeros(len(signs), np.intp), 1
    for sign, edges in zip(signs.T, (SOFTMAX_EDGES, CARRIED_EDGES), strict=False):
        n = len(edges) - 1
        place = place * n + np.clip(np.searchsorted(edges, sign, side="right") - 1, 0, n - 1)
        size *= n
    counts = [np.bincount(place, weights, size) for weights in (None, ~right)]
    shape = (len(SOFTMAX_EDGES) - 1, len(CARRIED_EDGES) - 1, 2)
    return np.stack(counts, -1).reshape(shape).astype(np.float64)


def _near_border(drawn: NDArray[Any], true: NDArray[Any]) -> NDArray[np.bool_]:
    round_ = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * BORDER + 1, 2 * BORDER + 1))
    near = [
        cv2.morphologyEx(label.astype(np.uint8), cv2.MORPH_GRADIENT, round_) > 0 for label in (drawn, true)
    ]
    return np.asarray(near[0] | near[1])


def _inside(box: Letterbox) -> NDArray[np.bool_]:
    """Pixels of the head's grid that show the picture and not the bars beside it."""
    picture = np.zeros((box.size, box.size), np.uint8)
    picture[box.inner] = 255
    return np.asarray(cv2.resize(picture, (GRID_SIZE, GRID_SIZE), interpolation=cv2.INTER_AREA) > 127)

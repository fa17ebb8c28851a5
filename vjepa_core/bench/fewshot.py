"""Benchmark with few labels on CAMUS: the program's head compared with alternative methods in one run.

A row with k patients is fitted to the labelled images of k training patients. Our head may also use
unlabelled images of other training patients. No method uses the scored patients.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from vjepa_core.bench.baselines.base import Baseline
from vjepa_core.bench.camus import BenchError, Stills
from vjepa_core.bench.encoded_stills import EncodedStills
from vjepa_core.bench.head_on_stills import HeadOnStills
from vjepa_core.bench.scores import interval, score
from vjepa_core.errors import Cancelled

OURS = "ours"
CONVERGED = "U-Net, converged"
UNLABELLED = 200
"""Number of unlabelled images of other training patients that our head may use."""
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, eq=False)
class Entry:
    """Method of one row of the table.

    Attributes
    ----------
    what : str
        Name of the row; the row `OURS` is compared with all others.
    method : Baseline
        The method.
    tokens : EncodedStills, optional
        Features that it uses. They are computed before the fit, and their time is reported separately.
    budget_s : float, "ours" or None
        Maximum seconds of a fit. "ours": the time of `OURS` for features and fit on the same images.
    note : str
        Note for the reader of the row, in addition to that of the fitted model.
    """

    what: str
    method: Baseline
    tokens: EncodedStills | None = None
    budget_s: float | Literal["ours"] | None = None
    note: str = ""


def run(
    train: Stills,
    scored: Stills,
    entries: Sequence[Entry],
    *,
    patients: Sequence[int],
    seeds: Sequence[int],
    on_progress: Progress = lambda stage, done, total: None,
    on_row: Callable[[dict[str, Any]], None] = lambda row: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> list[dict[str, Any]]:
    """Measure every method with every number of patients and every seed.

    Parameters
    ----------
    train, scored : Stills
        Square images. Methods are fitted to random patients of `train`.
    entries : sequence of Entry
        Methods in order; `OURS` must precede those whose budget is its time.
    patients : sequence of int
        Numbers of patients; with the same seed, smaller sets are subsets of larger ones.
    seeds : sequence of int
        Seeds of patients and initial weights.
    on_progress : callable
        Called with (stage, done, total).
    on_row : callable
        Called with every new row.
    should_stop : callable
        If it returns True, the rows so far are returned.

    Returns
    -------
    list of dict
        ``what, encoder, kind`` ("camus"), ``patients, stills, seed, budget_s, features_s, fit_s, predict_s``
        (all scored images including features), ``steps, note``, and the scores of
        `vjepa_core.bench.scores.score` at the resolution of the images. There are no distances in mm, because
        the CAMUS images are resampled to a square.

    Raises
    ------
    BenchError
        If there are too few patients, the images are not square, or a budget "ours" has no row `OURS`.
    """
    validate(train, scored, entries, patients)
    jobs = [(count, one, seed) for count in patients for seed in seeds for one in entries]
    own_s: dict[tuple[int, int], float] = {}
    rows: list[dict[str, Any]] = []
    try:
        for done, (count, entry, seed) in enumerate(jobs):
            stage = f"{_patients(count)}, seed {seed}: {entry.what}"
            on_progress(stage, done, len(jobs))
            few = choose_patients(train, count, seed)
            one = _with_unlabelled(entry, train, few, seed)
            budget_s = own_s[count, seed] if one.budget_s == "ours" else one.budget_s
            row = {
                "patients": count,
                **_measured(one, few, scored, seed=seed, budget_s=budget_s, should_stop=should_stop),
            }
            if one.what == OURS:
                own_s[count, seed] = row["features_s"] + row["fit_s"]
            rows.append(row)
            on_row(row)
            on_progress(stage, done + 1, len(jobs))
    except Cancelled:
        pass
    return rows


def choose_patients(stills: Stills, count: int, seed: int) -> Stills:
    """Return all images of `count` random patients; with the same seed, smaller sets are subsets."""
    order = np.random.default_rng(seed).permutation(np.unique(stills.patients))
    return stills.of(order[:count])


def unlabelled_images(stills: Stills, few: Stills, seed: int) -> NDArray[np.uint8]:
    """Return at most `UNLABELLED` random images of patients that are not in `few`."""
    left = np.flatnonzero(~np.isin(stills.patients, few.patients))
    images: NDArray[np.uint8] = stills.images[np.random.default_rng(seed).permutation(left)[:UNLABELLED]]
    return images


def subsample(stills: Stills, count: int) -> Stills:
    """Return at most `count` images at regular intervals."""
    if count >= len(stills):
        return stills
    rows = np.linspace(0, len(stills) - 1, count).round().astype(int)
    return Stills(stills.images[rows], stills.masks[rows], stills.patients[rows])


def validate(train: Stills, scored: Stills, entries: Sequence[Entry], patients: Sequence[int]) -> None:
    """Raise BenchError if the arguments of `run` are invalid."""
    available = len(np.unique(train.patients))
    if not patients or min(patients) < 1 or max(patients) > available:
        raise BenchError(f"The file has {available} training patients: choose 1 to {available} of them.")
    if not len(scored):
        raise BenchError("No image is left to score: choose at least one.")
    for stills in (train, scored):
        if stills.images.shape[1] != stills.images.shape[2]:
            raise BenchError("The images are not square: give the .npz with images of 224 x 224 pixels.")
    before: set[str] = set()
    for one in entries:
        if one.budget_s == "ours" and OURS not in before:
            raise BenchError(f"{one.what} has the time of ours as budget: add our row, or give a budget.")
        before.add(one.what)


def _with_unlabelled(one: Entry, train: Stills, few: Stills, seed: int) -> Entry:
    """Add unlabelled images if the method is our head; return other methods unchanged."""
    if not isinstance(one.method, HeadOnStills):
        return one
    method = one.method.with_unlabelled(unlabelled_images(train, few, seed), len(few))
    count = 0 if method.unlabelled is None else len(method.unlabelled)
    note = f"while labels are few, {count} unlabelled stills of other training patients" if count else ""
    return replace(one, method=method, note="; ".join(filter(None, (one.note, note))))


def _measured(
    one: Entry,
    few: Stills,
    scored: Stills,
    *,
    seed: int,
    budget_s: float | None,
    should_stop: Callable[[], bool],
) -> dict[str, Any]:
    features_s = encoding_s = 0.0
    if one.tokens is not None:
        one.tokens.encode(few.images)
        one.tokens.encode(scored.images)
        read = len(few)
        if isinstance(one.method, HeadOnStills) and one.method.unlabelled is not None:
            one.tokens.encode(one.method.unlabelled)
            read += len(one.method.unlabelled)
        features_s, encoding_s = one.tokens.cost(read), one.tokens.cost(len(scored))
    model = one.method.fit(few.images, few.masks, seed=seed, budget_s=budget_s, should_stop=should_stop)
    start = time.perf_counter()
    predicted = model.predict(scored.images)
    predict_s = time.perf_counter() - start + encoding_s
    return {
        "what": one.what,
        "encoder": None if one.tokens is None else one.tokens.name,
        "kind": "camus",
        "stills": len(few),
        "seed": seed,
        "budget_s": budget_s,
        "features_s": features_s,
        "fit_s": model.seconds,
        "predict_s": predict_s,
        "steps": model.steps,
        **score(predicted, scored.masks),
        "note": "; ".join(filter(None, (one.note, model.note))),
    }


def differences(rows: Sequence[Mapping[str, Any]], by: Sequence[str] = ("patients",)) -> list[dict[str, Any]]:
    """Compute the paired difference in mean Dice between ours and every other row.

    Parameters
    ----------
    rows : sequence of dict
        Result of `run`.
    by : sequence of str
        Keys of conditions that are not averaged.

    Returns
    -------
    list of dict
        The values of `by`, ``over`` (`what` of the other row), ``ahead`` (ours minus the other) and
        ``ahead_95``, half the width of its 95 % interval.
    """
    scores: dict[tuple[Any, ...], dict[Any, float | None]] = {}
    for row in rows:
        condition = (*(row[key] for key in by), row["what"])
        scores.setdefault(condition, {})[row["seed"], row.get("cine")] = row["mean"]
    rows_of_differences = []
    for condition, dice_by_seed in scores.items():
        ours = scores.get((*condition[:-1], OURS), {})
        pairs = [(ours[seed], dice) for seed, dice in dice_by_seed.items() if seed in ours]
        # The Dice is None on a cine whose scored frames show no structure.
        paired = [own - dice for own, dice in pairs if own is not None and dice is not None]
        if condition[-1] != OURS and paired:
            ahead, half = interval(paired)
            one = dict(zip(by, condition[:-1], strict=True))
            rows_of_differences.append({**one, "over": condition[-1], "ahead": ahead, "ahead_95": half})
    return rows_of_differences


def ratios(summary: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Return ratios to ours: errors (1 - mean Dice), and the fit time of the converged U-Net."""
    ours = {row["patients"]: row for row in summary if row["what"] == OURS}
    ratios_to_ours = {}
    for row in summary:
        base = ours.get(row["patients"])
        if base is None or row["what"] == OURS:
            continue
        label = _patients(row["patients"])
        ratios_to_ours[f"{label}: error (1 - Dice) of {row['what']} over ours"] = _over(
            1 - row["mean"], 1 - base["mean"]
        )
        if row["what"] == CONVERGED:
            our_seconds = base["features_s"] + base["fit_s"]
            ratios_to_ours[f"{label}: seconds to fit of {row['what']} over ours with its features"] = _over(
                row["fit_s"], our_seconds
            )
    return ratios_to_ours


def _patients(count: int) -> str:
    return "1 patient" if count == 1 else f"{count} patients"


def _over(theirs: float, ours: float) -> float:
    return theirs / max(ours, 1e-9)

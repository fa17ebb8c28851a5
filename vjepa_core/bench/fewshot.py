"""Few labels of CAMUS: the program's head against what users would do instead, in one run.

A row at k patients learns from the stills and labels of k training patients; ours may look at stills of other
training patients, without their labels. Nobody sees anything of the patients that are scored.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from vjepa_core.bench.camus import BenchError, Stills
from vjepa_core.bench.encoded_stills import EncodedStills
from vjepa_core.bench.own_head import OwnHead
from vjepa_core.bench.rivals.base import Rival
from vjepa_core.bench.scores import interval, score
from vjepa_core.errors import Cancelled

OURS = "ours"
CONVERGED = "U-Net, converged"
UNLABELLED = 200
"""Stills of other training patients that our head may look at."""
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, eq=False)
class Contestant:
    """A row of the table.

    Attributes
    ----------
    what : str
        `OURS` is the one that the others are compared with.
    rival : Rival
    tokens : EncodedStills, optional
        The features that it reads: computed before its fit is timed, and told apart.
    budget_s : float, "ours" or None
        Most seconds of a fit; "ours": as long as `OURS` took for features and fit on the same stills.
    note : str
        What a reader has to know, besides what the model says of itself.
    """

    what: str
    rival: Rival
    tokens: EncodedStills | None = None
    budget_s: float | Literal["ours"] | None = None
    note: str = ""


def run(
    train: Stills,
    scored: Stills,
    contestants: Sequence[Contestant],
    *,
    patients: Sequence[int],
    seeds: Sequence[int],
    on_progress: Progress = lambda stage, done, total: None,
    on_row: Callable[[dict[str, Any]], None] = lambda row: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> list[dict[str, Any]]:
    """Measure every contestant with every number of patients and every seed.

    Parameters
    ----------
    train, scored : Stills
        Square. Labels of `train` alone are learnt from, those of the patients drawn.
    contestants : sequence of Contestant
        In this order; `OURS` before those whose budget is its time.
    patients : sequence of int
        How many; with one seed, the fewer are among the more.
    seeds : sequence of int
        Each draws patients, and starts heads and networks.
    on_progress : callable
        Told (stage, done, total).
    on_row : callable
        Told of every row as soon as it is there.
    should_stop : callable
        Once it says yes, the rows that are there are returned.

    Returns
    -------
    list of dict
        ``what, encoder, kind`` ("camus"), ``patients, stills, seed, budget_s, features_s, fit_s, predict_s``
        (of all scored stills, their features included), ``steps, note``, and the scores of
        `vjepa_core.bench.scores.score` at the pictures' resolution. CAMUS squashed to a square has no mm.

    Raises
    ------
    BenchError
        If there are not so many patients, or pictures are not square, or no time of ours to go by.
    """
    check(train, scored, contestants, patients)
    jobs = [(count, one, seed) for count in patients for seed in seeds for one in contestants]
    own_s: dict[tuple[int, int], float] = {}
    rows: list[dict[str, Any]] = []
    try:
        for done, (count, contestant, seed) in enumerate(jobs):
            stage = f"{_patients(count)}, seed {seed}: {contestant.what}"
            on_progress(stage, done, len(jobs))
            few = draw(train, count, seed)
            one = _among(contestant, train, few, seed)
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


def draw(stills: Stills, count: int, seed: int) -> Stills:
    """All stills of `count` random patients; with the same seed, the fewer are among the more."""
    order = np.random.default_rng(seed).permutation(np.unique(stills.patients))
    return stills.of(order[:count])


def others(stills: Stills, few: Stills, seed: int) -> NDArray[np.uint8]:
    """`UNLABELLED` random stills of patients who are not among the few; fewer where there are not so many."""
    left = np.flatnonzero(~np.isin(stills.patients, few.patients))
    return stills.images[np.random.default_rng(seed).permutation(left)[:UNLABELLED]]


def some(stills: Stills, count: int) -> Stills:
    """So many stills, evenly from first to last; all of them where there are not so many."""
    if count >= len(stills):
        return stills
    rows = np.linspace(0, len(stills) - 1, count).round().astype(int)
    return Stills(stills.images[rows], stills.masks[rows], stills.patients[rows])


def check(train: Stills, scored: Stills, contestants: Sequence[Contestant], patients: Sequence[int]) -> None:
    """Raise BenchError where these could not be measured; see `run`."""
    there = len(np.unique(train.patients))
    if not patients or min(patients) < 1 or max(patients) > there:
        raise BenchError(f"The file has {there} training patients: ask for 1 to {there} of them.")
    if not len(scored):
        raise BenchError("No still is left to score: ask for at least one.")
    for stills in (train, scored):
        if stills.images.shape[1] != stills.images.shape[2]:
            raise BenchError("The pictures are not square: give the .npz with stills of 224 x 224 pixels.")
    before: set[str] = set()
    for one in contestants:
        if one.budget_s == "ours" and OURS not in before:
            raise BenchError(f"{one.what} has no time of ours to go by: add our row, or give a budget.")
        before.add(one.what)


def _among(one: Contestant, train: Stills, few: Stills, seed: int) -> Contestant:
    """Our head among stills without labels; anybody else, who makes no use of them, as before."""
    if not isinstance(one.rival, OwnHead):
        return one
    rival = one.rival.among(others(train, few, seed), len(few))
    seen = 0 if rival.unlabelled is None else len(rival.unlabelled)
    note = f"while labels are few, {seen} unlabelled stills of other training patients" if seen else ""
    return replace(one, rival=rival, note="; ".join(filter(None, (one.note, note))))


def _measured(
    one: Contestant,
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
        if isinstance(one.rival, OwnHead) and one.rival.unlabelled is not None:
            one.tokens.encode(one.rival.unlabelled)
            read += len(one.rival.unlabelled)
        features_s, encoding_s = one.tokens.cost(read), one.tokens.cost(len(scored))
    model = one.rival.fit(few.images, few.masks, seed=seed, budget_s=budget_s, should_stop=should_stop)
    began = time.perf_counter()
    answer = model.predict(scored.images)
    predict_s = time.perf_counter() - began + encoding_s
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
        **score(answer, scored.masks),
        "note": "; ".join(filter(None, (one.note, model.note))),
    }


def differences(rows: Sequence[Mapping[str, Any]], by: Sequence[str] = ("patients",)) -> list[dict[str, Any]]:
    """How far ours is ahead of every other row: mean Dice, the same labels and seeds compared.

    Parameters
    ----------
    rows : sequence of dict
        As `run` makes them.
    by : sequence of str
        Keys that tell apart what is not averaged.

    Returns
    -------
    list of dict
        The values of `by`, ``over`` (the other's `what`), ``ahead`` and ``ahead_95``, half its 95 % interval.
    """
    pairs: dict[tuple[Any, ...], dict[Any, float | None]] = {}
    for row in rows:
        place = (*(row[key] for key in by), row["what"])
        pairs.setdefault(place, {})[row["seed"], row.get("cine")] = row["mean"]
    found = []
    for place, others in pairs.items():
        ours = pairs.get((*place[:-1], OURS), {})
        both = [(ours[seed], dice) for seed, dice in others.items() if seed in ours]
        # Nothing to compare on a cine whose scored frames show no structure.
        apart = [own - dice for own, dice in both if own is not None and dice is not None]
        if place[-1] != OURS and apart:
            ahead, half = interval(apart)
            one = dict(zip(by, place[:-1], strict=True))
            found.append({**one, "over": place[-1], "ahead": ahead, "ahead_95": half})
    return found


def ratios(summary: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Errors (1 - mean Dice) of the others over ours, and the seconds of the converged U-Net over ours."""
    ours = {row["patients"]: row for row in summary if row["what"] == OURS}
    found = {}
    for row in summary:
        base = ours.get(row["patients"])
        if base is None or row["what"] == OURS:
            continue
        label = _patients(row["patients"])
        found[f"{label}: error (1 - Dice) of {row['what']} over ours"] = _over(
            1 - row["mean"], 1 - base["mean"]
        )
        if row["what"] == CONVERGED:
            took = base["features_s"] + base["fit_s"]
            found[f"{label}: seconds to fit of {row['what']} over ours with its features"] = _over(
                row["fit_s"], took
            )
    return found


def _patients(count: int) -> str:
    return "1 patient" if count == 1 else f"{count} patients"


def _over(theirs: float, ours: float) -> float:
    return theirs / max(ours, 1e-9)

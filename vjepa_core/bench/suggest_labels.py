"""Number of labels needed to reach a Dice, for different choices of the next frame and cine."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from vjepa_core.bench.scores import interval
from vjepa_core.bench.suggest import EVEN, RANDOM, SUGGESTED

TARGETS = (0.90, 0.93, 0.95, 0.97)
AT = 6
"""Number of labels of the other methods whose Dice on each cine is an additional target."""

STUDY = 3  # cines
TURNS = 3  # labels per cine, in turn, whose Dice is the target of a study
NEXT_CINE, IN_TURN, ANY_CINE = "suggested cine", "in turn", "random cine"
_DRAWS = 20

Row = Mapping[str, Any]
Curves = dict[str, list[list[float]]]


def curves(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Compute mean Dice by number of labels: ``kind, what, frames, cines, mean, mean_95``, over cines."""
    rows_of_means = []
    for kind, cines in _by_kind(rows).items():
        for choice in (SUGGESTED, EVEN, RANDOM):
            longest = max(len(curve) for one in cines.values() for curve in one[choice])
            for count in range(longest):
                values = [
                    statistics.fmean(curve[count] for curve in one[choice])
                    for one in cines.values()
                    if all(len(curve) > count for curve in one[choice])
                ]
                mean, half = interval(values)
                row = {"kind": kind, "what": choice, "frames": count + 1, "cines": len(values)}
                rows_of_means.append({**row, "mean": mean, "mean_95": half})
    return rows_of_means


def labels_needed(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Compute the number of labels to reach a Dice for each choice of frames.

    Targets are those of `TARGETS`, and the Dice of evenly spaced and random frames with `AT` labels. A cine
    is ignored if no method reaches the target; a method that does not reach it counts with one label more
    than were tried.

    Parameters
    ----------
    rows : sequence of dict
        Result of `run_suggest`.

    Returns
    -------
    list of dict
        ``kind, target`` (text), ``what, cines, labels, labels_95`` (mean over cines), ``reached`` (fraction
        of orders that reached it), ``spared`` (fraction of these labels saved by suggestions), ``fewer`` and
        ``fewer_95`` (paired difference per cine).
    """
    table = []
    for kind, cines in _by_kind(rows).items():
        for target in (*TARGETS, EVEN, RANDOM):
            table += _of_target(kind, target, list(cines.values()))
    return table


def _of_target(kind: str, target: float | str, cines: list[Curves]) -> list[dict[str, Any]]:
    needed: dict[str, list[float]] = {SUGGESTED: [], EVEN: [], RANDOM: []}
    reached: dict[str, list[bool]] = {SUGGESTED: [], EVEN: [], RANDOM: []}
    for one in cines:
        goal = target if isinstance(target, float) else _reached_with(one[target], AT)
        when = {choice: [_first(curve, goal) for curve in one[choice]] for choice in needed}
        if not any(at is not None for each in when.values() for at in each):
            continue
        for choice, found_at in when.items():
            beyond = len(one[choice][0]) + 1
            needed[choice].append(statistics.fmean(beyond if at is None else at for at in found_at))
            reached[choice] += [at is not None for at in found_at]
    if not needed[SUGGESTED]:
        return []
    tried = max(len(curve) for one in cines for curve in one[SUGGESTED])
    text = f"Dice {target:.2f}" if isinstance(target, float) else f"Dice of {min(AT, tried)}, {target}"
    ours = statistics.fmean(needed[SUGGESTED])
    table = []
    for choice, each in needed.items():
        mean, half = interval(each)
        fewer, fewer_half = interval([b - a for a, b in zip(needed[SUGGESTED], each, strict=True)])
        row = {"kind": kind, "target": text, "what": choice, "cines": len(each)}
        row |= {"labels": mean, "labels_95": half, "reached": statistics.fmean(reached[choice])}
        table.append({**row, "spared": 1.0 - ours / mean, "fewer": fewer, "fewer_95": fewer_half})
    return table


def studies(rows: Sequence[Row], *, seed: int = 0) -> list[dict[str, Any]]:
    """Compute the number of labels until a study reaches its target for each choice of the next cine.

    Cines of a kind are grouped into studies of `STUDY`. Within each cine the suggested frames are annotated,
    and each cine gets one label first. The target is the mean Dice with `TURNS` labels per cine in turn.

    Parameters
    ----------
    rows : sequence of dict
        Result of `run_suggest`.
    seed : int
        Seed of random orders.

    Returns
    -------
    list of dict
        ``kind, what`` (`NEXT_CINE`, `IN_TURN` or `ANY_CINE`), ``studies, labels, labels_95, spared`` as in
        `labels_needed`.
    """
    random = np.random.default_rng(seed)
    groups: dict[str, dict[int, list[Row]]] = {}
    for row in rows:
        if row["what"] == SUGGESTED:
            groups.setdefault(row["kind"], {}).setdefault(row["cine"], []).append(row)
    table = []
    for kind, by_cine in groups.items():
        cines = [one for one in by_cine.values() if len(one) > TURNS]
        groups_of_cines = [cines[start : start + STUDY] for start in range(0, len(cines) - STUDY + 1, STUDY)]
        if not groups_of_cines:
            continue
        needed: dict[str, list[float]] = {NEXT_CINE: [], IN_TURN: [], ANY_CINE: []}
        for study in groups_of_cines:
            goal = statistics.fmean(one[TURNS - 1]["mean"] for one in study)
            needed[NEXT_CINE].append(
                _annotate(study, goal, lambda s, k: [_gain(s[i], k[i]) for i in range(STUDY)])
            )
            needed[IN_TURN].append(_annotate(study, goal, lambda _, k: [-count for count in k]))
            drawn = [
                _annotate(study, goal, lambda _, k: random.random(STUDY).tolist()) for _ in range(_DRAWS)
            ]
            needed[ANY_CINE].append(statistics.fmean(drawn))
        ours = statistics.fmean(needed[NEXT_CINE])
        for choice, each in needed.items():
            mean, half = interval(each)
            row = {"kind": kind, "what": choice, "studies": len(each), "labels": mean, "labels_95": half}
            table.append({**row, "spared": 1.0 - ours / mean})
    return table


def _annotate(study: list[list[Row]], goal: float, priority: Any) -> float:
    """Return the number of labels, each in the cine of highest priority, until the goal is reached."""
    counts = [1] * len(study)
    while statistics.fmean(one[k - 1]["mean"] for one, k in zip(study, counts, strict=True)) < goal:
        priorities = priority(study, counts)
        free = [i for i, one in enumerate(study) if counts[i] < len(one)]
        if not free:
            return float(sum(counts) + 1)
        counts[max(free, key=lambda i: priorities[i])] += 1
    return float(sum(counts))


def _gain(cine: list[Row], count: int) -> float:
    return float(cine[count - 1]["gain"])


def _by_kind(rows: Sequence[Row]) -> dict[str, dict[int, Curves]]:
    """Group Dice curves by kind, cine and choice, without cines that lack a choice."""
    all_curves: dict[str, dict[int, dict[str, dict[int, list[float]]]]] = {}
    for row in rows:
        one = all_curves.setdefault(row["kind"], {}).setdefault(row["cine"], {})
        one.setdefault(row["what"], {}).setdefault(row["draw"], []).append(row["mean"])
    by_kind = {}
    for kind, cines in all_curves.items():
        complete = {}
        for cine, by_choice in cines.items():
            curves = {choice: list(by_draw.values()) for choice, by_draw in by_choice.items()}
            longest = max(len(curve) for each in curves.values() for curve in each)
            # The last order of a stopped run is incomplete.
            curves = {choice: [c for c in each if len(c) == longest] for choice, each in curves.items()}
            if all(curves.get(choice) for choice in (SUGGESTED, EVEN, RANDOM)):
                complete[cine] = curves
        if complete:
            by_kind[kind] = complete
    return by_kind


def _reached_with(each: list[list[float]], count: int) -> float:
    return statistics.fmean(curve[min(count, len(curve)) - 1] for curve in each)


def _first(curve: list[float], goal: float) -> int | None:
    """Return the number of labels that first reach a Dice, or None."""
    return next((i + 1 for i, value in enumerate(curve) if value >= goal - 1e-9), None)

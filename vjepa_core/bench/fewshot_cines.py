"""Benchmark with few labels within one cine: some frames are annotated, other labelled ones are scored."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vjepa_core.bench.camus import CLASSES, BenchError
from vjepa_core.bench.cine_rows import CARRIED, EncoderRow
from vjepa_core.bench.fewshot import OURS, Entry, differences
from vjepa_core.bench.scored_cines import ScoredCine, annotated_frames
from vjepa_core.bench.scores import score, summary
from vjepa_core.errors import Cancelled
from vjepa_core.fewshot.feature_cache import FeatureCache
from vjepa_core.fewshot.pipeline import prepare_cine
from vjepa_core.fewshot.segmenter import segment
from vjepa_core.label_image import UNLABELLED

_CACHE_BYTES = 8 << 30


def run_cines(
    cines: Sequence[ScoredCine],
    *,
    ours: Sequence[EncoderRow] = (),
    learners: Sequence[Entry] = (),
    carried: Collection[str] = tuple(CARRIED),
    counts: Sequence[int] = (1, 2, 3),
    seeds: Sequence[int] = (0,),
    budget_s: float | None = None,
    on_progress: Callable[[str, int, int], None] = lambda _stage, _done, _total: None,
    on_row: Callable[[dict[str, Any]], None] = lambda _row: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> list[dict[str, Any]]:
    """Measure every row on every cine.

    Parameters
    ----------
    cines : sequence of ScoredCine
        The cines.
    ours : sequence of EncoderRow
        Rows of the program.
    learners : sequence of Entry
        Other methods that learn. A budget "ours" is the time of our first row for features, motion and fit.
    carried : collection of str
        Keys of `CARRIED`: methods that carry labels. They have no seed and are measured once.
    counts : sequence of int
        Numbers of annotated frames; see `annotated_frames`. A cine needs at least one more labelled frame.
    seeds : sequence of int
        Seeds of heads and fits.
    budget_s : float, optional
        Maximum seconds from the annotations to the end of a fit of ours, without features; default: the steps
        of the program.
    on_progress : callable
        Called with (stage, done, total).
    on_row : callable
        Called with every new row.
    should_stop : callable
        If it returns True, the rows so far are returned.

    Returns
    -------
    list of dict
        ``what, encoder, kind, cine, frames`` (number of annotated frames), ``annotated`` (their numbers),
        ``scored`` (number of scored frames), ``seed, budget_s, features_s`` (features and motion, once per
        cine), ``fit_s, predict_s`` (whole cine), ``steps, note``, and the scores of
        `vjepa_core.bench.scores.score`.

    Raises
    ------
    BenchError
        If there is nothing to score, or a budget "ours" has no row of ours.
    """
    cases = [
        _AnnotatedCine(i, cine, tuple(annotated_frames(cine.labels, count)))
        for i, cine in enumerate(cines)
        for count in counts
        if 0 < count < len(cine.labels)
    ]
    if not cases:
        raise BenchError(
            "No frame is left to score: give cines with more labelled frames than annotated frames."
        )
    if budget_s is None and not ours and any(one.budget_s == "ours" for one in learners):
        raise BenchError("The budget is the time of ours: measure a row of ours too, or give a budget.")
    total = len(cases) * (len(carried) + len(seeds) * (len(ours) + len(learners)))
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="apical-") as folder:
        bench = _Bench(ours, learners, carried, seeds, budget_s, Path(folder), should_stop)
        try:
            for case in cases:
                stage = f"cine {case.cine + 1} of {len(cines)}, {len(case.annotated)} annotated"
                on_progress(stage, len(rows), total)
                for row in bench.rows(case):
                    rows.append(row)
                    on_row(row)
                    on_progress(stage, len(rows), total)
        except Cancelled:
            pass
    return rows


@dataclass(frozen=True, eq=False)
class _AnnotatedCine:
    """Cine with its annotated frames."""

    cine: int
    of: ScoredCine
    annotated: tuple[int, ...]

    @property
    def labels(self) -> dict[int, NDArray[np.uint8]]:
        return {frame: self.of.labels[frame] for frame in self.annotated}

    def row(self, masks: NDArray[np.uint8], **measured: Any) -> dict[str, Any]:
        """Return a row with the scores of masks (T, h, w) on the other labelled frames."""
        scored_frames = [frame for frame in sorted(self.of.labels) if frame not in self.annotated]
        truth = np.stack([self.of.labels[frame] for frame in scored_frames])
        unlabelled = truth == UNLABELLED
        scores = score(
            np.where(unlabelled, 0, masks[scored_frames]), np.where(unlabelled, 0, truth), mm=self.of.mm
        )
        where = {"kind": self.of.kind, "cine": self.cine, "frames": len(self.annotated)}
        return {
            **where,
            "annotated": list(self.annotated),
            "scored": len(scored_frames),
            **measured,
            **scores,
        }


@dataclass(frozen=True, eq=False)
class _Bench:
    """Settings and state for all cines."""

    ours: Sequence[EncoderRow]
    learners: Sequence[Entry]
    carried: Collection[str]
    seeds: Sequence[int]
    budget_s: float | None
    folder: Path
    should_stop: Callable[[], bool]
    _known: dict[tuple[int, int], tuple[float, FeatureCache]] = field(default_factory=dict)

    def rows(self, case: _AnnotatedCine) -> Iterator[dict[str, Any]]:
        """Yield every row, in the order of the seeds."""
        for what in self.carried:
            yield self._carry(what, case)
        for seed in self.seeds:
            own_s: float | None = None
            for number, one in enumerate(self.ours):
                row = self._own(number, one, case, seed)
                yield row
                if number == 0:
                    own_s = row["features_s"] + row["fit_s"]
            for learner in self.learners:
                yield self._learn(learner, case, seed, self.budget_s if own_s is None else own_s)

    def _carry(self, what: str, case: _AnnotatedCine) -> dict[str, Any]:
        carry, note = CARRIED[what]
        started = time.perf_counter()
        masks = carry(case.of.frames, case.labels, should_stop=self.should_stop)
        seconds = time.perf_counter() - started
        return case.row(
            masks,
            what=what,
            encoder=None,
            seed=None,
            budget_s=None,
            features_s=0.0,
            fit_s=0.0,
            predict_s=seconds,
            steps=0,
            note=note,
        )

    def _own(self, number: int, one: EncoderRow, case: _AnnotatedCine, seed: int) -> dict[str, Any]:
        prepared_s, cache = self._prepared(number, one, case)
        start, start_note = one.start(case.of.kind)
        segmentation = segment(
            case.of.frames,
            case.labels,
            tuple(CLASSES),
            fps=case.of.fps,
            pixel_aspect=case.of.pixel_aspect,
            encoder=one.encoder,
            start=start,
            cache=cache,
            seed=seed,
            budget_s=self.budget_s,
            should_stop=self.should_stop,
        )
        return case.row(
            segmentation.masks,
            what=one.what,
            encoder=one.name,
            seed=seed,
            budget_s=self.budget_s,
            features_s=prepared_s,
            fit_s=segmentation.seconds["fit"],
            predict_s=segmentation.seconds["predict"],
            steps=segmentation.steps,
            note="; ".join(filter(None, (start_note, one.note))),
        )

    def _prepared(self, number: int, one: EncoderRow, case: _AnnotatedCine) -> tuple[float, FeatureCache]:
        """Prepare a cine once; return the seconds, and the cache with its features."""
        if (number, case.cine) not in self._known:
            # One cache per row, because the row without an encoder has the same card but other features.
            cache = FeatureCache(self.folder / str(number), _CACHE_BYTES)
            cine, started = case.of, time.perf_counter()
            prepare_cine(
                0,
                cine.frames,
                *one.encoder,
                fps=cine.fps,
                pixel_aspect=cine.pixel_aspect,
                cache=cache,
                should_stop=self.should_stop,
            )
            self._known[number, case.cine] = time.perf_counter() - started, cache
        return self._known[number, case.cine]

    def _learn(self, one: Entry, case: _AnnotatedCine, seed: int, own_s: float | None) -> dict[str, Any]:
        budget_s = own_s if one.budget_s == "ours" else one.budget_s
        labels = case.labels
        frames, images = case.of.frames, case.of.frames[list(labels)]
        masks = np.stack(list(labels.values()))
        features_s = encoding_s = 0.0
        if one.tokens is not None:
            one.tokens.encode(frames)
            features_s, encoding_s = one.tokens.cost(len(images)), one.tokens.cost(len(frames))
        model = one.method.fit(images, masks, seed=seed, budget_s=budget_s, should_stop=self.should_stop)
        started = time.perf_counter()
        predicted = model.predict(frames)
        seconds = time.perf_counter() - started
        return case.row(
            predicted,
            what=one.what,
            encoder=None if one.tokens is None else one.tokens.name,
            seed=seed,
            budget_s=budget_s,
            features_s=features_s,
            fit_s=model.seconds,
            predict_s=seconds + encoding_s,
            steps=model.steps,
            note="; ".join(filter(None, (one.note, model.note))),
        )


def summary_cines(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Summarise the cines of each kind.

    Parameters
    ----------
    rows : sequence of dict
        Result of `run_cines`.

    Returns
    -------
    list of dict
        Result of `vjepa_core.bench.scores.summary` by ``kind, frames, what, encoder``, with ``cines`` instead
        of ``seeds``: intervals are over cines, each with the mean of its seeds.
    """
    table = summary(_by_cine(rows), ("kind", "frames", "what", "encoder"))
    return [{("cines" if key == "seeds" else key): value for key, value in one.items()} for one in table]


def differences_cines(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Compute the paired difference in mean Dice between ours and every other row.

    Parameters
    ----------
    rows : sequence of dict
        Result of `run_cines`.

    Returns
    -------
    list of dict
        Result of `vjepa_core.bench.fewshot.differences` by ``kind, frames``; intervals are over cines.
    """
    return differences([{**one, "seed": None} for one in _by_cine(rows)], ("kind", "frames"))


def _by_cine(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Average the seeds: return one row for each cine."""
    return summary(rows, ("kind", "frames", "what", "encoder", "cine"))


def ratios_cines(table: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Return ratios of errors (1 - mean Dice) to ours.

    Parameters
    ----------
    table : sequence of dict
        Result of `summary_cines`.

    Returns
    -------
    dict
        Ratios for the best method that carries labels and for every method that learns; above 1, ours is
        better.
    """
    ratios_to_ours: dict[str, float] = {}
    known = [row for row in table if row["mean"] is not None]
    for own in (row for row in known if row["what"] == OURS):
        same = [row for row in known if (row["kind"], row["frames"]) == (own["kind"], own["frames"])]
        errors = {row["what"]: 1 - row["mean"] for row in same if row is not own}
        carried = [errors.pop(what) for what in CARRIED if what in errors]
        if carried:
            errors = {"the best labels carried along": min(carried), **errors}
        unit = "frame" if own["frames"] == 1 else "frames"
        for what, error in errors.items():
            name = f"{own['kind']} cines, {own['frames']} {unit}: error (1 - Dice) of {what} over ours"
            ratios_to_ours[name] = error / max(1 - own["mean"], 1e-9)
    return ratios_to_ours

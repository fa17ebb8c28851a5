"""Benchmark with one annotated frame at end-diastole or end-systole, scored on both phases.

A single label may make the other phase worse than the previous draft. Therefore the draft, the label carried
by motion, and the head without the draft are scored on the same frames.
"""

from __future__ import annotations

import math
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vjepa_core.bench.camus import CLASSES, BenchError
from vjepa_core.bench.scored_cines import ScoredCine
from vjepa_core.bench.scores import score
from vjepa_core.encoder.loaded import LoadedEncoder
from vjepa_core.encoder.precision import inference_device
from vjepa_core.errors import Cancelled
from vjepa_core.fewshot.assessment import label_image
from vjepa_core.fewshot.draft import Draft
from vjepa_core.fewshot.feature_cache import FeatureCache
from vjepa_core.fewshot.fit import FitConfig, predict
from vjepa_core.fewshot.heart_shape import LV
from vjepa_core.fewshot.pipeline import PREDICT_FRAMES, CinePipeline
from vjepa_core.fewshot.starter import Starter
from vjepa_core.label_image import UNLABELLED

OURS, ALONE, DRAFT, CARRIED = "ours", "ours, without the draft", "draft", "label carried by motion"
ED, ES = "ED", "ES"

_CACHE_BYTES = 4 << 30
_SHARE = 4  # a phase is a quarter of the labelled frames


@dataclass(frozen=True)
class Phases:
    """Labelled frames of a cine near end-diastole and end-systole.

    Attributes
    ----------
    diastole, systole : tuple of int
        The quarter of the labelled frames with the largest area of the left ventricle, largest first, and
        with the smallest area, smallest first.
    """

    diastole: tuple[int, ...]
    systole: tuple[int, ...]

    @classmethod
    def of(cls, labels: Mapping[int, NDArray[np.uint8]]) -> Phases:
        """Find the phases from label images by frame.

        Raises
        ------
        BenchError
            If fewer than two frames show the left ventricle.
        """
        areas = {frame: int((label == LV).sum()) for frame, label in labels.items()}
        order = sorted((frame for frame, area in areas.items() if area), key=lambda f: (areas[f], f))
        if len(order) < 2:
            raise BenchError("At least two labelled frames of a cine must show the left ventricle.")
        count = max(1, len(order) // _SHARE)
        return cls(tuple(order[::-1][:count]), tuple(order[:count]))

    def annotated(self, phase: str) -> int:
        """Return the annotated frame: the one with the largest or the smallest ventricle."""
        return self.diastole[0] if phase == ED else self.systole[0]

    def scored(self, phase: str) -> tuple[list[int], list[int]]:
        """Return the frames of the other phase, and of the annotated phase without the annotated frame."""
        here, there = (self.diastole, self.systole) if phase == ED else (self.systole, self.diastole)
        return sorted(there), sorted(here[1:])


def run_phases(
    cines: Sequence[ScoredCine],
    encoder: LoadedEncoder,
    starter: Starter,
    *,
    seeds: Sequence[int] = (0,),
    on_progress: Callable[[str, int, int], None] = lambda _stage, _done, _total: None,
    on_row: Callable[[dict[str, Any]], None] = lambda _row: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> list[dict[str, Any]]:
    """Annotate end-diastole only, then end-systole only, and score the frames of both phases.

    Parameters
    ----------
    cines : sequence of ScoredCine
        Cines of the left heart.
    encoder : LoadedEncoder
        Encoder and card.
    starter : Starter
        Starter for this encoder, from which fits start and which predicts the draft.
    seeds : sequence of int
        Seeds of fits.
    on_progress, on_row, should_stop
        As for `vjepa_core.bench.fewshot_cines.run_cines`.

    Returns
    -------
    list of dict
        ``what`` (`OURS`, `ALONE`, `DRAFT` or `CARRIED`), ``kind, cine, phase`` (annotated phase),
        ``annotated`` (the frame), ``applies`` (true if the program shows the draft), ``seed`` (None without a
        fit), ``fit_s``, and ``other`` and ``same``: scores of `vjepa_core.bench.scores.score` on the frames
        of the other and the annotated phase; ``same`` is None if no other frame of that phase is labelled.

    Raises
    ------
    BenchError
        If a cine does not show two phases.
    """
    known = [(cine, Phases.of(cine.labels)) for cine in cines]
    rows: list[dict[str, Any]] = []
    total = len(known) * 2 * (2 + 2 * len(seeds))
    with tempfile.TemporaryDirectory(prefix="apical-") as folder:
        cache = FeatureCache(Path(folder), _CACHE_BYTES)
        try:
            for number, (cine, phases) in enumerate(known):
                stage = f"cine {number + 1} of {len(known)}"
                on_progress(stage, len(rows), total)
                pipeline = CinePipeline.of_region(
                    cine.frames, tuple(CLASSES), fps=cine.fps, cine_id=number, left_heart=True
                )
                pipeline.prepare(*encoder, cache=cache, should_stop=should_stop)
                bench = _Bench(cine, phases, pipeline, encoder, starter, should_stop)
                for row in bench.rows(seeds):
                    rows.append({"cine": number, **row})
                    on_row(rows[-1])
                    on_progress(stage, len(rows), total)
        except Cancelled:
            pass
    return rows


@dataclass(frozen=True, eq=False)
class _Bench:
    """Benchmark of one cine."""

    cine: ScoredCine
    phases: Phases
    pipeline: CinePipeline
    encoder: LoadedEncoder
    starter: Starter
    should_stop: Callable[[], bool]

    def rows(self, seeds: Sequence[int]) -> Iterator[dict[str, Any]]:
        prepared = self.pipeline.prepared
        self.starter.head.to(inference_device())
        applies = self.pipeline.check_starter(self.starter)
        draft = Draft(self.starter.head, prepared)
        drafted = self._all(draft)
        for phase in (ED, ES):
            frame = self.phases.annotated(phase)
            self.pipeline.set_labels({frame: self.cine.labels[frame]})
            about = {"phase": phase, "annotated": frame, "applies": applies}
            yield self._row(DRAFT, drafted, phase, about)
            carried = self._all(partial(prepared.prior, n_outputs=1 + len(CLASSES)))
            yield self._row(CARRIED, carried, phase, about)
            for seed in seeds:
                yield from self._fitted(drafted, phase, {**about, "seed": seed})

    def _fitted(self, drafted: Tensor, phase: str, about: dict[str, Any]) -> Iterator[dict[str, Any]]:
        started = time.perf_counter()
        pipeline = self.pipeline
        config = FitConfig(seed=about["seed"])
        fitted = pipeline.fit(self.encoder[1], config, self.starter, should_stop=self.should_stop)
        about["fit_s"] = time.perf_counter() - started
        if pipeline.draft is not None:
            pipeline.draft.store(self._shown, drafted)
        blended = self._all(lambda part: pipeline.probabilities(fitted.head, part))
        yield self._row(OURS, blended, phase, about)
        alone = self._all(lambda part: predict(fitted.head, pipeline.prepared, part))
        yield self._row(ALONE, alone, phase, about)

    @property
    def _shown(self) -> list[int]:
        """Frames that are scored or used to compare drafts."""
        near = {f + step for f in (self.phases.diastole[0], self.phases.systole[0]) for step in (-1, 0, 1)}
        existing = {f for f in near if 0 <= f < len(self.cine.frames)}
        return sorted({*self.phases.diastole, *self.phases.systole, *existing})

    def _all(self, read: Callable[[list[int]], Tensor]) -> Tensor:
        """Compute the probabilities of all frames in `_shown`."""
        order, parts = self._shown, []
        for first in range(0, len(order), PREDICT_FRAMES):
            if self.should_stop():
                raise Cancelled
            parts.append(read(order[first : first + PREDICT_FRAMES]))
        return torch.cat(parts)

    def _row(self, what: str, predictions: Tensor, phase: str, about: Mapping[str, Any]) -> dict[str, Any]:
        places = {frame: place for place, frame in enumerate(self._shown)}
        scores, box = [], self.pipeline.prepared.box
        for frames in self.phases.scored(phase):
            masks = [label_image(predictions[places[f]], box, tuple(CLASSES)) for f in frames]
            scores.append(self._score(frames, masks) if frames else None)
        other, same = scores
        defaults = {"seed": None, "fit_s": 0.0}
        return {"what": what, "kind": self.cine.kind, **defaults, **about, "other": other, "same": same}

    def _score(self, frames: list[int], masks: list[NDArray[np.uint8]]) -> dict[str, Any]:
        truth = np.stack([self.cine.labels[frame] for frame in frames])
        unlabelled = truth == UNLABELLED
        drawn = np.where(unlabelled, 0, np.stack(masks))
        return score(drawn, np.where(unlabelled, 0, truth), mm=self.cine.mm)


def summary_phases(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Compute means over cines and seeds, and differences to the draft on the same frames.

    Cines to which the draft does not apply are ignored, because the program would not show a draft.

    Parameters
    ----------
    rows : sequence of dict
        Result of `run_phases`.

    Returns
    -------
    list of dict
        ``kind, phase, what, cines``, mean Dice of the ``other`` and the ``same`` phase, ``hd95_px`` of the
        other, ``over_draft`` (mean Dice of the other phase minus that of the draft) and ``worst`` (minimum of
        these over cines, each with the mean of its seeds).
    """
    groups: dict[tuple[str, str, str], dict[int, list[Mapping[str, Any]]]] = {}
    for row in rows:
        if row["applies"]:
            cines = groups.setdefault((row["kind"], row["phase"], row["what"]), {})
            cines.setdefault(row["cine"], []).append(row)
    rows_of_means = []
    for (kind, phase, what), cines in groups.items():
        draft = groups.get((kind, phase, DRAFT), {})
        each = {cine: statistics.fmean(row["other"]["mean"] for row in own) for cine, own in cines.items()}
        over = [each[cine] - draft[cine][0]["other"]["mean"] for cine in cines if cine in draft]
        flat = [row for own in cines.values() for row in own]
        rows_of_means.append(
            {
                "kind": kind,
                "phase": phase,
                "what": what,
                "cines": len(cines),
                "other": statistics.fmean(each.values()),
                "same": _mean([row["same"]["mean"] for row in flat if row["same"] is not None]),
                "hd95_px": _mean([row["other"]["hd95_px"]["mean"] for row in flat]),
                "over_draft": _mean(over),
                "worst": min(over, default=None),
            }
        )
    return rows_of_means


def _mean(values: Sequence[float]) -> float | None:
    known = [value for value in values if not math.isnan(value)]
    return statistics.fmean(known) if known else None

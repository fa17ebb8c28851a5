"""Benchmark of suggested frames: cines are annotated frame by frame, and the other frames are scored."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vjepa_core.bench.camus import CLASSES, BenchError, dice
from vjepa_core.bench.scored_cines import ScoredCine, annotated_frames
from vjepa_core.encoder.loaded import LoadedEncoder
from vjepa_core.errors import Cancelled
from vjepa_core.fewshot.assessment import label_image
from vjepa_core.fewshot.confidence import estimate_errors
from vjepa_core.fewshot.fit import FitConfig
from vjepa_core.fewshot.pipeline import PREDICT_FRAMES, CinePipeline
from vjepa_core.fewshot.starter import load_starter
from vjepa_core.fewshot.suggest import frame_embeddings, gains, similarity
from vjepa_core.label_image import UNLABELLED

SUGGESTED, RANDOM, EVEN = "suggested", "random", "evenly spaced"


def run_suggest(
    cines: Sequence[ScoredCine],
    encoder: LoadedEncoder,
    *,
    max_frames: int = 8,
    draws: int = 4,
    fit: bool = False,
    seed: int = 0,
    on_progress: Callable[[str, int, int], None] = lambda _stage, _done, _total: None,
    on_row: Callable[[dict[str, Any]], None] = lambda _row: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> list[dict[str, Any]]:
    """Annotate every cine in several orders and score it after each label.

    Parameters
    ----------
    cines : sequence of ScoredCine
        Cines; those with fewer than two labelled frames are ignored.
    encoder : LoadedEncoder
        Encoder and card.
    max_frames : int
        Maximum number of annotated frames; at least one labelled frame is left for scoring.
    draws : int
        Number of random orders.
    fit : bool
        Fit a head after each label, from the shipped head or random weights, as the window does after a first
        annotation; otherwise score the labels carried by motion.
    seed : int
        Seed of random orders and fits.
    on_progress : callable
        Called with (stage, done, total).
    on_row : callable
        Called with every new row.
    should_stop : callable
        If it returns True, the rows so far are returned.

    Returns
    -------
    list of dict
        ``kind, cine, what`` (`SUGGESTED`, `RANDOM` or `EVEN`), ``draw`` (number of the random order, else 0),
        ``frames`` (number of annotated frames), ``annotated`` (their numbers in order), ``mean`` (Dice on the
        other labelled frames) and ``gain`` (expected increase from the next suggested frame; None except for
        `SUGGESTED`).

    Raises
    ------
    BenchError
        If there is nothing to score, or a number is out of range.
    """
    if max_frames < 1 or draws < 1:
        raise BenchError("The numbers of labels and random orders must be at least 1.")
    usable = [(number, cine) for number, cine in enumerate(cines) if len(cine.labels) > 1]
    if not usable:
        raise BenchError("No frame is left to score: give cines with at least two labelled frames.")
    rows: list[dict[str, Any]] = []
    total = len(usable) * (draws + 2)
    try:
        for index, (number, cine) in enumerate(usable):
            stage = f"cine {index + 1} of {len(usable)}"
            on_progress(stage, index * (draws + 2), total)
            pipeline = CinePipeline.of_region(
                cine.frames, tuple(CLASSES), fps=cine.fps, pixel_aspect=cine.pixel_aspect, left_heart=True
            )
            pipeline.prepare(*encoder, should_stop=should_stop)
            case = _CineToAnnotate(cine, pipeline, encoder, fit, seed, should_stop)
            for done, (choice, draw, order) in enumerate(_orders(case, max_frames, draws, seed + number)):
                for row in order:
                    rows.append({"kind": cine.kind, "cine": number, "what": choice, "draw": draw, **row})
                    on_row(rows[-1])
                on_progress(stage, index * (draws + 2) + done + 1, total)
    except Cancelled:
        pass
    return rows


Rows = Iterator[dict[str, Any]]


def _orders(case: _CineToAnnotate, max_frames: int, draws: int, seed: int) -> Iterator[tuple[str, int, Rows]]:
    """Yield every order of annotation: its name, its draw, and a row after each label."""
    labelled = sorted(case.cine.labels)
    max_frames = min(max_frames, len(labelled) - 1)
    yield SUGGESTED, 0, case.suggested(max_frames)
    # Evenly spaced frames depend on their number, which is assumed to be known in advance.
    yield EVEN, 0, (case.row(annotated_frames(labelled, count)) for count in range(1, max_frames + 1))
    random = np.random.default_rng(seed)
    for draw in range(draws):
        order = random.permutation(labelled)[:max_frames].tolist()
        yield RANDOM, draw, (case.row(order[:count]) for count in range(1, max_frames + 1))


@dataclass(eq=False)
class _CineToAnnotate:
    """Cine to annotate, with its pipeline and cached predictions."""

    cine: ScoredCine
    pipeline: CinePipeline
    encoder: LoadedEncoder
    fit: bool
    seed: int
    should_stop: Callable[[], bool]
    _predictions: dict[frozenset[int], Tensor] = field(default_factory=dict)

    def suggested(self, max_frames: int) -> Rows:
        """Annotate the suggested frame each time, among the labelled ones, and score."""
        prepared = self.pipeline.prepared
        similarities = similarity(frame_embeddings(prepared.computed_features, prepared.n_frames))
        unknown = [frame for frame in range(prepared.n_frames) if frame not in self.cine.labels]
        doubt, chosen = np.ones(prepared.n_frames), list[int]()
        while len(chosen) < max_frames:
            gain = gains(similarities, doubt, chosen)
            gain[[*unknown, *chosen]] = -1.0
            chosen.append(int(gain.argmax()))
            row = self.row(chosen)
            frames = range(prepared.n_frames)
            errors = estimate_errors(prepared, frames, self._predict(chosen), carried=not self.fit)
            doubt = 1.0 - errors.dice.numpy()
            yield {**row, "gain": float(gains(similarities, doubt, chosen).max())}

    def row(self, chosen: Sequence[int]) -> dict[str, Any]:
        """Annotate these frames and score the others."""
        predicted, scored_frames = self._predict(chosen), sorted(set(self.cine.labels) - set(chosen))
        masks = np.stack(
            [label_image(predicted[f], self.pipeline.prepared.box, tuple(CLASSES)) for f in scored_frames]
        )
        truth = np.stack([self.cine.labels[frame] for frame in scored_frames])
        unlabelled = truth == UNLABELLED
        score = dice(np.where(unlabelled, 0, masks), np.where(unlabelled, 0, truth))["mean"]
        return {"frames": len(chosen), "annotated": list(chosen), "mean": score, "gain": None}

    def _predict(self, chosen: Sequence[int]) -> Tensor:
        """Return probabilities (T, K, grid, grid) of every frame with these frames annotated."""
        pipeline, key = self.pipeline, frozenset(chosen)
        if key not in self._predictions:
            self._predictions.clear()  # only consecutive calls use the same frames
            pipeline.set_labels({f: self.cine.labels[f] for f in sorted(key)})
            fitted = None
            if self.fit:
                card, config = self.encoder[1], FitConfig(seed=self.seed)
                starter = load_starter(card)
                fitted = pipeline.fit(card, config, starter, should_stop=self.should_stop)
            parts = []
            for start in range(0, pipeline.n_frames, PREDICT_FRAMES):
                if self.should_stop():
                    raise Cancelled
                frames = range(start, min(start + PREDICT_FRAMES, pipeline.n_frames))
                if fitted is None:
                    parts.append(pipeline.prepared.prior(frames, 1 + len(CLASSES)))
                else:
                    parts.append(pipeline.probabilities(fitted.head, frames))
            self._predictions[key] = torch.cat(parts)
        return self._predictions[key]

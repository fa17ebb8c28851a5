"""Applicability benchmark: images on which the starter head and a fitted head are applied."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vjepa_core.encoder.loaded import LoadedEncoder
from vjepa_core.fewshot.applicability import cine_embedding, gather_evidence, predicts_as_well
from vjepa_core.fewshot.assessment import label_image
from vjepa_core.fewshot.features import CLIP_FRAMES, temporal_stride
from vjepa_core.fewshot.fit import FitConfig, predict
from vjepa_core.fewshot.head import Head
from vjepa_core.fewshot.pipeline import CinePipeline
from vjepa_core.fewshot.prepared_cine import PreparedCine
from vjepa_core.fewshot.recogniser import Evidence, Recogniser, ReferenceCines, resembles, rule_score
from vjepa_core.fewshot.starter import LEFT_HEART, Starter

DRAFT, LEFT, OWN = "draft", "project, left heart", "project, other structures"


@dataclass(frozen=True, eq=False)
class Example:
    """Cine or still image, with or without the left heart in an apical view.

    Attributes
    ----------
    kind, name : str
        Group and name for the rows.
    frames : ndarray of uint8
        Shape (T, h, w).
    fps : float
        Frame rate in Hz.
    apical : bool
        True for an apical view of the left heart.
    """

    kind: str
    name: str
    frames: NDArray[np.uint8]
    fps: float
    apical: bool


@dataclass(frozen=True, eq=False)
class ProjectHead:
    """Head fitted to one cine, with that cine as reference and its evidence on it."""

    head: Head
    known: ReferenceCines
    own: Evidence


@dataclass(frozen=True)
class Decision:
    """Decision about each head on an image, with the evidence of the starter head."""

    kind: str
    name: str
    apical: bool
    draws: dict[str, bool]
    score: float
    evidence: dict[str, float]


def first_frames(frames: NDArray[np.uint8], fps: float, clips: int = 1) -> NDArray[np.uint8]:
    """Return the first frames that fill the given number of clips of the encoder."""
    return frames[: clips * CLIP_FRAMES * temporal_stride(fps, 30.0)]


def project_head(example: Example, encoder: LoadedEncoder, starter: Starter, *, seed: int = 0) -> ProjectHead:
    """Fit a head to two frames of an apical cine, with predictions of the starter head as labels."""
    pipeline = _pipeline(example, encoder)
    prepared = pipeline.prepared
    frames = sorted({0, len(example.frames) // 3})
    drawn = predict(starter.head, prepared, frames)
    outlines = [label_image(one, prepared.box, LEFT_HEART) for one in drawn]
    apical = starter.applies(prepared)
    known = ReferenceCines(cine_embedding(prepared)[None], (apical,))
    pipeline.set_labels(dict(zip(frames, outlines, strict=True)))
    fitted = pipeline.fit(encoder[1], FitConfig(seed=seed), starter)
    pipeline.set_labels({})
    return ProjectHead(fitted.head, known, gather_evidence(fitted.head, prepared))


def decide(
    examples: Iterable[Example],
    encoder: LoadedEncoder,
    starter: Starter,
    project: ProjectHead | None,
    on_progress: Callable[[str, int, int], None],
) -> Iterator[Decision]:
    """Decide for every image which heads apply to it."""
    for n, example in enumerate(examples):
        on_progress(example.kind, n, 0)
        prepared = _pipeline(example, encoder).prepared
        recogniser = starter.recogniser
        views = None if recogniser is None else recogniser.views
        evidence = gather_evidence(starter.head, prepared, shapes=starter.shapes, views=views)
        score = rule_score(evidence) if recogniser is None else recogniser.score(evidence)
        draws = {DRAFT: score > 0}
        if project is not None and recogniser is not None:
            draws |= _project(prepared, project, recogniser, apical=score > 0)
        yield Decision(example.kind, example.name, example.apical, draws, score, vars(evidence))


def _project(
    prepared: PreparedCine, project: ProjectHead, recogniser: Recogniser, *, apical: bool
) -> dict[str, bool]:
    """Decide if a fitted head applies, for structures of the left heart and for other structures."""
    embedding = cine_embedding(prepared)
    resembling = {
        LEFT: resembles(recogniser, project.known, embedding, apical=apical),
        OWN: resembles(recogniser, project.known, embedding, apical=None),
    }
    if not (resembling[OWN] or (resembling[LEFT] and not apical)):
        return resembling
    well = predicts_as_well(gather_evidence(project.head, prepared), project.own)
    return {LEFT: resembling[LEFT] and (apical or well), OWN: resembling[OWN] and well}


def rows(decisions: Sequence[Decision]) -> list[dict[str, Any]]:
    """Count the images of each kind to which each head applies, with the names of wrong decisions."""
    groups: dict[tuple[str, bool, str], list[Decision]] = {}
    for one in decisions:
        for head in one.draws:
            groups.setdefault((one.kind, one.apical, head), []).append(one)
    return [
        {
            "kind": kind,
            "head": head,
            "wanted": "masks" if apical else "none",
            "n": len(group),
            "drawn": sum(one.draws[head] for one in group),
            "right": sum(one.draws[head] is apical for one in group) / len(group),
            "wrong": [one.name for one in group if one.draws[head] is not apical],
        }
        for (kind, apical, head), group in groups.items()
    ]


def _pipeline(example: Example, encoder: LoadedEncoder) -> CinePipeline:
    frames = first_frames(example.frames, example.fps)
    pipeline = CinePipeline.of_region(frames, LEFT_HEART, fps=example.fps, left_heart=True)
    pipeline.prepare(*encoder)
    return pipeline

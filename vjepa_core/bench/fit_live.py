"""How soon an annotation shows: the program's engine against a forest over the same features, in one run.

A first frame of a cine is annotated, then a second one, while somebody looks at a frame far from both.
"""

from __future__ import annotations

import importlib.util
import itertools
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from vjepa_core.bench.camus import BenchError, dice
from vjepa_core.bench.fit_once import Task
from vjepa_core.bench.fresh_process import told_by
from vjepa_core.bench.rivals.forest import TREES
from vjepa_core.bench.scored_cines import ScoredCine, annotated_frames, phantom_cines
from vjepa_core.label_image import UNLABELLED

OURS, PEER = "ours", "forest on our features"
STAND_INS = "made-up outlines"
"""Kind of a cine whose labels say nothing of what is in it."""

FIRST, CORRECTION = "first annotation", "correction"
STEPS = (FIRST, CORRECTION)

GOAL = 10.0
"""How many times sooner than the forest the program is to be."""

_LIMITS = {"cpu": (3.0, 1.0, 10.0), "cuda": (0.3, 1.0, 1.0)}

Mask = NDArray[np.uint8]


@dataclass(frozen=True)
class Annotation:
    """Which frames are annotated from now on, and which frame is looked at meanwhile."""

    annotated: tuple[int, ...]
    visible: int


@dataclass(frozen=True, eq=False)
class Lesson:
    """A cine and what is annotated of it, first and then."""

    cine: ScoredCine
    annotations: tuple[Annotation, ...]

    @classmethod
    def of(cls, cine: ScoredCine) -> Lesson:
        """Annotate two of the labelled frames; looked at is the one furthest from the annotated ones.

        That is a labelled frame too, where there is one that is not annotated.

        Raises
        ------
        BenchError
            If there are not two labelled frames, or no third frame to look at.
        """
        if len(cine.labels) < 2 or len(cine.frames) < 3:
            raise BenchError(
                "A cine has fewer than two labelled frames, or than three frames: outline two frames of it, "
                "or give another one."
            )
        one, two = annotated_frames(cine.labels, 2)
        scored = [frame for frame in sorted(cine.labels) if frame not in (one, two)]
        others = scored or [frame for frame in range(len(cine.frames)) if frame not in (one, two)]
        steps = ((one,), (one, two))
        return cls(cine, tuple(Annotation(step, _furthest(others, step)) for step in steps))

    def labels(self, annotation: Annotation) -> dict[int, Mask]:
        """Label image (h, w) of every annotated frame."""
        return {frame: self.cine.labels[frame] for frame in annotation.annotated}

    def dice(self, masks: Mapping[int, Mask], frames: Sequence[int]) -> float | None:
        """Mean Dice of the structures on these frames; None where the truth of none is known.

        A frame without a mask has nothing drawn on it.
        """
        known = [frame for frame in frames if frame in self.cine.labels]
        if not known or self.cine.kind == STAND_INS:
            return None
        truth = np.stack([self.cine.labels[frame] for frame in known])
        nothing = np.zeros(truth.shape[1:], np.uint8)
        silent = truth == UNLABELLED
        drawn = np.stack([masks.get(frame, nothing) for frame in known])
        found = dice(np.where(silent, 0, drawn), np.where(silent, 0, truth))["mean"]
        return None if np.isnan(found) else found


def with_stand_ins(frames: NDArray[np.uint8], fps: float, pixel_aspect: float = 1.0) -> ScoredCine:
    """A cine (T, h, w) that nobody has outlined, with a phantom's heart on two frames: for times alone."""
    heart = phantom_cines(1, frames=8)[0].labels
    shape = frames.shape[:0:-1]
    at = annotated_frames(range(len(frames)), 2)
    labels = {
        frame: np.asarray(cv2.resize(heart[i], shape, interpolation=cv2.INTER_NEAREST), np.uint8)
        for i, frame in enumerate(at)
    }
    return ScoredCine(frames, fps, labels, STAND_INS, pixel_aspect=pixel_aspect)


def _furthest(frames: Sequence[int], annotated: Sequence[int]) -> int:
    return max(frames, key=lambda frame: (min(abs(frame - other) for other in annotated), -frame))


@dataclass(frozen=True, eq=False)
class Answer:
    """What came of one annotation; seconds count from the moment at which the label was there.

    Attributes
    ----------
    preview_s : float
        Until the first mask of the visible frame that was learnt from the labels.
    preview : array
        That mask (h, w).
    whole_s : float
        Until every frame has its last mask.
    masks : mapping
        The last mask (h, w) by frame.
    carried_s, carried : float and array, optional
        The same as for the preview, of a mask that came before: the label as motion alone carries it.
    gap_s : float, optional
        The longest time in which the visible frame stayed as it was, from its first mask to its last.
    """

    preview_s: float
    preview: Mask
    whole_s: float
    masks: Mapping[int, Mask]
    carried_s: float | None = None
    carried: Mask | None = None
    gap_s: float | None = None


Side = Callable[[Lesson], Sequence[Answer]]
"""Answers to the annotations of a lesson, one each, from a start of its own."""


def run(
    lessons: Sequence[Lesson],
    sides: Mapping[str, Side],
    *,
    rounds: int = 3,
    on_progress: Callable[[str, int, int], None] = lambda _stage, _done, _total: None,
) -> tuple[list[dict[str, Any]], bool]:
    """Have every side answer every lesson, in turn, `rounds` times. Ctrl+C ends it after the first lesson.

    Parameters
    ----------
    lessons : sequence of Lesson
    sides : mapping
        By name; in a round each has its turn, so that what else the machine does falls on all.
    rounds : int
    on_progress : callable
        Told (stage, done, total).

    Returns
    -------
    rows : list of dict
        ``kind, cine, side, annotation`` (`FIRST` or `CORRECTION`), ``annotated, visible, scored`` (how many
        frames), ``rounds``; medians ``carried_s, preview_s, gap_s, whole_s`` and the worst ``preview_most_s,
        gap_most_s, whole_most_s``; ``dice_carried, dice_preview`` of the visible frame, ``dice_rest`` of all
        frames that are not annotated. None where there is no such thing.
    stopped : bool
        Whether it was stopped.
    """
    found: dict[tuple[int, str, int], list[Answer]] = {}
    turns = list(itertools.product(range(rounds), enumerate(lessons), sides))
    stopped = False
    try:
        for done, (number, (at, lesson), name) in enumerate(turns):
            on_progress(f"round {number + 1} of {rounds}, cine {at + 1}, {name}", done, len(turns))
            for step, answer in enumerate(sides[name](lesson)):
                found.setdefault((at, name, step), []).append(answer)
    except KeyboardInterrupt:
        if len({name for _, name, _ in found}) < len(sides):
            raise
        stopped = True
    rows = [_row(at, name, step, lessons[at], answers) for (at, name, step), answers in found.items()]
    return rows, stopped


def _row(at: int, name: str, step: int, lesson: Lesson, answers: Sequence[Answer]) -> dict[str, Any]:
    annotation = lesson.annotations[step]
    rest = [frame for frame in sorted(lesson.cine.labels) if frame not in annotation.annotated]
    visible = [annotation.visible]

    def of(what: str, how: Callable[[list[float]], float] = median) -> float | None:
        known = [value for answer in answers if (value := getattr(answer, what)) is not None]
        return how(known) if known else None

    def agreement(each: Sequence[Mapping[int, Mask] | None], frames: Sequence[int]) -> float | None:
        known = [lesson.dice(masks, frames) for masks in each if masks is not None]
        told = [value for value in known if value is not None]
        return median(told) if told else None

    carried = [None if a.carried is None else {annotation.visible: a.carried} for a in answers]
    return {
        "kind": lesson.cine.kind,
        "cine": at,
        "side": name,
        "annotation": STEPS[step],
        "annotated": list(annotation.annotated),
        "visible": annotation.visible,
        "scored": len(rest),
        "rounds": len(answers),
        **{f"{what}_s": of(f"{what}_s") for what in ("carried", "preview", "gap", "whole")},
        **{f"{what}_most_s": of(f"{what}_s", max) for what in ("preview", "gap", "whole")},
        "dice_carried": agreement(carried, visible),
        "dice_preview": agreement([{annotation.visible: a.preview} for a in answers], visible),
        "dice_rest": agreement([a.masks for a in answers], rest),
    }


def ratios(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """How many times sooner ours is there, and its Dice over that of the forest; over 1 in our favour.

    Medians over the cines that both sides answered.
    """
    found: dict[str, float] = {}
    for step, (key, what) in itertools.product(STEPS, _COMPARED.items()):
        pairs = [
            (own[key], peer[key])
            for own, peer in itertools.product(rows, rows)
            if (own["side"], peer["side"]) == (OURS, PEER)
            and own["cine"] == peer["cine"]
            and own["annotation"] == peer["annotation"] == step
            and own[key] and peer[key]
        ]  # fmt: skip
        if pairs:
            each = [own / peer if key == "dice_rest" else peer / own for own, peer in pairs]
            found[f"{what}, {step}"] = median(each)
    return found


_COMPARED = {
    "preview_s": "seconds to the preview",
    "whole_s": "seconds to the whole cine",
    "dice_rest": "Dice on the rest of the cine",
}


def targets(rows: Sequence[Mapping[str, Any]], device: str) -> list[dict[str, Any]]:
    """What the program promises on "cpu" (two cores) or "cuda": ``what, limit_s, measured_s, met``.

    Measured is the slowest median over cines and annotations.
    """
    named = zip(("preview_s", "gap_s", "whole_s"), _LIMITS[device], strict=True)
    words = {
        "preview_s": "first preview of the visible frame",
        "gap_s": "longest time between previews of the visible frame",
        "whole_s": "the whole cine",
    }
    told = []
    for key, limit in named:
        own = [row[key] for row in rows if row["side"] == OURS and row[key] is not None]
        if own:
            told.append(
                {"what": words[key], "limit_s": limit, "measured_s": max(own), "met": max(own) <= limit}
            )
    return told


def forest(
    features: Path, encoder: str, encoder_folders: Sequence[Path], *, seed: int = 0, trees: int = TREES
) -> Side:
    """The forest as a side: convpaint's way, in a process of its own.

    Every annotation grows it anew from all labels; then it draws the visible frame, and outward all others.

    Parameters
    ----------
    features : Path
        Folder of the feature cache that the other side fills: these times count for neither.
    encoder : str
    encoder_folders : sequence of Path
        Where it is looked for.
    seed, trees : int

    Raises
    ------
    BenchError
        If scikit-learn is not installed.
    """
    if importlib.util.find_spec("sklearn") is None:
        raise BenchError("The forest is scikit-learn's, which is not installed: pip install 'apical[bench]'.")

    def answer(lesson: Lesson) -> list[Answer]:
        with tempfile.TemporaryDirectory(prefix="apical-bench-") as folder:
            given, drawn = Path(folder) / "given.npz", Path(folder) / "drawn.npz"
            annotated = sorted(lesson.annotations[-1].annotated)
            labels = np.stack([lesson.cine.labels[frame] for frame in annotated])
            np.savez(given, frames=lesson.cine.frames, annotated=annotated, labels=labels)
            task = Task(
                str(given),
                str(drawn),
                str(features),
                encoder,
                tuple(str(one) for one in encoder_folders),
                lesson.cine.fps,
                tuple(asdict(one) for one in lesson.annotations),
                seed,
                trees,
                lesson.cine.pixel_aspect,
            )
            told = told_by(
                "vjepa_core.bench.fit_once",
                task.to_json(),
                error=BenchError,
                killed="The system ended the forest, most likely for lack of memory: close other programs.",
            )
            with np.load(drawn) as arrays:
                all_masks = [np.asarray(arrays[f"masks{step}"]) for step in range(len(told["answers"]))]
        return [
            Answer(
                one["preview_s"], masks[annotation.visible], one["whole_s"], dict(enumerate(masks))
            )
            for one, masks, annotation in zip(told["answers"], all_masks, lesson.annotations, strict=True)
        ]  # fmt: skip

    return answer

"""Response time to annotations: the program's engine compared with a forest on the same features.

A first frame of a cine is annotated, then a second one, while a distant frame is visible.
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

from vjepa_core.bench.baselines.forest import TREES
from vjepa_core.bench.camus import BenchError, dice
from vjepa_core.bench.forest_process import Task
from vjepa_core.bench.fresh_process import run_in_process
from vjepa_core.bench.scored_cines import ScoredCine, annotated_frames, phantom_cines
from vjepa_core.label_image import UNLABELLED

OURS, PEER = "ours", "forest on our features"
MADE_UP_OUTLINES = "made-up outlines"
"""Kind of a cine with labels that do not match its content."""

FIRST, CORRECTION = "first annotation", "correction"
STEPS = (FIRST, CORRECTION)

GOAL = 10.0
"""Target for the speed of the program relative to the forest."""

_LIMITS = {"cpu": (3.0, 1.0, 10.0), "cuda": (0.3, 1.0, 1.0)}

Mask = NDArray[np.uint8]


@dataclass(frozen=True)
class Annotation:
    """Annotated frames, and the visible frame."""

    annotated: tuple[int, ...]
    visible: int


@dataclass(frozen=True, eq=False)
class AnnotatedCine:
    """Cine with a sequence of annotations."""

    cine: ScoredCine
    annotations: tuple[Annotation, ...]

    @classmethod
    def of(cls, cine: ScoredCine) -> AnnotatedCine:
        """Annotate two labelled frames; the visible frame is the one furthest from the annotated ones.

        The visible frame is a labelled one if there are more than two.

        Raises
        ------
        BenchError
            If there are fewer than two labelled frames or three frames.
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
        """Return the label image (h, w) of every annotated frame."""
        return {frame: self.cine.labels[frame] for frame in annotation.annotated}

    def dice(self, masks: Mapping[int, Mask], frames: Sequence[int]) -> float | None:
        """Compute the mean Dice on labelled frames among `frames`; None if there are none.

        A frame without a mask counts as empty.
        """
        known = [frame for frame in frames if frame in self.cine.labels]
        if not known or self.cine.kind == MADE_UP_OUTLINES:
            return None
        truth = np.stack([self.cine.labels[frame] for frame in known])
        empty = np.zeros(truth.shape[1:], np.uint8)
        unlabelled = truth == UNLABELLED
        drawn = np.stack([masks.get(frame, empty) for frame in known])
        mean_dice = dice(np.where(unlabelled, 0, drawn), np.where(unlabelled, 0, truth))["mean"]
        return None if np.isnan(mean_dice) else mean_dice


def with_phantom_labels(frames: NDArray[np.uint8], fps: float, pixel_aspect: float = 1.0) -> ScoredCine:
    """Return an unlabelled cine (T, h, w) with the labels of a phantom on two frames, to measure times."""
    heart = phantom_cines(1, frames=8)[0].labels
    shape = frames.shape[:0:-1]
    at = annotated_frames(range(len(frames)), 2)
    labels = {
        frame: np.asarray(cv2.resize(heart[i], shape, interpolation=cv2.INTER_NEAREST), np.uint8)
        for i, frame in enumerate(at)
    }
    return ScoredCine(frames, fps, labels, MADE_UP_OUTLINES, pixel_aspect=pixel_aspect)


def _furthest(frames: Sequence[int], annotated: Sequence[int]) -> int:
    return max(frames, key=lambda frame: (min(abs(frame - other) for other in annotated), -frame))


@dataclass(frozen=True, eq=False)
class Response:
    """Response to one annotation, with times in seconds since the annotation.

    Attributes
    ----------
    preview_s : float
        Time of the first mask of the visible frame from a fitted head.
    preview : ndarray of uint8
        That mask, shape (h, w).
    whole_s : float
        Time until every frame has its final mask.
    masks : mapping of int to ndarray
        Final masks (h, w) by frame.
    carried_s : float, optional
        Time of an earlier mask of the visible frame from labels carried by motion.
    carried : ndarray of uint8, optional
        That mask, shape (h, w).
    gap_s : float, optional
        Longest time between updates of the visible frame, from its first to its final mask.
    """

    preview_s: float
    preview: Mask
    whole_s: float
    masks: Mapping[int, Mask]
    carried_s: float | None = None
    carried: Mask | None = None
    gap_s: float | None = None


Side = Callable[[AnnotatedCine], Sequence[Response]]
"""Returns the response to each annotation of a cine, starting from an initial state."""


def run(
    cases: Sequence[AnnotatedCine],
    sides: Mapping[str, Side],
    *,
    rounds: int = 3,
    on_progress: Callable[[str, int, int], None] = lambda _stage, _done, _total: None,
) -> tuple[list[dict[str, Any]], bool]:
    """Measure every side on every cine, alternately, `rounds` times. Ctrl+C stops it after the first cine.

    Parameters
    ----------
    cases : sequence of AnnotatedCine
        Cines with annotations.
    sides : mapping of str to Side
        Implementations by name. They alternate, so that other load on the machine affects all of them.
    rounds : int
        Number of repetitions.
    on_progress : callable
        Called with (stage, done, total).

    Returns
    -------
    rows : list of dict
        ``kind, cine, side, annotation`` (`FIRST` or `CORRECTION`), ``annotated, visible, scored`` (number of
        frames), ``rounds``; medians ``carried_s, preview_s, gap_s, whole_s`` and maxima ``preview_most_s,
        gap_most_s, whole_most_s``; ``dice_carried, dice_preview`` on the visible frame, ``dice_rest`` on all
        frames that are not annotated. Values that are not available are None.
    stopped : bool
        True if it was stopped.
    """
    responses_of: dict[tuple[int, str, int], list[Response]] = {}
    turns = list(itertools.product(range(rounds), enumerate(cases), sides))
    stopped = False
    try:
        for done, (number, (at, case), name) in enumerate(turns):
            on_progress(f"round {number + 1} of {rounds}, cine {at + 1}, {name}", done, len(turns))
            for step, response in enumerate(sides[name](case)):
                responses_of.setdefault((at, name, step), []).append(response)
    except KeyboardInterrupt:
        if len({name for _, name, _ in responses_of}) < len(sides):
            raise
        stopped = True
    rows = [
        _row(at, name, step, cases[at], responses) for (at, name, step), responses in responses_of.items()
    ]
    return rows, stopped


def _row(at: int, name: str, step: int, case: AnnotatedCine, responses: Sequence[Response]) -> dict[str, Any]:
    annotation = case.annotations[step]
    scored_frames = [frame for frame in sorted(case.cine.labels) if frame not in annotation.annotated]
    visible = [annotation.visible]

    def of(what: str, how: Callable[[list[float]], float] = median) -> float | None:
        known = [value for response in responses if (value := getattr(response, what)) is not None]
        return how(known) if known else None

    def agreement(each: Sequence[Mapping[int, Mask] | None], frames: Sequence[int]) -> float | None:
        known = [case.dice(masks, frames) for masks in each if masks is not None]
        values = [value for value in known if value is not None]
        return median(values) if values else None

    carried = [None if a.carried is None else {annotation.visible: a.carried} for a in responses]
    return {
        "kind": case.cine.kind,
        "cine": at,
        "side": name,
        "annotation": STEPS[step],
        "annotated": list(annotation.annotated),
        "visible": annotation.visible,
        "scored": len(scored_frames),
        "rounds": len(responses),
        **{f"{what}_s": of(f"{what}_s") for what in ("carried", "preview", "gap", "whole")},
        **{f"{what}_most_s": of(f"{what}_s", max) for what in ("preview", "gap", "whole")},
        "dice_carried": agreement(carried, visible),
        "dice_preview": agreement([{annotation.visible: a.preview} for a in responses], visible),
        "dice_rest": agreement([a.masks for a in responses], scored_frames),
    }


def ratios(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Return ratios of the times of the forest to ours, and of our Dice to that of the forest.

    Medians over the cines with both sides; above 1, ours is better.
    """
    ratios_to_ours: dict[str, float] = {}
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
            ratios_to_ours[f"{what}, {step}"] = median(each)
    return ratios_to_ours


_COMPARED = {
    "preview_s": "seconds to the preview",
    "whole_s": "seconds to the whole cine",
    "dice_rest": "Dice on the rest of the cine",
}


def targets(rows: Sequence[Mapping[str, Any]], device: str) -> list[dict[str, Any]]:
    """Compare our times with the targets on "cpu" (two cores) or "cuda": ``what, limit_s, measured_s, met``.

    The measured time is the slowest median over cines and annotations.
    """
    named = zip(("preview_s", "gap_s", "whole_s"), _LIMITS[device], strict=True)
    descriptions = {
        "preview_s": "first preview of the visible frame",
        "gap_s": "longest time between previews of the visible frame",
        "whole_s": "the whole cine",
    }
    rows_of_targets = []
    for key, limit in named:
        own = [row[key] for row in rows if row["side"] == OURS and row[key] is not None]
        if own:
            rows_of_targets.append(
                {
                    "what": descriptions[key],
                    "limit_s": limit,
                    "measured_s": max(own),
                    "met": max(own) <= limit,
                }
            )
    return rows_of_targets


def forest(
    features: Path, encoder: str, encoder_folders: Sequence[Path], *, seed: int = 0, trees: int = TREES
) -> Side:
    """Return the forest as a side, as in convpaint, in a separate process.

    After every annotation, a new forest is fitted on all labels. It then predicts the visible frame, and the
    others in order of distance.

    Parameters
    ----------
    features : Path
        Folder of the feature cache that is filled by the other side, so that encoding does not count.
    encoder : str
        Name of the encoder.
    encoder_folders : sequence of Path
        Folders with encoder cards.
    seed, trees : int
        Seed and number of trees.

    Raises
    ------
    BenchError
        If scikit-learn is not installed.
    """
    if importlib.util.find_spec("sklearn") is None:
        raise BenchError(
            "The forest needs scikit-learn, which is not installed: pip install 'apical[bench]'."
        )

    def run_peer(case: AnnotatedCine) -> list[Response]:
        with tempfile.TemporaryDirectory(prefix="apical-bench-") as folder:
            input_file, output_file = Path(folder) / "input.npz", Path(folder) / "output.npz"
            annotated = sorted(case.annotations[-1].annotated)
            labels = np.stack([case.cine.labels[frame] for frame in annotated])
            np.savez(input_file, frames=case.cine.frames, annotated=annotated, labels=labels)
            task = Task(
                str(input_file),
                str(output_file),
                str(features),
                encoder,
                tuple(str(one) for one in encoder_folders),
                case.cine.fps,
                tuple(asdict(one) for one in case.annotations),
                seed,
                trees,
                case.cine.pixel_aspect,
            )
            result = run_in_process(
                "vjepa_core.bench.forest_process",
                task.to_json(),
                error=BenchError,
                killed="The system ended the forest, probably for lack of memory: close other programs.",
            )
            with np.load(output_file) as arrays:
                all_masks = [np.asarray(arrays[f"masks{step}"]) for step in range(len(result["responses"]))]
        return [
            Response(
                one["preview_s"], masks[annotation.visible], one["whole_s"], dict(enumerate(masks))
            )
            for one, masks, annotation in zip(result["responses"], all_masks, case.annotations, strict=True)
        ]  # fmt: skip

    return run_peer

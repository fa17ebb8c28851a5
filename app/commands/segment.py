"""Fit a head to a few labelled frames of a cine and write masks for every frame, and measurements on them.

LABELS is a folder of frame_0012.png (8-bit label images, zero-based frame number) or a NIfTI (x, y, 1, t) or
(x, y, t). An image that is 255 throughout is unlabelled; one that is 0 throughout shows no structure.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from app.commands.label_set import add_label_set_argument, read_label_set
from app.commands.measured_view import (
    cavity_dice,
    known_view,
    recognised_view,
    with_assumed_view,
    with_recognised,
)
from app.commands.measurement_files import write_measurements
from app.commands.output_folder import make_folder
from app.commands.progress import Progress
from app.commands.report import NOTICE, Report, to_json_types
from app.domain.cine import Box, Cine, Frame
from app.domain.errors import ApicalError, LabelError, ProjectError
from app.domain.labels import LabelSet
from app.domain.measure.as_json import to_json
from app.domain.measure.cine_measurement import structure_values
from app.domain.measure.left_heart import ViewInput, measure_left_heart
from app.domain.views import View
from app.encoders import registry
from app.engine.region_geometry import decode_frames
from vjepa_core.atomic import write_text
from vjepa_core.encoder.catalogue import EncoderCard
from vjepa_core.label_image import structure_mask

if TYPE_CHECKING:
    from vjepa_core.fewshot.feature_cache import FeatureCache
    from vjepa_core.fewshot.prepared_cine import PreparedCine
    from vjepa_core.fewshot.segmenter import Segmentation

log = logging.getLogger(__name__)

FORMATS = ("nifti", "png", "csv")
CONFIDENCE = "expected mean Dice of each frame's structures, 0 to 1; on an annotated frame, the measured one"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("cine", type=Path, metavar="CINE", help="DICOM, mp4, avi, gif, NIfTI or folder")
    parser.add_argument("--labels", type=Path, required=True, help="folder of frame_0012.png, or a NIfTI")
    add_label_set_argument(parser)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the masks")
    parser.add_argument("--formats", default=",".join(FORMATS), help="any of nifti,png,csv (default: all)")
    parser.add_argument(
        "--encoder", metavar="NAME", help="see `apical encoders list` (default: the one in the settings)"
    )
    parser.add_argument("--budget", type=float, metavar="SECONDS", help="time limit of the fit")
    parser.add_argument("--seed", type=int, default=0, help="same seed, same masks (default 0)")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")


@dataclass(frozen=True, eq=False)
class _Input:
    """The input, checked before anything is computed."""

    cine: Cine
    region: Box
    labels: dict[int, Frame]
    label_set: LabelSet
    card: EncoderCard


def run(args: argparse.Namespace) -> Report:
    """Check the input, then segment the cine and write the masks."""
    from app.readers.open import open_cine
    from app.storage.mask_files import write_masks

    formats = _formats(args.formats)
    _check_numbers(args.budget, args.seed)
    card = registry.find(args.encoder or registry.chosen())
    structures = read_label_set(args.label_set, args.labels)
    _check_out(args.out, args.cine, args.labels)
    seconds: dict[str, float] = {}
    cine = open_cine(args.cine)
    try:
        given = _read_input(cine, args.labels, structures, card)
        with Progress() as progress:
            with _timed(seconds, "decode"):
                frames, damaged = decode(cine, given.region, progress)
            _drop_damaged(given.labels, damaged)
            found, started_from, view = _segment(args, given, frames, damaged, progress)
            seconds.update(found.seconds)
            masks = np.zeros((cine.n_frames, cine.height, cine.width), np.uint8)
            masks[(slice(None), *given.region.slices)] = found.masks
            progress("writing", 0, 1)
            with _timed(seconds, "write"):
                files = write_masks(
                    args.out,
                    masks,
                    formats,
                    cine.spacing_mm,
                    cine.timing.times_ms,
                    affine=cine.affine,
                    calibration_of=cine.calibration_of,
                )
            progress("measuring", 0, 1)
            with _timed(seconds, "measure"):
                files += write_measurements(args.out, _measurements(given, found, masks, damaged, view))
    finally:
        cine.source.close()
    _warn_of_leftovers(args.out, cine.n_frames, formats)
    summary = _summary(
        given, found, started_from=started_from, seed=args.seed, damaged=damaged, seconds=seconds
    )
    files.append(_write_summary(args.out, summary))
    if found.stopped_by == "budget":
        log.warning(
            "The fit was stopped by --budget after %d steps: the masks are not repeatable.", found.steps
        )
    data = {
        **summary,
        "out": str(args.out),
        "files": [file.relative_to(args.out).as_posix() for file in files],
    }
    return Report(data, _text(args.out, cine, found, summary))


def _formats(text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(name.strip().lower() for name in text.split(",") if name.strip()))
    unknown = [name for name in names if name not in FORMATS]
    if unknown or not names:
        what = f"Masks are not written as {unknown[0]}" if unknown else "--formats is empty"
        raise ApicalError(f"{what}; choose from {', '.join(FORMATS)}.")
    return names


def _check_numbers(budget: float | None, seed: int) -> None:
    if budget is not None and not 0 < budget < float("inf"):
        raise ApicalError(f"--budget is {budget:g}; give a number of seconds above 0.")
    if not 0 <= seed < 2**63:
        raise ApicalError(f"--seed is {seed}; give a whole number from 0 on.")


def _check_out(out: Path, cine: Path, labels: Path) -> None:
    # Computed masks must not overwrite cines or human labels.
    written = {(out / "masks").resolve(), (out / "masks.nii.gz").resolve()}
    for what, given in (("cine", cine), ("labels", labels)):
        if given.resolve() in written:
            raise ApicalError(
                f"The masks would overwrite the {what} in {given}; give another folder with --out."
            )
    make_folder(out)
    if not os.access(out, os.W_OK):
        raise ApicalError(f"{out} may not be written; allow writing there, or choose another folder.")


def _read_input(cine: Cine, path: Path, structures: LabelSet, card: EncoderCard) -> _Input:
    from app.storage.labels_io import read_labels_of

    labels = read_labels_of(cine, path, structures)
    for warning in cine.warnings:
        log.warning("%s", warning)
    region = cine.region.extended_to(labels.values())
    if region != cine.region:
        log.warning("Labels extend beyond the ultrasound region, which is enlarged to contain them.")
    return _Input(cine, region, labels, structures, card)


def decode(
    cine: Cine, region: Box, progress: Callable[[str, int, int], None]
) -> tuple[NDArray[np.uint8], tuple[int, ...]]:
    """Decode the region of all frames, (T, h, w), and return the damaged ones: see `decode_frames`."""
    frames = np.empty((cine.n_frames, region.height, region.width), np.uint8)
    cine.source.prefetch(range(cine.n_frames))
    damaged = decode_frames(
        cine,
        frames,
        lambda frame: frame[region.slices],
        before_frame=lambda index: progress("decoding", index, cine.n_frames),
        on_damaged=lambda error: log.warning("%s", error),
    )
    progress("decoding", cine.n_frames, cine.n_frames)
    return frames, damaged


def _drop_damaged(labels: dict[int, Frame], damaged: Sequence[int]) -> None:
    dropped = [index for index in damaged if labels.pop(index, None) is not None]
    for index in dropped:
        log.warning("The label of frame %d is left out: its image is damaged.", index)
    if dropped and not any(structure_mask(image).any() for image in labels.values()):
        raise LabelError(
            "All frames of the cine on which a structure is labelled are damaged: label other frames."
        )


def feature_cache() -> FeatureCache | None:
    """Return the feature cache of the window; None if its folder cannot be written."""
    from app import paths
    from vjepa_core.fewshot.feature_cache import FeatureCache

    try:
        return FeatureCache(paths.features_dir())
    except ProjectError as error:
        log.warning("%s Features are not cached.", error)
        return None


def _segment(
    args: argparse.Namespace,
    given: _Input,
    frames: NDArray[np.uint8],
    damaged: Sequence[int],
    progress: Callable[[str, int, int], None],
) -> tuple[Segmentation, str | None, View | None]:
    """Segment the region.

    Returns
    -------
    Segmentation
    str or None
        Name of the head that the fit started from; None for a new one.
    View or None
        Recognised view; None if the file states it or if it was not recognised.
    """
    from vjepa_core.encoder.precision import inference_device
    from vjepa_core.fewshot import segmenter
    from vjepa_core.fewshot.starter import SHIPPED, load_starter

    starter = load_starter(given.card) if given.label_set.is_left_heart else None
    prepared: list[PreparedCine] = []
    found = segmenter.segment(
        frames,
        {frame: image[given.region.slices] for frame, image in given.labels.items()},
        given.label_set.values,
        fps=given.cine.timing.fps,
        pixel_aspect=given.cine.pixel_aspect,
        damaged=damaged,
        encoder=given.card,
        start=starter,
        cache=feature_cache(),
        seed=args.seed,
        budget_s=args.budget,
        on_progress=progress,
        on_prediction=lambda cine, _frames, _probabilities: prepared.append(cine),
    )
    view = None
    if starter is not None and prepared and known_view(given.cine)[0] is None:
        starter.head.to(inference_device())
        view = recognised_view(prepared[0], starter, given.card)
    return found, None if starter is None else Path(SHIPPED).stem, view


def _summary(
    given: _Input,
    found: Segmentation,
    *,
    started_from: str | None,
    seed: int,
    damaged: Sequence[int],
    seconds: dict[str, float],
) -> dict[str, Any]:
    """Describe what was computed and how, without information about the patient."""
    cine, region = given.cine, given.region
    return {
        "notice": NOTICE,
        "cine_content_hash": cine.content_hash,
        "frames": cine.n_frames,
        "rows": cine.height,
        "columns": cine.width,
        "region": {"x0": region.x0, "y0": region.y0, "x1": region.x1, "y1": region.y1},
        "labelled_frames": sorted(given.labels),
        "damaged_frames": list(damaged),
        "classes": {str(c.value): c.name for c in given.label_set.structures},
        "encoder": {
            "name": found.encoder_name,
            "checksum": found.encoder_checksum,
            "trained": found.encoder_trained,
        },
        "started_from": started_from,
        "seed": seed,
        "steps": found.steps,
        "stopped_by": found.stopped_by,
        "repeatable": found.stopped_by == "steps",
        "loss_first": found.losses[0] if found.losses else None,
        "loss_last": found.losses[-1] if found.losses else None,
        "seconds": {stage: round(value, 3) for stage, value in seconds.items()},
        "confidence": [round(float(value), 4) for value in found.confidence],
        "confidence_is": CONFIDENCE,
        "warnings": list(cine.warnings),
    }


def _measurements(
    given: _Input,
    found: Segmentation,
    masks: NDArray[np.uint8],
    damaged: Sequence[int],
    recognised: View | None,
) -> dict[str, Any]:
    """Measure the left heart on the masks as they are written."""
    from app.engine.sector import sector_of

    values = structure_values(given.label_set)
    if values is None:
        reason = "The label set has no LV cavity (SNOMED CT 87878005): nothing is measured."
        return {"notice": NOTICE, "method": "ase", "views": {}, "intervals": {}, "warnings": [reason]}
    frames = [frame for frame in range(given.cine.n_frames) if frame not in damaged]
    view, source = known_view(given.cine)
    view_input = ViewInput(
        given.cine,
        {frame: masks[frame] for frame in frames},
        view,
        source,
        structure_dice=cavity_dice(dict(enumerate(found.structure_dice)), values.cavity),
        expected_dice={frame: float(found.confidence[frame]) for frame in frames},
        inside=sector_of(given.cine, given.labels.values()),
    )
    view_input = with_assumed_view(with_recognised(view_input, recognised))
    return {"notice": NOTICE, **to_json(measure_left_heart([view_input], values))}


def _write_summary(out: Path, summary: dict[str, Any]) -> Path:
    from app.storage.errors import export_error

    path = out / "summary.json"
    try:
        write_text(path, json.dumps(to_json_types(summary), indent=2, allow_nan=False) + "\n")
    except OSError as error:
        raise export_error(path, error) from error
    return path


def _warn_of_leftovers(out: Path, n_frames: int, formats: tuple[str, ...]) -> None:
    if "png" in formats and (out / "masks" / f"frame_{n_frames:04d}.png").exists():
        log.warning("%s also contains frames of another, longer cine; they were not deleted.", out / "masks")


def _text(out: Path, cine: Cine, found: Segmentation, summary: dict[str, Any]) -> str:
    caution = "" if found.encoder_trained else f" over {found.encoder_name} (not trained: check every frame)"
    frames = ", ".join(map(str, summary["labelled_frames"]))
    loss = f"{summary['loss_first']:.3f} to {summary['loss_last']:.3f}" if found.losses else "none"
    return (
        f"{cine.n_frames} masks of {cine.width}x{cine.height} pixels are in {out}.\n"
        f"Fitted on frames {frames} in {found.steps} steps{caution}; "
        f"loss {loss}; {sum(summary['seconds'].values()):.1f} s.\n{NOTICE}"
    )


@contextlib.contextmanager
def _timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    started = time.monotonic()
    yield
    seconds[stage] = time.monotonic() - started

"""Masks of a cine without labels, predicted by the head that is delivered with the program."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.commands.measured_view import recognised_view
from app.commands.progress import Progress
from app.commands.segment import decode, feature_cache
from app.domain.cine import Cine
from app.domain.views import View
from app.encoders import registry
from app.engine.sector import on_frame
from vjepa_core.label_image import LabelImage

NO_STARTER = "The chosen encoder has no head that predicts the left heart: give label images with --labels."
NOT_RECOGNISED = (
    "No apical view of the left heart was recognised, so nothing was predicted and nothing is measured: give "
    "label images with --labels."
)


@dataclass(frozen=True, eq=False)
class Drafted:
    """Predicted masks.

    Attributes
    ----------
    labels : dict of int to LabelImage
        Label images of the left heart by frame, without damaged frames; empty if the head does not apply.
    structure_dice : dict of int to dict
        Dice of each structure expected from the softmax, by frame and label value.
    expected_dice : dict of int to float
        Expected Dice by frame.
    inside : (height, width) bool or None
        Ultrasound sector; None if nothing was predicted.
    view : View or None
        Recognised view; None if it was not recognised.
    reason : str
        Why nothing was predicted, in a sentence; "" otherwise.
    """

    labels: dict[int, LabelImage]
    structure_dice: dict[int, dict[int, float]]
    expected_dice: dict[int, float]
    inside: NDArray[np.bool_] | None
    view: View | None = None
    reason: str = ""


def draft(cine: Cine, progress: Progress) -> Drafted:
    """Predict every frame of an open cine as the window does before anything is outlined.

    Parameters
    ----------
    cine : Cine
    progress : Progress
    """
    from vjepa_core.encoder.loaded import resolve_encoder
    from vjepa_core.encoder.precision import inference_device
    from vjepa_core.fewshot.pipeline import PREDICT_FRAMES, CinePipeline
    from vjepa_core.fewshot.starter import LEFT_HEART, load_starter

    card = registry.find(registry.chosen())
    starter = load_starter(card)
    if starter is None:
        return Drafted({}, {}, {}, None, reason=NO_STARTER)
    starter.head.to(inference_device())
    frames, damaged = decode(cine, cine.region, progress)
    pipeline = CinePipeline.of_region(
        frames,
        LEFT_HEART,
        fps=cine.timing.fps,
        pixel_aspect=cine.pixel_aspect,
        left_heart=True,
        damaged=damaged,
    )
    pipeline.prepare(*resolve_encoder(card), cache=feature_cache(), on_progress=progress)
    if not pipeline.check_starter(starter):
        return Drafted({}, {}, {}, None, reason=NOT_RECOGNISED)
    labels: dict[int, LabelImage] = {}
    for first in range(0, cine.n_frames, PREDICT_FRAMES):
        progress("predict", first, cine.n_frames)
        group = list(range(first, min(first + PREDICT_FRAMES, cine.n_frames)))
        for frame, mask in zip(group, pipeline.predict(starter.head, group).masks, strict=True):
            labels[frame] = np.zeros((cine.height, cine.width), np.uint8)
            labels[frame][cine.region.slices] = mask
    usable = {frame: label for frame, label in labels.items() if frame not in damaged}
    return Drafted(
        usable,
        {frame: pipeline.assessment.structure_dice(frame) for frame in usable},
        {frame: pipeline.assessment.expected_dice(frame) for frame in usable},
        on_frame(cine, pipeline.prepared.inside),
        recognised_view(pipeline.prepared, starter, card),
    )

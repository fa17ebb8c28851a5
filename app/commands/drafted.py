"""Masks of a cine without labels, predicted by the head that is delivered with the program."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.commands.left_heart_pipeline import prepare_left_heart
from app.commands.progress import Progress
from app.domain.cine import Cine
from app.domain.views import View, view_named
from app.encoders import registry
from app.engine.region_geometry import RegionGeometry
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
    from vjepa_core.encoder.precision import inference_device
    from vjepa_core.fewshot.pipeline import PREDICT_FRAMES
    from vjepa_core.fewshot.starter import load_starter
    from vjepa_core.fewshot.view_recogniser import load_view_recogniser, view_features

    card = registry.find(registry.chosen())
    starter = load_starter(card)
    if starter is None:
        return Drafted({}, {}, {}, None, reason=NO_STARTER)
    starter.head.to(inference_device())
    pipeline, damaged = prepare_left_heart(cine, card, progress)
    if not pipeline.check_starter(starter):
        return Drafted({}, {}, {}, None, reason=NOT_RECOGNISED)
    views = load_view_recogniser(card)
    view = None if views is None else view_named(views.recognise(view_features(pipeline.prepared)).view)
    geometry = RegionGeometry.of(cine)
    labels: dict[int, LabelImage] = {}
    for first in range(0, cine.n_frames, PREDICT_FRAMES):
        progress("predict", first, cine.n_frames)
        group = list(range(first, min(first + PREDICT_FRAMES, cine.n_frames)))
        for frame, mask in zip(group, pipeline.predict(starter.head, group).masks, strict=True):
            labels[frame] = geometry.on_frame(mask)
    usable = {frame: label for frame, label in labels.items() if frame not in damaged}
    return Drafted(
        usable,
        {frame: pipeline.assessment.structure_dice(frame) for frame in usable},
        {frame: pipeline.assessment.expected_dice(frame) for frame in usable},
        on_frame(cine, pipeline.prepared.inside),
        view,
    )

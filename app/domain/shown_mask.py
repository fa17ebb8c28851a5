"""The mask that is shown on a frame: structures of a human over predicted ones."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from app.domain.gaps import fill_released
from app.domain.provenance import Provenance, States
from vjepa_core.label_image import (
    UNLABELLED,
    LabelImage,
    has_unlabelled,
    structure_mask,
    structures_in,
    values_mask,
)


@dataclass(frozen=True, eq=False)
class FrameMasks:
    """Annotation and prediction of one frame, and the mask that follows from both.

    Display, gestures, timeline, suggestions, measurement and export all use `shown`.

    Attributes
    ----------
    shape : tuple of int
        Height and width of the frame.
    annotation : ndarray of uint8, shape (height, width), or None
        Label image; None if the frame is not annotated.
    states : States
        Provenance of each stated structure.
    prediction : ndarray of uint8, shape (height, width), or None
        Label image that a head predicted. Stated structures are not taken from it.
    walls : tuple of (int, int)
        (wall, cavity) values as in `LabelSet.walls`.
    """

    shape: tuple[int, int]
    annotation: LabelImage | None = None
    states: States = field(default_factory=dict)
    prediction: LabelImage | None = None
    walls: tuple[tuple[int, int], ...] = ()

    @cached_property
    def predicted(self) -> LabelImage | None:
        """Prediction without the stated structures, (height, width) uint8; None without a prediction."""
        prediction, annotation = self.prediction, self.annotation
        if prediction is None:
            return None
        if annotation is None:
            return prediction
        if has_unlabelled(annotation):  # a scribble states its own pixels only
            is_predicted = (annotation == UNLABELLED) | (annotation == prediction)
            return np.where(is_predicted, prediction, 0).astype(np.uint8)
        stated = values_mask(prediction, self.states)
        out = np.where(~stated & (annotation == 0), prediction, 0).astype(np.uint8)
        for wall, cavity in self.walls:
            if cavity in self.states and wall not in self.states:
                # Pixels that the drawn cavity no longer covers lie between it and the predicted wall.
                released = (prediction == cavity) & (annotation == 0)
                out = fill_released(out, annotation, released, wall, cavity)
        return out

    @cached_property
    def shown(self) -> LabelImage:
        """The shown mask, (height, width) uint8: structures of a human over predicted ones.

        Pixels that a scribble leaves unlabelled and that are not predicted are 255.
        """
        annotation, predicted = self.annotation, self.predicted
        if annotation is None:
            return np.zeros(self.shape, np.uint8) if predicted is None else predicted
        if predicted is None:
            return annotation
        is_predicted = ~structure_mask(annotation) & (predicted > 0)
        return np.where(is_predicted, predicted, annotation).astype(np.uint8)

    def provenance(self, fitted: Collection[int]) -> dict[int, Provenance]:
        """Return the provenance of every structure that is shown, by label value.

        Parameters
        ----------
        fitted : collection of int
            Structures that a head could be fitted to in this cine, as in
            `AnnotationLayer.stated_structures`; all other predicted structures are drafts.
        """
        predicted = () if self.predicted is None else structures_in(self.predicted)
        annotated = () if self.annotation is None else structures_in(self.annotation)
        result = {
            value: Provenance.PREDICTED if value in fitted else Provenance.DRAFT
            for value in predicted
            if value not in self.states
        }
        return result | {value: state for value, state in self.states.items() if value in annotated}

"""The mask that is shown on a frame: structures of a human over predicted ones."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from app.domain.cine import Frame
from app.domain.gaps import fill_released
from app.domain.provenance import States
from vjepa_core.label_image import UNLABELLED, structure_mask, values_mask


@dataclass(frozen=True, eq=False)
class FrameMasks:
    """What is on a frame: the annotation of a human, and the prediction for everything they left open.

    Attributes
    ----------
    shape
        (height, width) of the frame.
    annotation
        Label image (height, width) uint8 with 255 for unlabelled; None where nothing was drawn.
    states
        Provenance of each stated structure.
    prediction
        Label image that a head predicted, of the same shape; None where there is none. Structures with a
        state are not read from it.
    walls
        (wall, cavity) values as `LabelSet.walls` gives them.
    """

    shape: tuple[int, int]
    annotation: Frame | None = None
    states: States = field(default_factory=dict)
    prediction: Frame | None = None
    walls: tuple[tuple[int, int], ...] = ()

    @cached_property
    def predicted(self) -> Frame | None:
        """The prediction without what a human has stated, (height, width) uint8; None without prediction."""
        prediction, drawn = self.prediction, self.annotation
        if prediction is None:
            return None
        if drawn is None:
            return prediction
        open_pixels = drawn == UNLABELLED
        if open_pixels.any():  # a scribble speaks for its own pixels only
            return np.where(open_pixels | (drawn == prediction), prediction, 0).astype(np.uint8)
        stated = values_mask(prediction, self.states)
        out = np.where(~stated & (drawn == 0), prediction, 0).astype(np.uint8)
        for wall, cavity in self.walls:
            if cavity in self.states and wall not in self.states:
                # What the drawn cavity no longer covers lies between it and the predicted wall.
                out = fill_released(out, drawn, (prediction == cavity) & (drawn == 0), wall, cavity)
        return out

    @cached_property
    def shown(self) -> Frame:
        """The mask on the screen: human structures over predicted ones, (height, width) uint8.

        255 where a scribble leaves a pixel open and nothing is predicted.
        """
        drawn, predicted = self.annotation, self.predicted
        if drawn is None:
            return np.zeros(self.shape, np.uint8) if predicted is None else predicted
        if predicted is None:
            return drawn
        return np.where(~structure_mask(drawn) & (predicted > 0), predicted, drawn).astype(np.uint8)

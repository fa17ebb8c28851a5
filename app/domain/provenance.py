"""Provenance of a structure on a frame: drawn or accepted by a human, predicted, or draft."""

from __future__ import annotations

import json
from collections.abc import Mapping
from enum import StrEnum
from typing import Literal

import numpy as np

from vjepa_core.label_image import LabelImage, structures_in

StrokeKind = Literal["brush", "polygon", "erase", "accept", "clear", "empty", "islands"]
"""The action that made a stroke: painting, outlining, erasing, accepting a prediction, clearing a frame,
marking it as empty, or removing small islands."""


class Provenance(StrEnum):
    """Origin of a structure on a frame."""

    DRAWN = "drawn"
    """Drawn by a human."""
    ACCEPTED = "accepted"
    """Predicted, then confirmed by a human."""
    PREDICTED = "predicted"
    """Predicted by a head that was fitted to annotations of this structure in this cine."""
    DRAFT = "draft"
    """Predicted by a head that was not fitted to them."""

    @property
    def is_human(self) -> bool:
        """True if a human has stated the structure."""
        return self in (Provenance.DRAWN, Provenance.ACCEPTED)


States = Mapping[int, Provenance]
"""Provenance, drawn or accepted, of each structure that a human has stated on a frame, by structure value.

A structure with a state and without a pixel was stated to be absent.
"""


def derived_states(
    before: LabelImage | None, states_before: States, after: LabelImage, kind: StrokeKind
) -> States:
    """Derive states from pixels alone: a structure whose pixels changed gets its state from the stroke.

    Parameters
    ----------
    before, after : ndarray of uint8, shape (height, width)
        Label images; `before` is None if the frame was not annotated.
    states_before : States
        States that belong to `before`.
    kind : StrokeKind
        "accept" makes structures accepted, everything else drawn.

    Returns
    -------
    States
        One entry for each structure that has a pixel in `after`.
    """
    new = Provenance.ACCEPTED if kind == "accept" else Provenance.DRAWN
    states: dict[int, Provenance] = {}
    for value in structures_in(after):
        same = before is not None and np.array_equal(before == value, after == value)
        states[value] = states_before.get(value, new) if same else new
    return states


def states_to_json(states: States) -> str:
    """Return states as JSON text."""
    return json.dumps({str(value): str(state) for value, state in sorted(states.items())})


def states_from_json(text: str) -> dict[int, Provenance]:
    """Parse the text that `states_to_json` returns; ValueError if it is anything else."""
    try:
        states = {int(value): Provenance(state) for value, state in json.loads(text).items()}
    except (AttributeError, TypeError) as error:
        raise ValueError(f"damaged states: {error}") from error
    if not all(state.is_human for state in states.values()):
        raise ValueError("damaged states: a stated structure must be drawn or accepted")
    return states

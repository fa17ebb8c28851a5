"""Who is responsible for a structure on a frame: drawn by a human, accepted by one, or predicted."""

from __future__ import annotations

import json
from collections.abc import Mapping
from enum import StrEnum
from typing import Literal

import numpy as np

from app.domain.cine import Frame
from vjepa_core.label_image import structures_in

StrokeKind = Literal["brush", "polygon", "erase", "accept", "clear", "empty", "islands"]
"""What a human did: painted, outlined, erased, accepted a prediction, cleared a frame, marked it as empty,
or removed small islands."""


class State(StrEnum):
    """State of a structure on a frame that a human has stated."""

    DRAWN = "drawn"
    ACCEPTED = "accepted"


States = Mapping[int, State]
"""State by structure value. A structure with a state and without a pixel was stated to be absent."""


def derived_states(before: Frame | None, states_before: States, after: Frame, kind: StrokeKind) -> States:
    """States that follow from pixels alone: a structure whose pixels changed takes the kind of the change.

    Parameters
    ----------
    before, after
        Label images, shape (height, width), uint8; `before` None means nothing drawn yet.
    states_before
        States that belong to `before`.
    kind
        What the human did; "accept" makes structures accepted, everything else drawn.

    Returns
    -------
    mapping
        One entry for each structure that has a pixel in `after`.
    """
    new = State.ACCEPTED if kind == "accept" else State.DRAWN
    states: dict[int, State] = {}
    for value in structures_in(after):
        same = before is not None and np.array_equal(before == value, after == value)
        states[value] = states_before.get(value, new) if same else new
    return states


def states_to_json(states: States) -> str:
    """Return states as JSON text."""
    return json.dumps({str(value): str(state) for value, state in sorted(states.items())})


def states_from_json(text: str) -> dict[int, State]:
    """Inverse of `states_to_json`; ValueError on anything else."""
    try:
        return {int(value): State(state) for value, state in json.loads(text).items()}
    except (AttributeError, TypeError) as error:
        raise ValueError(f"damaged states: {error}") from error

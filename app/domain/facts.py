"""Facts that a rater states about a cine: view, landmarks, end-diastolic and end-systolic frames."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from enum import StrEnum

from app.domain.views import FactSource, View

Point = tuple[float, float]
"""Column and row of an image position in pixels; (0, 0) is the centre of the top left pixel."""


@dataclass(frozen=True)
class AssignedView:
    """View of a cine."""

    view: View
    source: FactSource


@dataclass(frozen=True)
class Landmarks:
    """Anatomical landmarks of the left ventricle on one frame.

    Attributes
    ----------
    hinge_points : tuple of Point
        The two hinge points of the mitral valve.
    apex : Point
    source : FactSource
    """

    hinge_points: tuple[Point, Point]
    apex: Point
    source: FactSource


class Phase(StrEnum):
    """Phase of the cardiac cycle that a frame can show."""

    ED = "ED"
    """End-diastole."""
    ES = "ES"
    """End-systole."""


@dataclass(frozen=True)
class PhaseMark:
    """Statement that a frame shows end-diastole or end-systole."""

    phase: Phase
    source: FactSource


Fact = AssignedView | Landmarks | PhaseMark


class FactKind(StrEnum):
    """Kind of a fact; a cine has one view, and each frame at most one fact of the other kinds."""

    VIEW = "view"
    LANDMARKS = "landmarks"
    PHASE = "phase"


FactKey = tuple[FactKind, int | None]
"""Kind and zero-based frame; None for a fact about the whole cine."""

_TYPES: dict[FactKind, type[Fact]] = {
    FactKind.VIEW: AssignedView,
    FactKind.LANDMARKS: Landmarks,
    FactKind.PHASE: PhaseMark,
}


@dataclass(frozen=True)
class FactChange:
    """One change of a fact by a human, as a step of the history.

    Attributes
    ----------
    kind : FactKind
    frame : int or None
        Zero-based frame; None for the view, which holds for the whole cine.
    before, after : Fact or None
        None if the fact is not set.
    rater : str
        Short name of the person, never the patient.

    Raises
    ------
    ValueError
        If a fact is not of this kind, or the frame does not fit the kind.
    """

    kind: FactKind
    frame: int | None
    before: Fact | None
    after: Fact | None
    rater: str

    def __post_init__(self) -> None:
        if (self.frame is None) != (self.kind is FactKind.VIEW):
            raise ValueError(f"a {self.kind} cannot belong to frame {self.frame}")
        if not all(fact is None or isinstance(fact, _TYPES[self.kind]) for fact in (self.before, self.after)):
            raise ValueError(f"the fact is not a {self.kind}")

    @property
    def key(self) -> FactKey:
        """Kind and frame."""
        return self.kind, self.frame

    @property
    def n_bytes(self) -> int:
        """Size in the history."""
        return 256


def fact_to_json(fact: Fact) -> str:
    """Return a fact as JSON text."""
    match fact:
        case AssignedView():
            content: dict[str, object] = {"view": str(fact.view)}
        case Landmarks():
            content = {"hinge_points": fact.hinge_points, "apex": fact.apex}
        case PhaseMark():
            content = {"phase": str(fact.phase)}
    return json.dumps({**content, "source": str(fact.source)})


def fact_from_json(kind: FactKind, text: str) -> Fact:
    """Parse the text that `fact_to_json` returns; ValueError if it is damaged."""
    try:
        content = json.loads(text)
        source = FactSource(content["source"])
        match kind:
            case FactKind.VIEW:
                return AssignedView(View(content["view"]), source)
            case FactKind.PHASE:
                return PhaseMark(Phase(content["phase"]), source)
            case FactKind.LANDMARKS:
                first, second = (_point(item) for item in content["hinge_points"])
                return Landmarks((first, second), _point(content["apex"]), source)
    except (KeyError, TypeError) as error:
        raise ValueError(f"damaged {kind}: {error}") from error


def _point(item: object) -> Point:
    x, y = (float(value) for value in item)  # type: ignore[attr-defined]
    if not (math.isfinite(x) and math.isfinite(y)):
        raise ValueError("damaged landmarks: a coordinate is not finite")
    return x, y

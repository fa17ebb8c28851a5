"""Facts that a rater states about a cine: view, landmarks, ED and ES marks, calibrations by hand."""

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


@dataclass(frozen=True)
class ManualCalibration:
    """Pixel size that follows from two points of known distance, set by hand.

    Attributes
    ----------
    points : tuple of Point
        The two points.
    distance_mm : float
        Their distance.
    mm_per_px_x, mm_per_px_y : float
        Width and height of a pixel in mm.
    source : FactSource
    """

    points: tuple[Point, Point]
    distance_mm: float
    mm_per_px_x: float
    mm_per_px_y: float
    source: FactSource = FactSource.MANUAL


Fact = AssignedView | Landmarks | PhaseMark | ManualCalibration


class FactKind(StrEnum):
    """Kind of a fact.

    A cine has one view, each frame at most one set of landmarks and one phase mark, and each region, or the
    whole frame, at most one calibration.
    """

    VIEW = "view"
    LANDMARKS = "landmarks"
    PHASE = "phase"
    CALIBRATION = "calibration"


FactKey = tuple[FactKind, int | None]
"""Kind and zero-based frame, for a calibration the index of the region in `Cine.regions`; None for a fact
about the whole cine or the whole frame."""

_TYPES: dict[FactKind, type[Fact]] = {
    FactKind.VIEW: AssignedView,
    FactKind.LANDMARKS: Landmarks,
    FactKind.PHASE: PhaseMark,
    FactKind.CALIBRATION: ManualCalibration,
}


@dataclass(frozen=True)
class FactChange:
    """One change of a fact by a human, as a step of the history.

    Attributes
    ----------
    kind : FactKind
    index : int or None
        Zero-based frame, or region of a calibration, as in `FactKey`.
    before, after : Fact or None
        None if the fact is not set.
    rater : str
        Short name of the person, never the patient.

    Raises
    ------
    ValueError
        If a fact is not of this kind, or the index does not fit the kind.
    """

    kind: FactKind
    index: int | None
    before: Fact | None
    after: Fact | None
    rater: str

    def __post_init__(self) -> None:
        is_per_frame = self.kind in (FactKind.LANDMARKS, FactKind.PHASE)
        is_whole = self.index is None
        if (is_per_frame and is_whole) or (self.kind is FactKind.VIEW and not is_whole):
            raise ValueError(f"a {self.kind} cannot belong to frame {self.index}")
        if not all(fact is None or isinstance(fact, _TYPES[self.kind]) for fact in (self.before, self.after)):
            raise ValueError(f"the fact is not a {self.kind}")

    @property
    def key(self) -> FactKey:
        """Kind and index."""
        return self.kind, self.index

    @property
    def frame(self) -> int | None:
        """Zero-based frame that it concerns; None for the view and for a calibration."""
        return None if self.kind is FactKind.CALIBRATION else self.index

    @property
    def changes(self) -> tuple[FactChange, ...]:
        """The change itself, as in `FactChanges`."""
        return (self,)

    @property
    def n_bytes(self) -> int:
        """Size in the history."""
        return 256


@dataclass(frozen=True)
class FactChanges:
    """Several changes of facts that are one step of the history, such as a mark that was moved.

    Attributes
    ----------
    changes : tuple of FactChange
        At least one, each of another fact.

    Raises
    ------
    ValueError
        If there is no change, or two of the same fact.
    """

    changes: tuple[FactChange, ...]

    def __post_init__(self) -> None:
        if not self.changes or len({change.key for change in self.changes}) < len(self.changes):
            raise ValueError("a step needs changes of different facts")

    @property
    def rater(self) -> str:
        """Author."""
        return self.changes[-1].rater

    @property
    def frame(self) -> int | None:
        """Frame of the last change."""
        return self.changes[-1].frame

    @property
    def n_bytes(self) -> int:
        """Size in the history."""
        return sum(change.n_bytes for change in self.changes)


FactEdit = FactChange | FactChanges
"""A step of the history that changes facts."""


def fact_to_json(fact: Fact) -> str:
    """Return a fact as JSON text."""
    match fact:
        case AssignedView():
            content: dict[str, object] = {"view": str(fact.view)}
        case Landmarks():
            content = {"hinge_points": fact.hinge_points, "apex": fact.apex}
        case PhaseMark():
            content = {"phase": str(fact.phase)}
        case ManualCalibration():
            content = {
                "points": fact.points,
                "distance_mm": fact.distance_mm,
                "mm_per_px": (fact.mm_per_px_x, fact.mm_per_px_y),
            }
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
            case FactKind.CALIBRATION:
                first, second = (_point(item) for item in content["points"])
                x, y = _point(content["mm_per_px"])
                distance = float(content["distance_mm"])
                if not (math.isfinite(distance) and min(distance, x, y) > 0.0):
                    raise ValueError("damaged calibration: a length is not positive")
                return ManualCalibration((first, second), distance, x, y, source)
    except (KeyError, TypeError) as error:
        raise ValueError(f"damaged {kind}: {error}") from error


def _point(item: object) -> Point:
    x, y = (float(value) for value in item)  # type: ignore[attr-defined]
    if not (math.isfinite(x) and math.isfinite(y)):
        raise ValueError("damaged fact: a coordinate is not finite")
    return x, y


def changes_to_json(edit: FactChanges) -> str:
    """Return changes of facts as JSON text, without their author."""
    return json.dumps(
        [
            [
                str(change.kind),
                change.index,
                *(fact and fact_to_json(fact) for fact in (change.before, change.after)),
            ]
            for change in edit.changes
        ]
    )


def changes_from_json(text: str, rater: str) -> FactChanges:
    """Parse the text that `changes_to_json` returns; ValueError if it is damaged."""
    try:
        changes = []
        for name, index, before, after in json.loads(text):
            kind = FactKind(name)
            old, new = (None if item is None else fact_from_json(kind, item) for item in (before, after))
            changes.append(FactChange(kind, index, old, new, rater))
    except TypeError as error:
        raise ValueError(f"damaged changes of facts: {error}") from error
    return FactChanges(tuple(changes))

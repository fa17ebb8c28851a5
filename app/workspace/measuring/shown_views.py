"""The measured cines of the window: the visible one and its pair."""

from __future__ import annotations

from dataclasses import dataclass

from app.domain.measure.cine_measurement import CineMeasurement
from app.domain.measure.frame_geometry import spacing_of
from app.domain.measure.heart import HeartGeometry, Values
from app.domain.measure.view_measurement import ViewMeasurement
from app.domain.views import FactSource, View
from app.workspace.frame_state import is_draft
from app.workspace.measuring.describe import ViewFacts
from app.workspace.opened_cine import OpenedCine


@dataclass(frozen=True, eq=False)
class ShownView:
    """One measured cine.

    Attributes
    ----------
    name : str
        Name of the view in the results.
    opened : OpenedCine
    view : View or None
        None if it is unknown.
    source : FactSource or None
        None if nobody has confirmed the view.
    measured : CineMeasurement
    """

    name: str
    opened: OpenedCine
    view: View | None
    source: FactSource | None
    measured: CineMeasurement

    @property
    def beat_index(self) -> int:
        """Place of that beat among all measured beats, in the order of time."""
        frames = sorted(beat.ed_frame for beat in self.measured.beats if beat.ed_frame is not None)
        return frames.index(self.beat.ed_frame) if self.beat.ed_frame in frames else 0

    @property
    def spacing(self) -> tuple[float, float]:
        """Height and width of a pixel in the unit of the geometry."""
        return spacing_of(self.opened.cine, self.measured.calibration)

    def geometry(self, frame: int | None) -> HeartGeometry | None:
        """Return the geometry of a frame if it is known; computing it would delay the window."""
        known = frame is not None and self.measured.geometries.is_examined(frame)
        return self.measured.geometry(frame) if known else None

    @property
    def beat(self) -> ViewMeasurement:
        """The beat whose numbers come first."""
        return self.measured.beats[0]

    @property
    def phases(self) -> tuple[tuple[int, HeartGeometry], ...]:
        """Frame and geometry of end-diastole and end-systole, as far as they are known."""
        pairs = ((frame, self.geometry(frame)) for frame in (self.beat.ed_frame, self.beat.es_frame))
        return tuple((frame, found) for frame, found in pairs if frame is not None and found is not None)

    def facts(self, values: Values) -> ViewFacts:
        """Return the origin of the LV cavity at end-diastole and at end-systole of every beat."""
        frames = {frame for beat in self.measured.beats for frame in (beat.ed_frame, beat.es_frame)}
        origins = {f: cavity_origin(self.opened, f, values.cavity) for f in frames if f is not None}
        return ViewFacts(self.name, self.opened.id, origins)


def cavity_origin(opened: OpenedCine, frame: int, cavity: int) -> str:
    """Return the origin of the LV cavity on a frame, such as 'drawn'; '' if there is none.

    'outdated' is a prediction that does not yet follow the newest annotation.
    """
    origin = opened.masks(frame).provenance(opened.recorder.layer.stated_structures).get(cavity)
    if origin is None:
        return ""
    if origin.is_human:
        return str(origin)
    is_outdated = frame in opened.outdated and not is_draft(opened)
    return "outdated" if is_outdated else str(origin)


def title(opened: OpenedCine) -> str:
    """Return the name of a cine without its file type, the end of a long one."""
    name = opened.record.name
    stem = name.rsplit(".", 1)[0] if "." in name else name
    return stem if len(stem) <= 24 else f"…{stem[-23:]}"

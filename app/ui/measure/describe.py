"""Measurements as rows of text, without widgets."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import mean, stdev

from app.domain.measure.caveats import Caveat
from app.domain.measure.cine_measurement import CineMeasurement
from app.domain.measure.left_heart import LeftHeart
from app.domain.measure.view_measurement import ViewMeasurement
from app.ui.measure.contents import Line, Row, frame_link

DISKS = "Method of disks, ASE/EACVI 2015."
STRAIN = (
    "Change in length of the contour from end-diastole to end-systole. Contours contain no material points: "
    "this is not speckle tracking."
)
NOT_SPECKLE = "contour, not speckle tracking"
SINGLE_PLANE = (("EF", "ef_percent", "%"), ("EDV", "edv_ml", "ml"), ("ESV", "esv_ml", "ml"))


@dataclass(frozen=True)
class ViewFacts:
    """What the numbers of one view are based on.

    Attributes
    ----------
    name : str
        Name of the view, such as 'A4C'.
    cine_id : int
    provenance : mapping of int to str
        Origin of the LV cavity by frame: 'drawn', 'accepted', 'predicted', 'draft' or 'outdated'.
    """

    name: str
    cine_id: int
    provenance: Mapping[int, str] = field(default_factory=dict)

    def of(self, frame: int | None) -> str:
        """Return the origin of the LV cavity on a frame; '' if it is unknown."""
        return "" if frame is None else self.provenance.get(frame, "")


def number(value: float, digits: int = 0) -> str:
    """Return a number as text, with a true minus sign."""
    return f"{value:.{digits}f}".replace("-", "−")


def joined(values: Iterable[str]) -> str:
    """Return different texts once, in order, separated by commas."""
    return ", ".join(dict.fromkeys(value for value in values if value))


class Describer:
    """Rows for the measurements of one or two views.

    Parameters
    ----------
    heart : LeftHeart
    facts : sequence of ViewFacts
        Of the views of `heart`, the visible one first.
    """

    def __init__(self, heart: LeftHeart, facts: Sequence[ViewFacts]) -> None:
        self._heart = heart
        self._facts = [f for f in facts if f.name in heart.views]
        self._first = {f.name: heart.views[f.name].beats[0] for f in self._facts}

    def headline(self) -> Row | None:
        """Return the ejection fraction; None if it cannot be given."""
        biplane = self._heart.biplane
        if biplane is not None and biplane.ef_percent is not None:
            frames = [f for facts in self._facts for f in self._frames(facts)]
            interval = self._interval("biplane.ef_percent", 0)
            return Row("EF, biplane", f"{number(biplane.ef_percent)} %", interval, joined(frames), DISKS)
        for facts in self._facts:
            ef = self._first[facts.name].ef_percent
            if ef is not None:
                interval = self._interval(f"{facts.name}.ef_percent", 0)
                detail = dotted(joined(self._frames(facts)), self._spread(facts.name, "ef_percent", 0, "%"))
                return Row(f"EF, {facts.name}", f"{number(ef)} %", interval, detail, DISKS)
        return None

    def rows(self) -> tuple[Row, ...]:
        """Return the main numbers."""
        return tuple(
            row
            for row in (
                self._volume("EDV", "edv_ml", lambda beat: beat.ed_frame),
                self._volume("ESV", "esv_ml", lambda beat: beat.es_frame),
                self._stroke_volume(),
                self._output(),
                self._lengths("Length", "length_ed_mm"),
                self._each("FAC", "fac_percent", "%", 0, help="Fractional area change."),
                self._atrium(),
                self._each(
                    "GLS", "gls_endo_percent", "%", 1, note="contour, not speckle tracking", help=STRAIN
                ),
                self._mapse(),
                self._each("Wall at ED", "wall_thickness_ed_mm", "mm", 1, note="mean thickness"),
            )
            if row is not None
        )

    def minor(self) -> tuple[Row, ...]:
        """Return the numbers that are displayed on request."""
        return tuple(
            row
            for row in (
                *self._single_plane(),
                self._each("EF, area-length", "ef_area_length_percent", "%", 0, note="a check"),
                self._lengths("Length at ES", "length_es_mm"),
                self._each("GLS, midwall", "gls_midwall_percent", "%", 1, help=STRAIN),
                self._each("LA area at ES", "la_area_es_cm2", "cm²", 1),
            )
            if row is not None
        )

    # Volumes

    def _volume(self, label: str, name: str, frame: Callable[[ViewMeasurement], int | None]) -> Row | None:
        origin = self._origins(frame)
        biplane = self._heart.biplane
        value = None if biplane is None else getattr(biplane, name)
        if value is not None:
            interval = self._interval(f"biplane.{name}", 0)
            return Row(label, f"{number(value)} ml", interval, origin, DISKS)
        for facts in self._facts:
            beat = self._first[facts.name]
            value = getattr(beat, name)
            if value is not None:
                interval = self._interval(f"{facts.name}.{name}", 0)
                detail = dotted(facts.of(frame(beat)), self._spread(facts.name, name, 0, "ml"))
                return Row(label, f"{number(value)} ml", interval, detail, DISKS)
        return None

    def _origins(self, frame: Callable[[ViewMeasurement], int | None]) -> str:
        """Return the origin of one frame per view, such as 'A4C drawn, A2C draft', or 'drawn' for all."""
        origins = {facts.name: facts.of(frame(self._first[facts.name])) for facts in self._facts}
        if len(set(origins.values())) == 1:
            return next(iter(origins.values()))
        return joined(f"{name} {origin}" for name, origin in origins.items() if origin)

    def _stroke(self) -> tuple[float, str] | None:
        """Return stroke volume and the path of its interval."""
        biplane = self._heart.biplane
        if biplane is not None and biplane.edv_ml is not None and biplane.esv_ml is not None:
            stroke = biplane.edv_ml - biplane.esv_ml
            return (stroke, "biplane.sv_ml") if stroke >= 0 else None
        for facts in self._facts:
            value = self._first[facts.name].sv_ml
            if value is not None:
                return value, f"{facts.name}.sv_ml"
        return None

    def _stroke_volume(self) -> Row | None:
        stroke = self._stroke()
        if stroke is None:
            return None
        interval = self._interval(stroke[1], 0)
        return Row("SV", f"{number(stroke[0])} ml", interval, help="Stroke volume: EDV − ESV.")

    def _output(self) -> Row | None:
        for facts in self._facts:
            measured = self._heart.views[facts.name]
            rate = heart_rate(measured)
            if rate is None:
                continue
            beats, source = rate
            detail = f"heart rate {number(beats)}, from {source}"
            stroke = self._stroke()
            if stroke is None:
                return Row("Heart rate", f"{number(beats)} /min", detail=f"from {source}")
            litres = stroke[0] * beats / 1000.0
            definition = "Cardiac output: stroke volume x heart rate."
            return Row("CO", f"{number(litres, 1)} l/min", "", detail, definition)
        return None

    def _single_plane(self) -> list[Row]:
        """Return the values of each view where the main rows show biplane values."""
        biplane = self._heart.biplane
        if biplane is None or biplane.ef_percent is None:
            return []
        rows = []
        for facts in self._facts:
            beat = self._first[facts.name]
            for label, name, unit in SINGLE_PLANE:
                value = getattr(beat, name)
                if value is not None:
                    spread = self._spread(facts.name, name, 0, unit)
                    interval = self._interval(f"{facts.name}.{name}", 0)
                    rows.append(Row(f"{label}, {facts.name}", f"{number(value)} {unit}", interval, spread))
        return rows

    # Other numbers

    def _each(
        self, label: str, name: str, unit: str, digits: int, *, note: str = "", help: str = ""
    ) -> Row | None:
        """Return a number of each view in one row."""
        values = {f.name: getattr(self._first[f.name], name) for f in self._facts}
        known = {view: value for view, value in values.items() if value is not None}
        if not known:
            return None
        text = " / ".join(number(value, digits) for value in known.values())
        interval = self._interval(f"{next(iter(known))}.{name}", digits) if len(known) == 1 else ""
        return Row(f"{label} {' / '.join(known)}", f"{text} {unit}", interval, note, help)

    def _lengths(self, label: str, name: str) -> Row | None:
        row = self._each(label, name, "mm", 0, help="Long axis, from the middle of the annulus to the apex.")
        values = [getattr(beat, name) for beat in self._first.values()]
        if row is None or len(values) < 2 or None in values:
            return row
        share = 100.0 * (max(values) - min(values)) / max(values)
        return Row(row.label, row.value, "", f"differ by {number(share)} %", row.help)

    def _atrium(self) -> Row | None:
        return self._each(
            "LA volume",
            "la_volume_es_ml",
            "ml",
            0,
            note="at ES",
            help="Left atrium, method of disks, one view.",
        )

    def _mapse(self) -> Row | None:
        for facts in self._facts:
            beat = self._first[facts.name]
            left, right = beat.mapse_left_mm, beat.mapse_right_mm
            if left is not None and right is not None:
                return Row(
                    f"MAPSE {facts.name}",
                    f"{number(left)} / {number(right)} mm",
                    "",
                    "left / right hinge point",
                    "Excursion of the hinge points along the end-diastolic long axis.",
                )
        return None

    # Parts

    def _frames(self, facts: ViewFacts) -> list[str]:
        beat = self._first[facts.name]
        return [facts.of(beat.ed_frame), facts.of(beat.es_frame)]

    def _interval(self, path: str, digits: int) -> str:
        interval = self._heart.intervals.get(path)
        return "" if interval is None else f"{number(interval[0], digits)} to {number(interval[1], digits)}"

    def _spread(self, view: str, name: str, digits: int, unit: str) -> str:
        values = [getattr(beat, name) for beat in self._heart.views[view].beats]
        known = [value for value in values if value is not None]
        if len(known) < 2:
            return ""
        return f"{number(mean(known), digits)} ± {number(stdev(known), digits)} {unit}, {len(known)} beats"


def dotted(*parts: str) -> str:
    """Return the texts that are not empty, separated by dots."""
    return " · ".join(part for part in parts if part)


def heart_rate(measured: CineMeasurement) -> tuple[float, str] | None:
    """Return beats per minute and their source; None if they are unknown."""
    cycle = measured.cycle
    return None if cycle is None or cycle.heart_rate is None else (cycle.heart_rate, str(cycle.source))


def warning_line(caveat: Caveat, facts: ViewFacts | None) -> Line:
    """Return the sentence of a caveat with a link to the frame that it concerns."""
    if facts is None:
        return (caveat.text,)
    text = f"{facts.name}: {caveat.text} "
    if caveat.frame is None:
        return (text.rstrip(),)
    return (text, frame_link(f"Go to frame {caveat.frame}", facts.cine_id, caveat.frame))

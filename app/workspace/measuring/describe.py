"""Measurements as rows of text, without widgets."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import mean, stdev

from app.domain.measure.biplane import BiplaneMeasurement
from app.domain.measure.cine_measurement import CineMeasurement
from app.domain.measure.left_heart import UNKNOWN, LeftHeart
from app.domain.measure.view_measurement import ViewMeasurement
from app.workspace.measuring.contents import Line, Link, Row, frame_link

DISKS = "Method of disks, ASE/EACVI 2015."
STRAIN = (
    "Change in length of the contour from end-diastole to end-systole. Contours contain no material points: "
    "this is not speckle tracking."
)
ATRIUM = "Left atrium by the method of disks, at end-systole."
NOT_SPECKLE = "contour, not speckle tracking"
BOTH = ("ed_frame", "es_frame")
INDEXED = (("EDV", "edv_ml"), ("ESV", "esv_ml"), ("SV", "sv_ml"), ("LA volume", "la_volume_es_ml"))
SINGLE_PLANE = (("EF,", "ef_percent", "%"), ("EDV", "edv_ml", "ml"), ("ESV", "esv_ml", "ml"))


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


def joined(values: Iterable[str], separator: str = ", ") -> str:
    """Return different texts once, in order."""
    return separator.join(dict.fromkeys(value for value in values if value))


@dataclass(frozen=True)
class _Source:
    """Measurements that a number is taken from: biplane, or one view."""

    path: str
    beats: Sequence[ViewMeasurement] | Sequence[BiplaneMeasurement]
    facts: tuple[ViewFacts, ...]


class Describer:
    """Rows for the measurements of one or two views.

    Parameters
    ----------
    heart : LeftHeart
    facts : sequence of ViewFacts
        Of the views of `heart`, in the order in which they are listed.
    """

    def __init__(self, heart: LeftHeart, facts: Sequence[ViewFacts]) -> None:
        self._heart = heart
        self._facts = tuple(f for f in facts if f.name in heart.views)
        views = [_Source(f.name, heart.views[f.name].beats, (f,)) for f in self._facts]
        self._is_biplane = heart.biplane is not None and heart.biplane.ef_percent is not None
        both = [] if heart.biplane is None else [_Source("biplane", heart.biplane_beats, self._facts)]
        self._sources = [*both, *views]
        self._main = next((s for s in self._sources if s.beats and s.beats[0].ef_percent is not None), None)

    def headline(self) -> Row | None:
        """Return the ejection fraction; None if it cannot be given."""
        if self._main is None:
            return None
        name = "unknown view" if self._main.path == UNKNOWN else self._main.path
        return self._row(f"EF, {name}", "ef_percent", "%", 0, phases=BOTH, help=DISKS)

    def rows(self) -> tuple[Row, ...]:
        """Return the main numbers."""
        rows = (
            self._row("EDV", "edv_ml", "ml", 0, phases=("ed_frame",), help=DISKS),
            self._row("ESV", "esv_ml", "ml", 0, phases=("es_frame",), help=DISKS),
            self._row("SV", "sv_ml", "ml", 0, help="Stroke volume: EDV − ESV."),
            self._output(),
            self._lengths("Length", "length_ed_mm"),
            self._row(
                "LA volume", "la_volume_es_ml", "ml", 0, note="at ES", help="Left atrium, method of disks."
            ),
            self._row("GLS", "gls_endo_percent", "%", 1, note=NOT_SPECKLE, help=STRAIN),
            self._mapse(),
        )
        return tuple(row for row in rows if row is not None)

    def minor(self) -> tuple[Row, ...]:
        """Return the numbers that are displayed on request."""
        rows = (
            *self._single_plane(),
            *self._indexed(),
            self._each("FAC", "fac_percent", "%", 0, help="Fractional area change."),
            self._each("EF, area-length", "ef_area_length_percent", "%", 0, note="a check"),
            self._lengths("Length at ES", "length_es_mm"),
            self._each("GLS, midwall", "gls_midwall_percent", "%", 1, note=NOT_SPECKLE, help=STRAIN),
            self._each("Wall thickness", "wall_thickness_ed_mm", "mm", 1, note="mean, at ED"),
            self._each("Wall area", "wall_area_ed_cm2", "cm²", 1, note="at ED"),
            self._each("LA area", "la_area_es_cm2", "cm²", 1, note="at ES"),
            self._row("LA, area-length", "la_volume_es_area_length_ml", "ml", 0, note="at ES, a check"),
            self._row("LA, smallest", "la_volume_min_ml", "ml", 0),
            self._row("LA reservoir", "la_reservoir_percent", "%", 0, note="total emptying fraction"),
        )
        return tuple(row for row in rows if row is not None)

    def _row(
        self,
        label: str,
        name: str,
        unit: str,
        digits: int,
        *,
        phases: tuple[str, ...] = (),
        note: str = "",
        help: str = "",
    ) -> Row | None:
        """Return a number: biplane if it is known, else of the first view that has it."""
        for source in self._sources:
            value = getattr(source.beats[0], name) if source.beats else None
            if value is None:
                continue
            text = label if source is self._main else _of(label, source.path)
            detail = dotted(note, self._origins(source.facts, phases), _spread(source, name, digits))
            interval = self._interval(f"{source.path}.{name}", digits)
            return Row(text, f"{number(value, digits)} {unit}", interval, detail, help)
        return None

    def _each(
        self, label: str, name: str, unit: str, digits: int, *, note: str = "", help: str = ""
    ) -> Row | None:
        """Return a number of each view in one row."""
        known = {}
        for facts in self._facts:
            value = getattr(self._heart.views[facts.name].beats[0], name)
            if value is not None:
                known[facts.name] = value
        if not known:
            return None
        text = " / ".join(number(value, digits) for value in known.values())
        interval = self._interval(f"{next(iter(known))}.{name}", digits) if len(known) == 1 else ""
        return Row(_of(label, *known), f"{text} {unit}", interval, note, help)

    def _single_plane(self) -> list[Row]:
        """Return the values of each view where the main rows display biplane values."""
        rows = []
        for source in self._sources[1:] if self._is_biplane else []:
            for label, name, unit in SINGLE_PLANE:
                value = getattr(source.beats[0], name)
                if value is not None:
                    interval = self._interval(f"{source.path}.{name}", 0)
                    spread = _spread(source, name, 0)
                    rows.append(Row(_of(label, source.path), f"{number(value)} {unit}", interval, spread))
        return rows

    def _indexed(self) -> list[Row]:
        """Return volumes by body surface area."""
        body, main = self._heart.body, self._main
        if body is None or main is None:
            return []
        volumes = {label: getattr(main.beats[0], name) for label, name in INDEXED}
        return [
            Row(f"{label} index", f"{number(value / body.surface_m2)} ml/m²")
            for label, value in volumes.items()
            if value is not None
        ]

    def _output(self) -> Row | None:
        found = next((r for f in self._facts if (r := heart_rate(self._heart.views[f.name]))), None)
        if found is None:
            return None
        rate, source = found
        row = self._row("CO", "cardiac_output_l_min", "l/min", 1)
        if row is None:
            return Row("Heart rate", f"{number(rate)} /min", "", f"from {source}")
        definition = "Cardiac output: stroke volume x heart rate."
        return Row(row.label, row.value, "", f"heart rate {number(rate)}, from {source}", definition)

    def _lengths(self, label: str, name: str) -> Row | None:
        row = self._each(label, name, "mm", 0, help="Long axis, from the middle of the annulus to the apex.")
        values = [getattr(self._heart.views[facts.name].beats[0], name) for facts in self._facts]
        if row is None or len(values) < 2 or None in values:
            return row
        share = 100.0 * (max(values) - min(values)) / max(values)
        return Row(row.label, row.value, "", f"differ by {number(share)} %", row.help)

    def _mapse(self) -> Row | None:
        for facts in self._facts:
            beat = self._heart.views[facts.name].beats[0]
            left, right = beat.mapse_left_mm, beat.mapse_right_mm
            if left is not None and right is not None:
                return Row(
                    _of("MAPSE", facts.name),
                    f"{number(left)} / {number(right)} mm",
                    "",
                    "left / right hinge point",
                    "Excursion of the hinge points along the end-diastolic long axis.",
                )
        return None

    def _origins(self, facts: Sequence[ViewFacts], phases: Sequence[str]) -> str:
        """Return the origin of the frames, such as 'A4C drawn, A2C draft', or 'drawn' if all are equal."""
        origins = {}
        for view in facts:
            beat = self._heart.views[view.name].beats[0]
            origins[view.name] = joined((view.of(getattr(beat, phase)) for phase in phases), " and ")
        if len(set(origins.values())) == 1:
            return next(iter(origins.values()))
        return joined(f"{name} {origin}" for name, origin in origins.items() if origin)

    def _interval(self, path: str, digits: int) -> str:
        interval = self._heart.intervals.get(path)
        return "" if interval is None else f"{number(interval[0], digits)} to {number(interval[1], digits)}"


def _of(label: str, *views: str) -> str:
    """Return a label with the views that a number belongs to; an unknown view is not named."""
    return " ".join(part for part in (label, " / ".join(v for v in views if v != UNKNOWN)) if part)


def _spread(source: _Source, name: str, digits: int) -> str:
    """Return mean and SD over several beats, such as '2 beats: 55 ± 3'; '' with one beat."""
    known = [value for beat in source.beats if (value := getattr(beat, name)) is not None]
    if len(known) < 2:
        return ""
    text = f"{len(known)} beats: {number(mean(known), digits)} ± {number(stdev(known), digits)}"
    return text.replace(" ± ", "\N{NO-BREAK SPACE}±\N{NO-BREAK SPACE}")


def dotted(*parts: str) -> str:
    """Return the texts that are not empty, separated by dots."""
    return " · ".join(part for part in parts if part)


def heart_rate(measured: CineMeasurement) -> tuple[float, str] | None:
    """Return beats per minute and their source; None if they are unknown."""
    rate = measured.cycle.heart_rate
    return None if rate is None else (rate, str(measured.cycle.source))


def warning_lines(heart: LeftHeart, facts: Sequence[ViewFacts]) -> tuple[Line, ...]:
    """Return the warnings of a result, with links to the frames that a warning concerns."""
    cines = {view.name: view.cine_id for view in facts}
    lines: list[Line] = []
    for warning in heart.warnings:
        found = re.match(r"(.+?): Frames? ([\d, and]+): ", warning)
        if found is None or found[1] not in cines:
            lines.append((warning,))
            continue
        frames = [int(number) for number in re.findall(r"\d+", found[2])]
        links = [frame_link(f"frame {frame}", cines[found[1]], frame) for frame in frames]
        lines.append((f"{warning} Go to ", *_separated(links), "."))
    return tuple(lines)


def _separated(links: Sequence[Link]) -> list[str | Link]:
    """Put commas between links."""
    parts: list[str | Link] = []
    for link in links:
        parts += [", ", link] if parts else [link]
    return parts

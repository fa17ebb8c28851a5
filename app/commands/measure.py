"""Measure the left heart on a cine, or on a pair of apical cines, with label images.

Volumes and ejection fraction follow the method of disks. Frames are zero-based.
"""

from __future__ import annotations

import argparse
from dataclasses import fields
from pathlib import Path
from typing import Any

from app.commands.label_set import add_label_set_argument, read_label_set
from app.commands.report import NOTICE, Report
from app.domain.cine import Cine
from app.domain.errors import ApicalError
from app.domain.labels import LabelSet
from app.domain.measure.biplane import BiplaneMeasurement, Method, measure_biplane
from app.domain.measure.caveats import Caveat, CaveatKind, unique
from app.domain.measure.cine_measurement import CineMeasurement, measure_cine, structure_values
from app.domain.measure.disks import Disks, disks
from app.domain.measure.heart import HeartGeometry, Values
from app.domain.measure.view_measurement import ViewMeasurement
from app.domain.views import View

APICAL = (View.A4C, View.A2C, View.A3C)

_LINES = (
    ("edv_ml", "EDV", "ml", 0),
    ("esv_ml", "ESV", "ml", 0),
    ("ef_percent", "EF", "%", 0),
    ("fac_percent", "FAC", "%", 0),
    ("length_ed_mm", "length at ED", "mm", 1),
    ("length_es_mm", "length at ES", "mm", 1),
    ("gls_endo_percent", "strain, endocardial contour", "%", 1),
    ("gls_midwall_percent", "strain, midwall contour", "%", 1),
    ("mapse_left_mm", "MAPSE, left hinge point", "mm", 1),
    ("mapse_right_mm", "MAPSE, right hinge point", "mm", 1),
    ("la_area_es_cm2", "LA area at ES", "cm2", 1),
    ("la_volume_es_ml", "LA volume at ES", "ml", 0),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("cine", type=Path, metavar="CINE", help="a cine, such as an A4C view")
    parser.add_argument("--labels", type=Path, required=True, help="folder of frame_0012.png, or a NIfTI")
    add_label_set_argument(parser)
    parser.add_argument(
        "--pair", type=Path, metavar="CINE2", help="the other apical view, for biplane volumes"
    )
    parser.add_argument("--labels2", type=Path, metavar="LABELS", help="labels of CINE2")
    parser.add_argument(
        "--view", choices=[str(view) for view in APICAL], help="view of CINE (default: that of the file)"
    )
    for suffix, cine in (("", "CINE"), ("2", "CINE2")):
        for phase, name in (("ed", "end-diastole"), ("es", "end-systole")):
            parser.add_argument(
                f"--{phase}{suffix}",
                type=int,
                metavar="N",
                help=f"frame of {name} of {cine} (default: found from the labels)",
            )
    parser.add_argument(
        "--method",
        choices=[str(method) for method in Method],
        default=str(Method.ASE),
        help="variant of the biplane method of disks (default: ase)",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")


def run(args: argparse.Namespace) -> Report:
    """Measure and report."""
    if (args.pair is None) != (args.labels2 is None):
        raise ApicalError("--pair and --labels2 belong together: give both, or neither.")
    if args.pair is None and not (args.ed2 is None and args.es2 is None):
        raise ApicalError("--ed2 and --es2 belong to --pair: give the second cine too, or leave them out.")
    label_set = read_label_set(args.label_set, args.labels)
    values = structure_values(label_set)
    if values is None:
        raise ApicalError(
            "The label set has no LV cavity (SNOMED CT 87878005): give one with that code by --label-set."
        )
    method = Method(args.method)
    first = _measure(args.cine, args.labels, (label_set, values), (args.ed, args.es), "")
    views = {_view_name(args.view, first[0], "A4C"): first}
    if args.pair is not None:
        second = _measure(args.pair, args.labels2, (label_set, values), (args.ed2, args.es2), "2")
        name = _view_name(None, second[0], "A2C" if "A4C" in views else "A4C")
        if name in views:
            raise ApicalError(
                f"Both cines show the {name} view: biplane volumes need two different ones; give the view of "
                "CINE with --view."
            )
        views[name] = second
    biplane = _biplane(views, method) if len(views) == 2 else None
    data = _data(views, biplane, method)
    return Report(data, _text(data))


_Measured = tuple[Cine, CineMeasurement]
_Structures = tuple[LabelSet, Values]


def _measure(
    path: Path, labels_path: Path, structures: _Structures, frames: tuple[int | None, int | None], suffix: str
) -> _Measured:
    """Measure one cine; `suffix` is that of its options."""
    from app.readers.open import open_cine
    from app.storage.labels_io import read_labels_of

    ed, es = frames
    if (ed is None) != (es is None):
        raise ApicalError(f"--ed{suffix} and --es{suffix} belong together: give both, or neither.")
    cine = open_cine(path)
    try:
        labels = read_labels_of(cine, labels_path, structures[0])
        for frame in (ed, es):
            if frame is not None and not 0 <= frame < cine.n_frames:
                raise ApicalError(
                    f"{path.name} has no frame {frame}: choose one from 0 to {cine.n_frames - 1}."
                )
        chosen = None if ed is None or es is None else (ed, es)
        return cine, measure_cine(cine, labels, structures[1], frames=chosen)
    finally:
        cine.source.close()


def _view_name(chosen: str | None, cine: Cine, assumed: str) -> str:
    return chosen or (cine.view if cine.view in {str(view) for view in APICAL} else None) or assumed


def _biplane(views: dict[str, _Measured], method: Method) -> BiplaneMeasurement:
    (_, one), (_, other) = views.values()
    geometries = (one.ed, other.ed, one.es, other.es)
    if any(geometry is None for geometry in geometries):
        return BiplaneMeasurement(caveats=(Caveat(CaveatKind.NO_BEAT),))
    planes = [_planes(geometry, method) for geometry in geometries if geometry is not None]
    return measure_biplane(
        (planes[0], planes[1]), (planes[2], planes[3]), in_mm=one.in_mm and other.in_mm, method=method
    )


def _planes(geometry: HeartGeometry, method: Method) -> Disks:
    if method is Method.ASE:
        return geometry.disks
    return disks(geometry.cavity.points, geometry.axis.base, geometry.axis.apex, offset=0.0)


def _data(views: dict[str, _Measured], biplane: BiplaneMeasurement | None, method: Method) -> dict[str, Any]:
    data: dict[str, Any] = {"notice": NOTICE, "method": str(method), "views": {}}
    warnings: list[str] = []
    for name, (cine, measured) in views.items():
        data["views"][name] = {
            **_numbers(measured.beats[0]),
            "beats": [_numbers(beat) for beat in measured.beats],
            "heart_rate_bpm": measured.cycle.heart_rate if measured.cycle is not None else None,
            "view_source": "file" if cine.view == name else "option or order",
        }
        caveats = [caveat for beat in measured.beats for caveat in beat.caveats]
        if cine.view != name:
            caveats.append(Caveat(CaveatKind.UNKNOWN_VIEW))
        warnings += [f"{name}: {caveat.text}" for caveat in unique(caveats)]
    if biplane is not None:
        data["biplane"] = {
            "edv_ml": biplane.edv_ml,
            "esv_ml": biplane.esv_ml,
            "ef_percent": biplane.ef_percent,
        }
        warnings += [f"biplane: {caveat.text}" for caveat in biplane.caveats]
    data["warnings"] = warnings
    return data


def _numbers(measured: ViewMeasurement) -> dict[str, Any]:
    return {
        field.name: getattr(measured, field.name) for field in fields(measured) if field.name != "caveats"
    }


def _text(data: dict[str, Any]) -> str:
    """Format the data for the terminal."""
    lines = []
    for name, numbers in data["views"].items():
        frames = f"ED frame {numbers['ed_frame']}, ES frame {numbers['es_frame']}"
        lines.append(f"{name} ({frames})" if numbers["ed_frame"] is not None else name)
        lines += [
            f"  {label}: {numbers[key]:.{digits}f} {unit}"
            for key, label, unit, digits in _LINES
            if numbers[key] is not None
        ]
    biplane = data.get("biplane")
    if biplane is not None and biplane["ef_percent"] is not None:
        volumes = f"EDV {biplane['edv_ml']:.0f} ml, ESV {biplane['esv_ml']:.0f} ml"
        lines.append(f"Biplane: {volumes}, EF {biplane['ef_percent']:.0f} %")
    lines += [*data["warnings"], NOTICE]
    return "\n".join(lines)

"""Measure the left heart on a cine, or on a pair of apical cines, with label images.

Volumes and ejection fraction follow the method of disks. Frames are zero-based.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

from app.commands.label_set import add_label_set_argument, read_label_set
from app.commands.report import NOTICE, Report
from app.domain.errors import ApicalError
from app.domain.labels import LabelSet
from app.domain.measure.as_json import to_json
from app.domain.measure.biplane import Method
from app.domain.measure.cine_measurement import structure_values
from app.domain.measure.left_heart import APICAL, ViewInput, measure_left_heart
from app.domain.views import FactSource, View

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
    first = _view_input(args.cine, args.labels, label_set, (args.ed, args.es), "", view=args.view)
    if first.view is None:
        first = replace(first, view=View.A4C)
    views = [first]
    if args.pair is not None:
        second = _view_input(args.pair, args.labels2, label_set, (args.ed2, args.es2), "2")
        if second.view is None:
            second = replace(second, view=View.A2C if first.view is View.A4C else View.A4C)
        if second.view is first.view:
            raise ApicalError(
                f"Both cines show the {first.name} view: biplane volumes need two different ones; give the "
                "view of CINE with --view."
            )
        views.append(second)
    heart = measure_left_heart(views, values, method=Method(args.method))
    data = {"notice": NOTICE, **to_json(heart)}
    return Report(data, _text(data))


def _view_input(
    path: Path,
    labels_path: Path,
    label_set: LabelSet,
    frames: tuple[int | None, int | None],
    suffix: str,
    *,
    view: str | None = None,
) -> ViewInput:
    """Return what is needed to measure one cine; `suffix` is that of its options."""
    from app.readers.open import open_cine
    from app.storage.labels_io import read_labels_of

    ed, es = frames
    if (ed is None) != (es is None):
        raise ApicalError(f"--ed{suffix} and --es{suffix} belong together: give both, or neither.")
    cine = open_cine(path)
    try:
        labels = read_labels_of(cine, labels_path, label_set)
    finally:
        cine.source.close()
    for frame in (ed, es):
        if frame is not None and not 0 <= frame < cine.n_frames:
            raise ApicalError(f"{path.name} has no frame {frame}: choose one from 0 to {cine.n_frames - 1}.")
    stated = next((known for known in APICAL if cine.view == known), None)
    source = None if stated is None else FactSource.FILE
    if view is not None:
        stated, source = View(view), FactSource.MANUAL
    return ViewInput(
        cine,
        labels,
        stated,
        source,
        None if ed is None or es is None else (ed, es),
        is_human=frozenset(labels),
    )


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

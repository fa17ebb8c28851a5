"""Measure the left heart on a cine, on a pair of apical cines, or on the cines of a project.

Volumes and ejection fraction follow the method of disks. Frames are zero-based. Without --labels, the masks
are predicted by the head that is delivered with the program.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

from app.commands.label_set import add_label_set_argument, read_label_set
from app.commands.measured_view import with_assumed_view
from app.commands.report import NOTICE, Report
from app.commands.view_inputs import drafted_input, frames_of, labelled_input, values_of
from app.domain.errors import ApicalError
from app.domain.labels import LEFT_HEART
from app.domain.measure.as_json import to_json
from app.domain.measure.biplane import Method
from app.domain.measure.body_size import BodySize
from app.domain.measure.heart import Values
from app.domain.measure.left_heart import APICAL, ViewInput, measure_left_heart

_LINES = (
    ("edv_ml", "EDV", "ml", 0),
    ("esv_ml", "ESV", "ml", 0),
    ("sv_ml", "SV", "ml", 0),
    ("ef_percent", "EF", "%", 0),
    ("heart_rate_bpm", "heart rate", "/min", 0),
    ("cardiac_output_l_min", "cardiac output", "l/min", 1),
    ("fac_percent", "FAC", "%", 0),
    ("length_ed_mm", "length at ED", "mm", 1),
    ("length_es_mm", "length at ES", "mm", 1),
    ("gls_endo_percent", "strain, endocardial contour", "%", 1),
    ("gls_midwall_percent", "strain, midwall contour", "%", 1),
    ("mapse_left_mm", "MAPSE, left hinge point", "mm", 1),
    ("mapse_right_mm", "MAPSE, right hinge point", "mm", 1),
    ("la_area_es_cm2", "LA area at ES", "cm2", 1),
    ("la_volume_es_ml", "LA volume at ES", "ml", 0),
    ("la_reservoir_percent", "LA reservoir fraction", "%", 0),
    ("wall_thickness_ed_mm", "wall thickness at ED", "mm", 1),
    ("edv_ml_m2", "EDV by body surface area", "ml/m2", 0),
    ("esv_ml_m2", "ESV by body surface area", "ml/m2", 0),
    ("la_volume_es_ml_m2", "LA volume by body surface area", "ml/m2", 0),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument(
        "cine", type=Path, metavar="CINE", help="a cine, such as an A4C view, or a project (.apical)"
    )
    parser.add_argument(
        "--labels", type=Path, help="folder of frame_0012.png, or a NIfTI (default: predicted masks)"
    )
    add_label_set_argument(parser)
    parser.add_argument(
        "--pair", type=Path, metavar="CINE2", help="the other apical view, for biplane volumes"
    )
    parser.add_argument("--labels2", type=Path, metavar="LABELS", help="labels of CINE2")
    parser.add_argument(
        "--view",
        choices=[str(view) for view in APICAL],
        help="view of CINE (default: stated by the file, else recognised)",
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
    parser.add_argument("--height", type=float, metavar="CM", help="height, to index by body surface area")
    parser.add_argument("--weight", type=float, metavar="KG", help="weight, to index by body surface area")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")


def run(args: argparse.Namespace) -> Report:
    """Measure and report."""
    from app.storage import schema

    method, body = Method(args.method), _body(args.height, args.weight)
    if args.cine.is_file() and schema.is_project(args.cine):
        return _project(args, method, body)
    _check_options(args)
    views, values, reasons = _inputs(args)
    views[0] = with_assumed_view(views[0], other=views[-1].view)
    if len(views) > 1:
        views[1] = with_assumed_view(views[1], other=views[0].view)
        if views[1].view is views[0].view:
            raise ApicalError(
                f"Both cines show the {views[0].name} view: biplane volumes need two different ones; give "
                "the view of CINE with --view."
            )
    data = to_json(measure_left_heart(views, values, method=method, body=body))
    data["warnings"] = [*reasons, *data["warnings"]]
    return Report({"notice": NOTICE, **data}, f"{_text(data)}\n{NOTICE}")


def _body(height_cm: float | None, weight_kg: float | None) -> BodySize | None:
    if height_cm is None and weight_kg is None:
        return None
    if height_cm is None or weight_kg is None:
        raise ApicalError("--height and --weight belong together: give both, or neither.")
    try:
        return BodySize(height_cm, weight_kg)
    except ValueError as error:
        raise ApicalError(str(error)) from error


def _check_options(args: argparse.Namespace) -> None:
    if args.labels is not None and (args.pair is None) != (args.labels2 is None):
        raise ApicalError("--pair and --labels2 belong together: give both, or neither.")
    if args.labels is None and args.labels2 is not None:
        raise ApicalError("--labels2 needs --labels: give label images of both cines, or of neither.")
    if args.labels is None and args.label_set is not None:
        raise ApicalError("--label-set describes --labels: give label images too, or leave it out.")
    if args.pair is None and not (args.ed2 is None and args.es2 is None):
        raise ApicalError("--ed2 and --es2 belong to --pair: give the second cine too, or leave them out.")
    for suffix, ed, es in (("", args.ed, args.es), ("2", args.ed2, args.es2)):
        if (ed is None) != (es is None):
            raise ApicalError(f"--ed{suffix} and --es{suffix} belong together: give both, or neither.")


def _inputs(args: argparse.Namespace) -> tuple[list[ViewInput], Values, list[str]]:
    """Return the views, the label values, and why nothing was predicted on a cine."""
    views: list[ViewInput] = []
    reasons: list[str] = []
    label_set = LEFT_HEART if args.labels is None else read_label_set(args.label_set, args.labels)
    values = values_of(label_set)
    for path, labels, view, ed, es in (
        (args.cine, args.labels, args.view, args.ed, args.es),
        (args.pair, args.labels2, None, args.ed2, args.es2),
    ):
        if path is None:
            continue
        if labels is not None:
            given = labelled_input(path, labels, label_set, view)
        else:
            given, reason = drafted_input(path, values.cavity, view)
            reasons += [f"{path.name}: {reason}"] if reason else []
        views.append(replace(given, frames=frames_of(path, given.cine, ed, es)))
    return views, values, reasons


def _project(args: argparse.Namespace, method: Method, body: BodySize | None) -> Report:
    """Measure the shown masks of all cines of a project."""
    from app.commands.project_measurements import measure_project

    given = {
        name: getattr(args, name)
        for name in ("labels", "label_set", "pair", "labels2", "view", "ed", "es", "ed2", "es2")
    }
    unused = [f"--{name.replace('_', '-')}" for name, value in given.items() if value is not None]
    if unused:
        raise ApicalError(
            f"{unused[0]} is for single cines: masks, views and frames of a project are set in the window."
        )
    results, missing = measure_project(args.cine, method=method, body=body)
    data = {
        "notice": NOTICE,
        "measurements": [{"cines": one.cines, **to_json(one.heart)} for one in results],
        "warnings": missing,
    }
    texts = [
        "\n".join(
            [", ".join(f"{view}: {name}" for view, name in one.names.items()), _text(to_json(one.heart))]
        )
        for one in results
    ]
    return Report(data, "\n\n".join([*texts, "\n".join([*missing, NOTICE])]))


def _text(data: dict[str, Any]) -> str:
    """Format the data for the terminal."""
    lines = []
    for name, numbers in data["views"].items():
        frames = f"ED frame {numbers['ed_frame']}, ES frame {numbers['es_frame']}"
        source = f", view {numbers['view_source'] or 'assumed'}"
        lines.append(f"{name} ({frames}{source})" if numbers["ed_frame"] is not None else name)
        lines += [
            f"  {label}: {numbers[key]:.{digits}f} {unit}{_interval(data, f'{name}.{key}', digits)}"
            for key, label, unit, digits in _LINES
            if numbers.get(key) is not None
        ]
    biplane = data.get("biplane")
    if biplane is not None and biplane["ef_percent"] is not None:
        volumes = f"EDV {biplane['edv_ml']:.0f} ml, ESV {biplane['esv_ml']:.0f} ml"
        lines.append(
            f"Biplane: {volumes}, EF {biplane['ef_percent']:.0f} %{_interval(data, 'biplane.ef_percent')}"
        )
    return "\n".join([*lines, *data["warnings"]])


def _interval(data: dict[str, Any], path: str, digits: int = 0) -> str:
    """Return the 90 % interval of a number as text; "" without one."""
    interval = data["intervals"].get(path)
    return "" if interval is None else f" (90 %: {interval[0]:.{digits}f} to {interval[1]:.{digits}f})"

"""Measure against peers, in one run; a ratio over 1 is in our favour."""

from __future__ import annotations

import argparse
import importlib
import json
from pathlib import Path
from types import ModuleType
from typing import Any

from app.commands.progress import Progress
from app.commands.report import Report, to_json_types
from app.domain.errors import ApicalError

# One module each in app.commands.benches.
BENCHMARKS: dict[str, str] = {
    "decode": "whole-cine decode against pydicom's default decoder",
    "encode": "seconds a clip of the encoder against VJEPA2Model with the same weights",
    "representation": "frozen encoders on CAMUS: Dice of heads over them",
    "ablation": "whether localisation helps: arms of one objective each, on CAMUS",
    "fit": "how soon an annotation shows, against a forest over the same features",
    "fewshot": "few labels: the program against a U-Net, forests and optical flow",
    "suggest": "labels that suggested frames spare, against random and evenly spaced ones",
    "uncertainty": "expected Dice and doubts of the program against the softmax alone",
    "applicability": "masks on apical views, and none on anything else",
    "localisation": "what a probe tells of places, with and without the localisation task",
    "pretrain": "clips a second, utilisation and memory of pre-training",
    "robustness": "damaged files by the thousand: no crash, hang, traceback or full memory",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """`NAME ... [--json FILE]`."""
    names = parser.add_subparsers(dest="name", required=True, metavar="|".join(BENCHMARKS))
    for name, what in BENCHMARKS.items():
        one = names.add_parser(name, help=what)
        _benchmark(name).add_arguments(one)
        one.add_argument("--json", dest="json_file", type=Path, metavar="FILE", help="also write this file")


def run(args: argparse.Namespace) -> Report:
    """Run one benchmark and write its file; "exit_code" in its answer is that of the command, if there."""
    if args.json_file is not None and not args.json_file.absolute().parent.is_dir():
        raise ApicalError(f"{args.json_file} cannot be written: its folder does not exist; make it first.")
    benchmark = _benchmark(args.name)
    with Progress() as progress:
        result: dict[str, Any] = benchmark.measure(args, progress)
    if args.json_file is not None:
        _write(args.json_file, result)
    return Report(result, benchmark.text(result), result.get("exit_code", 0))


def _benchmark(name: str) -> ModuleType:
    return importlib.import_module(f"app.commands.benches.{name}")


def _write(path: Path, result: dict[str, Any]) -> None:
    from app.storage.errors import export_error

    try:
        path.write_text(json.dumps(to_json_types(result), indent=2, allow_nan=False) + "\n", encoding="utf-8")
    except OSError as error:
        raise export_error(path, error) from error

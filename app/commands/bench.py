"""Run a benchmark; ratios over 1 are in favour of Apical."""

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

# Modules of app.commands.benches.
BENCHMARKS: dict[str, str] = {
    "decode": "decoding of whole cines, compared with pydicom's default decoder",
    "encode": "time of the encoder per clip, compared with VJEPA2Model with the same weights",
    "representation": "frozen encoders on CAMUS: Dice of heads fitted to their features",
    "ablation": "effect of the localisation task: encoders with different objectives, on CAMUS",
    "fit": "time from an annotation to its effect, compared with a random forest on the same features",
    "fewshot": "few labels: the program compared with a U-Net, random forests and optical flow",
    "suggest": "labels saved by suggested frames, compared with random and evenly spaced frames",
    "uncertainty": "expected Dice and doubts, compared with the softmax alone",
    "applicability": "masks on apical views, no masks on anything else",
    "localisation": "position information in encoders trained with and without the localisation task",
    "measure": "errors of ejection fraction, volumes, lengths and strain, on phantoms and on CAMUS",
    "pretrain": "speed, utilisation and memory of pre-training",
    "robustness": "thousands of damaged files: no crash, hang, traceback or excess of memory",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add one subparser for each benchmark."""
    names = parser.add_subparsers(dest="name", required=True, metavar="|".join(BENCHMARKS))
    for name, help_text in BENCHMARKS.items():
        subparser = names.add_parser(name, help=help_text)
        _benchmark(name).add_arguments(subparser)
        subparser.add_argument(
            "--json", dest="json_file", type=Path, metavar="FILE", help="also write the result to this file"
        )


def run(args: argparse.Namespace) -> Report:
    """Run one benchmark and write its file; the exit code is "exit_code" of the result, or 0."""
    if args.json_file is not None and not args.json_file.absolute().parent.is_dir():
        raise ApicalError(f"{args.json_file} cannot be written: its folder does not exist; create it first.")
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

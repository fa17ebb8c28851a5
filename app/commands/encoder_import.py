"""`apical encoders import`: recognise the encoder in a checkpoint and import it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from app.commands.progress import Progress
from app.commands.report import Report, size
from vjepa_core.encoder.catalogue import MAX_FPS
from vjepa_core.encoder.checkpoints.family import CHOICES

_PROGRESS_INTERVAL_S = 0.3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the file, options that override what is recognised, and `--look`."""
    parser.add_argument(
        "file", type=Path, metavar="FILE", help="checkpoint: .pt, .pth.tar, .safetensors or .index.json"
    )
    parser.add_argument("--name", metavar="NAME", help="name of the encoder (default: the file's)")
    parser.add_argument("--family", choices=tuple(CHOICES), help="family, if it cannot be recognised")
    parser.add_argument("--licence", metavar="TEXT", help="licence (default: that of the family)")
    parser.add_argument("--fps", type=_rate, metavar="RATE", help="frame rate for its use in Hz (default 30)")
    parser.add_argument("--look", action="store_true", help="describe the encoder without importing it")


def run(args: argparse.Namespace) -> Report:
    """Recognise the encoder, and import it unless `--look` is given."""
    from app.encoders.importing import import_checkpoint, inspect_checkpoint

    candidate = inspect_checkpoint(args.file, args.family)
    if args.look:
        facts = candidate.facts()
        end = f"Import it with `apical encoders import {args.file.name}`; it needs {size(facts['bytes'])}."
        return Report(facts, _text(facts, end))
    with Progress(_PROGRESS_INTERVAL_S) as progress:
        card, facts = import_checkpoint(candidate, progress, args.name, args.licence, args.fps)
    end = (
        f"{card.name} was imported ({size(facts['bytes'])}); "
        f"use it with `apical encoders choose {card.name}`."
    )
    return Report(facts, _text(facts, f"{end}\nSHA-256 {card.checksum}"))


def _rate(argument: str) -> float:
    try:
        rate = float(argument)
    except ValueError:
        rate = 0.0
    if not 1 <= rate <= MAX_FPS:
        raise argparse.ArgumentTypeError(f"{argument} is not a number from 1 to {MAX_FPS:.0f}")
    return rate


def _text(facts: dict[str, Any], end: str) -> str:
    lines = [f"{facts['source']}: {facts['family']}, {facts['architecture']}", "Recognised:"]
    lines += [f"  {line}" for line in facts["recognised"]]
    if facts["assumed"]:
        lines += ["Assumed:", *(f"  {line}" for line in facts["assumed"])]
    return "\n".join([*lines, f"Licence: {facts['licence']}", f"Frames per second: {facts['fps']:g}", end])

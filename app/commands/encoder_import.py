"""`apical encoders import`: what a checkpoint holds, and the encoder made from it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from app.commands.progress import Progress
from app.commands.report import Report, size
from vjepa_core.encoder.catalogue import FASTEST_FPS
from vjepa_core.encoder.checkpoints.family import CHOICES

_EVERY_S = 0.3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """File, what the user knows better, and whether to look only."""
    parser.add_argument("file", type=Path, metavar="FILE", help=".pt, .pth.tar, .safetensors, .index.json")
    parser.add_argument("--name", metavar="NAME", help="default: from the file's name")
    parser.add_argument("--family", choices=tuple(CHOICES), help="where the weights do not tell")
    parser.add_argument("--licence", metavar="TEXT", help="default: that of the family")
    parser.add_argument("--fps", type=_rate, metavar="RATE", help="frames a second to use it at (default 30)")
    parser.add_argument("--look", action="store_true", help="say what it is and write nothing")


def run(args: argparse.Namespace) -> Report:
    """Look, and unless that is all, convert."""
    from app.encoders.importing import import_checkpoint, inspect_checkpoint

    candidate = inspect_checkpoint(args.file, args.family)
    if args.look:
        facts = candidate.facts()
        end = f"Import it with `apical encoders import {args.file.name}`; it takes {size(facts['bytes'])}."
        return Report(facts, _text(facts, end))
    with Progress(_EVERY_S) as progress:
        card, facts = import_checkpoint(candidate, progress, args.name, args.licence, args.fps)
    end = (
        f"{card.name} is imported ({size(facts['bytes'])}); use it with `apical encoders choose {card.name}`."
    )
    return Report(facts, _text(facts, f"{end}\nSHA-256 {card.checksum}"))


def _rate(word: str) -> float:
    try:
        rate = float(word)
    except ValueError:
        rate = 0.0
    if not 1 <= rate <= FASTEST_FPS:
        raise argparse.ArgumentTypeError(f"{word} is no number from 1 to {FASTEST_FPS:.0f}")
    return rate


def _text(facts: dict[str, Any], end: str) -> str:
    lines = [f"{facts['source']}: {facts['family']}, {facts['architecture']}", "Recognised:"]
    lines += [f"  {line}" for line in facts["recognised"]]
    if facts["assumed"]:
        lines += ["Assumed:", *(f"  {line}" for line in facts["assumed"])]
    return "\n".join([*lines, f"Licence: {facts['licence']}", f"Frames a second: {facts['fps']:g}", end])

"""Frozen encoders on CAMUS: a linear head and the program's head, on some or all patients, or on phantoms."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from app.commands.benches.encoder_table import dice_table, over_first
from app.domain.errors import ApicalError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the benchmark."""
    parser.add_argument("--camus", type=Path, required=True, metavar="FILE", help="CAMUS .npz file")
    parser.add_argument(
        "--encoder",
        nargs="+",
        default=[],
        metavar="NAME",
        help="encoders (default: the untrained and the default one)",
    )
    parser.add_argument(
        "--shares",
        type=float,
        nargs="*",
        default=[0.1, 1.0],
        metavar="SHARE",
        help="fractions of the patients (default 0.1 and 1)",
    )
    parser.add_argument("--seeds", type=int, default=3, metavar="N", help="number of seeds (default 3)")
    parser.add_argument(
        "--phantom",
        type=int,
        default=0,
        metavar="N",
        help="also measure heads fitted to N phantom images alone (default 0: none)",
    )
    parser.add_argument(
        "--head-steps",
        type=int,
        default=150,
        metavar="N",
        help="steps of the fit of the program's head (default 150)",
    )


def measure(args: argparse.Namespace, on_progress: Callable[[str, int, int], None]) -> dict[str, Any]:
    """Return rows and ratios to the encoder that is named first."""
    _check(args)

    import torch

    from app.bench.machine import machine
    from app.encoders.registry import encoder_folders
    from vjepa_core.bench.camus import load_camus
    from vjepa_core.bench.representation import Protocol, measure, summary
    from vjepa_core.encoder.catalogue import DEFAULT_ENCODER, UNTRAINED_ENCODER
    from vjepa_core.encoder.load import load_encoder

    names = args.encoder or list(dict.fromkeys((UNTRAINED_ENCODER, DEFAULT_ENCODER)))
    folders = encoder_folders()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    encoders = [(name, load_encoder(name, device, folders=folders)[0]) for name in names]
    train, scored = load_camus(args.camus)
    protocol = Protocol(
        shares=tuple(args.shares),
        seeds=tuple(range(args.seeds)),
        default_steps=args.head_steps,
        phantom=args.phantom,
    )
    rows = []
    for name, encoder in encoders:
        rows += measure(name, encoder, train, scored, protocol, on_progress=on_progress)
    short = summary(rows)
    return {
        "name": "representation",
        "machine": machine("torch", "numpy"),
        "rows": rows,
        "summary": short,
        "ratios": over_first(short),
    }


def text(result: dict[str, Any]) -> str:
    """Format a table of Dice in hundredths."""
    return dice_table(result["summary"])


def _check(args: argparse.Namespace) -> None:
    if any(not 0 < share <= 1 for share in args.shares):
        raise ApicalError("--shares are fractions of the patients: numbers above 0 and at most 1.")
    if args.seeds < 1 or args.head_steps < 1 or args.phantom < 0:
        raise ApicalError("--seeds and --head-steps must be at least 1, --phantom at least 0.")
    if not args.shares and not args.phantom:
        raise ApicalError("There is no data to fit a head to: give --shares or --phantom.")

"""What each term of pre-training brings: every row trained with one budget, then measured frozen."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from app.commands.benches.encoder_table import dice_table, over_first
from app.commands.benches.settings import config_for, must_exist
from app.domain.errors import ApicalError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """`--camus FILE --data PACKED... --work DIR [--config FILE] [--steps N] [--seeds N] [--rows ROW...]`."""
    parser.add_argument("--camus", type=Path, required=True, metavar="FILE", help="CAMUS as .npz")
    parser.add_argument("--data", type=Path, nargs="+", required=True, metavar="PACKED", help="packed sets")
    parser.add_argument(
        "--work", type=Path, required=True, metavar="DIR", help="keeps runs and rows, to go on after a stop"
    )
    parser.add_argument("--config", type=Path, metavar="FILE", help="TOML or JSON, as for `apical pretrain`")
    parser.add_argument("--steps", type=int, metavar="N", help="of every row")
    parser.add_argument("--seeds", type=int, default=3, metavar="N", help="seeds (default 3)")
    parser.add_argument("--rows", nargs="+", default=[], metavar="ROW", help="default: all")
    parser.add_argument("--pairs", type=int, metavar="N", help="most pairs for pseudo-cines (default all)")
    parser.add_argument("--head-steps", type=int, default=150, metavar="N", help="of the program's head")


def measure(args: argparse.Namespace, on_progress: Callable[[str, int, int], None]) -> dict[str, Any]:
    """Rows and ratios; a ratio compares with the first row."""
    if args.seeds < 1 or args.head_steps < 1 or (args.steps is not None and args.steps < 1):
        raise ApicalError("--seeds, --steps and --head-steps count from 1.")
    must_exist(args.data)

    from dataclasses import replace

    import torch

    from app.bench.machine import machine
    from vjepa_core.bench import ablation
    from vjepa_core.bench.camus import load_camus
    from vjepa_core.bench.representation import Protocol, summary
    from vjepa_core.pretraining.config import as_dict
    from vjepa_core.pretraining.data import load_clips
    from vjepa_core.pretraining.truth import with_phantom

    config = config_for(args.config)
    if args.steps is not None:
        config = replace(config, steps=args.steps)
    rows = args.rows or ablation.ROWS
    for row in rows:
        ablation.row_config(row, config)
    train, scored = load_camus(args.camus)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    own = load_clips(
        args.data,
        target_fps=config.fps,
        size=config.size,
        clip=config.frames,
        device=device,
        max_pairs=args.pairs,
    )
    data = {"pairs": args.pairs, "packed": [_frames(path) for path in args.data]}
    measured = ablation.run(
        config,
        with_phantom(own, config, device),
        train,
        scored,
        args.work,
        device=device,
        protocol=Protocol(size=config.size, default_steps=args.head_steps),
        rows=rows,
        seeds=tuple(range(args.seeds)),
        about={"data": data, "stills": [len(train), len(scored)]},
        on_progress=on_progress,
    )
    short = summary(measured)
    return {
        "name": "ablation",
        "machine": machine("torch", "numpy"),
        "config": as_dict(config),
        "head_steps": args.head_steps,
        "data": data,
        "rows": measured,
        "summary": short,
        "ratios": over_first(short),
    }


def _frames(packed: Path) -> dict[str, int]:
    """Frames of a packed set by group: enough to tell whether it is the same set."""
    from collections import Counter

    from vjepa_core.pretraining.shards import PackedSet

    counted: Counter[str] = Counter()
    for cine in PackedSet(packed).cines:
        counted[cine.group] += cine.frames
    return dict(counted)


def text(result: dict[str, Any]) -> str:
    """The budget and the table: hundredths of Dice."""
    config = result["config"]
    budget = (
        f"{config['architecture']}, {config['steps']} steps of {config['batch']} clips of {config['frames']} "
        f"frames, {config['size']} px"
    )
    return f"{budget}\n{dice_table(result['summary'])}"

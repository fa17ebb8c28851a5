"""Speed, utilisation and memory of pre-training, compared with a loop that encodes all tokens."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from app.commands.benches.settings import config_for, must_exist
from app.commands.report import size, table
from app.domain.errors import ApicalError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the benchmark."""
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="TOML or JSON file, as for `apical pretrain`"
    )
    parser.add_argument(
        "--steps", type=int, default=10, metavar="N", help="number of timed steps (default 10)"
    )
    parser.add_argument(
        "--data",
        type=Path,
        nargs="+",
        default=[],
        metavar="PACKED",
        help="packed sets of cines (default: noise)",
    )


def measure(args: argparse.Namespace, on_progress: Callable[[str, int, int], None]) -> dict[str, Any]:
    """Measure the configuration of `apical pretrain` on this machine, on noise or on packed clips."""
    if args.steps < 1:
        raise ApicalError(f"--steps is {args.steps}; it must be at least 1.")
    must_exist(args.data)

    from app.bench.machine import machine
    from vjepa_core.bench import pretrain

    result = pretrain.run(config_for(args.config), steps=args.steps, data=args.data, on_progress=on_progress)
    return {**result, "machine": {**machine("torch", "numpy"), **result["machine"]}}


def text(result: dict[str, Any]) -> str:
    """Format the device, a table, the shares of the operations and the ratios."""
    host, ours = result["machine"], result["rows"][0]
    head = (
        f"{host['cores']} cores, {host['cpu']}; {host['device']}, {host['threads']} threads, "
        f"{host['precision']}: {_rate(host['matrix_flops'])} in a square matrix product",
        f"{ours['architecture']}, {ours['batch']} clips per step, "
        f"{ours['frames']} frames of {ours['size']} px",
        "",
    )
    names = "STUDENT SEES|CLIPS/S|MEDIAN|BEST|WORST|GFLOP/CLIP|UTILISATION|DATA WAIT|MEMORY"
    rows = [names.split("|")]
    for row in result["rows"]:
        rows.append(
            [
                "visible tokens (ours)" if row["side"] == "ours" else row["side"],
                f"{row['clips_per_second']:.1f}",
                *(f"{row[key]:.3f} s" for key in ("median_s", "best_s", "worst_s")),
                f"{row['clip_flops'] / 1e9:.2f}",
                f"{row['utilisation']:.0%}",
                f"{row['data_wait']:.1%}",
                "unknown" if row["peak_bytes"] is None else size(row["peak_bytes"]),
            ]
        )
    parts = ", ".join(
        f"{name} {part / ours['clip_flops']:.0%}" for name, part in ours["clip_flops_parts"].items() if part
    )
    ratios = [f"{ratio:.2f} times better: {what}" for what, ratio in result["ratios"].items()]
    return "\n".join((*head, table(rows), "", f"Operations of ours: {parts}.", *ratios))


def _rate(flops: float) -> str:
    return f"{flops / 1e12:.0f} TFLOP/s" if flops >= 1e13 else f"{flops / 1e9:.0f} GFLOP/s"

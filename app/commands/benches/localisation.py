"""Position information in encoders trained with and without the localisation task, measured by a probe."""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

from app.commands.report import table
from app.domain.errors import ApicalError

UNTRAINED, PLAIN, LOCALISED = "untrained", "without the task", "with the task"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the benchmark."""
    parser.add_argument(
        "--plain", type=Path, required=True, metavar="RUN", help="run of `apical pretrain` without the task"
    )
    parser.add_argument(
        "--localised", type=Path, required=True, metavar="RUN", help="the same run with the task"
    )
    parser.add_argument(
        "--data", type=Path, nargs="+", required=True, metavar="PACKED", help="packed sets of cines"
    )
    parser.add_argument("--seeds", type=int, default=3, metavar="N", help="seeds of the probe (default 3)")
    parser.add_argument(
        "--steps", type=int, default=500, metavar="N", help="training steps of the probe (default 500)"
    )
    parser.add_argument("--plot", type=Path, metavar="FILE", help="file for a plot of the losses")


def measure(args: argparse.Namespace, on_progress: Callable[[str, int, int], None]) -> dict[str, Any]:
    """Measure probes on the encoders of both runs and on random weights, and read the second run's log."""
    if min(args.seeds, args.steps) < 1:
        raise ApicalError("--seeds and --steps must be at least 1.")

    from dataclasses import replace

    from app.bench.machine import machine
    from app.bench.plots import check
    from vjepa_core.bench.localisation import clips_by_cine, probe_rows
    from vjepa_core.pretraining.build import build_student
    from vjepa_core.pretraining.export import trained_encoder
    from vjepa_core.pretraining.log import read_log

    if args.plot:
        check(args.plot)
    plain, plain_config, _ = trained_encoder(args.plain)
    localised, config, steps = trained_encoder(args.localised)
    if plain_config.loc.peak or not config.loc.peak:
        raise ApicalError("--plain must be a run without the localisation task, --localised a run with it.")
    # The ablation gives a run without the task more steps, for the same number of operations.
    task, steps_of_plain = plain_config.localisation, plain_config.steps
    if replace(config, loc=plain_config.loc, localisation=task, steps=steps_of_plain) != plain_config:
        raise ApicalError("The runs differ in more than the task: give two runs that differ only in it.")
    clips = clips_by_cine(args.data, config)
    untrained = build_student(replace(config, start_from="")).eval()
    encoders = [(UNTRAINED, untrained), (PLAIN, plain), (LOCALISED, localised)]
    rows = []
    for done, encoder in enumerate(encoders):
        on_progress("probes", done, len(encoders))
        rows += probe_rows([encoder], clips, config.localisation, seeds=range(args.seeds), steps=args.steps)
    on_progress("probes", len(encoders), len(encoders))
    log = [[entry["step"], entry["loss_loc"]] for entry in read_log(args.localised)]
    result: dict[str, Any] = {
        "name": "localisation",
        "machine": machine("torch", "numpy"),
        "steps": steps,
        "clips": len(clips),
        "rows": rows,
        "summary": _summary(rows),
        "log": log,
    }
    losses = {row["encoder"]: row["loss"] for row in result["summary"]}
    result["ratios"] = {"probe's loss without the task over with it": losses[PLAIN] / losses[LOCALISED]}
    if args.plot:
        _plot(args.plot, result)
    return result


def _summary(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    found = []
    for name in dict.fromkeys(row["encoder"] for row in rows):
        selected = [row for row in rows if row["encoder"] == name]
        summary: dict[str, Any] = {"encoder": name}
        for key in ("loss", "chance", "solved"):
            values = [row[key] for row in selected]
            summary[key] = statistics.fmean(values)
            summary[f"{key}_sd"] = statistics.stdev(values) if len(values) > 1 else 0.0
        found.append(summary)
    return found


def _plot(path: Path, result: dict[str, Any]) -> None:
    from app.bench.plots import curves, smooth

    at, losses = zip(*result["log"], strict=True)
    summary = {row["encoder"]: row for row in result["summary"]}
    levels = {"chance": (summary[PLAIN]["chance"], 0.0)}
    levels |= {f"probe, unseen cines, {name}": (row["loss"], row["loss_sd"]) for name, row in summary.items()}
    curves(
        path,
        {"in training, on augmented clips (mean of 20 steps)": (at, smooth(losses, 20))},
        levels,
        x="step",
        y="localisation loss (fraction of the axes)",
        title="3D localisation: training, and probes on frozen encoders",
    )


def text(result: dict[str, Any]) -> str:
    """Format a table and the ratio."""
    lines = [("FROZEN ENCODER", "LOSS", "CHANCE", "REDUCTION")]
    for row in result["summary"]:
        lines.append(
            (
                row["encoder"],
                f"{row['loss']:.4f} ± {row['loss_sd']:.4f}",
                f"{row['chance']:.4f}",
                f"{row['solved']:.1%} ± {row['solved_sd']:.1%}",
            )
        )
    ratios = [f"{what}: {ratio:.3f}" for what, ratio in result["ratios"].items()]
    return "\n".join((table(lines), "", *ratios))

"""Suggested frames: labels needed to reach a target Dice, compared with other choices of frames."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from app.commands.benches.early_end import early_end_note, keep_results
from app.commands.benches.user_cines import project_cines
from app.commands.report import table
from app.domain.errors import ApicalError

OnProgress = Callable[[str, int, int], None]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the benchmark."""
    parser.add_argument(
        "--data",
        type=Path,
        metavar="FILE",
        help="CAMUS .npz file (test or val split) from which pseudo-cines are made",
    )
    parser.add_argument(
        "--cines", type=Path, nargs="+", default=[], metavar="PROJECT", help="projects with labelled cines"
    )
    parser.add_argument(
        "--fit",
        action="store_true",
        help="fit a head after each label (default: carry labels by motion)",
    )
    parser.add_argument(
        "--phantom",
        type=int,
        default=6,
        metavar="N",
        help="number of phantoms and, with --data, of pseudo-cines (default 6)",
    )
    parser.add_argument(
        "--frames", type=int, default=8, metavar="N", help="maximum number of annotated frames (default 8)"
    )
    parser.add_argument(
        "--draws", type=int, default=4, metavar="N", help="number of random orders (default 4)"
    )
    parser.add_argument(
        "--seed", type=int, default=0, metavar="N", help="seed of random orders and fits (default 0)"
    )
    parser.add_argument("--encoder", metavar="NAME", help="encoder (default: the bundled one)")
    parser.add_argument(
        "--plot", type=Path, metavar="FILE", help="file for a plot of Dice against the number of labels"
    )


def measure(args: argparse.Namespace, on_progress: OnProgress) -> dict[str, Any]:
    """Return rows, curves, numbers of labels and ratios.

    After Ctrl+C, SIGTERM or an error, the rows so far are returned.
    """
    if min(args.frames, args.draws) < 1 or args.phantom < 0:
        raise ApicalError("--frames and --draws must be at least 1, --phantom at least 0.")
    if not args.phantom and not args.cines:
        raise ApicalError("There is no data to measure: give --cines, or --phantom of at least 1.")

    from app.bench.machine import machine
    from app.encoders.registry import encoder_folders
    from vjepa_core.bench.scored_cines import phantom_cines, pseudo_cines
    from vjepa_core.bench.suggest import EVEN, RANDOM, run_suggest
    from vjepa_core.bench.suggest_labels import curves, labels_needed, studies
    from vjepa_core.encoder.catalogue import DEFAULT_ENCODER, card
    from vjepa_core.encoder.loaded import resolve_encoder

    if args.plot:
        from app.bench.plots import check

        check(args.plot)
    encoder = resolve_encoder(card(args.encoder or DEFAULT_ENCODER, encoder_folders()))
    cines = [cine for path in args.cines for cine in project_cines(path, on_progress)]
    on_progress("creating cines", 0, 1)
    cines += phantom_cines(args.phantom)
    if args.data is not None and args.phantom:
        cines += pseudo_cines(args.data, args.phantom)
    rows: list[dict[str, Any]] = []
    with keep_results(rows) as ending:
        run_suggest(
            cines,
            encoder,
            max_frames=args.frames,
            draws=args.draws,
            fit=args.fit,
            seed=args.seed,
            on_progress=on_progress,
            on_row=rows.append,
        )
    needed = labels_needed(rows)
    result: dict[str, Any] = {
        "name": "suggest",
        "machine": machine("torch", "numpy"),
        "mode": "fit" if args.fit else "carried labels",
        "encoder": encoder[1].name,
        **ending.fields,
        "rows": rows,
        "curves": curves(rows),
        "labels": needed,
        "studies": studies(rows, seed=args.seed),
        "ratios": {
            f"{row['what']}: labels for {row['target']}, {row['kind']}, over ours": 1.0
            / (1.0 - row["spared"])
            for row in needed
            if row["what"] in (EVEN, RANDOM)
        },
    }
    if args.plot:
        _plot(args.plot, result)
    return result


def text(result: dict[str, Any]) -> str:
    """Format tables of the labels needed, and an explanation."""
    method = (
        "a head fitted after each label"
        if result["mode"] == "fit"
        else "labels carried by motion, without a fit"
    )
    parts = [f"Scored with {method}."]
    parts += early_end_note(result)
    lines = [("CINES", "TARGET", "FRAMES", "N", "LABELS", "REACHED", "SAVED", "FEWER PER CINE")]
    for row in result["labels"]:
        is_ours = row["what"] == "suggested"
        lines.append(
            (
                row["kind"],
                row["target"],
                row["what"],
                str(row["cines"]),
                _number(row["labels"], row["labels_95"]),
                f"{row['reached']:.0%}",
                "" if is_ours else f"{row['spared']:+.0%}",
                "" if is_ours else _number(row["fewer"], row["fewer_95"]),
            )
        )
    parts += ["", table(lines)]
    if result["studies"]:
        parts += ["", _studies(result["studies"])]
    parts += [
        "",
        "LABELS: mean number until the target is reached, ± half of the 95 % interval over cines; one more",
        "than the maximum if it is not reached. SAVED: fraction of these labels that suggestions save.",
    ]
    return "\n".join(parts)


def _studies(found: list[dict[str, Any]]) -> str:
    lines = [("STUDIES OF", "NEXT CINE", "N", "LABELS", "SAVED")]
    for row in found:
        saved = "" if row["what"] == "suggested cine" else f"{row['spared']:+.0%}"
        labels = _number(row["labels"], row["labels_95"])
        lines.append((row["kind"], row["what"], str(row["studies"]), labels, saved))
    return table(lines)


def _number(value: float, half: float | None) -> str:
    return f"{value:.1f}" + ("" if half is None else f" ± {half:.1f}")


def _plot(path: Path, result: dict[str, Any]) -> None:
    from app.bench.plots import COLOURS, panels, save

    kinds = list(dict.fromkeys(point["kind"] for point in result["curves"]))
    figure, axes = panels(1, max(len(kinds), 1))
    for panel, kind in zip(axes[0], kinds, strict=False):
        points = [point for point in result["curves"] if point["kind"] == kind]
        choices = dict.fromkeys(point["what"] for point in points)
        for colour, choice in zip(COLOURS, choices, strict=False):
            line = [point for point in points if point["what"] == choice]
            frames, mean = [point["frames"] for point in line], [point["mean"] for point in line]
            panel.plot(frames, mean, color=colour, marker="o", markersize=4, label=choice)
        panel.set(xlabel="annotated frames", ylabel="mean Dice of the others", title=f"{kind} cines")
        panel.legend(frameon=False, fontsize="small")
    save(figure, path)

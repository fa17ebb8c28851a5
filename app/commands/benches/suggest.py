"""Which frame next: the labels that suggested frames take to reach a Dice, against other choices."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from app.commands.benches.early_end import in_short, keeping
from app.commands.benches.user_cines import project_cines
from app.commands.report import table
from app.domain.errors import ApicalError

OnProgress = Callable[[str, int, int], None]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """`[--data FILE] [--cines PROJECT...] [--fit] [--phantom N] [--first N] [--frames N] [--draws N] ...`."""
    parser.add_argument(
        "--data", type=Path, metavar="FILE", help="CAMUS as .npz: pseudo-cines of test, or val"
    )
    parser.add_argument("--cines", type=Path, nargs="+", default=[], metavar="PROJECT", help="labelled cines")
    parser.add_argument(
        "--fit", action="store_true", help="fit a head after each label (default: carry labels along motion)"
    )
    parser.add_argument(
        "--phantom", type=int, default=6, metavar="N", help="cines, and as many pseudo-cines (default 6)"
    )
    parser.add_argument("--frames", type=int, default=8, metavar="N", help="most to annotate (default 8)")
    parser.add_argument("--draws", type=int, default=4, metavar="N", help="random orders (default 4)")
    parser.add_argument(
        "--seed", type=int, default=0, metavar="N", help="of random orders and fits (default 0)"
    )
    parser.add_argument("--encoder", metavar="NAME", help="in place of the one that ships")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="picture of Dice by labels")


def measure(args: argparse.Namespace, on_progress: OnProgress) -> dict[str, Any]:
    """Rows, curves, labels needed and ratios.

    Ctrl+C, SIGTERM or an error ends it with the rows that are there.
    """
    if min(args.frames, args.draws) < 1 or args.phantom < 0:
        raise ApicalError("--frames and --draws count from 1, --phantom from 0.")
    if not args.phantom and not args.cines:
        raise ApicalError("There is nothing to measure on: give --cines, or --phantom of 1 and more.")

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
    on_progress("making cines", 0, 1)
    cines += phantom_cines(args.phantom)
    if args.data is not None and args.phantom:
        cines += pseudo_cines(args.data, args.phantom)
    rows: list[dict[str, Any]] = []
    with keeping(rows) as ending:
        run_suggest(
            cines,
            encoder,
            most=args.frames,
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
            f"{one['what']}: labels for {one['target']}, {one['kind']}, over ours": 1.0
            / (1.0 - one["spared"])
            for one in needed
            if one["what"] in (EVEN, RANDOM)
        },
    }
    if args.plot:
        _plot(args.plot, result)
    return result


def text(result: dict[str, Any]) -> str:
    """Tables of labels needed, and how to read them."""
    how = (
        "a head fitted after each label" if result["mode"] == "fit" else "labels carried along motion, no fit"
    )
    parts = [f"Scored by {how}."]
    parts += in_short(result)
    lines = [("CINES", "TARGET", "FRAMES ARE", "N", "LABELS", "REACHED", "SPARED", "FEWER A CINE")]
    for one in result["labels"]:
        ours = one["what"] == "suggested"
        lines.append(
            (
                one["kind"],
                one["target"],
                one["what"],
                str(one["cines"]),
                _number(one["labels"], one["labels_95"]),
                f"{one['reached']:.0%}",
                "" if ours else f"{one['spared']:+.0%}",
                "" if ours else _number(one["fewer"], one["fewer_95"]),
            )
        )
    parts += ["", table(lines)]
    if result["studies"]:
        parts += ["", _studies(result["studies"])]
    parts += [
        "",
        "LABELS: mean until the target is reached, ± half the 95 % interval over cines; one more than were",
        "tried where it is not reached. SPARED: share of these labels that suggestions spare.",
    ]
    return "\n".join(parts)


def _studies(found: list[dict[str, Any]]) -> str:
    lines = [("STUDIES OF", "NEXT CINE IS", "N", "LABELS", "SPARED")]
    for one in found:
        spared = "" if one["what"] == "suggested cine" else f"{one['spared']:+.0%}"
        labels = _number(one["labels"], one["labels_95"])
        lines.append((one["kind"], one["what"], str(one["studies"]), labels, spared))
    return table(lines)


def _number(value: float, half: float | None) -> str:
    return f"{value:.1f}" + ("" if half is None else f" ± {half:.1f}")


def _plot(path: Path, result: dict[str, Any]) -> None:
    from app.bench.plots import COLOURS, panels, save

    kinds = list(dict.fromkeys(one["kind"] for one in result["curves"]))
    made, axes = panels(1, max(len(kinds), 1))
    for panel, kind in zip(axes[0], kinds, strict=False):
        mine = [one for one in result["curves"] if one["kind"] == kind]
        for colour, what in zip(COLOURS, dict.fromkeys(one["what"] for one in mine), strict=False):
            line = [one for one in mine if one["what"] == what]
            at, mean = [one["frames"] for one in line], [one["mean"] for one in line]
            panel.plot(at, mean, color=colour, marker="o", markersize=4, label=what)
        panel.set(xlabel="annotated frames", ylabel="mean Dice of the others", title=f"{kind} cines")
        panel.legend(frameon=False, fontsize="small")
    save(made, path)

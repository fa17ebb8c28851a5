"""Calibration of the expected Dice and the doubts, compared with the head's softmax alone."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.commands.benches.early_end import early_end_note, keep_results
from app.commands.benches.user_cines import project_cines
from app.commands.report import ratio_lines, table
from app.domain.errors import ApicalError

if TYPE_CHECKING:
    from vjepa_core.bench.reliability import Observation

FRAMES = (1, 2, 3)
OnProgress = Callable[[str, int, int], None]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the benchmark."""
    parser.add_argument(
        "--data",
        type=Path,
        metavar="FILE",
        help="CAMUS .npz file, for drafts of its scored stills and pseudo-cines of their patients",
    )
    parser.add_argument(
        "--cines", type=Path, nargs="*", default=[], metavar="PROJECT", help="projects with labelled cines"
    )
    parser.add_argument(
        "--frames",
        type=int,
        nargs="+",
        default=list(FRAMES),
        metavar="N",
        help="numbers of annotated frames of a cine (default 1 2 3); 0 is the draft",
    )
    parser.add_argument(
        "--phantom",
        type=int,
        default=6,
        metavar="N",
        help="number of phantoms and, with --data, of pseudo-cines (default 6)",
    )
    parser.add_argument(
        "--length", type=int, default=40, metavar="T", help="number of frames of each cine (default 40)"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="seed of fits (default 0)")


def measure(args: argparse.Namespace, on_progress: OnProgress) -> dict[str, Any]:
    """Return a row for each kind of cine, number of annotated frames, and method.

    After Ctrl+C, SIGTERM or an error, the rows so far are returned.
    """
    _check(args)

    import torch

    from app.bench.machine import machine
    from vjepa_core.bench.camus import load_camus
    from vjepa_core.bench.reliability import ratios, summary
    from vjepa_core.bench.scored_cines import phantom_cines, pseudo_cines
    from vjepa_core.bench.uncertainty import observe_cines, observe_stills, split_by_patient
    from vjepa_core.encoder.load import load_encoder
    from vjepa_core.encoder.precision import inference_device, inference_dtype
    from vjepa_core.fewshot.starter import load_starter

    stills = None if args.data is None else split_by_patient(load_camus(args.data)[1])[1]
    own = [cine for path in args.cines for cine in project_cines(path, on_progress)]
    device = inference_device()
    encoder = load_encoder(device=device, matrices=inference_dtype(device))
    starter = load_starter(encoder[1])
    head = None if starter is None else starter.head.to(device)
    seen: list[Observation] = []
    with keep_results(seen) as ending:
        on_progress("creating cines", 0, 1)
        synthetic = phantom_cines(args.phantom, frames=args.length)
        if args.data is not None and args.phantom:
            synthetic += pseudo_cines(args.data, args.phantom, frames=args.length)
        if stills is not None and head is not None:
            seen.extend(observe_stills(stills, encoder, head, on_progress=on_progress))
        # `extend` keeps the items so far if the generator is interrupted.
        seen.extend(
            observe_cines(
                [*own, *synthetic],
                encoder,
                start=starter,
                counts=sorted(set(args.frames)),
                seed=args.seed,
                on_progress=on_progress,
            )
        )
    rows = summary(seen)
    about = {**machine("torch", "numpy"), "threads": torch.get_num_threads()}
    return {"name": "uncertainty", "machine": about, **ending.fields, "rows": rows, "ratios": ratios(rows)}


def text(result: dict[str, Any]) -> str:
    """Format a table, an explanation and the ratios."""
    host = result["machine"]
    parts = [f"{host['cores']} cores, {host['cpu']}, {host['threads']} threads"]
    parts += early_end_note(result)
    names = ["KIND", "ANNOTATED", "CINES", "FRAMES", "DICE", "ROW", "EXPECTED", "FRAME ECE"]
    lines = [[*names, "PEARSON", "SPEARMAN", "WITHIN", "PIXEL ECE", "NEAR BORDERS"]]
    for row in result["rows"]:
        lines.append(
            [
                row["kind"],
                str(row["annotated"]),
                str(row["cines"]),
                str(row["frames"]),
                _number(row["dice"], 3),
                row["what"],
                _number(row["expected"], 3),
                _number(row["frame_ece"], 4),
                *(_number(row[name], 2) for name in ("pearson", "spearman", "within")),
                _number(row["pixel_ece"], 4),
                _number(row["border_ece"], 4),
            ]
        )
    parts += [
        "",
        table(lines),
        "",
        "DICE: mean over the frames that were not annotated; EXPECTED: mean expected Dice of these frames.",
        "FRAME ECE: expected calibration error of Dice, 15 groups of equal size.",
        "PIXEL ECE: of the probability that a pixel is correct, 15 bins, over the grid of the head,",
        "112 x 112 in the image; NEAR BORDERS: over those within 3 pixels of a predicted or true border.",
        "PEARSON, SPEARMAN: correlation of expected and true Dice over all frames; WITHIN: Spearman's, mean",
        "over cines.",
        "softmax: the same predictions, with the head's softmax as confidence.",
    ]
    return "\n".join((*parts, *ratio_lines(result["ratios"])))


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _check(args: argparse.Namespace) -> None:
    if args.phantom < 0 or (args.phantom == 0 and args.data is None and not args.cines):
        raise ApicalError("There is no data to measure: give --phantom, --data camus.npz or --cines.")
    if min(args.frames) < 0 or args.length < 2:
        raise ApicalError("--frames must be at least 0, --length at least 2.")

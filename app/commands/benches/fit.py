"""How soon an annotation shows, against a forest over the same features: the preview, and the whole cine."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.commands.report import ratio_lines, table
from app.domain.errors import ApicalError

if TYPE_CHECKING:
    from vjepa_core.bench.scored_cines import ScoredCine

OnProgress = Callable[[str, int, int], None]
FRAMES = 40


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """`[CINE...] [--rounds N] [--frames N] [--seed N] [--encoder NAME]`."""
    parser.add_argument(
        "cines",
        type=Path,
        nargs="*",
        metavar="CINE",
        help="cines, outlined by made-up shapes, or projects with their outlines (default: a phantom)",
    )
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="medians over so many (default 3)")
    parser.add_argument(
        "--frames", type=int, default=FRAMES, metavar="N", help=f"of the phantom (default {FRAMES})"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of phantom and forest (default 0)")
    parser.add_argument(
        "--encoder", metavar="NAME", help="see `apical encoders list` (default: the chosen one)"
    )


def measure(args: argparse.Namespace, on_progress: OnProgress) -> dict[str, Any]:
    """Both sides in turn. Ctrl+C ends it with the lessons that both sides have answered."""
    if args.rounds < 1 or args.frames < 3 or not 0 <= args.seed < 2**32:
        raise ApicalError("--rounds counts from 1, --frames from 3, --seed from 0 to 2**32 - 1.")

    import torch

    from app.bench.live import window
    from app.bench.machine import machine
    from app.encoders import registry
    from vjepa_core.bench import fit_live
    from vjepa_core.encoder.precision import inference_device

    encoder = registry.find(args.encoder or registry.chosen()).name
    lessons = [fit_live.Lesson.of(cine) for cine in _cines(args, on_progress)]
    with tempfile.TemporaryDirectory(prefix="apical-bench-", ignore_cleanup_errors=True) as folder:
        cache = Path(folder)
        peer = fit_live.forest(cache / "features", encoder, registry.encoder_folders(), seed=args.seed)
        sides = {fit_live.OURS: window(cache, encoder), fit_live.PEER: peer}
        rows, stopped = fit_live.run(lessons, sides, rounds=args.rounds, on_progress=on_progress)
    device = inference_device()
    about = machine("torch", "scikit-learn", "numpy", "opencv-python-headless")
    return {
        "name": "fit",
        "machine": {
            **about,
            "threads": torch.get_num_threads(),
            "gpu": torch.cuda.get_device_name() if device.type == "cuda" else "none",
            "encoder": encoder,
        },
        "stopped": stopped,
        "rows": rows,
        "ratios": fit_live.ratios(rows),
        "targets": fit_live.targets(rows, device.type),
    }


def _cines(args: argparse.Namespace, on_progress: OnProgress) -> list[ScoredCine]:
    from vjepa_core.bench.scored_cines import phantom_cines

    if args.cines:
        return [cine for path in args.cines for cine in _given(path, on_progress)]
    on_progress("making a cine", 0, 1)
    return phantom_cines(1, frames=args.frames, first=args.seed)


def _given(path: Path, on_progress: OnProgress) -> list[ScoredCine]:
    """The labelled cines of a project, or one cine with stand-ins for outlines."""
    from app.commands.benches.user_cines import project_cines
    from app.storage.project_lookup import SUFFIX

    if path.suffix.lower() == SUFFIX:
        return project_cines(path, on_progress)
    from app.commands.segment import decode
    from app.readers.open import open_cine
    from vjepa_core.bench.fit_live import with_stand_ins

    cine = open_cine(path)
    try:
        frames, _ = decode(cine, cine.region, on_progress)
    finally:
        cine.source.close()
    return [with_stand_ins(frames, cine.timing.fps, cine.pixel_aspect)]


def text(result: dict[str, Any]) -> str:
    """The machine, a table, how to read it, targets and ratios in words."""
    from vjepa_core.bench.fit_live import GOAL

    host = result["machine"]
    head = (
        f"{host['cores']} cores, {host['cpu']}; GPU: {host['gpu']}, "
        f"{host['threads']} threads; {host['encoder']}"
    )
    names = (
        "CINE|ANNOTATED|SIDE|CARRIED|PREVIEW|LONGEST GAP|WHOLE CINE|DICE: CARRIED|DICE: PREVIEW|DICE: REST"
    )
    lines = [names.split("|")]
    for row in result["rows"]:
        lines.append(
            [
                f"{row['kind']} {row['cine'] + 1}",
                ", ".join(map(str, row["annotated"])),
                row["side"],
                *(_seconds(row[f"{key}_s"]) for key in ("carried", "preview", "gap", "whole")),
                *(_dice(row[f"dice_{key}"]) for key in ("carried", "preview", "rest")),
            ]
        )
    rounds = max(row["rounds"] for row in result["rows"])
    how = (
        "",
        f"Medians of {rounds} round{'s'[: rounds - 1]}; seconds from the moment at which the label is there,",
        "the features being there before. Somebody looks at the frame furthest from the annotated ones.",
        "CARRIED: it shows the label as motion carries it. PREVIEW: its first mask that was learnt from the",
        "labels. Both Dice are those of that frame.",
        "LONGEST GAP: between two masks of that frame. WHOLE CINE: the last mask of every frame is there.",
        "REST: mean Dice of the last masks on all labelled frames that are not annotated.",
        "Two frames annotated: a correction. Ours goes on from its head, the forest is grown anew.",
        "",
        "Targets, the slowest median:",
    )
    targets = [
        f"  {'met' if one['met'] else 'MISSED'}: {one['what']} {one['measured_s']:.2f} s, at most "
        f"{one['limit_s']:g} s"
        for one in result["targets"]
    ]
    ratios = ratio_lines(result["ratios"], f"the goal for seconds is {GOAL:g}")
    stopped = ["", "Stopped early: medians of what there is."] if result["stopped"] else []
    return "\n".join((head, "", table(lines), *how, *targets, *ratios, *stopped))


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f} s"


def _dice(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"

"""Time from an annotation to its effect, compared with a random forest on the same features."""

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
    """Add the arguments of the benchmark."""
    parser.add_argument(
        "cines",
        type=Path,
        nargs="*",
        metavar="CINE",
        help="cines, for which outlines are generated, or projects with outlines (default: a phantom)",
    )
    parser.add_argument(
        "--rounds",
        type=int,
        default=3,
        metavar="N",
        help="number of repeats, of which the median is taken (default 3)",
    )
    parser.add_argument(
        "--frames",
        type=int,
        default=FRAMES,
        metavar="N",
        help=f"number of frames of the phantom (default {FRAMES})",
    )
    parser.add_argument(
        "--seed", type=int, default=0, metavar="N", help="seed of the phantom and the forest (default 0)"
    )
    parser.add_argument(
        "--encoder", metavar="NAME", help="encoder, see `apical encoders list` (default: the chosen one)"
    )


def measure(args: argparse.Namespace, on_progress: OnProgress) -> dict[str, Any]:
    """Measure both sides in turn; Ctrl+C ends the run with the annotations that both have finished."""
    if args.rounds < 1 or args.frames < 3 or not 0 <= args.seed < 2**32:
        raise ApicalError(
            "--rounds must be at least 1, --frames at least 3, and --seed between 0 and 2**32 - 1."
        )

    import torch

    from app.bench.live import program_responses
    from app.bench.machine import machine
    from app.encoders import registry
    from vjepa_core.bench import fit_live
    from vjepa_core.encoder.precision import inference_device

    encoder = registry.find(args.encoder or registry.chosen()).name
    annotated = [fit_live.AnnotatedCine.of(cine) for cine in _cines(args, on_progress)]
    with tempfile.TemporaryDirectory(prefix="apical-bench-", ignore_cleanup_errors=True) as folder:
        cache = Path(folder)
        peer = fit_live.forest(cache / "features", encoder, registry.encoder_folders(), seed=args.seed)
        sides = {fit_live.OURS: program_responses(cache, encoder), fit_live.PEER: peer}
        rows, stopped = fit_live.run(annotated, sides, rounds=args.rounds, on_progress=on_progress)
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
        return [cine for path in args.cines for cine in _from_file(path, on_progress)]
    on_progress("creating a cine", 0, 1)
    return phantom_cines(1, frames=args.frames, first=args.seed)


def _from_file(path: Path, on_progress: OnProgress) -> list[ScoredCine]:
    """Read the labelled cines of a project, or one cine with generated outlines."""
    from app.commands.benches.user_cines import project_cines
    from app.storage.project_lookup import SUFFIX

    if path.suffix.lower() == SUFFIX:
        return project_cines(path, on_progress)
    from app.commands.segment import decode
    from app.readers.open import open_cine
    from vjepa_core.bench.fit_live import with_phantom_labels

    cine = open_cine(path)
    try:
        frames, _ = decode(cine, cine.region, on_progress)
    finally:
        cine.source.close()
    return [with_phantom_labels(frames, cine.timing.fps, cine.pixel_aspect)]


def text(result: dict[str, Any]) -> str:
    """Format the machine, a table, an explanation, targets and ratios."""
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
        f"Medians of {rounds} round{'s'[: rounds - 1]}; seconds from the annotation, with the features in",
        "the cache. The visible frame is the one furthest from the annotated frames.",
        "CARRIED: its first mask from labels carried by motion. PREVIEW: its first mask from a fitted",
        "head. Both Dice are those of this frame.",
        "LONGEST GAP: between two masks of this frame. WHOLE CINE: all last masks are complete.",
        "REST: mean Dice of the last masks on all labelled frames that are not annotated.",
        "Two annotated frames: a correction. Ours continues with its head, the forest starts from scratch.",
        "",
        "Targets, the slowest median:",
    )
    targets = [
        f"  {'met' if target['met'] else 'MISSED'}: {target['what']} {target['measured_s']:.2f} s, at most "
        f"{target['limit_s']:g} s"
        for target in result["targets"]
    ]
    ratios = ratio_lines(result["ratios"], f"the goal for seconds is {GOAL:g}")
    stopped = ["", "Stopped early: medians of the rounds so far."] if result["stopped"] else []
    return "\n".join((head, "", table(lines), *how, *targets, *ratios, *stopped))


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f} s"


def _dice(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"

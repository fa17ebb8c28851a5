"""Time and memory of the frozen encoder, compared with Hugging Face's VJEPA2Model with the same weights."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from app.commands.report import ratio_lines, size, table
from app.domain.errors import ApicalError

_FORM = "_patch16_224_t2.vjepa2"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the benchmark."""
    parser.add_argument(
        *("--architecture", "--architectures"),
        dest="architectures",
        nargs="+",
        default=[],
        metavar="NAME",
        help=f"such as vit_small, or vit_small{_FORM} (default: small and base; on a GPU also large)",
    )
    parser.add_argument("--frames", type=int, default=16, metavar="N", help="frames per clip (default 16)")
    parser.add_argument(
        "--size", type=int, default=224, metavar="N", help="side of a frame in pixels (default 224)"
    )
    parser.add_argument(
        "--batch",
        type=int,
        nargs="+",
        default=[],
        metavar="N",
        help="clips per batch (default 1, on a GPU 8)",
    )
    parser.add_argument(
        "--rounds", type=int, default=3, metavar="N", help="number of processes per row (default 3)"
    )
    parser.add_argument("--device", choices=("cpu", "cuda"), help="device (default: the GPU if there is one)")


def measure(args: argparse.Namespace, on_progress: Callable[[str, int, int], None]) -> dict[str, Any]:
    """Measure all rows of all encoders."""
    if min(args.frames, args.size, args.rounds, *args.batch) < 1:
        raise ApicalError("--frames, --size, --batch and --rounds must be at least 1.")

    import torch

    from app.bench.machine import machine
    from vjepa_core.bench import encode

    has_gpu = torch.cuda.is_available()
    if args.device == "cuda" and not has_gpu:
        raise ApicalError("There is no GPU that torch can use: omit --device, or see `apical doctor`.")
    device = args.device or ("cuda" if has_gpu else "cpu")
    names = args.architectures or ["vit_small", "vit_base", *(["vit_large"] if device == "cuda" else [])]
    result = encode.run(
        list(dict.fromkeys(name if "_patch" in name else f"{name}{_FORM}" for name in names)),
        device=device,
        frames=args.frames,
        size=args.size,
        batches=list(dict.fromkeys(args.batch)) or [8 if device == "cuda" else 1],
        rounds=args.rounds,
        on_progress=on_progress,
    )
    return {**result, "machine": {**machine("torch", "transformers", "numpy"), **result["machine"]}}


def text(result: dict[str, Any]) -> str:
    """Format the device, a table, its explanation and the ratios."""
    host, first = result["machine"], result["rows"][0]
    rates = ", ".join(f"{rate / 1e9:.0f} GFLOP/s in {dtype}" for dtype, rate in host["matrix_flops"].items())
    head = (
        f"{host['cores']} cores, {host['cpu']}; {host['device']}, {host['threads']} threads; a square matrix "
        f"product: {rates}",
        f"Clips of {first['frames']} frames of {first['size']} px",
        "",
    )
    names = "ENCODER|PROGRAM|CLIP|BEST|CLIPS/S|FLOOR|UTILISATION|MEMORY|PROCESS|WEIGHTS|DIFFERENCE|LARGEST"
    lines = [names.split("|")]
    for row in result["rows"]:
        if row["missing"] is not None:
            lines.append([row["label"], row["side"], *["-"] * (len(lines[0]) - 2)])
            continue
        lines.append(
            [
                row["label"],
                row["side"],
                *(f"{row[key]:.4f} s" for key in ("clip_s", "best_s")),
                f"{row['clips_per_second']:.2f}",
                f"{row['floor_s']:.4f} s",
                f"{row['utilisation']:.0%}",
                *(_size_text(row[key]) for key in ("encoder_bytes", "peak_bytes", "weight_bytes")),
                *(_difference(row[key]) for key in ("relative_difference", "largest_difference")),
            ]
        )
    missing = [f"{row['label']}, {row['side']}: {row['missing']}" for row in result["rows"] if row["missing"]]
    how = (
        "",
        *missing,
        *([""] if missing else []),
        f"The first row of an encoder, {first['side']}, has the settings of the program.",
        "CLIP: median time. FLOOR: operations of a clip divided by the rate of the matrix product.",
        "MEMORY: peak of the encoder and its clips, without the libraries, which both programs load.",
        "PROCESS: peak of the whole process.",
        "DIFFERENCE: relative difference of the last tokens from VJEPA2Model in float32; LARGEST: maximum.",
    )
    return "\n".join((*head, table(lines), *how, *ratio_lines(result["ratios"])))


def _difference(value: float | None) -> str:
    return "-" if value is None else f"{value:.1e}"


def _size_text(value: int | None) -> str:
    return "unknown" if value is None else size(value)

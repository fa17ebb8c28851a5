"""Seconds a clip and memory of the frozen encoder, against Hugging Face's VJEPA2Model of the same weights."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from app.commands.report import ratio_lines, size, table
from app.domain.errors import ApicalError

_FORM = "_patch16_224_t2.vjepa2"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """`[--architecture NAME...] [--frames N] [--size N] [--batch N...] [--rounds N] [--device DEVICE]`."""
    parser.add_argument(
        *("--architecture", "--architectures"),
        dest="architectures",
        nargs="+",
        default=[],
        metavar="NAME",
        help=f"vit_small, or in full vit_small{_FORM} (default: small and base, with a GPU large too)",
    )
    parser.add_argument("--frames", type=int, default=16, metavar="N", help="of a clip (default 16)")
    parser.add_argument("--size", type=int, default=224, metavar="N", help="pixels of a side (default 224)")
    parser.add_argument(
        "--batch", type=int, nargs="+", default=[], metavar="N", help="clips at once (default 1, on a GPU 8)"
    )
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="processes a row (default 3)")
    parser.add_argument("--device", choices=("cpu", "cuda"), help="default: the GPU where there is one")


def measure(args: argparse.Namespace, on_progress: Callable[[str, int, int], None]) -> dict[str, Any]:
    """Every row of every encoder, in turn."""
    if min(args.frames, args.size, args.rounds, *args.batch) < 1:
        raise ApicalError("--frames, --size, --batch and --rounds count from 1.")

    import torch

    from app.bench.machine import machine
    from vjepa_core.bench import encode

    there = torch.cuda.is_available()
    if args.device == "cuda" and not there:
        raise ApicalError(
            "There is no GPU that torch can use here: leave --device out, or see `apical doctor`."
        )
    device = args.device or ("cuda" if there else "cpu")
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
    """The device, a table, how to read it, and the ratios in words."""
    host, first = result["machine"], result["rows"][0]
    rates = ", ".join(f"{rate / 1e9:.0f} GFLOP/s in {dtype}" for dtype, rate in host["matrix_flops"].items())
    head = (
        f"{host['cores']} cores, {host['cpu']}; {host['device']}, {host['threads']} threads; a square matrix "
        f"product: {rates}",
        f"Clips of {first['frames']} frames of {first['size']} px",
        "",
    )
    names = "ENCODER|WHO|A CLIP|BEST|CLIPS/S|FLOOR|UTILISATION|MEMORY|PROCESS|WEIGHTS|DIFFERENCE|LARGEST"
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
                *(_size(row[key]) for key in ("encoder_bytes", "peak_bytes", "weight_bytes")),
                *(_apart(row[key]) for key in ("relative_difference", "largest_difference")),
            ]
        )
    missing = [f"{row['label']}, {row['side']}: {row['missing']}" for row in result["rows"] if row["missing"]]
    how = (
        "",
        *missing,
        *([""] if missing else []),
        f"The first row of an encoder, {first['side']}, is as the program runs it.",
        "A CLIP: the median. FLOOR: operations of a clip over the rate of the matrix product.",
        "MEMORY: the most that the encoder took with its clips, beside the libraries, which both sides load.",
        "PROCESS: the most that the whole process held.",
        "DIFFERENCE of the last tokens from those of VJEPA2Model in float32, relative, and the LARGEST.",
    )
    return "\n".join((*head, table(lines), *how, *ratio_lines(result["ratios"])))


def _apart(value: float | None) -> str:
    return "-" if value is None else f"{value:.1e}"


def _size(value: int | None) -> str:
    return "not known" if value is None else size(value)

"""Decoding of whole cines, compared with pydicom's default decoder."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from app.commands.report import table
from app.domain.errors import ApicalError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the benchmark."""
    parser.add_argument(
        "files", nargs="*", type=Path, metavar="FILE", help="DICOM cines (default: a synthetic one)"
    )
    parser.add_argument(
        "--repeats", type=int, default=5, help="number of processes for each program (default 5)"
    )


def measure(args: argparse.Namespace, on_progress: Callable[[str, int, int], None]) -> dict[str, Any]:
    """Check that all files can be opened, and measure."""
    from app.bench import decode
    from app.readers.open import open_cine

    if args.repeats < 1:
        raise ApicalError(f"--repeats is {args.repeats}; it must be at least 1.")
    for file in args.files:
        open_cine(file).source.close()  # raises an error with the cause
    return decode.run(args.files, repeats=args.repeats, on_progress=on_progress)


def text(result: dict[str, Any]) -> str:
    """Format a table and the ratios."""
    rows = [("FILE", "PROGRAM", "STATE", "FRAMES", "MEDIAN", "BEST", "WORST", "FIRST FRAME")]
    for row in result["rows"]:
        first = f"{row['first_frame_s'] * 1e3:.1f} ms" if "first_frame_s" in row else ""
        times = [f"{row[key] * 1e3:.1f} ms" for key in ("median_s", "best_s", "worst_s")]
        rows.append((row["file"], row["who"], row["state"], str(row["frames"]), *times, first))
    ratios = [
        f"{ratio:.{1 if ratio >= 1 else 2}f} times as fast as {what}"
        for what, ratio in result["ratios"].items()
    ]
    host = result["machine"]
    return "\n".join((f"{host['cores']} cores, {host['cpu']}", table(rows), "", *ratios))

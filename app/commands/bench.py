"""Measure against peers, in one run; a ratio over 1 is in our favour."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from app.commands.progress import Progress
from app.commands.report import Report, plain, table
from app.domain.errors import ApicalError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """`decode [FILE...] [--json FILE]`."""
    names = parser.add_subparsers(dest="name", required=True, metavar="decode")
    decode = names.add_parser("decode", help="whole-cine decode against pydicom's default decoder")
    decode.add_argument("files", nargs="*", type=Path, metavar="FILE", help="DICOM cines (default: made up)")
    decode.add_argument("--repeats", type=int, default=5, help="processes for each side (default 5)")
    decode.add_argument("--json", dest="json_file", type=Path, metavar="FILE", help="also write this file")


def run(args: argparse.Namespace) -> Report:
    """Run one benchmark and write its file."""
    from app.bench import decode
    from app.dicom.open import open_cine

    if args.repeats < 1:
        raise ApicalError(f"--repeats is {args.repeats}; give 1 or more.")
    if args.json_file is not None and not args.json_file.absolute().parent.is_dir():
        raise ApicalError(f"{args.json_file} cannot be written: its folder does not exist; make it first.")
    for file in args.files:
        open_cine(file).source.close()  # says in its own words what is wrong with a file
    with Progress() as progress:
        result = decode.run(args.files, repeats=args.repeats, on_progress=progress)
    if args.json_file is not None:
        _write(args.json_file, result)
    return Report(result, _text(result))


def _write(path: Path, result: dict[str, Any]) -> None:
    from app.storage.errors import export_error

    try:
        path.write_text(json.dumps(plain(result), indent=2, allow_nan=False) + "\n", encoding="utf-8")
    except OSError as error:
        raise export_error(path, error) from error


def _text(result: dict[str, Any]) -> str:
    rows = [("FILE", "WHO", "STATE", "FRAMES", "MEDIAN", "BEST", "WORST", "FIRST FRAME")]
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

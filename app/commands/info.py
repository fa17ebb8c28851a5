"""Print the frames, size, timing and calibration of a cine, with their sources."""

from __future__ import annotations

import argparse
from pathlib import Path

from app.commands.report import Report


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the file and `--json`."""
    parser.add_argument("file", type=Path, metavar="FILE", help="a cine, or a folder of images")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> Report:
    """Open the cine and describe it."""
    from app.readers.describe import describe, describe_text
    from app.readers.open import open_cine

    cine = open_cine(args.file)
    try:
        return Report(describe(cine), describe_text(cine))
    finally:
        cine.source.close()

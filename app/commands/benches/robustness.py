"""Thousands of damaged files: none may cause a crash, a hang, an excess of memory or a traceback."""

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
        "paths", nargs="*", type=Path, metavar="PATH", help="intact files, or folders of them"
    )
    parser.add_argument(
        "--files", type=int, default=5000, help="number of damaged files to open (default 5000)"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the damage (default 0)")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="folder for the files that caused a fault")


def measure(args: argparse.Namespace, on_progress: Callable[[str, int, int], None]) -> dict[str, Any]:
    """Damage files and open them."""
    from app.bench import robustness

    if args.files < 1:
        raise ApicalError(f"--files is {args.files}; it must be at least 1.")
    return robustness.run(
        args.paths, files=args.files, seed=args.seed, keep=args.keep, on_progress=on_progress
    )


def text(result: dict[str, Any]) -> str:
    """Format a table and one line for each fault."""
    columns = (
        "what",
        "n",
        "opened",
        "refused",
        "crash",
        "hang",
        "memory",
        "traceback",
        "slowest_s",
        "peak_mib",
    )
    rows = [tuple(c.upper().replace("_", " ") for c in columns)]
    rows += [tuple(str(row[c]) for c in columns) for row in result["rows"]]
    faults = [
        f"{fault['outcome']}: {fault['file']}, {fault['damage']} (number {fault['number']}): "
        f"{fault['detail'].strip().splitlines()[-1]}"
        for fault in result["faults"]
    ]
    return "\n".join((table(rows), "", *(faults or ["No faults."])))

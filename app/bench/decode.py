"""Decoding of whole cines to grey, compared with pydicom's default decoder, alternating in new processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from app.bench.machine import machine
from app.bench.synthetic import COLUMNS, FRAMES, ROWS, write_cine
from app.domain.errors import CineError

_SIDES = ("ours", "pydicom", "pydicom-raw")
_ROOT = Path(__file__).resolve().parents[2]


def run(
    files: Sequence[Path], *, repeats: int = 5, on_progress: Callable[[str, int, int], None] | None = None
) -> dict[str, Any]:
    """Measure each file, or without files a synthetic JPEG cine of 75 frames of 600x800 pixels.

    Parameters
    ----------
    files : sequence of Path
        DICOM cines.
    repeats : int
        Processes for each program and file, over which medians are taken.
    on_progress : callable, optional
        Called with the stage, the files done and the files in all.

    Returns
    -------
    dict
        ``{name, machine, rows, ratios}``, times in seconds; a ratio over 1 is in favour of Apical.

    Raises
    ------
    CineError
        One of the programs cannot decode a file.
    """
    with tempfile.TemporaryDirectory(prefix="apical-bench-") as folder:
        named = [(file.name, file) for file in files]
        if not named:
            synthetic = write_cine(Path(folder) / "synthetic.dcm")
            named = [(f"synthetic JPEG {ROWS}x{COLUMNS}x{FRAMES}", synthetic)]
        rows: list[dict[str, Any]] = []
        for index, (name, file) in enumerate(named):
            if on_progress:
                on_progress(f"decoding {name}", index, len(named))
            rows += _measure(name, file, repeats)
    ratios = {
        f"{side}, {state}, {name}": _seconds(rows, name, side, state) / _seconds(rows, name, "ours", state)
        for name, _ in named
        for side in _SIDES[1:]
        for state in ("cold", "warm")
    }
    versions = machine("pydicom", "python-gdcm", "pillow", "opencv-python-headless", "numpy")
    return {"name": "decode", "machine": versions, "rows": rows, "ratios": ratios}


def _measure(name: str, file: Path, repeats: int) -> list[dict[str, Any]]:
    results: dict[str, list[dict[str, Any]]] = {side: [] for side in _SIDES}
    # Alternating, so that other load on the machine affects all programs alike.
    for _ in range(repeats):
        for side in _SIDES:
            results[side].append(_fresh_process(side, file))
    rows = []
    for side in _SIDES:
        for state in ("cold", "warm"):
            runs = [run[state] for run in results[side]]
            row = {
                "file": name,
                "who": side if side == "ours" else f"{side} ({results[side][0]['decoder']})",
                "side": side,
                "state": state,
                "frames": runs[0]["frames"],
                "median_s": median(run["seconds"] for run in runs),
                "best_s": min(run["seconds"] for run in runs),
                "worst_s": max(run["seconds"] for run in runs),
            }
            if side == "ours":
                row["first_frame_s"] = median(run["first_frame"] for run in runs)
            rows.append(row)
    return rows


def _fresh_process(side: str, file: Path) -> dict[str, Any]:
    # Also for a checkout that is not installed.
    python_path = os.pathsep.join(filter(None, (str(_ROOT), os.environ.get("PYTHONPATH"))))
    done = subprocess.run(
        [sys.executable, "-m", "app.bench.decode_once", side, str(file.absolute())],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": python_path},
        check=False,
    )
    if done.returncode:
        program = "Apical" if side == "ours" else "pydicom's default decoder"
        raise CineError(f"{file.name} cannot be decoded by {program}; give a DICOM cine that both can read.")
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def _seconds(rows: list[dict[str, Any]], name: str, side: str, state: str) -> float:
    return next(
        float(row["median_s"])
        for row in rows
        if row["file"] == name and row["side"] == side and row["state"] == state
    )

"""Process of the robustness benchmark that opens files one after the other.

It reads JSON objects ``{"path", "labels"}`` from stdin, one per line, and prints one line for each: the
outcome (opened, refused, or a traceback), the time in seconds and the peak of resident memory.
"""

from __future__ import annotations

import contextlib
import json
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from app.domain.errors import ApicalError
from app.domain.labels import LEFT_HEART
from app.readers.open import open_cine
from app.readers.region import sample_indices
from app.storage.labels_io import read_labels

DECODED = 12
"""Number of frames decoded of each cine."""


def attempt(path: Path, shape: tuple[int, int, int] | None) -> dict[str, Any]:
    """Open a cine and decode some of its frames, or read label files.

    Parameters
    ----------
    path : Path
    shape : tuple of int or None
        Frames, height and width of the cine of a label file; None for a cine.

    Returns
    -------
    dict
        Keys: outcome, detail (unless opened), seconds, peak (bytes).
    """
    _reset_peak()
    started = time.monotonic()
    found: dict[str, Any]
    try:
        if shape is not None:
            read_labels(path, shape, LEFT_HEART)
        else:
            _decode(path)
        found = {"outcome": "opened"}
    except ApicalError as error:
        found = {"outcome": "refused", "detail": str(error)}
        if "\n" in str(error) or not str(error).strip():
            found = {"outcome": "traceback", "detail": f"not one sentence: {error}"}
    except BaseException:
        found = {"outcome": "traceback", "detail": traceback.format_exc()}
    if "torch" in sys.modules:
        found = {"outcome": "traceback", "detail": "torch was imported"}
    return found | {"seconds": time.monotonic() - started, "peak": peak_bytes()}


def _decode(path: Path) -> None:
    cine = open_cine(path)
    try:
        for index in sample_indices(cine.n_frames, DECODED):
            try:
                frame = cine.frame(index)
            except ApicalError:
                continue  # a damaged frame is reported
            if frame.shape != (cine.height, cine.width):
                raise ValueError(f"frame {index} has the shape {frame.shape}")
    finally:
        cine.source.close()


def _reset_peak() -> None:
    with contextlib.suppress(OSError):  # on other systems, the peak is that of the whole process
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def peak_bytes(pid: str = "self") -> int:
    """Return the peak resident memory of a process in bytes; 0 if it is unknown."""
    try:
        for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


def main() -> None:
    """Process lines until stdin ends."""
    answers = sys.stdout
    sys.stdout = sys.stderr
    for line in sys.stdin:
        job = json.loads(line)
        shape = None if job["labels"] is None else (job["labels"][0], job["labels"][1], job["labels"][2])
        print(json.dumps(attempt(Path(job["path"]), shape)), file=answers, flush=True)


if __name__ == "__main__":
    main()

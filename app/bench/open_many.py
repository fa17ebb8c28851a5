"""Worker of the robustness benchmark: opens files one after the other and says how each went.

Reads a JSON object ``{"path", "labels"}`` a line from stdin and answers with one a line: whether the file was
opened or refused, or the traceback of what must not happen, the seconds, and the largest resident memory.
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
"""Frames decoded of each cine, spread over it."""


def attempt(path: Path, shape: tuple[int, int, int] | None) -> dict[str, Any]:
    """Open a cine and decode some of its frames, or read label files for a cine of this shape."""
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
                continue  # a damaged frame is said to be so
            if frame.shape != (cine.height, cine.width):
                raise ValueError(f"frame {index} has the shape {frame.shape}")
    finally:
        cine.source.close()


def _reset_peak() -> None:
    with contextlib.suppress(OSError):  # elsewhere the peak is that of the process
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def peak_bytes(pid: str = "self") -> int:
    """Largest resident memory of a process so far, bytes; 0 where the system does not tell."""
    try:
        for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


def main() -> None:
    """Answer until stdin ends."""
    answers = sys.stdout
    sys.stdout = sys.stderr
    for line in sys.stdin:
        job = json.loads(line)
        shape = None if job["labels"] is None else (job["labels"][0], job["labels"][1], job["labels"][2])
        print(json.dumps(attempt(Path(job["path"]), shape)), file=answers, flush=True)


if __name__ == "__main__":
    main()

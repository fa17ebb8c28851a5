"""Log of a run: one JSON object per step."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vjepa_core.pretraining.checkpoint import write_atomically
from vjepa_core.pretraining.errors import PretrainingError
from vjepa_core.pretraining.files import LOG


class StepLog:
    """Appends to `RUN/log.jsonl`, one line at a time.

    Parameters
    ----------
    run : Path
        Folder of the run.
    steps : int
        Number of steps in the checkpoint; 0 starts a new log. Lines of later steps, which were written before
        the program was killed, and an incomplete last line are removed.
    """

    def __init__(self, run: Path, steps: int) -> None:
        self.file = run / LOG
        kept = [line for line in read_log(run) if line["step"] <= steps]
        text = "".join(_line(entry) for entry in kept)
        write_atomically(self.file, lambda out: out.write(text.encode()))

    def write(self, entry: Mapping[str, Any]) -> None:
        """Append one line; NaN and infinity, which JSON does not support, become null."""
        try:
            with self.file.open("a", encoding="utf-8") as log:
                log.write(_line(entry))
        except OSError as error:
            raise PretrainingError(f"{self.file} cannot be written: check free disk space.") from error


def read_log(run: Path) -> list[dict[str, Any]]:
    """Return the complete lines of a run's log, in order; empty if there is no log."""
    file = run / LOG
    if not file.exists():
        return []
    entries = []
    for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            entry = json.loads(line)
            entry["step"] = int(entry["step"])
        except (ValueError, KeyError, TypeError):
            continue  # incomplete line, if the program was killed while writing
        entries.append(entry)
    return entries


def _line(entry: Mapping[str, Any]) -> str:
    plain = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in entry.items()}
    return json.dumps(plain, allow_nan=False) + "\n"

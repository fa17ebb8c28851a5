"""What a command hands back: the command line alone writes to stdout."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from app.domain.errors import ApicalError
from app.log import log_fault
from vjepa_core.errors import Cancelled, CoreError

DONE, FAULT, BAD_INPUT, STOPPED = 0, 1, 2, 130


@dataclass(frozen=True)
class Report:
    """Outcome of a command.

    Attributes
    ----------
    data : dict
        For ``--json``: plain JSON types.
    text : str
        The same for a reader; may be empty.
    code : int
        Exit code: 0 done, 1 the program is at fault or cannot work here, 2 bad input, 130 stopped.
    """

    data: dict[str, Any] = field(default_factory=dict)
    text: str = ""
    code: int = DONE


def in_words(error: Exception) -> tuple[str, int]:
    """What to say of an error, and the exit code that it asks for; a fault of the program is logged."""
    if isinstance(error, ApicalError | CoreError):
        return str(error), BAD_INPUT
    if isinstance(error, Cancelled):
        return "Stopped.", STOPPED
    return f"Something went wrong inside ({type(error).__name__}); {log_fault(error)}", FAULT


def plain(value: Any) -> Any:
    """Replace what JSON cannot say (NaN, infinity) by None, and tuples by lists."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [plain(item) for item in value]
    return value


def table(rows: Sequence[Sequence[str]]) -> str:
    """Columns padded to their widest cell, two spaces apart."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)


def ratio_lines(ratios: Mapping[str, float], goal: str = "") -> list[str]:
    """The ratios of a benchmark under their heading, a line each after an empty one; nothing without any.

    Parameters
    ----------
    ratios : mapping
        By what is compared.
    goal : str
        For the heading: what the ratios should be.
    """
    if not ratios:
        return []
    heading = f"Ratios, over 1 in our favour{f'; {goal}' if goal else ''}:"
    return ["", heading, *(f"  {ratio:.2f}  {what}" for what, ratio in ratios.items())]


def size(n_bytes: float) -> str:
    """Bytes for a reader: "1.5 GiB"."""
    for unit in ("bytes", "KiB", "MiB"):
        if n_bytes < 1024:
            return f"{n_bytes:.0f} {unit}"
        n_bytes /= 1024
    return f"{n_bytes:.1f} GiB"

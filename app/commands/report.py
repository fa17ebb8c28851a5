"""Results of commands; only `app.cli` writes them to stdout."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from app.domain.errors import ApicalError
from app.log import log_error
from app.processes.child import STOPPED
from vjepa_core.errors import Cancelled, CoreError

DONE, FAULT, BAD_INPUT = 0, 1, 2

NOTICE = "Research use only: not for diagnosis."
"""Part of every result that a user could mistake for a clinical one."""


@dataclass(frozen=True)
class Report:
    """Result of a command.

    Attributes
    ----------
    data : dict
        Result for ``--json``: plain JSON types.
    text : str
        The same result for the terminal; may be empty.
    code : int
        Exit code: `DONE`, `FAULT` (an error of the program, or it cannot work here), `BAD_INPUT` or
        `STOPPED`.
    """

    data: dict[str, Any] = field(default_factory=dict)
    text: str = ""
    code: int = DONE


def describe_error(error: Exception) -> tuple[str, int]:
    """Return the message for an error and the exit code; faults of the program are logged."""
    if isinstance(error, ApicalError | CoreError):
        return str(error), BAD_INPUT
    if isinstance(error, Cancelled):
        return "Stopped.", STOPPED
    return f"An internal error occurred ({type(error).__name__}); {log_error(error)}", FAULT


def to_json_types(value: Any) -> Any:
    """Replace values that JSON lacks: NaN and infinity by None, tuples by lists."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): to_json_types(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [to_json_types(item) for item in value]
    return value


def table(rows: Sequence[Sequence[str]]) -> str:
    """Format rows as a text table with aligned columns, two spaces apart."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)


def ratio_lines(ratios: Mapping[str, float], goal: str = "") -> list[str]:
    """Format the ratios of a benchmark under a heading, after an empty line.

    Parameters
    ----------
    ratios : mapping
        Ratio by the description of the comparison.
    goal : str
        Added to the heading.

    Returns
    -------
    list of str
        Empty if there are no ratios.
    """
    if not ratios:
        return []
    heading = f"Ratios, over 1 in our favour{f'; {goal}' if goal else ''}:"
    return ["", heading, *(f"  {ratio:.2f}  {what}" for what, ratio in ratios.items())]


def size(n_bytes: float) -> str:
    """Format a number of bytes: "1.5 GiB"."""
    for unit in ("bytes", "KiB", "MiB"):
        if n_bytes < 1024:
            return f"{n_bytes:.0f} {unit}"
        n_bytes /= 1024
    return f"{n_bytes:.1f} GiB"

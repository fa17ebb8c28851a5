"""Measurements as plain text for the clipboard, without names, ids or paths."""

from __future__ import annotations

from collections.abc import Sequence

from app.workspace.measuring.contents import Contents, Row

TITLE = "Measurements of the left heart, Apical. Research use only: not for diagnosis."


def as_text(contents: Contents, notes: Sequence[str], warnings: Sequence[str]) -> str:
    """Return numbers with units, intervals and origin, then notes and warnings.

    Parameters
    ----------
    contents : Contents
        Numbers; its facts are left out, because they name files.
    notes : sequence of str
        Sentences about method, view, pixel size and heart rate that name no file.
    warnings : sequence of str
        Sentences that name no file either.
    """
    rows = ([contents.headline] if contents.headline is not None else []) + [*contents.rows, *contents.minor]
    lines = [TITLE, "", *(_row(row) for row in rows)]
    if notes:
        lines += ["", *notes]
    if contents.is_updating:
        lines += ["", "The masks were still changing when these numbers were copied."]
    if warnings:
        lines += ["", "Warnings:", *(f"- {text}" for text in warnings)]
    return "\n".join(lines) + "\n"


def _row(row: Row) -> str:
    interval = f"90 % interval {row.interval}" if row.interval else ""
    note = "; ".join(part for part in (interval, row.detail.replace(" · ", "; ")) if part)
    return f"{row.label}: {row.value}" + (f" ({note})" if note else "")

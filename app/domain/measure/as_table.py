"""Measurements as rows of a table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

COLUMNS = ("view", "beat", "quantity", "value", "low_90", "high_90")

_NOT_ROWS = {"beats", "mean", "sd"}


def to_rows(data: Mapping[str, Any]) -> list[tuple[str, str, str, float, float | None, float | None]]:
    """Return one row per number that is known.

    Parameters
    ----------
    data : mapping
        Result of `to_json`.

    Returns
    -------
    list of tuple
        View or "biplane"; beat ("shown", "0", "1", ..., "mean" or "sd"); name of the quantity with its unit;
        value; 90 % interval of the shown beat, where one is given.
    """
    parts = dict(data["views"])
    if "biplane" in data:
        parts["biplane"] = data["biplane"]
    rows = []
    for view, part in parts.items():
        beats = {"shown": part, **{str(i): beat for i, beat in enumerate(part.get("beats", ()))}}
        beats |= {key: part[key] for key in ("mean", "sd") if part.get(key)}
        for beat, numbers in beats.items():
            for quantity, value in numbers.items():
                if quantity in _NOT_ROWS or isinstance(value, bool) or not isinstance(value, int | float):
                    continue
                interval = data["intervals"].get(f"{view}.{quantity}") if beat == "shown" else None
                low, high = (None, None) if interval is None else interval
                rows.append((view, beat, quantity, value, low, high))
    return rows

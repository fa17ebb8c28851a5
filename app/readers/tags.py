"""Access to DICOM attributes that may be absent, empty or invalid."""

from __future__ import annotations

import math
from typing import Any

from pydicom.dataset import Dataset


def value_of(ds: Dataset, keyword: str) -> Any:
    """Return the value of an attribute; None if it is absent, empty or invalid."""
    try:
        value = ds.get(keyword)
    except Exception:  # pydicom converts on access, and invalid values raise errors of many types
        return None
    return None if value is None or value == "" else value


def numbers(ds: Dataset, keyword: str) -> list[float]:
    """Return all values of a numeric attribute; empty if it is absent or not numeric."""
    value = value_of(ds, keyword)
    if value is None:
        return []
    items = value if hasattr(value, "__len__") and not isinstance(value, str | bytes) else [value]
    try:
        return [float(v) for v in items]
    except (TypeError, ValueError):
        return []


def number(ds: Dataset, keyword: str) -> float | None:
    """Return the first value of a numeric attribute if it is finite, else None."""
    values = numbers(ds, keyword)
    return values[0] if values and math.isfinite(values[0]) else None


def integer(ds: Dataset, keyword: str, default: int = 0) -> int:
    """Return the first value of an integer attribute, or the default."""
    value = number(ds, keyword)
    return default if value is None else int(value)


def text(ds: Dataset, keyword: str) -> str:
    """Return a text attribute as one string; empty if it is absent."""
    value = value_of(ds, keyword)
    if value is None:
        return ""
    if isinstance(value, str):
        return value.strip()
    return " ".join(str(v) for v in value) if hasattr(value, "__iter__") else str(value)

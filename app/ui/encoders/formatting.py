"""Sizes, times and overlaps as they stand in a narrow column."""

from __future__ import annotations

import re

from app.ui.encoders.comparison_record import Measured

_SAY = re.compile(r"say --family [\w.-]*\w")
_SAY_RATE = re.compile(r"; for another rate, say --fps RATE")


def size(n_bytes: float) -> str:
    """'44 MB', '1.2 GB'."""
    if n_bytes < 999.5e6:
        return f"{max(1, round(n_bytes / 1e6))} MB"
    return f"{n_bytes / 1e9:.1f} GB"


def weights(parameters: int) -> str:
    """'22 M weights', '1,900 M weights'."""
    return f"{max(1, round(parameters / 1e6)):,} M weights"


def about(seconds: float) -> str:
    """'about 12 s', 'about 4 min', 'about 1.5 h'."""
    if seconds < 1:
        return "under 1 s"
    if seconds < 90:
        return f"about {seconds:.0f} s"
    if seconds < 90 * 60:
        return f"about {seconds / 60:.0f} min"
    return f"about {seconds / 3600:.1f} h"


def interval(measured: Measured) -> str:
    """'+0.012 (-0.004 to +0.028)'; empty where there is none."""
    if measured.apart is None:
        return ""
    mean, low, high = measured.apart
    return f"{signed(mean)} ({signed(low)} to {signed(high)})"


def signed(value: float) -> str:
    """'+0.012', '−0.004', '0.000'."""
    text = f"{abs(value):.3f}"
    return text if float(text) == 0 else f"{'+' if value > 0 else '−'}{text}"


def spoken(sentence: str) -> str:
    """A sentence of `apical encoders import` without the options that only a command line has."""
    sentence = _SAY_RATE.sub("", _SAY.sub("choose that at the import", sentence))
    return sentence.replace("leave --family out or name another", "choose another")

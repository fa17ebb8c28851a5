"""Numbers as text for users: sizes, times, counts, differences."""

from __future__ import annotations


def format_size(n_bytes: float) -> str:
    """Return a file size, such as '44 MB' or '1.2 GB'."""
    if n_bytes < 999.5e6:
        return f"{max(1, round(n_bytes / 1e6))} MB"
    return f"{n_bytes / 1e9:.1f} GB"


def format_parameters(number: int) -> str:
    """Return a number of parameters, such as '22 M parameters' or '1,900 M parameters'."""
    return f"{max(1, round(number / 1e6)):,} M parameters"


def format_estimate(seconds: float) -> str:
    """Return an estimated time for a narrow column, such as 'about 12 s', 'about 4 min' or 'about 1.5 h'."""
    if seconds < 1:
        return "under 1 s"
    if seconds < 90:
        return f"about {seconds:.0f} s"
    if seconds < 90 * 60:
        return f"about {seconds / 60:.0f} min"
    return f"about {seconds / 3600:.1f} h"


def format_duration(seconds: float) -> str:
    """Return a duration with its unit in full, such as '40 seconds', '3.5 hours' or '2 days'."""
    if seconds < 90:
        return f"{max(1, round(seconds))} seconds"
    if seconds < 90 * 60:
        return f"{round(seconds / 60)} minutes"
    if seconds < 48 * 3600:
        hours = seconds / 3600
        return f"{hours:.1f} hours" if hours < 10 else f"{hours:.0f} hours"
    return f"{seconds / 86400:.0f} days"


def format_count(number: int, noun: str) -> str:
    """Return a number with its noun, such as '1 cine' or '1,200 cines'."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def format_signed(value: float) -> str:
    """Return a difference with its sign, such as '+0.012', '−0.004' or '0.000'."""
    text = f"{abs(value):.3f}"
    return text if float(text) == 0 else f"{'+' if value > 0 else '−'}{text}"


def format_interval(mean: float, low: float, high: float) -> str:
    """Return a difference with its confidence interval, such as '+0.012 (−0.004 to +0.028)'."""
    return f"{format_signed(mean)} ({format_signed(low)} to {format_signed(high)})"

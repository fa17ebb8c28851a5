"""Bland-Altman plots: differences over means, with bias and limits of agreement."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from app.bench.agreement import Agreement
from app.bench.plots import COLOURS, panels, save

LIMIT = 1.96
"""Limits of agreement in standard deviations (Bland and Altman, Lancet 1986;327:307-310)."""


def plot(folder: Path, title: str, compared: Sequence[Agreement]) -> Path:
    """Plot up to three quantities beside each other and return the file.

    Parameters
    ----------
    folder : Path
        Existing folder.
    title : str
        Name of the group of rows.
    compared : sequence of Agreement
        Quantities with at least one value.

    Raises
    ------
    ApicalError
        matplotlib is not installed, or the file cannot be written.
    """
    drawn, axes = panels(1, len(compared), 4.6, 3.8)
    for panel, one in zip(axes[0], compared, strict=True):
        means = (one.measured + one.reference) / 2.0
        bias, row = float(one.errors.mean()), one.row
        panel.scatter(means, one.errors, s=14, color=COLOURS[0], alpha=0.6, linewidths=0)
        panel.axhline(0.0, color="black", linewidth=0.6)
        panel.axhline(bias, color=COLOURS[1])
        if row["sd"] is not None:
            for side in (-LIMIT, LIMIT):
                panel.axhline(bias + side * row["sd"], color=COLOURS[1], linestyle="--")
        spread = "" if row["sd"] is None else f", SD {row['sd']:.1f}"
        panel.set(
            title=f"{one.what}\nn {row['n']}, bias {bias:.1f}{spread} {one.unit}",
            xlabel=f"mean of measured and reference ({one.unit})",
            ylabel=f"measured - reference ({one.unit})",
        )
        panel.title.set_fontsize("small")
    file = folder / f"{re.sub('[^a-z0-9]+', '-', title.lower()).strip('-')}.png"
    save(drawn, file)
    return file

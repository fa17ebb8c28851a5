"""Plots of benchmarks; matplotlib is asked for only when one is wanted."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from app.domain.errors import ApicalError

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#555555")
"""Told apart by the colour-blind too (after Okabe and Ito)."""


def figure(width: float = 7.0, height: float = 4.2) -> Any:
    """An empty figure and its axes.

    Raises
    ------
    ApicalError
        If matplotlib is not installed.
    """
    made, axes = panels(1, 1, width, height)
    return made, axes[0][0]


def panels(rows: int, columns: int, width: float = 6.0, height: float = 4.2) -> tuple[Any, Any]:
    """An empty figure and its axes, (rows, columns), each panel `width` by `height` inches.

    Raises
    ------
    ApicalError
        If matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ApicalError(
            "A plot needs matplotlib, which is not installed: pip install 'apical[plots]', "
            "or leave --plot away."
        ) from error
    made = Figure(figsize=(columns * width, rows * height), layout="constrained")
    axes = made.subplots(rows, columns, squeeze=False)
    for one in axes.flat:
        one.spines[["top", "right"]].set_visible(False)
        one.grid(alpha=0.25)
    return made, axes


def check(path: Path) -> None:
    """Raise ApicalError before long work if a plot could not be written."""
    made, _ = figure()
    save(made, path)


def save(made: Any, path: Path) -> None:
    """Write a figure in the format of the path's suffix."""
    try:
        made.savefig(path, dpi=130)
    except (OSError, ValueError) as error:
        raise ApicalError(
            f"{path} cannot be written: choose a folder that exists, and .png, .svg or .pdf."
        ) from error


def smooth(values: Sequence[float], over: int) -> list[float]:
    """Means over the last `over` values, shorter at the start."""
    return [sum(values[max(0, i - over + 1) : i + 1]) / min(i + 1, over) for i in range(len(values))]


def curves(
    path: Path,
    lines: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    levels: Mapping[str, tuple[float, float]],
    *,
    x: str,
    y: str,
    title: str,
) -> None:
    """Curves and horizontal levels with their spread, in one picture.

    Parameters
    ----------
    path : Path
    lines : mapping
        Label to abscissae and ordinates.
    levels : mapping
        Label to mean and half width.
    x, y, title : str
        Words for the axes and above.
    """
    made, axes = figure()
    colours = iter(COLOURS * 2)
    for label, (at, values) in lines.items():
        axes.plot(at, values, color=next(colours), label=label)
    for label, (mean, spread) in levels.items():
        colour = next(colours)
        axes.axhline(mean, color=colour, linestyle="--", label=label)
        if spread:
            axes.axhspan(mean - spread, mean + spread, color=colour, alpha=0.15, linewidth=0)
    axes.set(xlabel=x, ylabel=y, title=title)
    axes.legend(frameon=False, fontsize="small")
    save(made, path)


_TERMS = {
    "loss_jepa": "latent prediction",
    "loss_loc": "3D localisation",
    "loss_ctx": "dense context",
    "loss_pixels": "pixels",
    "loss_truth": "phantom labels",
}


def main(argv: Sequence[str] | None = None) -> int:
    """``python -m app.bench.plots RUN FILE``: the terms of a pre-training run over its steps."""
    from vjepa_core.pretraining.log import read_log

    run, file = (Path(word) for word in (sys.argv[1:] if argv is None else argv))
    entries = read_log(run)
    if not entries:
        raise ApicalError(f"{run} has no log: give the folder of a pre-training run.")
    lines = {}
    for key, label in _TERMS.items():
        told = [(entry["step"], entry[key]) for entry in entries if entry.get(key) is not None]
        if told:
            at, values = zip(*told, strict=True)
            lines[label] = (at, smooth(values, 20))
    curves(file, lines, {}, x="step", y="loss (mean of 20 steps)", title="Terms of the objective")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Plots of benchmarks; matplotlib is imported only if one is wanted."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from app.domain.errors import ApicalError

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#555555")
"""Distinguishable for the colour-blind (after Okabe and Ito)."""


def figure(width: float = 7.0, height: float = 4.2) -> Any:
    """Create an empty figure and its axes.

    Parameters
    ----------
    width, height : float
        Inches.

    Returns
    -------
    figure, axes

    Raises
    ------
    ApicalError
        matplotlib is not installed.
    """
    created, axes = panels(1, 1, width, height)
    return created, axes[0][0]


def panels(rows: int, columns: int, width: float = 6.0, height: float = 4.2) -> tuple[Any, Any]:
    """Create an empty figure with several panels.

    Parameters
    ----------
    rows, columns : int
        Number of panels.
    width, height : float
        Size of a panel in inches.

    Returns
    -------
    figure
    axes : ndarray, shape (rows, columns)

    Raises
    ------
    ApicalError
        matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ApicalError(
            "A plot needs matplotlib, which is not installed: pip install 'apical[plots]', or omit --plot."
        ) from error
    created = Figure(figsize=(columns * width, rows * height), layout="constrained")
    axes = created.subplots(rows, columns, squeeze=False)
    for panel in axes.flat:
        panel.spines[["top", "right"]].set_visible(False)
        panel.grid(alpha=0.25)
    return created, axes


def check(path: Path) -> None:
    """Check before long work that a plot can be written.

    Parameters
    ----------
    path : Path

    Raises
    ------
    ApicalError
        matplotlib is not installed, or the file cannot be written.
    """
    empty, _ = figure()
    save(empty, path)


def save(drawn: Any, path: Path) -> None:
    """Write a figure in the format of the path's suffix.

    Parameters
    ----------
    drawn : figure
    path : Path

    Raises
    ------
    ApicalError
        The file cannot be written.
    """
    try:
        drawn.savefig(path, dpi=130)
    except (OSError, ValueError) as error:
        raise ApicalError(
            f"{path} cannot be written: choose a folder that exists, and .png, .svg or .pdf."
        ) from error


def smooth(values: Sequence[float], over: int) -> list[float]:
    """Compute means over the last `over` values, fewer at the start."""
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
    """Plot curves and horizontal levels with their spread.

    Parameters
    ----------
    path : Path
    lines : mapping
        Label to abscissae and ordinates.
    levels : mapping
        Label to mean and half width.
    x, y, title : str
        Labels of the axes and title.
    """
    drawn, axes = figure()
    colours = iter(COLOURS * 2)
    for label, (positions, values) in lines.items():
        axes.plot(positions, values, color=next(colours), label=label)
    for label, (mean, spread) in levels.items():
        colour = next(colours)
        axes.axhline(mean, color=colour, linestyle="--", label=label)
        if spread:
            axes.axhspan(mean - spread, mean + spread, color=colour, alpha=0.15, linewidth=0)
    axes.set(xlabel=x, ylabel=y, title=title)
    axes.legend(frameon=False, fontsize="small")
    save(drawn, path)


_TERMS = {
    "loss_jepa": "latent prediction",
    "loss_loc": "3D localisation",
    "loss_ctx": "dense context",
    "loss_pixels": "pixels",
    "loss_truth": "phantom labels",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Plot the losses of a pre-training run: ``python -m app.bench.plots RUN FILE``.

    Parameters
    ----------
    argv : sequence of str, optional
        Default: the arguments of the process.

    Returns
    -------
    int
        Exit code.
    """
    from vjepa_core.pretraining.log import read_log

    run, file = (Path(argument) for argument in (sys.argv[1:] if argv is None else argv))
    entries = read_log(run)
    if not entries:
        raise ApicalError(f"{run} has no log: give the folder of a pre-training run.")
    lines = {}
    for key, label in _TERMS.items():
        points = [(entry["step"], entry[key]) for entry in entries if entry.get(key) is not None]
        if points:
            steps, values = zip(*points, strict=True)
            lines[label] = (steps, smooth(values, 20))
    curves(file, lines, {}, x="step", y="loss (mean of 20 steps)", title="Terms of the objective")
    return 0


if __name__ == "__main__":
    sys.exit(main())

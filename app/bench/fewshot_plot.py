"""Plots of Dice by labels and by seconds, from `apical bench fewshot`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from app.bench.plots import COLOURS, panels, save

_KINDS = {
    "camus": "CAMUS stills, by annotated patients",
    "phantom": "Phantom cines, by annotated frames",
    "pseudo": "Pseudo-cines of patients, by annotated frames",
    "given": "Labelled cines, by annotated frames",
}


def title(kind: str) -> str:
    """Return the heading for a kind of images."""
    return _KINDS.get(kind, kind)


def labels(row: dict[str, Any]) -> int:
    """Return the number of annotated patients or frames."""
    return int(row["patients"] if row["kind"] == "camus" else row["frames"])


def plot(path: Path, summary: list[dict[str, Any]]) -> None:
    """Plot Dice by labels and by seconds for each kind of images.

    Parameters
    ----------
    path : Path
    summary : list of dict
        Summary in the benchmark's result.

    Raises
    ------
    ApicalError
        matplotlib is not installed, or the file cannot be written.
    """
    kinds = list(dict.fromkeys(row["kind"] for row in summary))
    figure, axes = panels(len(kinds), 2)
    rows = list(dict.fromkeys(row["what"] for row in summary))
    styles = {what: _style(i) for i, what in enumerate(rows)}
    for (by_labels, by_seconds), kind in zip(axes, kinds, strict=True):
        of_kind = [row for row in summary if row["kind"] == kind and row["mean"] is not None]
        for what in dict.fromkeys(row["what"] for row in of_kind):
            _lines(by_labels, by_seconds, [row for row in of_kind if row["what"] == what], styles[what])
        unit = "patients" if kind == "camus" else "frames"
        counts = sorted({labels(row) for row in of_kind})
        by_labels.set(xscale="log", xlabel=f"annotated {unit}", ylabel="mean Dice", title=title(kind))
        by_labels.set_xticks(counts, [str(count) for count in counts])
        by_labels.minorticks_off()
        low, high = by_labels.get_ylim()
        by_labels.set_ylim(max(low, 0.0), min(high, 1.0))  # intervals over few seeds may exceed this range
        by_seconds.set(
            xscale="log",
            xlabel="seconds for features and fit",
            title=f"By seconds; numbers of annotated {unit}",
        )
        by_seconds.xaxis.set_major_formatter("{x:g}")
        by_seconds.xaxis.set_minor_formatter("")
        # Next to both panels: there are too many rows for a legend within one.
        by_seconds.legend(
            *by_labels.get_legend_handles_labels(),
            frameon=False,
            fontsize="small",
            loc="upper left",
            bbox_to_anchor=(1.0, 1.0),
            handlelength=3.0,
        )
    save(figure, path)


def _lines(by_labels: Any, by_seconds: Any, rows: list[dict[str, Any]], style: dict[str, Any]) -> None:
    dice = [row["mean"] for row in rows]
    spread = [row["mean_95"] or 0.0 for row in rows]
    by_labels.errorbar([labels(row) for row in rows], dice, spread, label=rows[0]["what"], capsize=2, **style)
    # Methods that only carry labels have no fit; for them, the time of the prediction is used.
    seconds = [row["features_s"] + row["fit_s"] or row["predict_s"] for row in rows]
    by_seconds.plot(seconds, dice, **{**style, "linewidth": 0.8})
    for row, position, value in zip(rows, seconds, dice, strict=True):
        by_seconds.annotate(
            str(labels(row)),
            (position, value),
            (3, 3),
            textcoords="offset points",
            fontsize="x-small",
            color=style["color"],
        )


def _style(number: int) -> dict[str, Any]:
    """Return solid lines in all colours first, then dashed ones."""
    repeat, colour = divmod(number, len(COLOURS))
    return {
        "color": COLOURS[colour],
        "marker": "os^"[repeat % 3],
        "markersize": 4,
        "linestyle": ("-", "--", ":")[repeat % 3],
    }

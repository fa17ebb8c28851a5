"""Dice against labels and against seconds, as `apical bench fewshot` measured them."""

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
    """Heading of a kind of pictures."""
    return _KINDS.get(kind, kind)


def labels(row: dict[str, Any]) -> int:
    """How many patients or frames were annotated."""
    return int(row["patients"] if row["kind"] == "camus" else row["frames"])


def plot(path: Path, summary: list[dict[str, Any]]) -> None:
    """Write a picture: for each kind of pictures, Dice against labels, and against seconds to fit.

    Parameters
    ----------
    path : Path
    summary : list of dict
        Of the benchmark's result.

    Raises
    ------
    ApicalError
        If matplotlib is not installed, or the picture cannot be written.
    """
    kinds = list(dict.fromkeys(row["kind"] for row in summary))
    made, axes = panels(len(kinds), 2)
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
        by_labels.set_ylim(max(low, 0.0), min(high, 1.0))  # intervals of few seeds go beyond any Dice
        by_seconds.set(
            xscale="log",
            xlabel="seconds for features and fit",
            title=f"By seconds; the numbers are annotated {unit}",
        )
        by_seconds.xaxis.set_major_formatter("{x:g}")
        by_seconds.xaxis.set_minor_formatter("")
        # Beside both panels: there are too many rows for a place among the lines.
        by_seconds.legend(
            *by_labels.get_legend_handles_labels(),
            frameon=False,
            fontsize="small",
            loc="upper left",
            bbox_to_anchor=(1.0, 1.0),
            handlelength=3.0,
        )
    save(made, path)


def _lines(by_labels: Any, by_seconds: Any, rows: list[dict[str, Any]], style: dict[str, Any]) -> None:
    dice = [row["mean"] for row in rows]
    spread = [row["mean_95"] or 0.0 for row in rows]
    by_labels.errorbar([labels(row) for row in rows], dice, spread, label=rows[0]["what"], capsize=2, **style)
    # What only carries labels along fits nothing: its place is that of its prediction.
    seconds = [row["features_s"] + row["fit_s"] or row["predict_s"] for row in rows]
    by_seconds.plot(seconds, dice, **{**style, "linewidth": 0.8})
    for row, at, value in zip(rows, seconds, dice, strict=True):
        by_seconds.annotate(
            str(labels(row)),
            (at, value),
            (3, 3),
            textcoords="offset points",
            fontsize="x-small",
            color=style["color"],
        )


def _style(number: int) -> dict[str, Any]:
    """Colours first; when they are used up, the same ones dashed."""
    again, colour = divmod(number, len(COLOURS))
    return {
        "color": COLOURS[colour],
        "marker": "os^"[again % 3],
        "markersize": 4,
        "linestyle": ("-", "--", ":")[again % 3],
    }

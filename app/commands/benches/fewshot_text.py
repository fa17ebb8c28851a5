"""Text output of `apical bench fewshot`."""

from __future__ import annotations

from typing import Any

from app.bench.fewshot_plot import labels, title
from app.commands.benches.early_end import early_end_note
from app.commands.report import ratio_lines, table


def text(result: dict[str, Any]) -> str:
    """Format a table for each kind of images, an explanation and the ratios."""
    host = result["machine"]
    parts = [f"{host['cores']} cores, {host['cpu']}, {host['threads']} threads; GPU: {host['gpu']}"]
    parts += early_end_note(result)
    if "phases" in result:
        return "\n".join([*parts, "", *_phases(result["phases"])])
    for kind in dict.fromkeys(row["kind"] for row in result["summary"]):
        parts += ["", title(kind), _table(kind, result)]
    notes: dict[str, dict[str, None]] = {}  # also notes on some of the counts only
    for row in result["summary"]:
        if row["note"]:
            note_parts = row["note"].replace(" / ", "; ").split("; ")
            notes.setdefault(row["what"], {}).update(dict.fromkeys(note_parts))
    parts += [
        "",
        "Dice in hundredths, HD95 in pixels; ± half of the 95 % interval over seeds (or over cines).",
        "AHEAD: points of mean Dice by which ours is above the row, for the same labels and seeds.",
        "FEATURES: the encoder on the annotated stills, or on the whole cine; not included in FIT.",
        "PREDICT: all scored frames.",
        *(f"{what}: {'; '.join(note)}" for what, note in notes.items()),
    ]
    return "\n".join((*parts, *ratio_lines(result["ratios"])))


def _phases(rows: list[dict[str, Any]]) -> list[str]:
    """Format a table of scores after one annotated frame, and an explanation."""
    lines = [["CINES", "ANNOTATED", "ROW", "N", "OTHER PHASE", "HD95", "OVER DRAFT", "WORST", "SAME PHASE"]]
    lines += [
        [
            row["kind"],
            row["phase"],
            row["what"],
            str(row["cines"]),
            _points(row["other"], None),
            _number(row["hd95_px"], None),
            _points(row["over_draft"], None, "+"),
            _points(row["worst"], None, "+"),
            _points(row["same"], None),
        ]
        for row in rows
    ]
    return [
        table(lines),
        "",
        "Mean Dice in hundredths, HD95 of the other phase in pixels. A phase is the quarter of the labelled "
        "frames with the largest or smallest left ventricle; the largest or smallest one is annotated.",
        "OVER DRAFT: points of Dice above the draft in the other phase; WORST: minimum over cines.",
        "Cines to which the draft does not apply are excluded.",
    ]


def _table(kind: str, result: dict[str, Any]) -> str:
    unit, counted = ("PATIENTS", "seeds") if kind == "camus" else ("FRAMES", "cines")
    names = [unit, "ROW", counted.upper(), "MEAN", "LV", "MYO", "LA", "HD95", "AHEAD", "FEATURES", "FIT"]
    lines = [[*names, "PREDICT", "STEPS"]]
    ahead = {(labels(row), row["over"]): row for row in result["differences"] if row["kind"] == kind}
    for row in result["summary"]:
        if row["kind"] != kind:
            continue
        lead = ahead.get((labels(row), row["what"]))
        lines.append(
            [
                str(labels(row)),
                row["what"],
                str(row[counted]),
                *(_points(row[key], row[f"{key}_95"]) for key in ("mean", "LV", "MYO", "LA")),
                _number(row["hd95_px"], row["hd95_px_95"]),
                "-" if lead is None else _points(lead["ahead"], lead["ahead_95"], "+"),
                *(f"{row[key]:.1f} s" for key in ("features_s", "fit_s", "predict_s")),
                f"{row['steps']:.0f}",
            ]
        )
    return table(lines)


def _points(value: float | None, half: float | None, sign: str = "") -> str:
    hundred = None if value is None else 100 * value
    return _number(hundred, None if half is None else 100 * half, sign)


def _number(value: float | None, half: float | None, sign: str = "") -> str:
    if value is None:
        return "-"
    return f"{value:{sign}.1f}" + ("" if half is None else f" ± {half:.1f}")

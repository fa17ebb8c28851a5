"""The table that `representation` prints."""

from __future__ import annotations

from typing import Any

from app.commands.report import table


def dice_table(summary: list[dict[str, Any]]) -> str:
    """Mean Dice in hundredths, with the standard deviation over seeds where there are several."""
    lines = [["ENCODER", "HEAD", "LABELS", "SEEDS", "MEAN", "LV", "MYO", "LA"]]
    for row in summary:
        share = row["share"] if isinstance(row["share"], str) else f"{row['share']:.0%}"
        values = [value_text(row[key], row[f"{key}_sd"]) for key in ("mean", "LV", "MYO", "LA")]
        lines.append([row["encoder"], row["head"], share, str(row["seeds"]), *values])
    return table(lines)


def value_text(mean: float, deviation: float | None) -> str:
    """Hundredths, with the standard deviation where there is one."""
    return f"{100 * mean:.1f}" + ("" if deviation is None else f" ± {100 * deviation:.1f}")


def over_first(summary: list[dict[str, Any]]) -> dict[str, float]:
    """Mean Dice of every encoder over that of the first, for each head and share."""
    first = {(row["head"], row["share"]): row for row in reversed(summary)}
    first |= {(row["head"], row["share"]): row for row in summary if row["encoder"] == summary[0]["encoder"]}
    ratios = {}
    for row in summary:
        base = first[row["head"], row["share"]]
        if row["encoder"] != base["encoder"] and base["mean"]:
            what = f"mean Dice of {row['encoder']} over {base['encoder']}, {row['head']} head, {row['share']}"
            ratios[what] = row["mean"] / base["mean"]
    return ratios

"""Tables of Dice by encoder."""

from __future__ import annotations

from typing import Any

from app.commands.report import table


def dice_table(summary: list[dict[str, Any]]) -> str:
    """Format the mean Dice in hundredths, with the standard deviation over several seeds."""
    lines = [["ENCODER", "HEAD", "LABELS", "SEEDS", "MEAN", "LV", "MYO", "LA"]]
    for row in summary:
        share = row["share"] if isinstance(row["share"], str) else f"{row['share']:.0%}"
        values = [value_text(row[key], row[f"{key}_sd"]) for key in ("mean", "LV", "MYO", "LA")]
        lines.append([row["encoder"], row["head"], share, str(row["seeds"]), *values])
    return table(lines)


def value_text(mean: float, deviation: float | None) -> str:
    """Format a value in hundredths, with its standard deviation if there is one."""
    return f"{100 * mean:.1f}" + ("" if deviation is None else f" ± {100 * deviation:.1f}")


def over_first(summary: list[dict[str, Any]]) -> dict[str, float]:
    """Compute the ratio of mean Dice of every encoder to that of the first, for each head and share."""
    first = {(row["head"], row["share"]): row for row in reversed(summary)}
    first |= {(row["head"], row["share"]): row for row in summary if row["encoder"] == summary[0]["encoder"]}
    ratios = {}
    for row in summary:
        base = first[row["head"], row["share"]]
        if row["encoder"] != base["encoder"] and base["mean"]:
            what = f"mean Dice of {row['encoder']} over {base['encoder']}, {row['head']} head, {row['share']}"
            ratios[what] = row["mean"] / base["mean"]
    return ratios

"""What a comparison on the user's labels said, as it is kept with the project."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

KEY = "compared"
"""Of the project's view state."""


@dataclass(frozen=True)
class Measured:
    """One encoder's part.

    Attributes
    ----------
    checksum : str
        Of the weights that were measured.
    dice : float or None
        Mean over structures and left-out frames; None where too little is outlined.
    per_class : mapping of str to float
        The same for each structure.
    apart : tuple of float or None
        Difference to the first encoder: mean, low and high end of its 95 % interval.
    """

    checksum: str
    dice: float | None
    per_class: Mapping[str, float]
    apart: tuple[float, float, float] | None

    @property
    def verdict(self) -> int:
        """1 better, -1 worse than the first one; 0 where chance cannot be told from it."""
        if self.apart is None:
            return 0
        _, low, high = self.apart
        return 1 if low > 0 else -1 if high < 0 else 0


@dataclass(frozen=True)
class Compared:
    """A whole comparison.

    Attributes
    ----------
    against : str
        Name of the first encoder, which the others are set against.
    frames, labelled : int
        Left-out frames that were measured; labelled frames that there were.
    revisions : mapping of str to int
        Revision of the annotations of each cine then, by its id.
    rows : mapping of str to Measured
        By encoder's name.
    note : str
        What the figures can and cannot say.
    """

    against: str
    frames: int
    labelled: int
    revisions: Mapping[str, int]
    rows: Mapping[str, Measured]
    note: str

    @classmethod
    def read(cls, kept: Any) -> Compared | None:
        """Of what `keep` made, or of the command's answer with `revisions`; None where it is neither."""
        try:
            rows = {str(row["name"]): _measured(row) for row in kept["encoders"]}
            first = kept["encoders"][0]
            return cls(
                str(first["name"]),
                int(first["frames"]),
                int(kept["labelled_frames"]),
                {str(cine): int(revision) for cine, revision in kept["revisions"].items()},
                rows,
                str(kept.get("note") or ""),
            )
        except (KeyError, IndexError, TypeError, ValueError, AttributeError):
            return None

    def is_stale(self, revisions: Mapping[str, int]) -> bool:
        """Whether the annotations of a cine that is open have changed since."""
        return any(self.revisions.get(cine, 0) != revision for cine, revision in revisions.items())


def keep(answer: Mapping[str, Any], revisions: Mapping[str, int]) -> dict[str, Any]:
    """What of a command's answer is kept with the project, where its pictures have no place."""
    return {
        "encoders": list(answer.get("encoders", ())),
        "labelled_frames": answer.get("labelled_frames", 0),
        "note": answer.get("note", ""),
        "revisions": dict(revisions),
    }


def join(before: Any, new: dict[str, Any]) -> dict[str, Any]:
    """`new` with the rows of `before` for encoders that it lacks; both as `keep` makes them.

    Only where both are of the same labels and against the same weights.
    """
    old, now = Compared.read(before), Compared.read(new)
    if old is None or now is None or old.revisions != now.revisions:
        return new
    if old.against != now.against or old.rows[old.against].checksum != now.rows[now.against].checksum:
        return new
    others = [row for row in before["encoders"] if row["name"] not in now.rows]
    return {**new, "encoders": [*new["encoders"], *others]}


def _measured(row: Mapping[str, Any]) -> Measured:
    dice, apart = row["mean_dice"], row["difference"]
    return Measured(
        str(row["checksum"]),
        None if dice is None else float(dice),
        {str(name): float(value) for name, value in row["per_class"].items()},
        None if apart is None else (float(apart["mean"]), float(apart["low"]), float(apart["high"])),
    )

"""Result of comparing encoders on the user's labels, as stored with the project."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from app.domain.errors import ProjectError
from app.storage.project import Project

RESULT_NAME = "encoder_comparison"
"""Name of the record among the results of a project."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class EncoderResult:
    """Result of one encoder.

    Attributes
    ----------
    checksum : str
        SHA-256 of the weights.
    dice : float or None
        Mean over structures and left-out frames; None where too few frames are outlined.
    dice_by_structure : mapping of str to float
        Mean over left-out frames for each structure.
    difference : tuple of float or None
        Difference from the reference encoder: mean, lower and upper bound of its 95 % confidence interval.
    """

    checksum: str
    dice: float | None
    dice_by_structure: Mapping[str, float]
    difference: tuple[float, float, float] | None

    @property
    def verdict(self) -> int:
        """1 for better than the reference, -1 for worse, 0 for no significant difference."""
        if self.difference is None:
            return 0
        _, low, high = self.difference
        return 1 if low > 0 else -1 if high < 0 else 0


@dataclass(frozen=True)
class EncoderComparison:
    """Results of several encoders on the same labels.

    Attributes
    ----------
    reference : str
        Name of the encoder that the others are compared with.
    n_frames, n_labelled : int
        Number of left-out frames that were measured, and of labelled frames.
    revisions : mapping of str to int
        Revision of the annotations of each cine, by its id.
    results : mapping of str to EncoderResult
        By name of the encoder.
    note : str
        Limits of the figures.
    """

    reference: str
    n_frames: int
    n_labelled: int
    revisions: Mapping[str, int]
    results: Mapping[str, EncoderResult]
    note: str

    @classmethod
    def from_record(cls, record: Any) -> EncoderComparison | None:
        """Read a record of `comparison_record`; None if it is not valid."""
        try:
            results = {str(row["name"]): _result(row) for row in record["encoders"]}
            first = record["encoders"][0]
            return cls(
                str(first["name"]),
                int(first["frames"]),
                int(record["labelled_frames"]),
                {str(cine): int(revision) for cine, revision in record["revisions"].items()},
                results,
                str(record.get("note") or ""),
            )
        except (KeyError, IndexError, TypeError, ValueError, AttributeError):
            return None

    def is_outdated(self, revisions: Mapping[str, int]) -> bool:
        """Return True if the annotations of one of these cines have changed since the comparison."""
        return any(self.revisions.get(cine, 0) != revision for cine, revision in revisions.items())


def comparison_record(output: Mapping[str, Any], revisions: Mapping[str, int]) -> dict[str, Any]:
    """Return the part of the output of `apical encoders compare` that is stored: all but the pictures."""
    return {
        "encoders": list(output.get("encoders", ())),
        "labelled_frames": output.get("labelled_frames", 0),
        "note": output.get("note", ""),
        "revisions": dict(revisions),
    }


def merge_records(previous: Any, new: dict[str, Any]) -> dict[str, Any]:
    """Add the encoders that only the previous record has to the new one.

    They are added only if both records refer to the same labels and the same reference weights.
    """
    old, now = EncoderComparison.from_record(previous), EncoderComparison.from_record(new)
    if old is None or now is None or old.revisions != now.revisions:
        return new
    if old.reference != now.reference:
        return new
    if old.results[old.reference].checksum != now.results[now.reference].checksum:
        return new
    others = [row for row in previous["encoders"] if row["name"] not in now.results]
    return {**new, "encoders": [*new["encoders"], *others]}


def read_record(project: Project | None) -> Any:
    """Return the record stored in a project; None if there is none or it cannot be read."""
    try:
        return None if project is None else project.result(RESULT_NAME)
    except ProjectError as error:
        logger.info("the comparison cannot be read: %s", error)
        return None


def write_record(project: Project, record: dict[str, Any]) -> None:
    """Store a record in a project."""
    try:
        project.save_result(RESULT_NAME, record)
    except ProjectError as error:
        logger.warning("the comparison is not saved: %s", error)


def _result(row: Mapping[str, Any]) -> EncoderResult:
    dice, difference = row["mean_dice"], row["difference"]
    return EncoderResult(
        str(row["checksum"]),
        None if dice is None else float(dice),
        {str(name): float(value) for name, value in row["per_class"].items()},
        None
        if difference is None
        else (float(difference["mean"]), float(difference["low"]), float(difference["high"])),
    )

"""Label sets of label images that were drawn elsewhere."""

from __future__ import annotations

import argparse
from pathlib import Path

from app.domain.errors import LabelError
from app.domain.labels import LEFT_HEART, LabelSet
from app.storage.label_set_json import label_set_from_json

FILE_NAME = "label_set.json"
"""Name of the label set in a folder of label images."""


def add_label_set_argument(parser: argparse.ArgumentParser) -> None:
    """Add the option ``--label-set``."""
    parser.add_argument(
        "--label-set",
        type=Path,
        metavar="FILE",
        help=f"structures of the labels (default: {FILE_NAME} in the folder of --labels, or the left heart)",
    )


def read_label_set(file: Path | None, labels: Path) -> LabelSet:
    """Return the label set of a file, or else of the folder of label images, or else of the left heart.

    Parameters
    ----------
    file : Path or None
        Value of ``--label-set``.
    labels : Path
        Value of ``--labels``.

    Raises
    ------
    LabelError
        If the file cannot be read or is not a label set.
    """
    if file is None:
        file = labels / FILE_NAME
        if not file.is_file():
            return LEFT_HEART
    try:
        label_set = label_set_from_json(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise LabelError(
            f"The label set {file} cannot be read ({error.strerror}): give another file with --label-set."
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise LabelError(
            f"{file} is not a label set: write it as described under 'Label files' in the user guide, or "
            "give another file with --label-set."
        ) from error
    values = label_set.values
    if not values or len(set(values)) < len(values) or not all(0 < value < 255 for value in values):
        listed = ", ".join(map(str, values)) or "none"
        raise LabelError(
            f"{file} has the label values {listed}: give each structure its own value from 1 to 254."
        )
    return label_set

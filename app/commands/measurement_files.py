"""Measurements as files beside the masks they were measured on."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from app.domain.measure.as_table import COLUMNS, to_rows
from vjepa_core.atomic import write_text

JSON_NAME, CSV_NAME = "measurements.json", "measurements.csv"


def write_measurements(folder: Path, data: Mapping[str, Any]) -> list[Path]:
    """Write measurements as JSON and CSV; ApicalError if that fails.

    Parameters
    ----------
    folder : Path
    data : mapping
        Result of `to_json`.
    """
    from app.storage.errors import export_error

    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(["" if cell is None else cell for cell in row] for row in to_rows(data))
    contents = {
        JSON_NAME: json.dumps(data, indent=2, allow_nan=False) + "\n",
        CSV_NAME: table.getvalue(),
    }
    files = []
    for name, text in contents.items():
        path = folder / name
        try:
            write_text(path, text)
        except OSError as error:
            raise export_error(path, error) from error
        files.append(path)
    return files

"""Step from version 1 of the project file to version 2: states of structures, from the log of strokes."""

from __future__ import annotations

import contextlib
import sqlite3

import numpy as np

from app.domain.label_packing import unpack_pixels
from app.domain.provenance import Provenance, derived_states, states_to_json
from vjepa_core.label_image import structures_in


def add_states(connection: sqlite3.Connection) -> None:
    """Set the states of annotations and strokes: accepted by an accept stroke, else drawn.

    Damaged pixels are skipped; they are reported when they are read.
    """
    for cine_id, height, width in connection.execute("SELECT id, height, width FROM cines").fetchall():
        frames = connection.execute(
            "SELECT frame FROM annotations WHERE cine_id = ? "
            "UNION SELECT frame FROM strokes WHERE cine_id = ?",
            (cine_id, cine_id),
        ).fetchall()
        for (frame,) in frames:
            with contextlib.suppress(ValueError):
                _add_to_frame(connection, cine_id, frame, (height, width))


def _add_to_frame(connection: sqlite3.Connection, cine_id: int, frame: int, shape: tuple[int, int]) -> None:
    key = (cine_id, frame)
    row = connection.execute("SELECT label FROM annotations WHERE cine_id = ? AND frame = ?", key).fetchone()
    present = () if row is None else structures_in(unpack_pixels(row[0], shape))
    states: dict[int, Provenance] = {}
    # Undone strokes follow those in force, in the order in which redo applies them.
    for undone in (0, 1):
        try:
            states = _replay(connection, key, undone, shape, states)
        except ValueError:
            states = {}
        if not undone:
            states = {value: states.get(value, Provenance.DRAWN) for value in present}
            connection.execute(
                "UPDATE annotations SET states = ? WHERE cine_id = ? AND frame = ?",
                (states_to_json(states), *key),
            )


def _replay(
    connection: sqlite3.Connection,
    key: tuple[int, int],
    undone: int,
    shape: tuple[int, int],
    states: dict[int, Provenance],
) -> dict[int, Provenance]:
    """Write the states before and after each stroke of a frame, and return those after the last one."""
    rows = connection.execute(
        "SELECT id, y0, x0, height, width, before, after, kind FROM strokes "
        "WHERE cine_id = ? AND frame = ? AND undone = ? ORDER BY id",
        (*key, undone),
    ).fetchall()
    label = np.zeros(shape, np.uint8)
    for number, y0, x0, height, width, old, new, kind in rows:
        box = (slice(y0, y0 + height), slice(x0, x0 + width))
        before = label.copy()
        before[box] = unpack_pixels(old, (height, width))
        label = before.copy()
        label[box] = unpack_pixels(new, (height, width))
        after = dict(derived_states(before, states, label, kind))
        connection.execute(
            "UPDATE strokes SET states_before = ?, states_after = ? WHERE id = ?",
            (states_to_json(states), states_to_json(after), number),
        )
        states = after
    return states

"""The tables of what a human drew: a log of strokes, and the label images that it amounts to."""

from __future__ import annotations

import dataclasses
import sqlite3

from app.domain.history import MAX_STEPS
from app.domain.strokes import PackedStroke
from app.storage.connection import Connection
from app.storage.records import Change


def write_change(sql: sqlite3.Connection, cine_id: int, change: Change) -> None:
    """Write one change within the caller's transaction; one that is there already is passed over.

    Raises
    ------
    ValueError
        If changes before this one are missing.
    """
    (revision,) = sql.execute("SELECT revision FROM cines WHERE id = ?", (cine_id,)).fetchone()
    if revision >= change.revision:
        return  # the disk had taken it although it reported an error
    if revision != change.revision - 1:
        raise ValueError(f"change {change.revision} does not follow revision {revision}")
    _log(sql, cine_id, change)
    key = (cine_id, change.frame)
    if change.label is None:
        sql.execute("DELETE FROM annotations WHERE cine_id = ? AND frame = ?", key)
    else:
        sql.execute(
            "INSERT OR REPLACE INTO annotations (cine_id, frame, label, rater, revision, states) "
            "VALUES (?, ?, ?, ?, ?, ?)",
            (*key, change.label, change.rater, change.revision, change.states),
        )
    sql.execute("UPDATE cines SET revision = ? WHERE id = ?", (change.revision, cine_id))


def read_strokes(connection: Connection, cine_id: int, undone: bool) -> list[PackedStroke]:
    """Return the strokes in force, oldest first, or those that redo brings back, the next one last."""
    rows = connection.rows(
        "SELECT frame, y0, x0, height, width, before, after, kind, rater, states_before, states_after "
        "FROM strokes "
        "WHERE cine_id = ? AND undone = ? ORDER BY id DESC LIMIT ?",
        (cine_id, int(undone), -1 if undone else MAX_STEPS),
    )
    strokes = [PackedStroke(*row) for row in rows]
    return strokes if undone else strokes[::-1]


def _log(sql: sqlite3.Connection, cine_id: int, change: Change) -> None:
    if change.stroke is not None:
        sql.execute("DELETE FROM strokes WHERE cine_id = ? AND undone = 1", (cine_id,))
        sql.execute(
            "INSERT INTO strokes (cine_id, frame, y0, x0, height, width, before, after, kind, rater, "
            "states_before, states_after) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (cine_id, *dataclasses.astuple(change.stroke)),
        )
    elif change.action == "undo":
        sql.execute(
            "UPDATE strokes SET undone = 1 WHERE id = "
            "(SELECT max(id) FROM strokes WHERE cine_id = ? AND undone = 0)",
            (cine_id,),
        )
    else:
        sql.execute(
            "UPDATE strokes SET undone = 0 WHERE id = "
            "(SELECT min(id) FROM strokes WHERE cine_id = ? AND undone = 1)",
            (cine_id,),
        )

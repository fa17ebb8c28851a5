"""Tables of heads and of the label images that they predicted."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping

from app.domain.prediction import Prediction
from app.storage.connection import Connection
from app.storage.layer_tables import layer_row
from app.storage.records import HeadRecord

_FRAMES_PER_TRANSACTION = 8  # a stroke waits for at most one such write


def write_head(sql: sqlite3.Connection, head: HeadRecord, rater: str) -> int:
    """Insert a head within the caller's transaction and delete those that no prediction refers to."""
    revisions = json.dumps({str(cine_id): revision for cine_id, revision in head.revisions.items()})
    cursor = sql.execute(
        "INSERT INTO heads (blob, encoder, encoder_checksum, label_set, revisions, created, rater) "
        "VALUES (?, ?, ?, ?, ?, ?, ?)",
        (head.blob, head.encoder, head.encoder_checksum, head.label_set, revisions, head.created, rater),
    )
    head_id = int(cursor.lastrowid or 0)
    sql.execute(
        "DELETE FROM heads WHERE id <> ? AND rater = ? AND id NOT IN "
        "(SELECT head_id FROM predictions WHERE head_id IS NOT NULL)",
        (head_id, rater),
    )
    return head_id


def read_latest_head(connection: Connection, rater: str) -> HeadRecord | None:
    """Return the newest head fitted to the layers of a rater, or None; ValueError if its row is damaged."""
    rows = connection.rows(
        "SELECT blob, encoder, encoder_checksum, label_set, revisions, created, id FROM heads "
        "WHERE rater = ? ORDER BY id DESC LIMIT 1",
        (rater,),
    )
    if not rows:
        return None
    blob, encoder, checksum, label_set, text, created, head_id = rows[0]
    revisions = {int(cine_id): int(revision) for cine_id, revision in json.loads(text).items()}
    return HeadRecord(blob, encoder, checksum, label_set, revisions, created, head_id)


def write_predictions(
    connection: Connection, cine_id: int, rater: str, predictions: Mapping[int, Prediction]
) -> None:
    """Write predictions by frame, a few frames per transaction."""
    rows = [
        (f, p.packed, p.expected_dice, p.revision, p.head_id, json.dumps(dict(p.structure_dice)))
        for f, p in predictions.items()
    ]
    for start in range(0, len(rows), _FRAMES_PER_TRANSACTION):
        with connection.transaction() as sql:
            layer_id = layer_row(sql, cine_id, rater)
            sql.executemany(
                "INSERT OR REPLACE INTO predictions "
                "(layer_id, frame, mask, confidence, revision, head_id, structure_dice) "
                "VALUES (?, ?, ?, ?, ?, ?, ?)",
                [(layer_id, *row) for row in rows[start : start + _FRAMES_PER_TRANSACTION]],
            )


def read_predictions(connection: Connection, layer_id: int, shape: tuple[int, int]) -> dict[int, Prediction]:
    """Return the predictions of a layer by frame, ascending."""
    rows = connection.rows(
        "SELECT frame, mask, confidence, revision, head_id, structure_dice FROM predictions "
        "WHERE layer_id = ? ORDER BY frame",
        (layer_id,),
    )
    return {
        frame: Prediction(mask, shape, dice, revision, head_id, _structure_dice(text))
        for frame, mask, dice, revision, head_id, text in rows
    }


def _structure_dice(text: str) -> dict[int, float]:
    """Parse the stored Dice of the structures; empty if it is damaged, because it is only an estimate."""
    try:
        return {int(value): float(dice) for value, dice in json.loads(text).items()}
    except (ValueError, TypeError, AttributeError):
        return {}


def delete_predictions(connection: Connection, layer_id: int) -> None:
    """Delete every prediction of a layer."""
    with connection.transaction() as sql:
        sql.execute("DELETE FROM predictions WHERE layer_id = ?", (layer_id,))

"""The tables of what a head learned: heads, and the label images that they predicted."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from typing import Any

from app.storage.connection import Connection
from app.storage.records import HeadRecord

_FRAMES_PER_TRANSACTION = 8  # a stroke waits for one such write at most


def write_head(sql: sqlite3.Connection, head: HeadRecord) -> int:
    """Insert a head within the caller's transaction and drop those that no prediction names."""
    revisions = json.dumps({str(cine_id): revision for cine_id, revision in head.revisions.items()})
    cursor = sql.execute(
        "INSERT INTO heads (blob, encoder, encoder_checksum, label_set, revisions, created) "
        "VALUES (?, ?, ?, ?, ?, ?)",
        (head.blob, head.encoder, head.encoder_checksum, head.label_set, revisions, head.created),
    )
    head_id = int(cursor.lastrowid or 0)
    sql.execute(
        "DELETE FROM heads WHERE id <> ? AND id NOT IN "
        "(SELECT head_id FROM predictions WHERE head_id IS NOT NULL)",
        (head_id,),
    )
    return head_id


def read_latest_head(connection: Connection) -> HeadRecord | None:
    """Return the newest head or None; ValueError if its row is damaged."""
    rows = connection.rows(
        "SELECT blob, encoder, encoder_checksum, label_set, revisions, created, id FROM heads "
        "ORDER BY id DESC LIMIT 1"
    )
    if not rows:
        return None
    blob, encoder, checksum, label_set, text, created, head_id = rows[0]
    revisions = {int(cine_id): int(revision) for cine_id, revision in json.loads(text).items()}
    return HeadRecord(blob, encoder, checksum, label_set, revisions, created, head_id)


def write_predictions(connection: Connection, rows: Sequence[tuple[Any, ...]]) -> None:
    """Write rows (cine_id, frame, mask, confidence, revision, head_id), a few frames at a time."""
    for start in range(0, len(rows), _FRAMES_PER_TRANSACTION):
        with connection.transaction() as sql:
            sql.executemany(
                "INSERT OR REPLACE INTO predictions "
                "(cine_id, frame, mask, confidence, revision, head_id) VALUES (?, ?, ?, ?, ?, ?)",
                rows[start : start + _FRAMES_PER_TRANSACTION],
            )


def delete_predictions(connection: Connection, cine_id: int) -> None:
    """Delete every prediction of a cine."""
    with connection.transaction() as sql:
        sql.execute("DELETE FROM predictions WHERE cine_id = ?", (cine_id,))

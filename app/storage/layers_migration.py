"""Steps from version 2 of the project file to version 3: layers of raters, no names of files."""

from __future__ import annotations

import os
import secrets
import sqlite3
from pathlib import Path
from urllib.parse import unquote_to_bytes

from app.storage.cine_index import CineIndex
from app.storage.raters import current_user
from app.storage.records import Location

_COPY = (
    "INSERT INTO edits (layer_id, id, frame, y0, x0, height, width, before, after, kind, rater, "
    "states_before, states_after, undone) SELECT cine_id, id, frame, y0, x0, height, width, before, after, "
    "kind, rater, states_before, states_after, undone FROM strokes",
    "INSERT INTO annotations (layer_id, frame, label, rater, revision, states) "
    "SELECT cine_id, frame, label, rater, revision, states FROM annotations_2",
    "INSERT INTO predictions (layer_id, frame, mask, confidence, revision, head_id) "
    "SELECT cine_id, frame, mask, confidence, revision, head_id FROM predictions_2",
)
_RATERS = (
    "SELECT rater FROM strokes WHERE cine_id = ? GROUP BY rater ORDER BY count(*) DESC, rater LIMIT 1",
    "SELECT rater FROM annotations_2 WHERE cine_id = ? GROUP BY rater ORDER BY count(*) DESC, rater LIMIT 1",
)


def add_layers(connection: sqlite3.Connection) -> None:
    """Give each cine one layer with all its strokes, so that its annotations look as before.

    The layer is named after the rater with the most strokes; each stroke keeps its author. The number of the
    layer is that of its cine.
    """
    cines = connection.execute(
        "SELECT id, revision FROM cines WHERE revision > 0 OR id IN (SELECT cine_id FROM strokes) "
        "OR id IN (SELECT cine_id FROM annotations_2) OR id IN (SELECT cine_id FROM predictions_2)"
    ).fetchall()
    for cine_id, revision in cines:
        connection.execute(
            "INSERT INTO layers (id, cine_id, rater, revision, sequence) VALUES (?, ?, ?, ?, ?)",
            (cine_id, cine_id, _main_rater(connection, cine_id), revision, revision),
        )
    for statement in _COPY:
        connection.execute(statement)


def _main_rater(connection: sqlite3.Connection, cine_id: int) -> str:
    for query in _RATERS:
        row = connection.execute(query, (cine_id,)).fetchone()
        if row is not None:
            return str(row[0])
    return current_user()


def remove_identities(connection: sqlite3.Connection) -> None:
    """Move the paths of cines to the user's index, and replace them with salted hashes.

    Instance UIDs are dropped. The study UID is hashed the next time the cine is opened.
    """
    salt, project = secrets.token_hex(16), secrets.token_hex(16)
    connection.executemany(
        "INSERT INTO settings (key, value) VALUES (?, ?)", [("salt", salt), ("project_id", project)]
    )
    (folder,) = (
        Path(file).parent for _, name, file in connection.execute("PRAGMA database_list") if name == "main"
    )
    found: dict[str, Path] = {}
    cines = connection.execute("SELECT id, content_hash, path FROM cines").fetchall()
    for cine_id, content_hash, stored in cines:
        found[content_hash] = path = _path(stored)
        connection.execute(
            "UPDATE cines SET location_hash = ? WHERE id = ?", (Location.hash(salt, folder, path), cine_id)
        )
    if found:
        CineIndex.of_user().store(project, folder, found)


def _path(stored: str) -> Path:
    """Return the path for its text in version 2, which is a URI if the name is not UTF-8."""
    if not stored.startswith("file://"):
        return Path(stored)
    return Path(os.fsdecode(unquote_to_bytes(stored.removeprefix("file://"))))

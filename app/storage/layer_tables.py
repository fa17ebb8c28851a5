"""Tables of annotation layers: the log of edits, and the label images and facts that result from it."""

from __future__ import annotations

import sqlite3
from typing import Any

from app.domain.annotation_layer import AnnotationLayer
from app.domain.facts import (
    Fact,
    FactChange,
    FactChanges,
    FactKey,
    FactKind,
    changes_from_json,
    changes_to_json,
    fact_from_json,
    fact_to_json,
)
from app.domain.history import MAX_STEPS, PackedEdit
from app.domain.label_packing import unpack_pixels
from app.domain.provenance import Provenance, states_from_json
from app.domain.strokes import PackedStroke
from app.storage.connection import Connection
from app.storage.records import Change, CineRecord, FactContent, FrameContent, LayerRecord
from vjepa_core.label_image import LabelImage

_WHOLE_CINE = -1
_FACTS = tuple(str(kind) for kind in FactKind)
_SEVERAL_FACTS = "facts"
"""Kind of an edit with several changes of facts, which are stored together as JSON in `after`."""


def find_layer(connection: Connection, cine_id: int, rater: str) -> int | None:
    """Return the row id of a layer; None if nothing has been written to it yet."""
    rows = connection.rows("SELECT id FROM layers WHERE cine_id = ? AND rater = ?", (cine_id, rater))
    return int(rows[0][0]) if rows else None


def layer_row(sql: sqlite3.Connection, cine_id: int, rater: str) -> int:
    """Return the row id of a layer, which is inserted in the caller's transaction if it does not exist."""
    key = (cine_id, rater)
    sql.execute("INSERT OR IGNORE INTO layers (cine_id, rater) VALUES (?, ?)", key)
    (row,) = sql.execute("SELECT id FROM layers WHERE cine_id = ? AND rater = ?", key).fetchone()
    return int(row)


def read_layers(connection: Connection, cine_id: int) -> list[LayerRecord]:
    """Return the layers of a cine, the oldest first."""
    rows = connection.rows(
        "SELECT cine_id, rater, revision, (SELECT count(*) FROM annotations WHERE layer_id = layers.id) "
        "FROM layers WHERE cine_id = ? ORDER BY id",
        (cine_id,),
    )
    return [LayerRecord(*row) for row in rows]


def read_layer(connection: Connection, record: CineRecord, rater: str) -> AnnotationLayer:
    """Return a layer with its history; an empty one if nothing has been written to it yet.

    Raises
    ------
    ValueError, IndexError
        If its rows are damaged.
    """
    size = (record.n_frames, record.height, record.width)
    rows = connection.rows(
        "SELECT id, revision, sequence FROM layers WHERE cine_id = ? AND rater = ?", (record.id, rater)
    )
    if not rows:
        return AnnotationLayer(*size, rater)
    layer_id, revision, sequence = rows[0]
    return AnnotationLayer(
        *size,
        rater,
        labels=read_labels(connection, layer_id, size[1:]),
        states=read_states(connection, layer_id),
        facts=_read_facts(connection, layer_id),
        revision=revision,
        sequence=sequence,
        done=_read_edits(connection, layer_id, undone=False),
        undone=_read_edits(connection, layer_id, undone=True),
    )


def read_labels(connection: Connection, layer_id: int, shape: tuple[int, int]) -> dict[int, LabelImage]:
    """Return label images by frame; ValueError if one is damaged."""
    rows = connection.rows(
        "SELECT frame, label FROM annotations WHERE layer_id = ? ORDER BY frame", (layer_id,)
    )
    return {frame: unpack_pixels(label, shape) for frame, label in rows}


def read_states(connection: Connection, layer_id: int) -> dict[int, dict[int, Provenance]]:
    """Return the states of structures by frame; ValueError if one is damaged."""
    rows = connection.rows("SELECT frame, states FROM annotations WHERE layer_id = ?", (layer_id,))
    return {frame: states_from_json(text) for frame, text in rows}


def write_change(sql: sqlite3.Connection, cine_id: int, rater: str, change: Change) -> None:
    """Write one change in the caller's transaction; a change that is already written is skipped.

    Raises
    ------
    ValueError
        If changes before this one are missing.
    """
    layer_id = layer_row(sql, cine_id, rater)
    (sequence,) = sql.execute("SELECT sequence FROM layers WHERE id = ?", (layer_id,)).fetchone()
    if sequence >= change.sequence:
        return  # already written, although the disk reported an error
    if sequence != change.sequence - 1:
        raise ValueError(f"change {change.sequence} does not follow change {sequence}")
    _log(sql, layer_id, change)
    match change.content:
        case FrameContent():
            _write_frame(sql, layer_id, change, change.content)
        case contents:
            for content in contents:
                _write_fact(sql, layer_id, change, content)
    sql.execute(
        "UPDATE layers SET revision = ?, sequence = ? WHERE id = ?",
        (change.revision, change.sequence, layer_id),
    )


def _write_frame(sql: sqlite3.Connection, layer_id: int, change: Change, content: FrameContent) -> None:
    key = (layer_id, content.frame)
    if content.label is None:
        sql.execute("DELETE FROM annotations WHERE layer_id = ? AND frame = ?", key)
        return
    sql.execute(
        "INSERT OR REPLACE INTO annotations (layer_id, frame, label, rater, revision, states) "
        "VALUES (?, ?, ?, ?, ?, ?)",
        (*key, content.label, change.rater, change.revision, content.states),
    )


def _write_fact(sql: sqlite3.Connection, layer_id: int, change: Change, content: FactContent) -> None:
    kind, index = content.key
    key = (layer_id, str(kind), _WHOLE_CINE if index is None else index)
    if content.fact is None:
        sql.execute("DELETE FROM facts WHERE layer_id = ? AND kind = ? AND frame = ?", key)
        return
    sql.execute(
        "INSERT OR REPLACE INTO facts (layer_id, kind, frame, value, rater) VALUES (?, ?, ?, ?, ?)",
        (*key, fact_to_json(content.fact), change.rater),
    )


def _read_facts(connection: Connection, layer_id: int) -> dict[FactKey, Fact]:
    rows = connection.rows("SELECT kind, frame, value FROM facts WHERE layer_id = ?", (layer_id,))
    facts: dict[FactKey, Fact] = {}
    for name, frame, value in rows:
        kind = FactKind(name)
        facts[kind, None if frame == _WHOLE_CINE else frame] = fact_from_json(kind, value)
    return facts


def _log(sql: sqlite3.Connection, layer_id: int, change: Change) -> None:
    """Append a new edit and delete the undone ones, or mark one edit as undone or done."""
    if change.edit is not None:
        sql.execute("DELETE FROM edits WHERE layer_id = ? AND undone = 1", (layer_id,))
        sql.execute(
            "INSERT INTO edits (layer_id, kind, frame, rater, before, after, y0, x0, height, width, "
            "states_before, states_after) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (layer_id, *_edit_to_row(change.edit)),
        )
    elif change.action == "undo":
        sql.execute(
            "UPDATE edits SET undone = 1 WHERE id = "
            "(SELECT max(id) FROM edits WHERE layer_id = ? AND undone = 0)",
            (layer_id,),
        )
    else:
        sql.execute(
            "UPDATE edits SET undone = 0 WHERE id = "
            "(SELECT min(id) FROM edits WHERE layer_id = ? AND undone = 1)",
            (layer_id,),
        )


def _read_edits(connection: Connection, layer_id: int, *, undone: bool) -> list[PackedEdit]:
    """Return the edits in force, oldest first, or the undone ones, the next to redo last."""
    rows = connection.rows(
        "SELECT kind, frame, rater, before, after, y0, x0, height, width, states_before, states_after "
        "FROM edits WHERE layer_id = ? AND undone = ? ORDER BY id DESC LIMIT ?",
        (layer_id, int(undone), -1 if undone else MAX_STEPS),
    )
    edits = [_edit_from_row(*row) for row in rows]
    return edits if undone else edits[::-1]


def _edit_to_row(edit: PackedEdit) -> tuple[object, ...]:
    if isinstance(edit, FactChange):
        values = (None if fact is None else fact_to_json(fact).encode() for fact in (edit.before, edit.after))
        return (str(edit.kind), edit.index, edit.rater, *values, 0, 0, 0, 0, "{}", "{}")
    if isinstance(edit, FactChanges):
        text = changes_to_json(edit).encode()
        return (_SEVERAL_FACTS, edit.frame, edit.rater, None, text, 0, 0, 0, 0, "{}", "{}")
    e = edit
    return (
        *(e.kind, e.frame, e.rater, e.before, e.after, e.y0, e.x0, e.height, e.width),
        *(e.states_before, e.states_after),
    )


def _edit_from_row(kind: str, frame: int | None, rater: str, *row: Any) -> PackedEdit:
    before, after, y0, x0, height, width, states_before, states_after = row
    if kind in _FACTS:
        return FactChange(FactKind(kind), frame, _fact(kind, before), _fact(kind, after), rater)
    if kind == _SEVERAL_FACTS:
        return changes_from_json((after or b"").decode(), rater)
    if frame is None or before is None or after is None:
        raise ValueError("damaged stroke: a column is missing")
    stroke_kind: Any = kind
    return PackedStroke(
        frame, y0, x0, height, width, before, after, stroke_kind, rater, states_before, states_after
    )


def _fact(kind: str, text: bytes | None) -> Fact | None:
    return None if text is None else fact_from_json(FactKind(kind), text.decode())

"""Migration of projects of version 1, in which structures have no states."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from app.domain.cine import Frame
from app.domain.label_packing import pack_pixels
from app.domain.labels import LEFT_HEART
from app.domain.provenance import Provenance
from app.storage import schema
from app.storage.label_set_json import label_set_to_json
from app.storage.project import Project

H, W = 30, 40
DRAWN, ACCEPTED = Provenance.DRAWN, Provenance.ACCEPTED
NOTHING = np.zeros((H, W), np.uint8)


def with_square(base: Frame, value: int, x0: int) -> Frame:
    label = base.copy()
    label[5:15, x0 : x0 + 8] = value
    return label


PREDICTED = with_square(with_square(NOTHING, 1, 2), 2, 20)
CORRECTED = with_square(PREDICTED, 1, 6)
BRUSHED = with_square(NOTHING, 3, 10)


def write_stroke(
    sql: sqlite3.Connection, frame: int, before: Frame, after: Frame, kind: str, undone: int = 0
) -> None:
    sql.execute(
        "INSERT INTO strokes (cine_id, frame, y0, x0, height, width, before, after, kind, rater, undone) "
        "VALUES (1, ?, 0, 0, ?, ?, ?, ?, ?, 'A', ?)",
        (frame, H, W, pack_pixels(before), pack_pixels(after), kind, undone),
    )


@pytest.fixture
def version_1(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of version 1 with an accepted, then corrected frame and a painted one."""
    path = tmp_path / "old.apical"
    with monkeypatch.context() as patch:
        patch.setattr(schema, "STEPS", schema.STEPS[:1])
        schema.create(path, {"label_set": label_set_to_json(LEFT_HEART)})
    with closing(sqlite3.connect(path)) as sql:
        sql.execute(
            "INSERT INTO cines (id, uid, content_hash, path, n_frames, height, width, revision) "
            "VALUES (1, 'u', 'h', '/heart.dcm', 9, ?, ?, 4)",
            (H, W),
        )
        write_stroke(sql, 2, NOTHING, PREDICTED, "accept")
        write_stroke(sql, 2, PREDICTED, CORRECTED, "brush")
        write_stroke(sql, 5, NOTHING, BRUSHED, "brush")
        write_stroke(sql, 5, BRUSHED, NOTHING, "erase", undone=1)
        for frame, label in ((2, CORRECTED), (5, BRUSHED), (7, PREDICTED)):  # 7: without strokes in the log
            sql.execute("INSERT INTO annotations VALUES (1, ?, ?, 'A', 3)", (frame, pack_pixels(label)))
        sql.commit()
    return path


def test_states_are_taken_from_the_log_of_strokes(version_1: Path) -> None:
    with Project.open(version_1) as project:
        annotated = project.layer(1)
        assert annotated.states(2) == {1: DRAWN, 2: ACCEPTED}
        assert annotated.states(5) == {3: DRAWN}
        assert annotated.states(7) == {1: DRAWN, 2: DRAWN}
        assert np.array_equal(annotated.label(2), CORRECTED)  # type: ignore[arg-type]
        assert [layer.rater for layer in project.layers(1)] == ["A"]
        assert project.cines()[0].path == Path("/heart.dcm")
    assert schema.backup_path(version_1, 1).exists()


def test_undo_and_redo_work_after_the_migration(version_1: Path) -> None:
    with Project.open(version_1) as project:
        annotated = project.layer(1)
        annotated.redo()
        assert annotated.annotated_frames == (2, 7)
        annotated.undo()
        assert annotated.states(5) == {3: DRAWN}
        annotated.undo()
        annotated.undo()
        assert annotated.states(2) == {1: ACCEPTED, 2: ACCEPTED}
        annotated.undo()
        assert annotated.annotated_frames == (7,)
        for _ in range(4):
            annotated.redo()
        assert annotated.states(2) == {1: DRAWN, 2: ACCEPTED}


def test_a_project_with_damaged_strokes_opens(version_1: Path) -> None:
    with closing(sqlite3.connect(version_1)) as sql:
        sql.execute("UPDATE strokes SET after = x'00' WHERE frame = 2 AND kind = 'accept'")
        sql.commit()
    with Project.open(version_1) as project:
        assert project.layer(1).states(2) == {1: DRAWN, 2: DRAWN}


def test_label_sets_of_older_versions_get_their_wall(version_1: Path) -> None:
    with closing(sqlite3.connect(version_1)) as sql:
        text = label_set_to_json(LEFT_HEART).replace(', "wall_of": null', "").replace(', "wall_of": 1', "")
        text = text.replace(', "keep_enclosed": true', "")
        assert "wall" not in text
        sql.execute("UPDATE settings SET value = ? WHERE key = 'label_set'", (text,))
        sql.commit()
    with Project.open(version_1) as project:
        assert project.label_set == LEFT_HEART

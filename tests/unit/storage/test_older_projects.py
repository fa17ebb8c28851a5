"""A project written by the previous version opens completely, and stores no file names any more."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.domain.labels import LEFT_HEART
from app.storage import schema
from app.storage.project import Project
from app.storage.project_lookup import find_project
from app.storage.recorder import Recorder

FIXTURE = Path(__file__).resolve().parents[2] / "fixtures" / "project_v2"
FOLDER = "DOE_JANE_19480301"  # folder of the cines when the project was written
UID = "1.2.826.0.1.3680043.8.498.14619197574863212614992253963007487202"
EXPECTED: dict[str, Any] = json.loads((FIXTURE / "expected.json").read_text(encoding="utf-8"))
CINES = ("first.dcm", "second.gif")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the project, in which the cines are recorded in a folder named after a patient."""
    return Path(shutil.copytree(FIXTURE, tmp_path / "copy"))


@pytest.fixture
def project(folder: Path) -> Iterator[Project]:
    with Project.open(folder / "project_v2.apical") as project:
        yield project


def digest(image: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(image).tobytes()).hexdigest()[:16]


def author(project: Project, cine_id: int) -> dict[str, str]:
    with closing(sqlite3.connect(project.path)) as sql:
        rows = sql.execute(
            "SELECT frame, annotations.rater FROM annotations JOIN layers ON layers.id = layer_id "
            "WHERE cine_id = ?",
            (cine_id,),
        ).fetchall()
    return {str(frame): rater for frame, rater in rows}


@pytest.mark.parametrize("place", [0, 1])
def test_a_cine_keeps_its_labels_states_and_predictions(project: Project, place: int) -> None:
    expected = EXPECTED[CINES[place]]
    record = project.cines()[place]
    layer = project.layer(record.id)
    assert (record.n_frames, [record.height, record.width]) == (expected["n_frames"], expected["size"])
    assert (layer.revision, layer.sequence) == (expected["revision"], expected["revision"])
    assert {str(frame): digest(label) for frame, label in layer.labels.items()} == expected["labels"]
    states = {
        str(frame): {str(value): str(state) for value, state in states.items()}
        for frame, states in layer.states_by_frame.items()
    }
    assert states == expected["states"]
    assert author(project, record.id) == expected["raters"]
    predictions = project.predictions(record.id)
    found = {str(frame): [digest(p.mask), p.expected_dice, p.revision] for frame, p in predictions.items()}
    assert found == expected["predictions"]


def test_each_cine_has_one_layer_of_the_rater_with_most_strokes(project: Project) -> None:
    for record in project.cines():
        assert [layer.rater for layer in project.layers(record.id)] == ["rater-one"]
        assert project.rater_of(record.id) == "rater-one"


def test_the_history_continues(project: Project) -> None:
    first, second = (Recorder(project, record.id) for record in project.cines())
    assert first.redo() is not None
    assert first.redo() is None
    assert first.undo() is not None
    for recorder, name in zip((first, second), CINES, strict=True):
        steps = 0
        while recorder.undo() is not None:
            steps += 1
        assert steps == EXPECTED[name]["strokes"]
        assert recorder.layer.annotated_frames == ()
        for _ in range(steps):
            recorder.redo()
        labels = recorder.layer.labels
        assert {str(f): digest(label) for f, label in labels.items()} == EXPECTED[name]["labels"]
        assert recorder.pending == 0


def test_settings_and_head_are_kept(project: Project) -> None:
    assert project.label_set == LEFT_HEART
    assert project.view_state() == EXPECTED["view"]
    head = project.latest_head()
    assert head is not None
    assert head.blob == EXPECTED["head"]["bytes"].encode()
    assert head.encoder == EXPECTED["head"]["encoder"]
    assert {str(cine): n for cine, n in head.revisions.items()} == EXPECTED["head"]["revisions"]


def test_a_comparison_moves_from_the_view_state_to_the_results(folder: Path) -> None:
    path = folder / "project_v2.apical"
    comparison = {"encoders": [{"name": "mine"}], "revisions": {"1": 7}}
    with closing(sqlite3.connect(path)) as sql, sql:
        view = json.dumps({**EXPECTED["view"], "compared": comparison})
        sql.execute("UPDATE settings SET value = ? WHERE key = 'view'", (view,))
    with Project.open(path) as project:
        assert project.result("encoder_comparison") == comparison
        assert project.view_state() == EXPECTED["view"]


@pytest.mark.parametrize("view", ["{", "[]", "null", '{"compared": null}'])
def test_a_damaged_view_state_does_not_stop_the_migration(folder: Path, view: str) -> None:
    path = folder / "project_v2.apical"
    with closing(sqlite3.connect(path)) as sql, sql:
        sql.execute("UPDATE settings SET value = ? WHERE key = 'view'", (view,))
    with Project.open(path) as project:
        assert project.result("encoder_comparison") is None
        assert project.view_state() == {}


def test_a_list_of_cines_counts_frames_in_one_query(project: Project) -> None:
    summaries = project.summaries()
    assert [s.record for s in summaries] == project.cines()
    assert [(s.n_annotated, s.n_predicted) for s in summaries] == [(3, 6), (1, 0)]


def test_paths_move_to_the_index_of_the_user(project: Project) -> None:
    assert [str(record.path) for record in project.cines()] == [f"/tmp/{FOLDER}/{name}" for name in CINES]


def test_the_migrated_project_names_no_file_and_no_uid(folder: Path) -> None:
    path = folder / "project_v2.apical"
    before = path.read_bytes()
    assert FOLDER.encode() in before
    assert UID.encode() in before
    with Project.open(path) as project:
        Recorder(project, 1).undo()
        for file in (path, path.with_name(path.name + "-wal")):
            content = file.read_bytes() if file.exists() else b""
            for text in (FOLDER, *CINES, UID, UID[-20:], "1.2.826.0.1"):
                assert text.encode() not in content
    assert FOLDER.encode() not in path.read_bytes()


def test_a_project_that_crashed_leaves_no_names_in_its_log(folder: Path) -> None:
    path = folder / "project_v2.apical"
    source = folder / "source.apical"
    path.rename(source)
    with closing(sqlite3.connect(source)) as sql:
        sql.execute("PRAGMA journal_mode = WAL")
        sql.execute("UPDATE cines SET path = '/data/DOE_JOHN/x.dcm' WHERE id = 2")
        sql.commit()
        for end in ("", "-wal"):  # left by a killed program
            shutil.copy(f"{source}{end}", f"{path}{end}")
    assert b"DOE_JOHN" in Path(f"{path}-wal").read_bytes()
    with Project.open(path) as project:
        assert str(project.cines()[1].path) == "/data/DOE_JOHN/x.dcm"
        for file in folder.glob("project_v2.apical*"):
            assert b"DOE_JOHN" not in file.read_bytes()


@pytest.mark.skipif(os.name != "posix", reason="names are text elsewhere")
def test_a_path_that_is_not_utf8_moves_to_the_index(folder: Path) -> None:
    with closing(sqlite3.connect(folder / "project_v2.apical")) as sql, sql:
        sql.execute("UPDATE cines SET path = 'file:///data/%FF%E9.dcm' WHERE id = 1")
    with Project.open(folder / "project_v2.apical") as project:
        assert project.cines()[0].path == Path(os.fsdecode(b"/data/\xff\xe9.dcm"))


@pytest.mark.skipif(os.name != "posix", reason="other systems have no such permissions")
def test_project_and_backup_are_readable_by_their_owner_only(folder: Path) -> None:
    path = folder / "project_v2.apical"
    path.chmod(0o644)
    Project.open(path).close()
    backup = schema.backup_path(path, 2)
    assert FOLDER.encode() in backup.read_bytes()  # the user may delete it after checking the project
    assert [stat.S_IMODE(file.stat().st_mode) for file in (path, backup)] == [0o600, 0o600]


def test_a_migrated_backup_has_the_same_content(folder: Path) -> None:
    path = folder / "project_v2.apical"
    Project.open(path).close()
    with Project.open(schema.backup_path(path, 2)) as again:
        assert len(again.layer(1).labels) == len(EXPECTED["first.dcm"]["labels"])


@pytest.mark.parametrize("migrated", [False, True])
def test_the_project_of_a_cine_is_found_before_and_after_the_migration(folder: Path, migrated: bool) -> None:
    path = folder / "project_v2.apical"
    if migrated:
        Project.open(path).close()
    content_hash = "4aae64c1cd3a0b62c2a5bb22b5daf201d6ceea703543b6441e215d12fbf63005"  # first.dcm
    assert find_project(content_hash, [path], drawn=True) == path
    with closing(sqlite3.connect(path)) as sql, sql:
        sql.execute("DELETE FROM annotations")
    assert find_project(content_hash, [path], drawn=True) is None
    assert find_project(content_hash, [path]) == path

"""Content of a project, copies of it, and projects that crash or are migrated."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from app.domain.cine import Cine
from app.domain.errors import ProjectError
from app.domain.labels import LEFT_HEART, LabelSet, Structure
from app.domain.prediction import Prediction
from app.storage import schema
from app.storage.project import Project
from app.storage.recorder import Recorder
from app.storage.records import HeadRecord
from vjepa_core.label_image import UNLABELLED

Paint = Callable[..., None]


def one_sentence(error: BaseException) -> bool:
    text = str(error)
    return text.endswith(".") and ": " in text and "\n" not in text and ". " not in text


def head(revision: int = 3) -> HeadRecord:
    return HeadRecord(
        b"\0weights" * 100, "vits16", "sha256:ab", "Left heart", {1: revision}, "2025-01-02T03:04:05Z"
    )


def same(a: dict[int, np.ndarray], b: dict[int, np.ndarray]) -> bool:
    return a.keys() == b.keys() and all(np.array_equal(a[key], b[key]) for key in a)


def test_everything_is_restored_when_a_project_is_reopened(
    project: Project, cine: Cine, path: Path, paint: Paint
) -> None:
    record = project.add_cine(cine)
    recorder = Recorder(project, record.id)
    for step in range(6):
        paint(recorder, step % 3, step)
    labels, revision = recorder.layer.labels, recorder.layer.revision
    head_id = project.save_head(head())
    masks = {frame: np.full((cine.height, cine.width), frame % 4, np.uint8) for frame in range(12)}
    project.save_predictions(
        record.id, {f: Prediction.of(mask, f / 12, revision, head_id) for f, mask in masks.items()}
    )
    view = {"cine": record.id, "frame": 4, "zoom": 1.5, "window": [20, 200], "tool": "brush"}
    project.save_view_state(view)
    project.close()

    with Project.open(path) as again:
        assert again.cines() == [record]
        assert again.label_set == LEFT_HEART
        assert same(again.annotations(record.id), labels)
        back = again.layer(record.id)
        assert same(back.labels, labels)
        assert (back.revision, back.can_undo, back.can_redo) == (revision, True, False)
        latest = again.latest_head()
        assert latest is not None
        assert (latest.blob, latest.revisions, latest.id) == (head().blob, {1: 3}, head_id)
        predictions = again.predictions(record.id)
        assert same({frame: p.mask for frame, p in predictions.items()}, masks)
        assert predictions[6].expected_dice == pytest.approx(0.5)
        assert (predictions[6].revision, predictions[6].head_id) == (revision, head_id)
        assert again.view_state() == view


def test_a_new_project_is_empty(project: Project) -> None:
    assert project.cines() == []
    assert project.latest_head() is None
    assert project.view_state() == {}


def test_a_project_is_opened_or_created(path: Path) -> None:
    with Project.open_or_create(path) as project:
        project.save_view_state({"frame": 1})
    with Project.open_or_create(path) as project:
        assert project.view_state() == {"frame": 1}


def test_a_clean_project_is_one_file(project: Project, path: Path) -> None:
    project.save_view_state({"frame": 1})
    project.close()
    project.close()
    assert list(path.parent.glob("*heart*")) == [path]


def test_history_is_restored_when_a_project_is_reopened(recorder: Recorder, path: Path, paint: Paint) -> None:
    for step in range(5):
        paint(recorder, step % 2, step)
    recorder.undo()
    recorder.undo()
    recorder.redo()
    recorder.project.close()

    with Project.open(path) as project:
        again = Recorder(project, recorder.cine_id)
        assert again.layer.revision == 8
        recorder.redo()  # the first recorder is still correct in memory: compare both step by step
        again.redo()
        assert same(again.layer.labels, recorder.layer.labels)
        while recorder.layer.can_undo:
            assert again.layer.can_undo
            recorder.undo()
            again.undo()
            assert same(again.layer.labels, recorder.layer.labels)
        assert not again.layer.can_undo
        assert project.annotations(recorder.cine_id) == {}


def test_a_stroke_after_undo_deletes_undone_strokes(recorder: Recorder, path: Path, paint: Paint) -> None:
    paint(recorder, 0, 0)
    paint(recorder, 1, 1)
    recorder.undo()
    paint(recorder, 2, 2)
    recorder.project.close()
    with Project.open(path) as project:
        annotated = project.layer(recorder.cine_id)
        assert annotated.annotated_frames == (0, 2)
        assert not annotated.can_redo
        frames = []
        while (stroke := annotated.undo()) is not None:
            frames.append(stroke.frame)
        assert frames == [2, 0]


def test_a_known_cine_keeps_its_record_and_gets_its_new_path(
    project: Project, make_cine: Callable[..., Cine], tmp_path: Path
) -> None:
    first = project.add_cine(make_cine("a"))
    other = project.add_cine(make_cine("b"))
    moved = project.add_cine(make_cine("a", tmp_path / "elsewhere" / "x.dcm"))
    assert moved.id == first.id != other.id
    assert moved.path == tmp_path / "elsewhere" / "x.dcm"
    assert project.cines() == [moved, other]


def test_a_label_set_keeps_classes_that_are_drawn(recorder: Recorder, path: Path, paint: Paint) -> None:
    own = LabelSet("Own", (*LEFT_HEART.structures, Structure(9, "Éffusion", (1, 2, 3))))
    recorder.project.set_label_set(own)
    paint(recorder, 4, 0)  # draws class 1
    with pytest.raises(ProjectError, match=r"frame 4 of IM_0001\.dcm") as caught:
        recorder.project.set_label_set(LabelSet("Less", own.structures[1:]))
    assert one_sentence(caught.value)
    recorder.project.close()
    with Project.open(path) as project:
        assert project.label_set == own


def test_a_label_set_can_be_edited_in_a_project_with_scribbles(recorder: Recorder, cine: Cine) -> None:
    scribble = np.full((cine.height, cine.width), UNLABELLED, np.uint8)
    scribble[3:9, 3:9] = 1
    assert recorder.draw(0, scribble, "brush", "A") is not None
    own = LabelSet("Own", LEFT_HEART.structures[:1])
    recorder.project.set_label_set(own)
    assert recorder.project.label_set == own


def test_predictions_are_replaced_frame_by_frame(project: Project, cine: Cine) -> None:
    cine_id = project.add_cine(cine).id
    ones, twos = (np.full((cine.height, cine.width), value, np.uint8) for value in (1, 2))
    project.save_predictions(cine_id, {0: Prediction.of(ones, 0.1, 1), 1: Prediction.of(ones, 0.2, 1)})
    project.save_predictions(cine_id, {1: Prediction.of(twos, 0.9, 2)})
    back = project.predictions(cine_id)
    assert (back[0].revision, back[1].revision) == (1, 2)
    assert (back[1].mask == 2).all()


def test_the_dice_of_the_structures_is_stored_and_may_be_missing_or_damaged(
    project: Project, cine: Cine
) -> None:
    cine_id = project.add_cine(cine).id
    mask = np.ones((cine.height, cine.width), np.uint8)
    structures = {1: 0.9, 3: 0.75}
    predictions = {0: Prediction.of(mask, 0.8, 1, None, structures), 1: Prediction.of(mask, 0.8, 1)}
    project.save_predictions(cine_id, predictions)
    assert {f: p.structure_dice for f, p in project.predictions(cine_id).items()} == {0: structures, 1: {}}
    with closing(sqlite3.connect(project.path)) as sql, sql:
        sql.execute("UPDATE predictions SET structure_dice = '[1' WHERE frame = 0")
    assert project.predictions(cine_id)[0].structure_dice == {}


def test_predictions_of_another_size_or_frame_are_refused(project: Project, cine: Cine) -> None:
    cine_id = project.add_cine(cine).id
    good = np.zeros((cine.height, cine.width), np.uint8)
    for frame, mask in ((0, good.T), (cine.n_frames, good)):
        with pytest.raises(ValueError, match="does not fit"):
            project.save_predictions(cine_id, {frame: Prediction.of(mask, 1.0, 1)})
    assert project.predictions(cine_id) == {}


def test_heads_without_predictions_are_deleted(project: Project, cine: Cine) -> None:
    cine_id = project.add_cine(cine).id
    kept = project.save_head(head(1))
    mask = np.zeros((cine.height, cine.width), np.uint8)
    project.save_predictions(cine_id, {0: Prediction.of(mask, 1.0, 1, kept)})
    for revision in range(2, 6):
        project.save_head(head(revision))
    latest = project.latest_head()
    assert latest is not None
    assert latest.revisions == {1: 5}
    project.close()
    with closing(sqlite3.connect(project.path)) as sql:
        assert sql.execute("SELECT count(*) FROM heads").fetchone() == (2,)


def test_a_copy_is_complete_and_replaces_a_file_atomically(
    recorder: Recorder, tmp_path: Path, paint: Paint
) -> None:
    paint(recorder, 3)
    copy = tmp_path / "new folder" / "copy.apical"
    recorder.project.save_copy(copy)
    paint(recorder, 4)
    recorder.project.save_copy(copy)
    with Project.open(copy) as other:
        assert sorted(other.annotations(recorder.cine_id)) == [3, 4]
    assert [file.name for file in copy.parent.iterdir()] == ["copy.apical"]


def test_a_copy_onto_itself_or_onto_an_open_project_is_refused(recorder: Recorder, tmp_path: Path) -> None:
    with pytest.raises(ProjectError, match="open project itself") as caught:
        recorder.project.save_copy(recorder.project.path)
    assert one_sentence(caught.value)
    with Project.create(tmp_path / "other.apical"), pytest.raises(ProjectError, match="already open"):
        recorder.project.save_copy(tmp_path / "other.apical")


def test_a_copy_never_replaces_another_kind_of_file(recorder: Recorder, tmp_path: Path) -> None:
    target = tmp_path / "cine.dcm"
    target.write_bytes(b"precious")
    with pytest.raises(ProjectError, match="not an Apical project") as caught:
        recorder.project.save_copy(target)
    assert one_sentence(caught.value)
    assert target.read_bytes() == b"precious"


def test_a_log_left_by_a_crash_is_not_applied_to_a_new_file(recorder: Recorder, tmp_path: Path) -> None:
    (tmp_path / "new.apical-wal").write_bytes(b"x" * 100)
    for write in (Project.create, recorder.project.save_copy):
        with pytest.raises(ProjectError, match="left by a crash") as caught:
            write(tmp_path / "new.apical")
        assert one_sentence(caught.value)
    assert sorted(file.name for file in tmp_path.glob("new*")) == ["new.apical-wal"]


@pytest.mark.skipif(sys.platform == "win32", reason="making links needs a privilege there")
def test_a_link_to_an_open_project_is_the_open_project(project: Project, tmp_path: Path) -> None:
    link = tmp_path / "link.apical"
    link.symlink_to(project.path)
    with pytest.raises(ProjectError, match="already open"):
        Project.open(link)
    with pytest.raises(ProjectError, match="open project itself"):
        project.save_copy(link)


def test_a_copy_below_a_file_is_refused(recorder: Recorder, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(ProjectError) as caught:
        recorder.project.save_copy(tmp_path / "file" / "copy.apical")
    assert one_sentence(caught.value)


# Killed processes

BURST = """
import sys
import numpy as np
from app.storage.project import Project
from app.storage.recorder import Recorder
project = Project.open(sys.argv[1])
record = project.cines()[0]
recorder = Recorder(project, record.id)
step = 0
while True:
    step += 1
    frame = step % record.n_frames
    before = recorder.layer.label(frame)
    after = np.zeros((record.height, record.width), np.uint8) if before is None else before.copy()
    after[step % 40 : step % 40 + 8, step % 50 : step % 50 + 14] = 1 + (step // 7) % 3
    if recorder.draw(frame, after, "brush", "A") is None:
        continue
    if step % 5 == 0:
        recorder.undo()
    if step % 10 == 0:
        recorder.redo()
    print(recorder.layer.revision, flush=True)
"""


def test_a_killed_process_loses_at_most_the_stroke_in_progress(
    project: Project, cine: Cine, path: Path
) -> None:
    record = project.add_cine(cine)
    project.close()
    process = subprocess.Popen(
        [sys.executable, "-c", BURST, str(path)], stdout=subprocess.PIPE, text=True, bufsize=1
    )
    assert process.stdout is not None
    seen = int(process.stdout.readline())
    deadline = time.monotonic() + 10
    while seen < 60 and time.monotonic() < deadline:
        seen = int(process.stdout.readline())
    process.kill()
    process.wait()
    seen = max([seen, *(int(line) for line in process.stdout.read().split("\n")[:-1] if line)])
    process.stdout.close()

    with Project.open(path) as again:
        annotated = again.layer(record.id)
        # Every reported change exists; one or two may have been written but not reported.
        assert seen <= annotated.revision <= seen + 3
        labels = annotated.labels
        steps = 0
        while annotated.undo() is not None:
            steps += 1
        assert annotated.annotated_frames == ()  # undo leads back to the beginning
        for _ in range(steps):
            annotated.redo()
        assert same(annotated.labels, labels)


# Versions

NEXT = ("ALTER TABLE cines ADD COLUMN note TEXT NOT NULL DEFAULT ''",)


def test_an_older_project_is_migrated_after_a_backup(
    recorder: Recorder, path: Path, paint: Paint, monkeypatch: pytest.MonkeyPatch
) -> None:
    paint(recorder, 2)
    labels = recorder.layer.labels
    recorder.project.close()
    old = len(schema.STEPS)
    monkeypatch.setattr(schema, "STEPS", (*schema.STEPS, NEXT))
    with Project.open(path) as project:
        assert same(project.annotations(recorder.cine_id), labels)
    with closing(sqlite3.connect(path)) as sql:
        assert sql.execute("PRAGMA user_version").fetchone() == (old + 1,)
        assert sql.execute("SELECT note FROM cines").fetchall() == [("",)]
    monkeypatch.undo()
    backup = path.with_name(f"heart.backup-v{old}.apical")
    with Project.open(backup) as project:
        assert same(project.annotations(recorder.cine_id), labels)


def test_a_migration_that_fails_changes_nothing(
    recorder: Recorder, path: Path, paint: Paint, monkeypatch: pytest.MonkeyPatch
) -> None:
    paint(recorder, 2)
    recorder.project.close()
    monkeypatch.setattr(schema, "STEPS", (*schema.STEPS, (*NEXT, "UPDATE nowhere SET x = 1")))
    with pytest.raises(ProjectError, match="is unchanged") as caught:
        Project.open(path)
    assert "backup" in str(caught.value)
    monkeypatch.undo()
    with Project.open(path) as project:
        assert project.layer(recorder.cine_id).annotated_frames == (2,)

"""No edit is lost if the disk cannot be written."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
import pytest

from app.domain.cine import Cine
from app.domain.errors import ProjectError
from app.domain.prediction import Prediction
from app.storage.project import Project
from app.storage.recorder import Recorder

Paint = Callable[..., None]


@contextmanager
def full_disk(project: Project) -> Iterator[None]:
    """Prevent the file from growing by any page."""
    sql = project._human._sqlite
    (pages,) = sql.execute("PRAGMA page_count").fetchone()
    sql.execute(f"PRAGMA max_page_count = {pages}")
    yield
    project._human._sqlite.execute(f"PRAGMA max_page_count = {2**30}")


@contextmanager
def read_only(project: Project) -> Iterator[None]:
    project._human._sqlite.execute("PRAGMA query_only = ON")
    yield
    project._human._sqlite.execute("PRAGMA query_only = OFF")


@contextmanager
def locked(project: Project) -> Iterator[None]:
    """Hold a write transaction, like another program."""
    with closing(sqlite3.connect(project.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


def noise(recorder: Recorder, frame: int, seed: int) -> None:
    """Draw a stroke that does not compress, so that it needs new pages."""
    image = np.random.default_rng(seed).integers(1, 4, recorder.layer.shape).astype(np.uint8)
    recorder.draw(frame, image, "accept", "A")


def on_disk(recorder: Recorder) -> dict[int, np.ndarray]:
    return recorder.project.annotations(recorder.cine_id)


def agree(recorder: Recorder) -> bool:
    memory, disk = recorder.layer.labels, on_disk(recorder)
    return memory.keys() == disk.keys() and all(np.array_equal(memory[f], disk[f]) for f in memory)


def test_every_edit_is_on_the_disk_at_once(recorder: Recorder, paint: Paint) -> None:
    paint(recorder, 0, 0)
    assert agree(recorder)
    paint(recorder, 5, 1)
    assert agree(recorder)
    stroke = recorder.undo()
    assert stroke is not None
    assert stroke.frame == 5
    assert agree(recorder)
    assert recorder.redo() is not None
    assert agree(recorder)
    assert (recorder.pending, recorder.last_error) == (0, None)


def test_an_edit_without_effect_writes_nothing(recorder: Recorder) -> None:
    assert recorder.undo() is None
    assert recorder.redo() is None
    assert recorder.draw(0, np.zeros(recorder.layer.shape, np.uint8), "clear", "A") is None
    assert (recorder.layer.revision, recorder.pending) == (0, 0)


@pytest.mark.parametrize(
    ("trouble", "words"),
    [(full_disk, "is full"), (read_only, "cannot be written"), (locked, "locked by another program")],
)
def test_edits_wait_in_order_if_the_disk_cannot_be_written(
    recorder: Recorder, paint: Paint, trouble: Callable[[Project], Iterator[None]], words: str
) -> None:
    paint(recorder, 0, 0)
    before = on_disk(recorder)
    with trouble(recorder.project):  # type: ignore[attr-defined]
        noise(recorder, 1, 1)
        noise(recorder, 2, 2)
        recorder.undo()
        recorder.redo()
        noise(recorder, 1, 3)
        recorder.undo()
        assert recorder.pending == 6
        assert recorder.layer.annotated_frames == (0, 1, 2)
        assert recorder.last_error is not None
        text = str(recorder.last_error)
        assert words in text
        assert "heart.apical" in text
        assert text.count(".") == 2  # the file's name and the end of the one sentence
        assert not recorder.retry()
        assert on_disk(recorder).keys() == before.keys()
    assert recorder.retry()
    assert (recorder.pending, recorder.last_error) == (0, None)
    assert agree(recorder)
    revision = recorder.layer.revision
    recorder.project.close()
    with Project.open(recorder.project.path) as project:
        again = Recorder(project, recorder.cine_id)
        assert again.layer.revision == revision
        assert again.layer.can_redo
        while again.undo() is not None:
            pass
        assert again.layer.annotated_frames == ()
        assert on_disk(again) == {}


def test_the_next_edit_writes_pending_edits(recorder: Recorder, paint: Paint) -> None:
    with read_only(recorder.project):
        paint(recorder, 0, 0)
        assert recorder.pending == 1
    paint(recorder, 1, 1)
    assert recorder.pending == 0
    assert agree(recorder)


def test_a_successful_write_that_was_reported_as_failed_is_not_repeated(
    recorder: Recorder, paint: Paint, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = Project.commit

    def write_and_fail(self: Project, *arguments: object) -> None:
        commit(self, *arguments)  # type: ignore[arg-type]
        raise ProjectError("The disk holding heart.apical does not respond: reconnect it.")

    monkeypatch.setattr(Project, "commit", write_and_fail)
    paint(recorder, 0, 0)
    assert recorder.pending == 1
    monkeypatch.undo()
    assert recorder.retry()
    recorder.undo()
    assert agree(recorder)
    assert not recorder.project.layer(recorder.cine_id).can_undo


def test_a_gap_in_the_changes_is_never_written(recorder: Recorder, paint: Paint) -> None:
    with read_only(recorder.project):
        paint(recorder, 0, 0)
        paint(recorder, 1, 1)
        recorder._queue.popleft()
    with pytest.raises(ValueError, match="does not follow"):
        recorder.retry()
    assert on_disk(recorder) == {}


@pytest.mark.parametrize("trouble", [full_disk, read_only])
def test_moving_to_another_file_writes_pending_edits(
    recorder: Recorder, paint: Paint, tmp_path: Path, trouble: Callable[[Project], Iterator[None]]
) -> None:
    paint(recorder, 0, 0)
    old, new = recorder.project.path, tmp_path / "other disk" / "heart.apical"
    with trouble(recorder.project):  # type: ignore[attr-defined]
        noise(recorder, 1, 1)
        assert recorder.pending == 1
        sql = recorder.project._human
        recorder.project.move_to(new)
        assert recorder.retry()
        assert recorder.project._human is not sql
    assert recorder.pending == 0
    assert recorder.project.path == new
    paint(recorder, 2, 2)
    recorder.project.close()
    with Project.open(new) as project:
        assert sorted(project.annotations(recorder.cine_id)) == [0, 1, 2]
    with Project.open(old) as project:
        assert sorted(project.annotations(recorder.cine_id)) == [0]


def test_recorders_of_other_cines_follow_the_move(
    project: Project, make_cine: Callable[..., Cine], paint: Paint, tmp_path: Path
) -> None:
    _, two = (Recorder(project, project.add_cine(make_cine(name)).id) for name in "ab")
    with read_only(project):
        paint(two, 3, 0)
        project.move_to(tmp_path / "new.apical")
    assert two.pending == 1
    assert two.retry()
    assert agree(two)


def test_a_failed_move_loses_nothing(recorder: Recorder, paint: Paint, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with read_only(recorder.project):
        paint(recorder, 0, 0)
        with pytest.raises(ProjectError):
            recorder.project.move_to(tmp_path / "file" / "heart.apical")
        assert recorder.pending == 1
    assert recorder.retry()
    assert agree(recorder)


def test_an_invalid_stroke_is_not_queued(recorder: Recorder) -> None:
    with pytest.raises(IndexError):
        recorder.draw(99, np.ones(recorder.layer.shape, np.uint8), "brush", "A")
    assert (recorder.pending, recorder.layer.revision) == (0, 0)


def test_predictions_written_by_another_thread_do_not_lose_strokes(recorder: Recorder, paint: Paint) -> None:
    project, shape = recorder.project, recorder.layer.shape
    failures: list[BaseException] = []

    def predict() -> None:
        mask = np.full(shape, 1, np.uint8)
        try:
            for revision in range(20):
                fresh = {frame: Prediction.of(mask, 1.0, revision) for frame in range(12)}
                project.save_predictions(recorder.cine_id, fresh)
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=predict)
    thread.start()
    for step in range(60):
        paint(recorder, step % 12, step)
    thread.join()
    assert failures == []
    assert recorder.retry()
    assert agree(recorder)
    assert len(project.predictions(recorder.cine_id)) == 12

"""Files that must not be opened as a project, and projects that are open elsewhere."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from app.domain.errors import ProjectError
from app.storage import schema
from app.storage.project import Project
from app.storage.recorder import Recorder

Paint = Callable[..., None]


def one_sentence(error: BaseException) -> bool:
    text = str(error)
    return text.endswith(".") and ": " in text and "\n" not in text and ". " not in text


# Files that must not be opened


def refused(path: Path, words: str) -> None:
    """Check that opening fails with one sentence that names the file, and does not change it."""
    before = path.read_bytes() if path.is_file() else None
    around = sorted(path.parent.iterdir())
    with pytest.raises(ProjectError, match=words) as caught:
        Project.open(path)
    assert one_sentence(caught.value)
    assert path.name in str(caught.value)
    assert sorted(path.parent.iterdir()) == around
    if before is not None:
        assert path.read_bytes() == before


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    refused(tmp_path / "none.apical", "no project")


def test_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "folder.apical").mkdir()
    refused(tmp_path / "folder.apical", "cannot be read")


@pytest.mark.parametrize("content", [b"", b"DICM" * 100, b"SQLite format 2\0" + bytes(200)])
def test_files_of_other_formats_are_refused(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    refused(path, "not an Apical project")


def test_a_database_of_another_program_is_refused(path: Path) -> None:
    with closing(sqlite3.connect(path)) as sql:
        sql.execute("CREATE TABLE notes (text)")
    refused(path, "not an Apical project")


def test_a_newer_version_is_refused(project: Project, path: Path) -> None:
    project.close()
    with closing(sqlite3.connect(path)) as sql:
        sql.execute(f"PRAGMA user_version = {len(schema.STEPS) + 1}")
    refused(path, "newer version")


def test_a_truncated_file_is_refused(recorder: Recorder, path: Path, paint: Paint) -> None:
    for step in range(30):
        paint(recorder, step % 12, step)
    recorder.project.close()
    whole = path.read_bytes()
    for length in (50, 4096, len(whole) // 2):
        path.write_bytes(whole[:length])
        refused(path, "damaged")


def test_damaged_pages_are_reported(recorder: Recorder, path: Path, paint: Paint) -> None:
    for step in range(30):
        paint(recorder, step % 12, step)
    recorder.project.close()
    content = bytearray(path.read_bytes())
    for page in range(1, len(content) // 4096):
        content[page * 4096 : page * 4096 + 64] = b"\xa5" * 64
    path.write_bytes(content)
    refused(path, "damaged")


def test_damaged_pixels_are_reported_when_they_are_read(recorder: Recorder, path: Path, paint: Paint) -> None:
    paint(recorder, 0)
    recorder.project.close()
    with closing(sqlite3.connect(path)) as sql, sql:
        sql.execute("UPDATE annotations SET label = x'00112233'")
    with Project.open(path) as project, pytest.raises(ProjectError, match=r"heart\.apical is damaged"):
        project.layer(recorder.cine_id)


def test_creating_over_a_file_is_refused(path: Path) -> None:
    path.write_text("precious")
    with pytest.raises(ProjectError, match="exists already") as caught:
        Project.create(path)
    assert one_sentence(caught.value)
    assert path.read_text() == "precious"


def test_creating_below_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(ProjectError, match="cannot be created") as caught:
        Project.create(tmp_path / "file" / "heart.apical")
    assert one_sentence(caught.value)


# One process at a time

HOLD = """
import sys, time
from app.storage.project import Project
project = Project.open_or_create(sys.argv[1])
print("open", flush=True)
time.sleep(60)
"""


def test_a_second_opening_is_refused(project: Project, path: Path) -> None:
    with pytest.raises(ProjectError, match="already open") as caught:
        Project.open(path)
    assert one_sentence(caught.value)
    project.close()
    Project.open(path).close()


def test_a_second_process_is_refused_until_the_first_ends_or_is_killed(path: Path) -> None:
    first = subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True)
    try:
        assert first.stdout is not None
        assert first.stdout.readline() == "open\n"
        with pytest.raises(ProjectError, match="already open"):
            Project.open(path)
    finally:
        first.kill()
        first.wait()
        first.stdout.close() if first.stdout else None
    Project.open(path).close()

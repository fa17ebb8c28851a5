"""Search for the project of a cine, and the list of recent projects."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from app.domain.cine import Cine
from app.storage.project import Project
from app.storage.project_lookup import add_recent, automatic_path, find_project, projects_in, read_recent

Make = Callable[..., Cine]


def project_with(path: Path, *cines: Cine, written: float | None = None) -> Path:
    with Project.create(path) as project:
        for cine in cines:
            project.add_cine(cine)
    if written is not None:
        os.utime(path, (written, written))
    return path


def test_the_newest_project_with_the_cine_is_found(tmp_path: Path, make_cine: Make) -> None:
    a, b = make_cine("hash-a"), make_cine("hash-b")
    project_with(tmp_path / "1.apical", a, written=100)
    newer = project_with(tmp_path / "2.apical", a, b, written=200)
    project_with(tmp_path / "3.apical", b, written=300)
    found = projects_in(tmp_path)
    assert len(found) == 3
    assert find_project("hash-a", found) == newer
    assert find_project("hash-c", found) is None
    assert find_project("hash-a", []) is None


def test_files_that_are_not_projects_are_skipped(tmp_path: Path, make_cine: Make) -> None:
    good = project_with(tmp_path / "good.apical", make_cine("hash-a"))
    (tmp_path / "text.apical").write_text("x")
    (tmp_path / "empty.apical").touch()
    (tmp_path / "folder.apical").mkdir()
    candidates = [*projects_in(tmp_path), tmp_path / "gone.apical", good]
    assert find_project("hash-a", candidates) == good
    assert (tmp_path / "text.apical").read_text() == "x"


def test_an_open_project_is_found_by_its_last_write(tmp_path: Path, make_cine: Make) -> None:
    project_with(tmp_path / "old.apical", make_cine("hash-a"), written=100)
    with Project.create(tmp_path / "live.apical") as project:
        project.add_cine(make_cine("hash-a"))
        assert find_project("hash-a", projects_in(tmp_path)) == tmp_path / "live.apical"


def test_the_name_of_an_automatic_project_is_a_hash(tmp_path: Path) -> None:
    path = automatic_path(tmp_path, "0123456789abcdef" * 4)
    assert path == tmp_path / "0123456789abcdef.apical"


def test_recent_projects_are_limited_unique_and_newest_first(tmp_path: Path) -> None:
    file = tmp_path / "recent.json"
    assert read_recent(file) == []
    for n in range(40):
        add_recent(file, tmp_path / f"{n}.apical")
    add_recent(file, tmp_path / "35.apical")
    recent = read_recent(file)
    assert recent[:3] == [tmp_path / f"{n}.apical" for n in (35, 39, 38)]
    assert len(recent) == len(set(recent)) == 30
    assert [p.name for p in tmp_path.iterdir()] == ["recent.json"]


@pytest.mark.parametrize("text", ["", "{", "7", "null", '"x"', "[1, 2]", '{"a": 1}', "\udcff"])
def test_an_unreadable_list_is_replaced(tmp_path: Path, text: str) -> None:
    file = tmp_path / "recent.json"
    file.write_bytes(text.encode(errors="surrogateescape"))
    assert read_recent(file) == []
    add_recent(file, tmp_path / "a.apical")
    assert read_recent(file) == [tmp_path / "a.apical"]


def test_a_list_that_cannot_be_written_is_not_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    add_recent(tmp_path / "file" / "recent.json", tmp_path / "a.apical")
    assert read_recent(tmp_path / "file" / "recent.json") == []

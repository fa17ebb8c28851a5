"""Paths of cines are stored outside the project."""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from app import paths
from app.domain.cine import Cine
from app.storage.cine_index import CineIndex
from app.storage.project import Project
from app.storage.relocate import relocate

PATIENT = "DOE_JANE_19480301"
STUDY_UID = "1.2.840.113619.2.55.3.604688119.971.1173974400.467"


@pytest.fixture
def cine(make_cine: Callable[..., Cine], tmp_path: Path) -> Cine:
    file = tmp_path / PATIENT / "heart.dcm"
    file.parent.mkdir()
    file.write_text("hash-1")
    return dataclasses.replace(make_cine(path=file), study_uid=STUDY_UID)


def test_a_project_names_neither_file_nor_uid(tmp_path: Path, cine: Cine) -> None:
    path = tmp_path / "heart.apical"
    with Project.create(path) as project:
        record = project.add_cine(cine)
        assert record.path == cine.path
        content = path.read_bytes() + path.with_name("heart.apical-wal").read_bytes()
    content += path.read_bytes()
    for text in (PATIENT, "heart.dcm", STUDY_UID, STUDY_UID[-20:], cine.uid):
        assert text.encode() not in content


def test_hashes_are_salted(tmp_path: Path, cine: Cine) -> None:
    hashes = []
    for name in "ab":
        with Project.create(tmp_path / f"{name}.apical") as project:
            record = project.add_cine(cine)
            assert record.location is not None
            hashes.append((record.study_hash, record.location.digest))
    assert None not in hashes[0]
    assert set(hashes[0]).isdisjoint(hashes[1])


def test_cines_of_one_study_are_grouped(project: Project, make_cine: Callable[..., Cine]) -> None:
    studies = ("1.2.3", "1.2.4", "1.2.3", "", "")
    ids = [
        project.add_cine(dataclasses.replace(make_cine(f"hash-{n}"), study_uid=uid)).id
        for n, uid in enumerate(studies)
    ]
    assert [study.cine_ids for study in project.studies()] == [
        (ids[0], ids[2]),
        (ids[1],),
        (ids[3], ids[4]),
    ]
    assert project.studies()[-1].hash is None


def test_a_cine_that_moved_with_its_project_is_found_by_the_index(tmp_path: Path, cine: Cine) -> None:
    with Project.create(tmp_path / "heart.apical") as project:
        project.add_cine(cine)
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    for item in (tmp_path / PATIENT, tmp_path / "heart.apical"):
        shutil.move(item, moved)
    with Project.open(moved / "heart.apical") as project:
        assert project.cines()[0].path == moved / PATIENT / "heart.dcm"


def test_another_file_of_the_same_name_next_to_a_moved_project_is_not_used(
    tmp_path: Path, cine: Cine
) -> None:
    with Project.create(tmp_path / "heart.apical") as project:
        project.add_cine(cine)
        other = tmp_path / "elsewhere" / PATIENT / "heart.dcm"
        other.parent.mkdir(parents=True)
        other.write_text("another")
        project.move_to(tmp_path / "elsewhere" / "heart.apical")
        assert project.cines()[0].path == cine.path


def test_a_cine_that_moved_to_another_machine_is_found_by_its_relative_path(
    tmp_path: Path, cine: Cine, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Project.create(tmp_path / "heart.apical") as project:
        project.add_cine(cine)
    for number in range(5):
        (tmp_path / PATIENT / f"a{number}.dcm").write_text("another")
    monkeypatch.setenv("APICAL_HOME", str(tmp_path / "other home"))
    read: list[str] = []

    def content_hash_of(path: Path) -> str:
        read.append(path.name)
        return path.read_text()

    with Project.open(tmp_path / "heart.apical") as project:
        (record,) = project.cines()
        assert (record.path, record.name) == (None, "Cine 1")
        assert relocate(record, [tmp_path], content_hash_of) == cine.path
    assert read == ["heart.dcm"]


def test_adding_a_known_cine_writes_nothing(project: Project, cine: Cine, tmp_path: Path) -> None:
    first = project.add_cine(cine)
    log, index = tmp_path / "heart.apical-wal", paths.home() / "cine_index.sqlite"
    before = (log.read_bytes(), project.path.read_bytes(), index.stat().st_mtime_ns)
    assert project.add_cine(cine) == first
    assert (log.read_bytes(), project.path.read_bytes(), index.stat().st_mtime_ns) == before


def test_a_study_is_recorded_once_it_is_known(project: Project, cine: Cine) -> None:
    assert project.add_cine(dataclasses.replace(cine, study_uid="")).study_hash is None
    known = project.add_cine(cine)
    assert known.study_hash is not None
    assert project.add_cine(dataclasses.replace(cine, study_uid="")) == known


@pytest.mark.parametrize("damage", ["text", "folder"])
def test_an_index_that_cannot_be_used_is_empty(project: Project, cine: Cine, damage: str) -> None:
    index = paths.home() / "cine_index.sqlite"
    if damage == "text":
        index.write_text("no database, and longer than the header of one. " * 20)
    else:
        index.mkdir()
    record = project.add_cine(cine)
    assert record.path == cine.path
    assert project.cines()[0].path is None


@pytest.mark.skipif(os.name != "posix", reason="names are text elsewhere")
def test_a_file_name_that_is_not_utf8_is_stored(tmp_path: Path) -> None:
    index, path = CineIndex(tmp_path / "index.sqlite"), Path(os.fsdecode(b"/data/\xff\xe9.dcm"))
    index.store("project", tmp_path, {"hash": path})
    assert index.paths("project", tmp_path) == {"hash": path}
    assert index.path("project", tmp_path, "hash") == path
    assert index.path("another", tmp_path, "hash") is None

"""The list of cines: listing opens nothing, and cines are opened when they are needed."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from app.domain.cine import Frame
from app.readers.open import open_cine
from app.storage.project import Project
from app.workspace.cine_entry import CineEntry, CineState
from app.workspace.notice import CineNotOpened
from app.workspace.opened_cine import OpenedCine
from tests.unit.readers.dicom_oracle import grey_cine
from tests.unit.workspace.conftest import Harness

MANY = 200


def states(harness: Harness) -> list[CineState]:
    return [entry.state for entry in harness.workspace.entries]


def entry_named(harness: Harness, name: str) -> CineEntry:
    return next(entry for entry in harness.workspace.entries if entry.name == name)


def label(opened: OpenedCine) -> Frame:
    image = np.zeros((opened.cine.height, opened.cine.width), np.uint8)
    image[30:50, 30:50] = 1
    return image


@pytest.fixture
def three(tmp_path: Path) -> list[Path]:
    return [grey_cine(tmp_path / f"{name}.dcm", n=n) for name, n in (("a", 3), ("b", 4), ("c", 5))]


def test_two_hundred_files_are_listed_and_one_is_opened(
    harness: Harness, tmp_path: Path, opened_files: list[Path]
) -> None:
    folder = tmp_path / "study"
    folder.mkdir()
    first = grey_cine(folder / "cine000.dcm", n=2)
    for number in range(1, MANY):
        shutil.copy(first, folder / f"cine{number:03}.dcm")
    harness.open(folder)
    assert len(harness.workspace.entries) == MANY
    assert opened_files == [first]
    assert states(harness) == [CineState.OPEN] + [CineState.LISTED] * (MANY - 1)
    assert harness.visible_cine.cine.path == first


def test_two_hundred_cines_of_a_project_are_listed_and_one_is_opened(
    harness: Harness, tmp_path: Path, opened_files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = grey_cine(tmp_path / "cine.dcm", n=2)
    cine = open_cine(file)
    with Project.create(tmp_path / "many.apical") as project:
        for number in range(MANY):
            content_hash = cine.content_hash if number == 150 else f"{number:064}"
            path = file if number == 150 else tmp_path / f"cine{number:03}.dcm"
            project.add_cine(dataclasses.replace(cine, path=path, content_hash=content_hash))
    cine.source.close()
    with Project.open(tmp_path / "many.apical") as project:
        wanted = project.cines()[150].id
        project.save_view_state({"cine": wanted})
    read: list[int] = []
    for name in ("layer", "annotations", "predictions"):
        monkeypatch.setattr(Project, name, _counted(getattr(Project, name), read))
    harness.open(tmp_path / "many.apical")
    assert len(harness.workspace.entries) == MANY
    assert opened_files == [file]
    assert harness.visible_cine.id == wanted
    assert set(read) == {wanted}
    assert [entry.n_frames for entry in harness.workspace.entries] == [2] * MANY


def test_a_listed_cine_is_opened_when_it_is_chosen(
    harness: Harness, three: list[Path], opened_files: list[Path]
) -> None:
    harness.open(*three)
    assert opened_files == three[:1]
    assert [entry.n_frames for entry in harness.workspace.entries] == [3, None, None]
    harness.workspace.choose(entry_named(harness, "c.dcm"))
    assert harness.workspace.selected is entry_named(harness, "c.dcm")
    assert harness.visible_cine.cine.path == three[0]  # visible until the other one is open
    harness.settle()
    assert harness.visible_cine.cine.path == three[2]
    assert opened_files == [three[0], three[2]]
    harness.workspace.choose(entry_named(harness, "a.dcm"))
    assert harness.visible_cine.cine.path == three[0]


def test_of_two_cines_chosen_quickly_the_last_one_is_shown(harness: Harness, three: list[Path]) -> None:
    harness.open(*three)
    harness.workspace.choose(entry_named(harness, "b.dcm"))
    harness.workspace.choose(entry_named(harness, "c.dcm"))
    harness.settle()
    assert harness.visible_cine.cine.path == three[2]
    assert states(harness) == [CineState.OPEN] * 3


def test_a_file_listed_twice_is_one_entry(harness: Harness, three: list[Path], tmp_path: Path) -> None:
    harness.open(*three)
    harness.open(three[1])
    assert len(harness.workspace.entries) == 3
    assert harness.visible_cine.cine.path == three[1]
    copy = shutil.copy(three[1], tmp_path / "copy.dcm")
    harness.open(Path(copy))
    assert len(harness.workspace.entries) == 3  # the same cine in another file


def test_an_unreadable_file_stays_in_the_list_with_its_reason(harness: Harness, three: list[Path]) -> None:
    three[0].write_bytes(b"")
    harness.open(*three)
    assert states(harness) == [CineState.FAILED, CineState.OPEN, CineState.LISTED]
    entry = harness.workspace.entries[0]
    assert "a.dcm" in entry.error
    assert entry.error.endswith(".")
    assert CineNotOpened(entry.error) in harness.notices
    assert harness.visible_cine.cine.path == three[1]
    grey_cine(three[0], n=3)
    harness.workspace.choose(entry)  # now readable
    harness.settle()
    assert entry.state is CineState.OPEN
    assert entry.error == ""
    assert harness.visible_cine.cine.path == three[0]


def test_a_project_opens_the_cine_shown_last_and_the_annotated_ones(
    open_harness: Callable[[], Harness], three: list[Path]
) -> None:
    first = open_harness()
    first.open(*three)
    for name in ("b.dcm", "c.dcm"):
        first.workspace.choose(entry_named(first, name))
        first.settle()
    b = first.workspace.opened_cines[1]
    first.workspace.editor.draw(b, 1, label(b), "brush")
    first.workspace.save_view({})
    assert first.workspace.project is not None
    project = first.workspace.project.path
    first.workspace.close()

    second = open_harness()
    second.open(project)
    assert [entry.name for entry in second.workspace.entries] == ["a.dcm", "b.dcm", "c.dcm"]
    assert states(second) == [CineState.LISTED, CineState.OPEN, CineState.OPEN]
    assert second.visible_cine.cine.path == three[2]
    assert [entry.n_annotated for entry in second.workspace.entries] == [0, 1, 0]
    assert [cine_id for cine_id, *_ in second.session.labels] == [b.id]


def test_a_missing_cine_of_a_project_loses_nothing(
    open_harness: Callable[[], Harness], three: list[Path], tmp_path: Path
) -> None:
    first = open_harness()
    first.open(*three)
    first.workspace.editor.draw(first.visible_cine, 1, label(first.visible_cine), "brush")
    first.workspace.choose(entry_named(first, "b.dcm"))
    first.settle()
    assert first.workspace.project is not None
    project = first.workspace.project.path
    first.workspace.close()
    (tmp_path / "elsewhere").mkdir()
    outside = tmp_path.parent / f"{tmp_path.name}-moved.dcm"
    three[0].rename(outside)

    second = open_harness()
    second.open(project)
    assert states(second) == [CineState.FAILED, CineState.OPEN]
    assert second.visible_cine.cine.path == three[1]
    assert second.workspace.entries[0].n_annotated == 1
    second.open(outside)
    assert states(second) == [CineState.OPEN, CineState.OPEN]
    assert second.visible_cine.cine.path == outside
    assert second.visible_cine.recorder.layer.annotated_frames == (1,)
    outside.unlink()


def test_cines_that_were_moved_together_with_their_project_are_listed_by_name(
    open_harness: Callable[[], Harness], three: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = open_harness()
    first.open(*three)
    first.workspace.save_as(tmp_path / "study.apical")
    for name in ("b.dcm", "c.dcm"):
        first.workspace.choose(entry_named(first, name))
        first.settle()
    first.workspace.close()
    moved = tmp_path.parent / f"{tmp_path.name}-moved"
    tmp_path.rename(moved)
    monkeypatch.setenv("APICAL_HOME", str(moved / "home"))  # another computer: no path is known

    second = open_harness()
    second.open(moved / "study.apical")
    assert [entry.name for entry in second.workspace.entries] == ["a.dcm", "b.dcm", "c.dcm"]
    assert states(second) == [CineState.OPEN, CineState.LISTED, CineState.LISTED]
    second.workspace.choose(entry_named(second, "c.dcm"))
    second.settle()
    assert second.visible_cine.cine.path == moved / "c.dcm"


def test_another_file_in_the_place_of_a_cine_is_another_entry(
    open_harness: Callable[[], Harness], three: list[Path]
) -> None:
    first = open_harness()
    first.open(three[0])
    first.workspace.editor.draw(first.visible_cine, 1, label(first.visible_cine), "brush")
    assert first.workspace.project is not None
    project = first.workspace.project.path
    first.workspace.close()
    grey_cine(three[0], n=8, seed=5)

    second = open_harness()
    second.open(project)
    assert states(second) == [CineState.FAILED]
    second.open(three[0])
    assert states(second) == [CineState.FAILED, CineState.OPEN]
    assert second.visible_cine.cine.n_frames == 8
    assert second.workspace.entries[0].n_annotated == 1


def _counted(method: Callable[..., object], calls: list[int]) -> Callable[..., object]:
    def counted(project: Project, cine_id: int, *arguments: object) -> object:
        calls.append(cine_id)
        return method(project, cine_id, *arguments)

    return counted

"""Opening valid and invalid files, folders and projects."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import pytest
from pydicom.uid import UID
from PySide6.QtWidgets import QFileDialog, QPushButton

from app.engine.events import HeadFitted, PredictedMasks
from app.storage.project import Project
from tests.ui.conftest import WindowDriver, square
from tests.unit.readers.dicom_oracle import dataset, grey_cine, jpeg_cine, rgb_frames, write

OpenDriver = Callable[[], WindowDriver]


def missing(folder: Path) -> Path:
    return folder / "gone.dcm"


def empty(folder: Path) -> Path:
    (folder / "empty.dcm").touch()
    return folder / "empty.dcm"


def jpeg_xl(folder: Path) -> Path:
    stand_in = "1.2.840.10008.1.2.4.100"  # pydicom refuses to write a syntax it does not know
    pixels = [b"\xff\x0a" + bytes(50)]
    path = write(folder / "xl.dcm", dataset(1, 96, 128, "MONOCHROME2"), pixels, UID(stand_in))
    path.write_bytes(path.read_bytes().replace(stand_in.encode(), b"1.2.840.10008.1.2.4.110", 1))
    return path


def folder_without_cines(folder: Path) -> Path:
    (folder / "papers").mkdir()
    (folder / "papers" / "notes.txt").write_text("x")
    return folder / "papers"


def damaged_project(folder: Path) -> Path:
    (folder / "broken.apical").write_bytes(b"SQLite format 3\0" + bytes(5000))
    return folder / "broken.apical"


def missing_project(folder: Path) -> Path:
    return folder / "gone.apical"


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    "make", [missing, empty, jpeg_xl, folder_without_cines, damaged_project, missing_project]
)
def test_an_invalid_path_is_reported_by_name_and_drawing_continues(
    driver: WindowDriver, tmp_path: Path, make: Callable[[Path], Path]
) -> None:
    driver.user.click(60, 50)
    before, project = driver.opened, driver.workspace.project
    path = make(tmp_path)
    driver.open(path, cines=1)
    (message,) = driver.messages
    assert path.name in message
    assert message.endswith(".")
    assert driver.opened is before
    assert driver.workspace.project is project
    driver.user.click(90, 50)
    assert len(driver.opened.recorder.layer.labels) == 1
    assert driver.opened.recorder.layer.revision == 2
    assert driver.opened.recorder.pending == 0


def test_an_invalid_file_stays_in_the_list_with_the_reason_and_is_skipped_by_keys(
    empty_driver: WindowDriver, tmp_path: Path
) -> None:
    files = [grey_cine(tmp_path / f"{name}.dcm", n=n) for name, n in (("a", 3), ("b", 4), ("c", 5))]
    files[1].write_bytes(b"")
    empty_driver.open(*files, cines=2)
    item = empty_driver.window.cine_list.rows.item(1)
    assert item.text() == "b.dcm\ncannot be opened"
    assert empty_driver.messages[0] in item.toolTip()
    assert empty_driver.opened.cine.path == files[0]
    empty_driver.user.keys("PgDown")
    assert empty_driver.opened.cine.path == files[2]
    empty_driver.user.keys("PgDown")
    assert empty_driver.opened.cine.path == files[0]
    grey_cine(files[1], n=4)
    empty_driver.window.cine_list.rows.itemClicked.emit(item)
    empty_driver.settle()
    assert empty_driver.opened.cine.path == files[1]


def test_a_valid_file_is_opened_despite_invalid_paths(empty_driver: WindowDriver, tmp_path: Path) -> None:
    valid = grey_cine(tmp_path / "valid.dcm")
    empty_driver.open(folder_without_cines(tmp_path), missing(tmp_path), valid, cines=1)
    assert len(empty_driver.messages) == 2
    assert empty_driver.opened.cine.path == valid


def test_annotations_in_another_project_are_reported(open_driver: OpenDriver, tmp_path: Path) -> None:
    old, new = grey_cine(tmp_path / "old.dcm"), grey_cine(tmp_path / "new.dcm", n=7)
    first = open_driver()
    first.open(old, cines=1)
    first.user.click(60, 50)
    first.window.close()
    second = open_driver()
    second.open(new, old, cines=2)
    second.window.navigation.step_cine(1)
    ((_, text),) = [m for m in second.window.banner.messages() if "another project" in m[1]]
    assert text.startswith("old.dcm")
    button = next(b for b in second.window.banner.findChildren(QPushButton) if "project" in b.text())
    button.click()
    second.settle()
    assert second.opened.cine.path == old
    assert second.annotated == (0,)
    assert "another project" not in str(second.window.banner.messages())


def test_a_cine_is_opened_in_the_project_that_has_its_annotations(
    open_driver: OpenDriver, tmp_path: Path
) -> None:
    drawn, other = grey_cine(tmp_path / "drawn.dcm"), grey_cine(tmp_path / "other.dcm", n=7)
    first = open_driver()
    first.open(drawn, cines=1)
    first.user.click(60, 50)
    first.window.close()
    second = open_driver()
    second.open(other, drawn, cines=2)  # a newer project has the cine too, without annotations
    second.window.close()
    third = open_driver()
    third.open(drawn, cines=1)
    assert third.annotated == (0,)


def test_the_save_dialog_adds_the_suffix_of_projects(
    driver: WindowDriver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    suffixes: list[str] = []

    def choose(dialog: QFileDialog) -> bool:
        suffixes.append(dialog.defaultSuffix())
        dialog.selectFile(str(tmp_path / "study"))
        return True

    monkeypatch.setattr(QFileDialog, "exec", choose)
    driver.window.files.save_project_as()
    assert suffixes == ["apical"]
    assert (tmp_path / "study.apical").exists()


def test_a_project_open_elsewhere_is_refused(driver: WindowDriver, tmp_path: Path) -> None:
    with Project.create(tmp_path / "busy.apical"):
        driver.open(tmp_path / "busy.apical", cines=1)
        assert "already open" in driver.messages[0]
        assert driver.window.visible_cine is not None


def test_opening_the_open_project_again_changes_nothing(driver: WindowDriver) -> None:
    assert driver.workspace.project is not None
    opened = driver.opened
    driver.open(driver.workspace.project.path, cines=1)
    assert driver.messages == []
    assert driver.opened is opened


def test_a_cine_whose_project_is_open_elsewhere_is_refused(open_driver: OpenDriver, cine_file: Path) -> None:
    first, second = open_driver(), open_driver()
    first.open(cine_file, cines=1)
    second.open(cine_file, cines=0)
    assert "already open" in second.messages[0]
    assert cine_file.name in second.messages[0]
    assert second.window.visible_cine is None


def test_every_cine_of_a_folder_is_opened_once(empty_driver: WindowDriver, tmp_path: Path) -> None:
    for n in (3, 4, 5):
        grey_cine(tmp_path / f"cine{n}.dcm", n=n)
    (tmp_path / "notes.txt").write_text("x")
    empty_driver.open(tmp_path, cines=3)
    assert [o.cine.n_frames for o in empty_driver.workspace.opened_cines] == [3, 4, 5]
    assert empty_driver.opened.cine.n_frames == 3
    assert empty_driver.window.cine_list.rows.count() == 3
    empty_driver.open(tmp_path, cines=3)  # a second time adds nothing


def test_switching_between_cines_does_not_send_labels_again(
    empty_driver: WindowDriver, tmp_path: Path
) -> None:
    first, second = grey_cine(tmp_path / "a.dcm"), grey_cine(tmp_path / "b.dcm", n=7)
    empty_driver.open(first, second, cines=2)
    empty_driver.user.click(60, 50)
    sent = len(empty_driver.session.labels)
    for _ in range(4):
        empty_driver.window.navigation.step_cine(1)
    assert sent == 1
    assert len(empty_driver.session.labels) == sent


def test_two_cines_keep_their_own_strokes_and_frames(empty_driver: WindowDriver, tmp_path: Path) -> None:
    empty_driver.open(grey_cine(tmp_path / "a.dcm", n=5), grey_cine(tmp_path / "b.dcm", n=9), cines=2)
    a, b = empty_driver.workspace.opened_cines
    empty_driver.user.keys("Right")
    empty_driver.user.click(50, 50)
    empty_driver.user.keys("PgDown", "End", "B")
    assert empty_driver.opened is b
    assert empty_driver.drawn(1).max() == 0
    empty_driver.user.click(80, 60)
    empty_driver.user.keys("PgUp")
    assert empty_driver.opened is a
    assert (a.frame, b.frame) == (1, 8)
    assert a.recorder.layer.annotated_frames == (1,)
    assert b.recorder.layer.annotated_frames == (8,)
    assert {cine_id for cine_id, *_ in empty_driver.session.labels} == {a.id, b.id}


def test_an_unfinished_stroke_is_applied_to_its_own_cine(empty_driver: WindowDriver, tmp_path: Path) -> None:
    empty_driver.open(grey_cine(tmp_path / "a.dcm", n=5), grey_cine(tmp_path / "b.dcm", n=9), cines=2)
    a, b = empty_driver.workspace.opened_cines
    empty_driver.user.press(50, 50)
    empty_driver.user.move(70, 50)
    empty_driver.user.keys("PgDown")
    empty_driver.user.release(70, 50)
    assert a.recorder.layer.annotated_frames == (0,)
    assert b.recorder.layer.annotated_frames == ()


def test_a_reopened_cine_has_its_annotations_history_and_view(
    open_driver: OpenDriver, cine_file: Path
) -> None:
    first = open_driver()
    first.open(cine_file)
    first.user.keys("P", "2", "Right", "Right")
    first.user.drag([(30, 30), (60, 30), (60, 60), (30, 60), (30, 30)])
    first.user.keys("Right", "B")
    first.user.click(40, 40)
    first.user.keys("Ctrl+Z", "End")
    first.user.zoom(3, 40, 40)
    view = first.window.canvas.view_state()
    first.window.close()
    second = open_driver()
    second.open(cine_file, cines=1)
    assert second.annotated == (2,)
    assert set(second.drawn(2).ravel()) == {0, 2}
    assert second.opened.frame == 11
    assert second.window.canvas.view_state()["scale"] == pytest.approx(view["scale"])
    assert second.window.canvas.view_state()["centre"] == pytest.approx(view["centre"])
    second.user.keys("Ctrl+Y")
    assert second.annotated == (2, 3)
    assert second.opened.frame == 3
    second.user.keys("Ctrl+Z", "Ctrl+Z")
    assert second.annotated == ()


def test_a_moved_file_is_found_again(open_driver: OpenDriver, tmp_path: Path) -> None:
    folder = tmp_path / "study"
    folder.mkdir()
    path = grey_cine(folder / "old.dcm", n=7)
    first = open_driver()
    first.open(path)
    first.user.click(50, 50)
    assert first.workspace.project is not None
    project = first.workspace.project.path
    first.window.close()
    (folder / "sub").mkdir()
    path.rename(folder / "sub" / "new.dcm")
    second = open_driver()
    second.open(project, cines=1)
    assert second.annotated == (0,)
    assert second.opened.cine.path.name == "new.dcm"


def test_a_missing_file_is_reported_and_its_annotations_are_kept(
    open_driver: OpenDriver, tmp_path: Path
) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "there").mkdir()
    path = grey_cine(tmp_path / "here" / "old.dcm", n=7)
    first = open_driver()
    first.open(path)
    first.user.click(50, 50)
    assert first.workspace.project is not None
    project = first.workspace.project.path
    first.window.close()
    moved = path.rename(tmp_path / "there" / "new.dcm")
    second = open_driver()
    second.open(project, cines=0)
    assert "old.dcm" in second.messages[0]
    second.open(moved, cines=1)
    assert second.annotated == (0,)


def test_strokes_after_saving_elsewhere_are_stored_there(
    open_driver: OpenDriver, cine_file: Path, tmp_path: Path
) -> None:
    first = open_driver()
    first.open(cine_file)
    first.user.click(50, 50)
    first.workspace.save_as(tmp_path / "mine")
    first.user.click(80, 50)
    first.window.close()
    with Project.open(tmp_path / "mine.apical") as project:
        assert project.layer(1).revision == 2
    second = open_driver()
    second.open(cine_file, cines=1)
    assert second.opened.recorder.layer.revision == 2


def test_a_damaged_frame_is_reported_and_the_others_are_displayed(
    empty_driver: WindowDriver, tmp_path: Path
) -> None:
    ds = dataset(4, 96, 128, "YBR_FULL_422")
    frames = [cv2.imencode(".jpg", f)[1].tobytes() for f in rgb_frames(4)]
    frames[2] = frames[2][:40]
    path = write(tmp_path / "torn.dcm", ds, frames, UID("1.2.840.10008.1.2.4.50"))
    empty_driver.open(path, cines=1)
    empty_driver.user.keys("Right", "Right")
    assert empty_driver.opened.frame == 2
    assert any("torn.dcm" in text for text in empty_driver.messages)
    empty_driver.user.keys("Right")
    assert empty_driver.opened.frame == 3
    empty_driver.user.click(50, 50)
    assert empty_driver.annotated == (3,)


def test_reports_of_a_previous_session_are_ignored(driver: WindowDriver, tmp_path: Path) -> None:
    """A report on one project never reaches another, although both number their cines from 1."""
    other = tmp_path / "other.apical"
    Project.create(other).close()
    old = driver.session
    driver.open(other, cines=0)
    driver.open(jpeg_cine(tmp_path / "j.dcm"), cines=1)
    old.on_event(PredictedMasks(1, 0, {0: square(1)}, {0: 0.9}, True))
    old.on_event(HeadFitted(b"head", "encoder", "checksum", {1: 0}))
    driver.qtbot.wait(1)
    assert driver.opened.predictions == {}
    assert driver.workspace.project is not None
    assert driver.workspace.project.latest_head() is None


def test_a_cine_that_is_still_opening_is_not_added_to_the_next_project(
    empty_driver: WindowDriver, tmp_path: Path
) -> None:
    path = grey_cine(tmp_path / "a.dcm")
    first, second = tmp_path / "first.apical", tmp_path / "second.apical"
    empty_driver.open(path, cines=1)
    empty_driver.workspace.save_as(first)
    Project.create(second).close()
    empty_driver.workspace.open_paths([second])
    empty_driver.workspace.open_paths([first])  # its cine is still opening when the next project is opened
    empty_driver.workspace.open_paths([second])
    empty_driver.settle()
    assert empty_driver.workspace.project is not None
    assert empty_driver.workspace.project.path.name == "second.apical"
    assert empty_driver.workspace.project.cines() == []
    assert empty_driver.workspace.opened_cines == []

"""Opening: files good and bad, folders, projects, files that moved. What was open stays as it was."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import pytest
from pydicom.uid import UID
from PySide6.QtWidgets import QFileDialog, QPushButton

from app import paths
from app.engine.events import HeadFitted, PredictedMasks
from app.storage.project import Project
from app.ui.application import report_faults
from app.ui.local_files import local_path
from tests.ui.conftest import Desk, square
from tests.unit.readers.dicom_oracle import dataset, grey_cine, jpeg_cine, picture, write

OpenDesk = Callable[[], Desk]


def missing(folder: Path) -> Path:
    return folder / "gone.dcm"


def empty(folder: Path) -> Path:
    (folder / "empty.dcm").touch()
    return folder / "empty.dcm"


def jpeg_xl(folder: Path) -> Path:
    stand_in = "1.2.840.10008.1.2.4.100"  # pydicom writes no syntax that it does not know
    pixels = [b"\xff\x0a" + bytes(50)]
    path = write(folder / "xl.dcm", dataset(1, 96, 128, "MONOCHROME2"), pixels, UID(stand_in))
    path.write_bytes(path.read_bytes().replace(stand_in.encode(), b"1.2.840.10008.1.2.4.110", 1))
    return path


def no_cine_inside(folder: Path) -> Path:
    (folder / "papers").mkdir()
    (folder / "papers" / "notes.txt").write_text("x")
    return folder / "papers"


def damaged_project(folder: Path) -> Path:
    (folder / "broken.apical").write_bytes(b"SQLite format 3\0" + bytes(5000))
    return folder / "broken.apical"


def missing_project(folder: Path) -> Path:
    return folder / "gone.apical"


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("make", [missing, empty, jpeg_xl, no_cine_inside, damaged_project, missing_project])
def test_a_bad_file_is_named_and_the_work_goes_on(
    heart: Desk, tmp_path: Path, make: Callable[[Path], Path]
) -> None:
    heart.hand.click(60, 50)
    before, project = heart.opened, heart.workspace.project
    path = make(tmp_path)
    heart.open(path, cines=1)
    (message,) = heart.messages
    assert path.name in message
    assert message.endswith(".")
    assert heart.opened is before
    assert heart.workspace.project is project
    heart.hand.click(90, 50)
    assert len(heart.opened.recorder.layer.labels) == 1
    assert heart.opened.recorder.layer.revision == 2
    assert heart.opened.recorder.pending == 0


def test_a_bad_file_stays_in_the_list_with_the_reason_and_is_skipped_by_the_keys(
    desk: Desk, tmp_path: Path
) -> None:
    files = [grey_cine(tmp_path / f"{name}.dcm", n=n) for name, n in (("a", 3), ("b", 4), ("c", 5))]
    files[1].write_bytes(b"")
    desk.open(*files, cines=2)
    item = desk.window.cine_list.rows.item(1)
    assert item.text() == "b.dcm\ncannot be opened"
    assert desk.messages[0] in item.toolTip()
    assert desk.opened.cine.path == files[0]
    desk.hand.keys("PgDown")
    assert desk.opened.cine.path == files[2]
    desk.hand.keys("PgDown")
    assert desk.opened.cine.path == files[0]
    grey_cine(files[1], n=4)
    desk.window.cine_list.rows.itemClicked.emit(item)
    desk.settle()
    assert desk.opened.cine.path == files[1]


def test_a_good_file_is_opened_beside_a_bad_one(desk: Desk, tmp_path: Path) -> None:
    good = grey_cine(tmp_path / "good.dcm")
    desk.open(no_cine_inside(tmp_path), missing(tmp_path), good, cines=1)
    assert len(desk.messages) == 2
    assert desk.opened.cine.path == good


def test_a_cine_drawn_on_in_another_project_says_so(open_desk: OpenDesk, tmp_path: Path) -> None:
    old, new = grey_cine(tmp_path / "old.dcm"), grey_cine(tmp_path / "new.dcm", n=7)
    first = open_desk()
    first.open(old, cines=1)
    first.hand.click(60, 50)
    first.window.close()
    second = open_desk()
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


def test_a_cine_comes_back_from_the_project_that_it_was_drawn_on_in(
    open_desk: OpenDesk, tmp_path: Path
) -> None:
    drawn, other = grey_cine(tmp_path / "drawn.dcm"), grey_cine(tmp_path / "other.dcm", n=7)
    first = open_desk()
    first.open(drawn, cines=1)
    first.hand.click(60, 50)
    first.window.close()
    second = open_desk()
    second.open(other, drawn, cines=2)  # a newer project that knows it as well, with nothing drawn
    second.window.close()
    third = open_desk()
    third.open(drawn, cines=1)
    assert third.annotated == (0,)


def test_saving_over_another_project_is_asked_of_its_whole_name(
    heart: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def choose(dialog: QFileDialog) -> bool:
        asked.append(dialog.defaultSuffix())
        dialog.selectFile(str(tmp_path / "study"))
        return True

    monkeypatch.setattr(QFileDialog, "exec", choose)
    heart.window.files.save_project_as()
    assert asked == ["apical"]
    assert (tmp_path / "study.apical").exists()


def test_a_project_open_elsewhere_is_refused(heart: Desk, tmp_path: Path) -> None:
    with Project.create(tmp_path / "busy.apical"):
        heart.open(tmp_path / "busy.apical", cines=1)
        assert "already open" in heart.messages[0]
        assert heart.window.current is not None


def test_the_project_that_is_open_may_be_opened_again(heart: Desk) -> None:
    assert heart.workspace.project is not None
    opened = heart.opened
    heart.open(heart.workspace.project.path, cines=1)
    assert heart.messages == []
    assert heart.opened is opened


def test_a_cine_whose_project_is_open_elsewhere_is_refused(open_desk: OpenDesk, cine_file: Path) -> None:
    first, second = open_desk(), open_desk()
    first.open(cine_file, cines=1)
    second.open(cine_file, cines=0)
    assert "already open" in second.messages[0]
    assert cine_file.name in second.messages[0]
    assert second.window.current is None


def test_a_folder_of_cines(desk: Desk, tmp_path: Path) -> None:
    for n in (3, 4, 5):
        grey_cine(tmp_path / f"cine{n}.dcm", n=n)
    (tmp_path / "notes.txt").write_text("x")
    desk.open(tmp_path, cines=3)
    assert [o.cine.n_frames for o in desk.workspace.opened_cines] == [3, 4, 5]
    assert desk.opened.cine.n_frames == 3
    assert desk.window.cine_list.rows.count() == 3
    desk.open(tmp_path, cines=3)  # twice is once


def test_going_to_and_fro_between_cines_tells_no_labels_again(desk: Desk, tmp_path: Path) -> None:
    first, second = grey_cine(tmp_path / "a.dcm"), grey_cine(tmp_path / "b.dcm", n=7)
    desk.open(first, second, cines=2)
    desk.hand.click(60, 50)
    told = len(desk.session.labels)
    for _ in range(4):
        desk.window.navigation.step_cine(1)
    assert told == 1
    assert len(desk.session.labels) == told


def test_two_cines_keep_their_own_strokes_and_frames(desk: Desk, tmp_path: Path) -> None:
    desk.open(grey_cine(tmp_path / "a.dcm", n=5), grey_cine(tmp_path / "b.dcm", n=9), cines=2)
    a, b = desk.workspace.opened_cines
    desk.hand.keys("Right")
    desk.hand.click(50, 50)
    desk.hand.keys("PgDown", "End", "B")
    assert desk.opened is b
    assert desk.drawn(1).max() == 0
    desk.hand.click(80, 60)
    desk.hand.keys("PgUp")
    assert desk.opened is a
    assert (a.frame, b.frame) == (1, 8)
    assert a.recorder.layer.annotated_frames == (1,)
    assert b.recorder.layer.annotated_frames == (8,)
    assert {cine_id for cine_id, *_ in desk.session.labels} == {a.id, b.id}


def test_a_stroke_in_the_air_lands_on_its_own_cine(desk: Desk, tmp_path: Path) -> None:
    desk.open(grey_cine(tmp_path / "a.dcm", n=5), grey_cine(tmp_path / "b.dcm", n=9), cines=2)
    a, b = desk.workspace.opened_cines
    desk.hand.press(50, 50)
    desk.hand.move(70, 50)
    desk.hand.keys("PgDown")
    desk.hand.release(70, 50)
    assert a.recorder.layer.annotated_frames == (0,)
    assert b.recorder.layer.annotated_frames == ()


def test_a_cine_comes_back_with_its_work(open_desk: OpenDesk, cine_file: Path) -> None:
    first = open_desk()
    first.open(cine_file)
    first.hand.keys("P", "2", "Right", "Right")
    first.hand.drag([(30, 30), (60, 30), (60, 60), (30, 60), (30, 30)])
    first.hand.keys("Right", "B")
    first.hand.click(40, 40)
    first.hand.keys("Ctrl+Z", "End")
    first.hand.zoom(3, 40, 40)
    view = first.window.canvas.view_state()
    first.window.close()
    second = open_desk()
    second.open(cine_file, cines=1)
    assert second.annotated == (2,)
    assert set(second.drawn(2).ravel()) == {0, 2}
    assert second.opened.frame == 11
    assert second.window.canvas.view_state()["scale"] == pytest.approx(view["scale"])
    assert second.window.canvas.view_state()["centre"] == pytest.approx(view["centre"])
    second.hand.keys("Ctrl+Y")
    assert second.annotated == (2, 3)
    assert second.opened.frame == 3
    second.hand.keys("Ctrl+Z", "Ctrl+Z")
    assert second.annotated == ()


def test_a_moved_file_is_found_again(open_desk: OpenDesk, tmp_path: Path) -> None:
    folder = tmp_path / "study"
    folder.mkdir()
    path = grey_cine(folder / "old.dcm", n=7)
    first = open_desk()
    first.open(path)
    first.hand.click(50, 50)
    assert first.workspace.project is not None
    project = first.workspace.project.path
    first.window.close()
    (folder / "sub").mkdir()
    path.rename(folder / "sub" / "new.dcm")
    second = open_desk()
    second.open(project, cines=1)
    assert second.annotated == (0,)
    assert second.opened.cine.path.name == "new.dcm"


def test_a_lost_file_is_asked_for_and_keeps_its_annotations(open_desk: OpenDesk, tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "there").mkdir()
    path = grey_cine(tmp_path / "here" / "old.dcm", n=7)
    first = open_desk()
    first.open(path)
    first.hand.click(50, 50)
    assert first.workspace.project is not None
    project = first.workspace.project.path
    first.window.close()
    moved = path.rename(tmp_path / "there" / "new.dcm")
    second = open_desk()
    second.open(project, cines=0)
    assert "old.dcm" in second.messages[0]
    second.open(moved, cines=1)
    assert second.annotated == (0,)


def test_a_project_saved_elsewhere_is_gone_on_in(
    open_desk: OpenDesk, cine_file: Path, tmp_path: Path
) -> None:
    first = open_desk()
    first.open(cine_file)
    first.hand.click(50, 50)
    first.workspace.save_as(tmp_path / "mine")
    first.hand.click(80, 50)
    first.window.close()
    with Project.open(tmp_path / "mine.apical") as project:
        assert project.layer(1).revision == 2
    second = open_desk()
    second.open(cine_file, cines=1)
    assert second.opened.recorder.layer.revision == 2


def test_a_damaged_frame_is_said_and_the_others_are_shown(desk: Desk, tmp_path: Path) -> None:
    ds = dataset(4, 96, 128, "YBR_FULL_422")
    frames = [cv2.imencode(".jpg", f)[1].tobytes() for f in picture(4)]
    frames[2] = frames[2][:40]
    path = write(tmp_path / "torn.dcm", ds, frames, UID("1.2.840.10008.1.2.4.50"))
    desk.open(path, cines=1)
    desk.hand.keys("Right", "Right")
    assert desk.opened.frame == 2
    assert any("torn.dcm" in text for text in desk.messages)
    desk.hand.keys("Right")
    assert desk.opened.frame == 3
    desk.hand.click(50, 50)
    assert desk.annotated == (3,)


def test_a_stranger_among_the_answers_changes_nothing(heart: Desk, tmp_path: Path) -> None:
    """What an engine said of one project never reaches another, although both count cines from 1."""
    other = tmp_path / "other.apical"
    Project.create(other).close()
    old = heart.session
    heart.open(other, cines=0)
    heart.open(jpeg_cine(tmp_path / "j.dcm"), cines=1)
    old.on_event(PredictedMasks(1, 0, {0: square(1)}, {0: 0.9}, True))
    old.on_event(HeadFitted(b"head", "encoder", "checksum", {1: 0}))
    heart.qtbot.wait(1)
    assert heart.opened.predictions == {}
    assert heart.workspace.project is not None
    assert heart.workspace.project.latest_head() is None


def test_a_cine_still_opening_does_not_land_in_the_next_project(desk: Desk, tmp_path: Path) -> None:
    path = grey_cine(tmp_path / "a.dcm")
    first, second = tmp_path / "first.apical", tmp_path / "second.apical"
    desk.open(path, cines=1)
    desk.workspace.save_as(first)
    Project.create(second).close()
    desk.workspace.open_paths([second])
    desk.workspace.open_paths([first])  # its cine is under way when the next one comes
    desk.workspace.open_paths([second])
    desk.settle()
    assert desk.workspace.project is not None
    assert desk.workspace.project.path.name == "second.apical"
    assert desk.workspace.project.cines() == []
    assert desk.workspace.opened_cines == []


def test_an_unforeseen_error_names_the_file_and_the_log_but_not_the_patient(
    heart: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fault(path: Path) -> None:
        raise RuntimeError("Smith^Secret")

    monkeypatch.setattr("app.workspace.opener.open_cine", fault)
    heart.open(grey_cine(tmp_path / "odd.dcm"))
    assert "odd.dcm could not be opened (RuntimeError)" in heart.messages[0]
    log = paths.log_file()
    assert str(log) in heart.messages[0]
    assert "test_window_files.py" in log.read_text()
    assert "Secret" not in heart.messages[0] + log.read_text()


def test_a_fault_in_the_window_is_told_and_not_printed(
    heart: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sys.excepthook
    with report_faults(heart.window):
        error = RuntimeError("Smith^Secret")
        sys.excepthook(RuntimeError, error, None)
    assert sys.excepthook is before
    assert "An internal error occurred (RuntimeError)" in heart.messages[0]
    assert "Secret" not in heart.messages[0] + "".join(capsys.readouterr())


def test_an_error_in_a_callback_of_a_signal_is_reported_by_its_own_name(heart: Desk) -> None:
    def fail() -> None:
        raise KeyError("x")

    heart.workspace.labels_changed.connect(fail)
    with report_faults(heart.window):
        try:
            heart.workspace.labels_changed.emit()
        except Exception as error:
            sys.excepthook(type(error), error, None)
    assert "An internal error occurred (KeyError)" in heart.messages[0]
    heart.workspace.labels_changed.disconnect(fail)


@pytest.mark.skipif(sys.platform in {"win32", "darwin"}, reason="names are Unicode there")
def test_a_cine_whose_name_is_not_utf8_is_opened_saved_and_found_again(
    desk: Desk, open_desk: OpenDesk, tmp_path: Path
) -> None:
    """As unzipping an archive from Windows leaves it."""
    path = tmp_path / os.fsdecode(b"herz_\xe4.dcm")
    grey_cine(tmp_path / "a.dcm").rename(path)
    desk.open(local_path(str(tmp_path / "herz_\N{REPLACEMENT CHARACTER}.dcm")))
    assert desk.messages == []
    assert desk.opened.cine.path == path
    desk.hand.click(60, 50)
    assert desk.opened.recorder.pending == 0
    desk.open(tmp_path / os.fsdecode(b"gone_\xe4.dcm"), cines=1)
    assert len(desk.messages) == 1
    assert desk.workspace.project is not None
    (record,) = desk.workspace.project.cines()
    assert record.path == path

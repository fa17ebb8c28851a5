"""Comparison of encoders on the user's labels, stored with the project."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from app.encoders.comparison import RESULT_NAME, EncoderComparison, read_record
from app.ui.encoders.dialog import EncodersDialog
from tests.ui.conftest import WindowDriver
from tests.ui.encoders.conftest import EncodersDriver, timed
from vjepa_core.encoder.catalogue import DEFAULT_ENCODER, UNTRAINED_ENCODER

DICE = "On your labels (Dice)"


def _row(
    encoders: EncodersDriver, name: str, dice: float | None, interval: tuple[float, ...] | None
) -> dict[str, Any]:
    card = next(one.card for one in encoders.dialog.list.entries if one.name == name)
    difference = None if interval is None else dict(zip(("mean", "low", "high"), interval, strict=True))
    return {
        "name": name,
        "checksum": card.checksum,
        "mean_dice": dice,
        "per_class": {} if dice is None else {"LV cavity": dice},
        "frames": 0 if dice is None else 2,
        "difference": difference,
    }


def _comparison(encoders: EncodersDriver) -> dict[str, Any]:
    rows = [_row(encoders, DEFAULT_ENCODER, 0.91, None), _row(encoders, "mine", 0.93, (0.02, 0.01, 0.03))]
    return {"encoders": rows, "labelled_frames": 2, "note": "2 left-out frames.", "pictures": []}


@pytest.fixture
def annotated(encoders: EncodersDriver, driver: WindowDriver) -> EncodersDriver:
    """The dialog of a project with two annotated frames."""
    for frame in (0, 3):
        driver.user.go_to(frame)
        driver.user.click(50, 50)
    encoders.report_idle()
    return encoders


def test_comparison_is_disabled_without_annotations(encoders: EncodersDriver) -> None:
    assert not encoders.dialog.list.compare.isEnabled()
    assert "outline a structure" in encoders.dialog.list.compare.toolTip()


def test_all_encoders_are_compared_with_the_one_in_use(
    annotated: EncodersDriver, driver: WindowDriver
) -> None:
    page = annotated.dialog.list
    page.table.select("mine")
    page.use.click()
    page.compare_all.trigger()
    project = driver.workspace.project
    assert project is not None
    names = ["mine", DEFAULT_ENCODER, UNTRAINED_ENCODER]
    assert annotated.children[-1].arguments == [
        *("encoders", "compare", *names),
        *("--project", str(project.path), "--json"),
    ]
    annotated.children[-1].lines = ["fitting mine 3/8"]
    annotated.settle()
    assert page.state.text() == "Comparing on your labels: fitting mine, 3 of 8"
    annotated.end(0, _comparison(annotated))
    assert annotated.cell(DEFAULT_ENCODER, DICE) == "0.910"
    assert annotated.cell("mine", DICE) == "0.930\n+0.020 (+0.010 to +0.030)"
    assert "2 outlined frames" in page.summary.text()
    assert f"better than {DEFAULT_ENCODER}" in page.details.text.text()
    assert not page.state.isVisible()


def test_only_the_selected_encoder_is_compared_with_the_one_in_use(annotated: EncodersDriver) -> None:
    annotated.dialog.list.table.select("mine")
    annotated.dialog.list.compare_pair.trigger()
    assert annotated.children[-1].arguments[2:4] == [DEFAULT_ENCODER, "mine"]
    assert annotated.children[-1].arguments[4] == "--project"


def test_results_for_the_same_labels_are_added_to_earlier_ones(
    annotated: EncodersDriver, driver: WindowDriver
) -> None:
    page = annotated.dialog.list
    page.compare_all.trigger()
    annotated.end(0, _comparison(annotated))
    comparison = _comparison(annotated)
    comparison["encoders"][1] = _row(annotated, UNTRAINED_ENCODER, 0.80, (-0.11, -0.2, -0.05))
    page.table.select(UNTRAINED_ENCODER)
    page.compare_pair.trigger()
    annotated.end(0, comparison)
    assert annotated.cell(UNTRAINED_ENCODER, DICE).startswith("0.800")
    assert annotated.cell("mine", DICE).startswith("0.930")
    driver.user.click(80, 60)  # changed labels: the next comparison replaces earlier results
    page.compare_pair.trigger()
    annotated.end(0, comparison)
    assert annotated.cell(UNTRAINED_ENCODER, DICE).startswith("0.800")
    assert annotated.cell("mine", DICE) == "-"


def test_an_encoder_that_is_too_large_is_not_compared(annotated: EncodersDriver) -> None:
    annotated.end(0, {"device": "CPU", "encoders": [timed("mine", fits=False)]})
    annotated.dialog.list.compare_all.trigger()
    assert "mine" not in annotated.children[-1].arguments


def test_time_is_not_measured_during_a_comparison(annotated: EncodersDriver) -> None:
    measuring = annotated.children[-1]
    annotated.dialog.list.compare_all.trigger()
    assert measuring.requests == ["kill"]
    assert annotated.cell("mine", "Time for this cine") == "after the comparison"
    annotated.end(0, _comparison(annotated))
    assert annotated.children[-1].arguments[1] == "time"


def test_the_result_is_restored_after_reopening_and_marked_as_outdated_when_labels_change(
    annotated: EncodersDriver, driver: WindowDriver, open_driver: Callable[[], WindowDriver], cine_file: Path
) -> None:
    annotated.dialog.list.compare_all.trigger()
    annotated.end(0, _comparison(annotated))
    driver.window.close()
    reopened = open_driver()
    reopened.open(cine_file, cines=1)
    encoders = EncodersDriver(annotated.qtbot, reopened, annotated.children)
    assert encoders.cell("mine", DICE).startswith("0.930")
    assert "since" not in encoders.dialog.list.summary.text()
    reopened.user.click(80, 60)
    assert "outlines have changed since" in encoders.dialog.list.summary.text()


def test_stop_kills_the_child_and_keeps_earlier_results(annotated: EncodersDriver) -> None:
    page = annotated.dialog.list
    page.compare_all.trigger()
    annotated.end(0, _comparison(annotated))
    page.compare_all.trigger()
    comparing = annotated.children[-1]
    assert page.compare.text() == "Stop comparing"
    page.compare.click()
    assert comparing.requests == ["kill"]
    assert page.state.text() == "Comparison stopped"
    assert annotated.cell("mine", DICE).startswith("0.930")


@pytest.mark.parametrize("code", [2, 0])
def test_unsuitable_labels_are_explained_without_an_error(annotated: EncodersDriver, code: int) -> None:
    annotated.dialog.list.compare_all.trigger()
    rows = [_row(annotated, DEFAULT_ENCODER, None, None), _row(annotated, "mine", None, None)]
    reason = "No figures: outline it on one more frame."
    annotated.end(code, {"encoders": rows, "labelled_frames": 1, "note": reason}, reason)
    assert annotated.dialog.list.state.text() == reason
    assert annotated.messages == []
    assert annotated.cell("mine", DICE) == "-"


def test_a_crash_is_reported(annotated: EncodersDriver) -> None:
    annotated.dialog.list.compare_all.trigger()
    annotated.end(-9, error="It was killed.")
    assert annotated.messages == ["The comparison failed. It was killed."]
    assert annotated.dialog.list.compare.isEnabled()


def test_closing_the_window_stops_the_comparison(annotated: EncodersDriver, driver: WindowDriver) -> None:
    annotated.dialog.list.compare_all.trigger()
    driver.window.close()
    assert annotated.children[-1].requests == ["kill"]


def test_closing_the_project_stops_the_comparison(annotated: EncodersDriver, driver: WindowDriver) -> None:
    annotated.dialog.list.compare_all.trigger()
    comparing = annotated.children[-1]
    driver.workspace.close_project()
    assert comparing.requests == ["kill"]
    assert not annotated.dialog.list.comparison.running


def test_results_of_other_weights_with_the_same_name_are_not_shown(annotated: EncodersDriver) -> None:
    comparison = _comparison(annotated)
    comparison["encoders"][1]["checksum"] = "other"
    annotated.dialog.list.compare_all.trigger()
    annotated.end(0, comparison)
    assert annotated.cell("mine", DICE) == "-"


@pytest.mark.parametrize(
    "record", [None, {}, [], {"encoders": []}, {"encoders": [{"name": 1}], "revisions": {}}, {"encoders": 3}]
)
def test_an_invalid_stored_result_is_ignored(record: Any, driver: WindowDriver) -> None:
    assert EncoderComparison.from_record(record) is None
    assert driver.workspace.project is not None
    driver.workspace.project.save_result(RESULT_NAME, record)
    driver.window.dialogs.show_encoders()
    assert driver.window.findChild(EncodersDialog) is not None


def test_the_result_is_stored_with_the_project_and_not_in_its_view(
    annotated: EncodersDriver, driver: WindowDriver
) -> None:
    annotated.dialog.list.compare_all.trigger()
    annotated.end(0, _comparison(annotated))
    driver.window.view_state.save()
    assert EncoderComparison.from_record(read_record(driver.workspace.project)) is not None
    assert "compared" not in driver.workspace.view()

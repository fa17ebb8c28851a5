"""Comparison of encoders on the user's labels, stored with the project."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from app.encoders.comparison import RESULT_NAME, EncoderComparison, read_record
from app.ui.encoders.dialog import EncodersDialog
from tests.ui.conftest import WindowDriver
from tests.ui.encoders.conftest import Bench, timed
from vjepa_core.encoder.catalogue import DEFAULT_ENCODER, UNTRAINED_ENCODER

DICE = "On your labels (Dice)"


def _row(bench: Bench, name: str, dice: float | None, apart: tuple[float, ...] | None) -> dict[str, Any]:
    card = next(one.card for one in bench.dialog.list.entries if one.name == name)
    difference = None if apart is None else dict(zip(("mean", "low", "high"), apart, strict=True))
    return {
        "name": name,
        "checksum": card.checksum,
        "mean_dice": dice,
        "per_class": {} if dice is None else {"LV cavity": dice},
        "frames": 0 if dice is None else 2,
        "difference": difference,
    }


def _answer(bench: Bench) -> dict[str, Any]:
    rows = [_row(bench, DEFAULT_ENCODER, 0.91, None), _row(bench, "mine", 0.93, (0.02, 0.01, 0.03))]
    return {"encoders": rows, "labelled_frames": 2, "note": "2 left-out frames.", "pictures": []}


@pytest.fixture
def outlined(bench: Bench, driver: WindowDriver) -> Bench:
    """Two frames are outlined."""
    for frame in (0, 3):
        driver.user.go_to(frame)
        driver.user.click(50, 50)
    bench.rest()
    return bench


def test_nothing_outlined_is_nothing_to_compare(bench: Bench) -> None:
    assert not bench.dialog.list.compare.isEnabled()
    assert "outline a structure" in bench.dialog.list.compare.toolTip()


def test_all_are_compared_with_the_one_in_use_and_shown(outlined: Bench, driver: WindowDriver) -> None:
    page = outlined.dialog.list
    page.table.select("mine")
    page.use.click()
    page.compare_all.trigger()
    project = driver.workspace.project
    assert project is not None
    names = ["mine", DEFAULT_ENCODER, UNTRAINED_ENCODER]
    assert outlined.children[-1].words == [
        *("encoders", "compare", *names),
        *("--project", str(project.path), "--json"),
    ]
    outlined.children[-1].said = ["fitting mine 3/8"]
    outlined.settle()
    assert page.state.text() == "Comparing on your labels: fitting mine, 3 of 8"
    outlined.end(0, _answer(outlined))
    assert outlined.cell(DEFAULT_ENCODER, DICE) == "0.910"
    assert outlined.cell("mine", DICE) == "0.930\n+0.020 (+0.010 to +0.030)"
    assert "2 outlined frames" in page.summary.text()
    assert f"better than {DEFAULT_ENCODER}" in page.details.text.text()
    assert not page.state.isVisible()


def test_only_the_selected_one_is_compared_with_the_one_in_use(outlined: Bench) -> None:
    outlined.dialog.list.table.select("mine")
    outlined.dialog.list.compare_pair.trigger()
    assert outlined.children[-1].words[2:4] == [DEFAULT_ENCODER, "mine"]
    assert outlined.children[-1].words[4] == "--project"


def test_figures_of_one_more_join_those_of_the_same_labels(outlined: Bench, driver: WindowDriver) -> None:
    page = outlined.dialog.list
    page.compare_all.trigger()
    outlined.end(0, _answer(outlined))
    answer = _answer(outlined)
    answer["encoders"][1] = _row(outlined, UNTRAINED_ENCODER, 0.80, (-0.11, -0.2, -0.05))
    page.table.select(UNTRAINED_ENCODER)
    page.compare_pair.trigger()
    outlined.end(0, answer)
    assert outlined.cell(UNTRAINED_ENCODER, DICE).startswith("0.800")
    assert outlined.cell("mine", DICE).startswith("0.930")
    driver.user.click(80, 60)  # other labels: figures of before do not stand beside those of now
    page.compare_pair.trigger()
    outlined.end(0, answer)
    assert outlined.cell(UNTRAINED_ENCODER, DICE).startswith("0.800")
    assert outlined.cell("mine", DICE) == "-"


def test_what_is_too_big_is_not_compared(outlined: Bench) -> None:
    outlined.end(0, {"device": "CPU", "encoders": [timed("mine", fits=False)]})
    outlined.dialog.list.compare_all.trigger()
    assert "mine" not in outlined.children[-1].words


def test_time_is_not_measured_beside_a_comparison(outlined: Bench) -> None:
    measuring = outlined.children[-1]
    outlined.dialog.list.compare_all.trigger()
    assert measuring.asked == ["kill"]
    assert outlined.cell("mine", "Time for this cine") == "after the comparison"
    outlined.end(0, _answer(outlined))
    assert outlined.children[-1].words[1] == "time"


def test_the_result_is_restored_after_reopening_and_marked_as_outdated_when_labels_change(
    outlined: Bench, driver: WindowDriver, open_driver: Callable[[], WindowDriver], cine_file: Path
) -> None:
    outlined.dialog.list.compare_all.trigger()
    outlined.end(0, _answer(outlined))
    driver.window.close()
    empty_driver = open_driver()
    empty_driver.open(cine_file, cines=1)
    bench = Bench(outlined.qtbot, empty_driver, outlined.children)
    assert bench.cell("mine", DICE).startswith("0.930")
    assert "since" not in bench.dialog.list.summary.text()
    empty_driver.user.click(80, 60)
    assert "outlines have changed since" in bench.dialog.list.summary.text()


def test_stop_ends_the_child_and_keeps_what_was_there(outlined: Bench) -> None:
    page = outlined.dialog.list
    page.compare_all.trigger()
    outlined.end(0, _answer(outlined))
    page.compare_all.trigger()
    comparing = outlined.children[-1]
    assert page.compare.text() == "Stop comparing"
    page.compare.click()
    assert comparing.asked == ["kill"]
    assert page.state.text() == "Comparison stopped"
    assert outlined.cell("mine", DICE).startswith("0.930")


@pytest.mark.parametrize("code", [2, 0])
def test_labels_that_do_not_do_are_no_fault(outlined: Bench, code: int) -> None:
    outlined.dialog.list.compare_all.trigger()
    rows = [_row(outlined, DEFAULT_ENCODER, None, None), _row(outlined, "mine", None, None)]
    sentence = "No figures: outline it on one more frame."
    outlined.end(code, {"encoders": rows, "labelled_frames": 1, "note": sentence}, sentence)
    assert outlined.dialog.list.state.text() == sentence
    assert outlined.told == []
    assert outlined.cell("mine", DICE) == "-"


def test_a_crash_is_reported(outlined: Bench) -> None:
    outlined.dialog.list.compare_all.trigger()
    outlined.end(-9, sentence="It was ended from outside.")
    assert outlined.told == ["The comparison failed. It was ended from outside."]
    assert outlined.dialog.list.compare.isEnabled()


def test_closing_the_window_stops_it(outlined: Bench, driver: WindowDriver) -> None:
    outlined.dialog.list.compare_all.trigger()
    driver.window.close()
    assert outlined.children[-1].asked == ["kill"]


def test_another_project_stops_it(outlined: Bench, driver: WindowDriver) -> None:
    outlined.dialog.list.compare_all.trigger()
    comparing = outlined.children[-1]
    driver.workspace.close_project()
    assert comparing.asked == ["kill"]
    assert not outlined.dialog.list.comparison.running


def test_figures_of_other_weights_of_the_name_are_not_shown(outlined: Bench) -> None:
    answer = _answer(outlined)
    answer["encoders"][1]["checksum"] = "other"
    outlined.dialog.list.compare_all.trigger()
    outlined.end(0, answer)
    assert outlined.cell("mine", DICE) == "-"


@pytest.mark.parametrize(
    "kept", [None, {}, [], {"encoders": []}, {"encoders": [{"name": 1}], "revisions": {}}, {"encoders": 3}]
)
def test_a_damaged_result_is_none(kept: Any, driver: WindowDriver) -> None:
    assert EncoderComparison.from_record(kept) is None
    assert driver.workspace.project is not None
    driver.workspace.project.save_result(RESULT_NAME, kept)
    driver.window.dialogs.show_encoders()
    assert driver.window.findChild(EncodersDialog) is not None


def test_the_result_is_stored_with_the_project_and_not_in_its_view(
    outlined: Bench, driver: WindowDriver
) -> None:
    outlined.dialog.list.compare_all.trigger()
    outlined.end(0, _answer(outlined))
    driver.window.view_state.save()
    assert EncoderComparison.from_record(read_record(driver.workspace.project)) is not None
    assert "compared" not in driver.workspace.view()

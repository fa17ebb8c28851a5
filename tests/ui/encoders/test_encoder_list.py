"""Table of encoders: details, timing, choice and removal."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from pytestqt.qtbot import QtBot

from app import paths
from app.encoders import registry
from app.engine.events import EngineNotStarted
from tests.ui.conftest import WindowDriver
from tests.ui.encoders.conftest import EncodersDriver, add_imported, timed
from tests.ui.pretraining.conftest import FakeChild
from tests.unit.readers.dicom_oracle import grey_cine
from vjepa_core.encoder.catalogue import DEFAULT_ENCODER, UNTRAINED_ENCODER
from vjepa_core.service.messages import Progress, Stage


def test_every_encoder_has_a_row_with_the_values_of_its_card(encoders: EncodersDriver) -> None:
    assert encoders.names == [DEFAULT_ENCODER, UNTRAINED_ENCODER, "mine"]
    assert encoders.cell(DEFAULT_ENCODER, "Size") == "22 M parameters\n44 MB on disk"
    assert encoders.cell(DEFAULT_ENCODER, "Licence") == "Research only, non-commercial"
    assert [encoders.cell(name, "Trained") for name in encoders.names] == ["yes", "no", "yes"]
    assert [encoders.cell(name, "In use") for name in encoders.names] == ["True", "False", "False"]
    assert encoders.cell("mine", "On your labels (Dice)") == "-"


def test_details_contain_source_and_assumptions_and_names_are_escaped(
    open_encoders: Callable[[], EncodersDriver],
) -> None:
    add_imported("mine", source={"file": "<b>vitl.pt", "assumed": ["16 heads."]}, licence="<i>terms: all</i>")
    encoders = open_encoders()
    encoders.dialog.list.table.select("mine")
    text = encoders.dialog.list.details.text.text()
    for words in ("&lt;b&gt;vitl.pt", "16 heads.", "&lt;i&gt;terms: all", "SHA-256"):
        assert words in text


def test_an_invalid_card_is_reported_once_and_the_others_are_listed(
    open_encoders: Callable[[], EncodersDriver],
) -> None:
    (paths.encoders_dir() / "broken.json").write_text("{")
    add_imported("gone")
    (paths.encoders_dir() / "gone.safetensors").unlink()
    encoders = open_encoders()
    assert encoders.names == [DEFAULT_ENCODER, UNTRAINED_ENCODER, "gone"]
    assert "broken.json cannot be read" in encoders.messages[0]
    encoders.dialog.banner.clear()
    encoders.dialog.list.refresh()
    assert encoders.messages == []
    assert "file is missing" in encoders.cell("gone", "Size")
    encoders.dialog.list.table.select("gone")
    assert not encoders.dialog.list.use.isEnabled()
    assert encoders.dialog.list.remove.isEnabled()


def test_time_is_measured_once_per_cine_while_the_engine_is_idle(
    encoders: EncodersDriver, driver: WindowDriver
) -> None:
    first = driver.opened
    assert encoders.children_for("time")[-1].arguments[2:] == [str(first.cine.path), "--json"]
    assert encoders.cell("mine", "Time for this cine") == "measuring..."
    rows = [
        timed(DEFAULT_ENCODER),
        timed(UNTRAINED_ENCODER, cine_s=0.4),
        timed("mine", cine_s=None, clip_s=None, fits=False, memory_bytes=9.9e9, note="It needs 9.9 GB."),
    ]
    encoders.end(0, {"device": "CPU, 2 threads", "encoders": rows})
    texts = [encoders.cell(name, "Time for this cine") for name in encoders.names]
    assert texts == ["about 12 s", "under 1 s", "too large\nneeds 9.9 GB"]
    driver.open(grey_cine(first.cine.path.parent / "other.dcm", n=5, seed=3), cines=2)
    assert driver.opened is not first
    assert len(encoders.children_for("time")) == 2
    driver.window.navigation.show_cine(first)
    assert encoders.children[-1].requests == ["kill"]
    assert encoders.cell(DEFAULT_ENCODER, "Time for this cine") == "about 12 s"
    assert len(encoders.children_for("time")) == 2


def test_timing_waits_until_learning_has_ended(
    open_encoders: Callable[[], EncodersDriver], driver: WindowDriver
) -> None:
    encoders = open_encoders()
    driver.emit(Progress(3, 40, Stage.FITTING))
    encoders.dialog.list.timing.restart()
    assert encoders.cell(DEFAULT_ENCODER, "Time for this cine") == "after learning"
    before = len(encoders.children_for("time"))
    driver.emit(Progress(0, 0, Stage.UP_TO_DATE))
    assert len(encoders.children_for("time")) == before + 1


def test_an_engine_that_cannot_start_is_reported_and_timing_does_not_need_it(
    open_encoders: Callable[[], EncodersDriver], driver: WindowDriver
) -> None:
    encoders = open_encoders()
    assert encoders.cell(DEFAULT_ENCODER, "Time for this cine") == "after learning"
    driver.emit(EngineNotStarted("The encoder is too big: choose a smaller one."))
    assert encoders.messages == ["The encoder is too big: choose a smaller one."]
    assert encoders.cell(DEFAULT_ENCODER, "Time for this cine") == "measuring..."
    encoders.dialog.close()
    assert not encoders.dialog.isVisible()
    encoders.show()
    assert encoders.messages == ["The encoder is too big: choose a smaller one."]
    driver.workspace.learner.resume()
    assert encoders.messages == []


def test_a_failed_measurement_is_not_repeated(encoders: EncodersDriver, driver: WindowDriver) -> None:
    encoders.end(2, error="The cine is gone: open it from its new place.")
    encoders.report_idle()
    assert len(encoders.children_for("time")) == 1
    assert encoders.messages == ["The encoders were not timed: The cine is gone: open it from its new place."]
    assert encoders.cell(DEFAULT_ENCODER, "Time for this cine") == "not measured"


def test_without_a_cine_the_time_for_sixteen_frames_is_displayed(
    qtbot: QtBot, empty_driver: WindowDriver, children: list[FakeChild]
) -> None:
    encoders = EncodersDriver(qtbot, empty_driver, children)
    assert children[-1].arguments == ["encoders", "time", "--json"]
    encoders.end(0, {"device": "CPU", "encoders": [timed(DEFAULT_ENCODER, clips=None, cine_s=None)]})
    assert encoders.cell(DEFAULT_ENCODER, "Time for this cine") == "0.3 s for 16 frames"
    assert not encoders.dialog.list.compare.isEnabled()


def test_use_changes_the_engine_at_once(encoders: EncodersDriver, driver: WindowDriver) -> None:
    before = driver.session
    page = encoders.dialog.list
    assert not page.use.isEnabled()  # already in use
    page.table.select("mine")
    page.use.click()
    assert driver.session is not before
    assert (driver.session.encoder, registry.chosen()) == ("mine", "mine")
    assert encoders.cell("mine", "In use") == "True"
    assert "mine is now in use" in encoders.messages[0]


def test_an_encoder_that_is_too_large_is_used_only_after_confirmation(encoders: EncodersDriver) -> None:
    encoders.end(0, {"device": "CPU", "encoders": [timed("mine", fits=False, cine_s=None)]})
    encoders.dialog.list.table.select("mine")
    encoders.dialog.list.use.click()
    encoders.press_button("Cancel")
    assert registry.chosen() == DEFAULT_ENCODER
    encoders.dialog.list.use.click()
    encoders.press_button("Use anyway")
    assert registry.chosen() == "mine"


@pytest.mark.parametrize("in_use", [False, True])
def test_only_imported_encoders_can_be_removed_and_only_after_confirmation(
    encoders: EncodersDriver, driver: WindowDriver, in_use: bool
) -> None:
    page = encoders.dialog.list
    page.table.select(UNTRAINED_ENCODER)
    assert not page.remove.isEnabled()
    page.table.select("mine")
    if in_use:
        page.use.click()
    page.remove.click()
    encoders.press_button("Cancel")
    assert "mine" in encoders.names
    page.remove.click()
    encoders.press_button("Remove")
    assert encoders.names == [DEFAULT_ENCODER, UNTRAINED_ENCODER]
    assert (driver.session.encoder, registry.chosen()) == (DEFAULT_ENCODER, DEFAULT_ENCODER)


def test_an_encoder_added_elsewhere_is_listed_and_the_selection_is_kept(encoders: EncodersDriver) -> None:
    encoders.dialog.list.table.select(UNTRAINED_ENCODER)
    add_imported("another")
    encoders.dialog.list.refresh()
    assert "another" in encoders.names
    selected = encoders.dialog.list.table.selected
    assert selected is not None
    assert selected.name == UNTRAINED_ENCODER


def test_closing_stops_timing_and_reopening_restarts_it(encoders: EncodersDriver) -> None:
    encoders.dialog.close()
    assert encoders.children[-1].requests == ["kill"]
    encoders.show()
    assert len(encoders.children_for("time")) == 2


def test_the_learning_panel_opens_the_dialog(encoders: EncodersDriver, driver: WindowDriver) -> None:
    encoders.dialog.close()
    driver.window.learning.encoders_wanted.emit()
    assert encoders.dialog.isVisible()

"""Table of encoders: details, timing, choice and removal."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from pytestqt.qtbot import QtBot

from app import paths
from app.encoders import registry
from app.engine.events import EngineNotStarted
from tests.ui.conftest import WindowDriver
from tests.ui.encoders.conftest import Bench, add_own, timed
from tests.ui.pretraining.conftest import FakeChild
from tests.unit.readers.dicom_oracle import grey_cine
from vjepa_core.encoder.catalogue import DEFAULT_ENCODER, UNTRAINED_ENCODER
from vjepa_core.service.messages import Progress, Stage


def test_every_encoder_has_a_row_with_the_values_of_its_card(bench: Bench) -> None:
    assert bench.names == [DEFAULT_ENCODER, UNTRAINED_ENCODER, "mine"]
    assert bench.cell(DEFAULT_ENCODER, "Size") == "22 M parameters\n44 MB on disk"
    assert bench.cell(DEFAULT_ENCODER, "Licence") == "Research only, non-commercial"
    assert [bench.cell(name, "Trained") for name in bench.names] == ["yes", "no", "yes"]
    assert [bench.cell(name, "In use") for name in bench.names] == ["True", "False", "False"]
    assert bench.cell("mine", "On your labels (Dice)") == "-"


def test_details_contain_source_and_assumptions_and_names_are_escaped(
    open_bench: Callable[[], Bench],
) -> None:
    add_own("mine", source={"file": "<b>vitl.pt", "assumed": ["16 heads."]}, licence="<i>terms: all</i>")
    bench = open_bench()
    bench.dialog.list.table.select("mine")
    text = bench.dialog.list.details.text.text()
    for words in ("&lt;b&gt;vitl.pt", "16 heads.", "&lt;i&gt;terms: all", "SHA-256"):
        assert words in text


def test_an_invalid_card_is_reported_once_and_the_others_are_listed(open_bench: Callable[[], Bench]) -> None:
    (paths.encoders_dir() / "broken.json").write_text("{")
    add_own("gone")
    (paths.encoders_dir() / "gone.safetensors").unlink()
    bench = open_bench()
    assert bench.names == [DEFAULT_ENCODER, UNTRAINED_ENCODER, "gone"]
    assert "broken.json cannot be read" in bench.told[0]
    bench.dialog.banner.clear()
    bench.dialog.list.refresh()
    assert bench.told == []
    assert "file is missing" in bench.cell("gone", "Size")
    bench.dialog.list.table.select("gone")
    assert not bench.dialog.list.use.isEnabled()
    assert bench.dialog.list.remove.isEnabled()


def test_time_is_measured_once_the_engine_rests_and_for_each_cine_once(
    bench: Bench, driver: WindowDriver
) -> None:
    first = driver.opened
    assert bench.asked("time")[-1].words[2:] == [str(first.cine.path), "--json"]
    assert bench.cell("mine", "Time for this cine") == "measuring..."
    rows = [
        timed(DEFAULT_ENCODER),
        timed(UNTRAINED_ENCODER, cine_s=0.4),
        timed("mine", cine_s=None, clip_s=None, fits=False, memory_bytes=9.9e9, note="It needs 9.9 GB."),
    ]
    bench.end(0, {"device": "CPU, 2 threads", "encoders": rows})
    texts = [bench.cell(name, "Time for this cine") for name in bench.names]
    assert texts == ["about 12 s", "under 1 s", "too large\nneeds 9.9 GB"]
    driver.open(grey_cine(first.cine.path.parent / "other.dcm", n=5, seed=3), cines=2)
    assert driver.opened is not first
    assert len(bench.asked("time")) == 2
    driver.window.navigation.show_cine(first)
    assert bench.children[-1].asked == ["kill"]
    assert bench.cell(DEFAULT_ENCODER, "Time for this cine") == "about 12 s"
    assert len(bench.asked("time")) == 2


def test_timing_waits_until_learning_has_ended(open_bench: Callable[[], Bench], driver: WindowDriver) -> None:
    bench = open_bench()
    driver.emit(Progress(3, 40, Stage.FITTING))
    bench.dialog.list.timing.restart()
    assert bench.cell(DEFAULT_ENCODER, "Time for this cine") == "after learning"
    before = len(bench.asked("time"))
    driver.emit(Progress(0, 0, Stage.UP_TO_DATE))
    assert len(bench.asked("time")) == before + 1


def test_an_engine_that_cannot_start_is_reported_and_timing_does_not_need_it(
    open_bench: Callable[[], Bench], driver: WindowDriver
) -> None:
    bench = open_bench()
    assert bench.cell(DEFAULT_ENCODER, "Time for this cine") == "after learning"
    driver.emit(EngineNotStarted("The encoder is too big: choose a smaller one."))
    assert bench.told == ["The encoder is too big: choose a smaller one."]
    assert bench.cell(DEFAULT_ENCODER, "Time for this cine") == "measuring..."
    bench.dialog.close()
    assert not bench.dialog.isVisible()
    bench.show()
    assert bench.told == ["The encoder is too big: choose a smaller one."]
    driver.workspace.learner.resume()
    assert bench.told == []


def test_a_measurement_that_fails_is_not_repeated(bench: Bench, driver: WindowDriver) -> None:
    bench.end(2, sentence="The cine is gone: open it from its new place.")
    bench.rest()
    assert len(bench.asked("time")) == 1
    assert bench.told == ["The encoders were not timed: The cine is gone: open it from its new place."]
    assert bench.cell(DEFAULT_ENCODER, "Time for this cine") == "not measured"


def test_without_a_cine_the_time_is_that_of_sixteen_frames(
    qtbot: QtBot, empty_driver: WindowDriver, children: list[FakeChild]
) -> None:
    bench = Bench(qtbot, empty_driver, children)
    assert children[-1].words == ["encoders", "time", "--json"]
    bench.end(0, {"device": "CPU", "encoders": [timed(DEFAULT_ENCODER, clips=None, cine_s=None)]})
    assert bench.cell(DEFAULT_ENCODER, "Time for this cine") == "0.3 s for 16 frames"
    assert not bench.dialog.list.compare.isEnabled()


def test_use_changes_the_engine_at_once(bench: Bench, driver: WindowDriver) -> None:
    before = driver.session
    page = bench.dialog.list
    assert not page.use.isEnabled()  # it is in use
    page.table.select("mine")
    page.use.click()
    assert driver.session is not before
    assert (driver.session.encoder, registry.chosen()) == ("mine", "mine")
    assert bench.cell("mine", "In use") == "True"
    assert "mine is now in use" in bench.told[0]


def test_an_encoder_that_is_too_big_is_used_only_after_a_question(bench: Bench) -> None:
    bench.end(0, {"device": "CPU", "encoders": [timed("mine", fits=False, cine_s=None)]})
    bench.dialog.list.table.select("mine")
    bench.dialog.list.use.click()
    bench.answer("Cancel")
    assert registry.chosen() == DEFAULT_ENCODER
    bench.dialog.list.use.click()
    bench.answer("Use anyway")
    assert registry.chosen() == "mine"


@pytest.mark.parametrize("in_use", [False, True])
def test_only_an_own_encoder_is_removed_and_only_after_a_question(
    bench: Bench, driver: WindowDriver, in_use: bool
) -> None:
    page = bench.dialog.list
    page.table.select(UNTRAINED_ENCODER)
    assert not page.remove.isEnabled()
    page.table.select("mine")
    if in_use:
        page.use.click()
    page.remove.click()
    bench.answer("Cancel")
    assert "mine" in bench.names
    page.remove.click()
    bench.answer("Remove")
    assert bench.names == [DEFAULT_ENCODER, UNTRAINED_ENCODER]
    assert (driver.session.encoder, registry.chosen()) == (DEFAULT_ENCODER, DEFAULT_ENCODER)


def test_an_encoder_from_elsewhere_appears_and_the_selection_stays(bench: Bench) -> None:
    bench.dialog.list.table.select(UNTRAINED_ENCODER)
    add_own("another")
    bench.dialog.list.refresh()
    assert "another" in bench.names
    selected = bench.dialog.list.table.selected
    assert selected is not None
    assert selected.name == UNTRAINED_ENCODER


def test_closing_ends_what_is_measured_and_opening_begins_anew(bench: Bench) -> None:
    bench.dialog.close()
    assert bench.children[-1].asked == ["kill"]
    bench.show()
    assert len(bench.asked("time")) == 2


def test_the_learning_panel_leads_to_the_dialog(bench: Bench, driver: WindowDriver) -> None:
    bench.dialog.close()
    driver.window.learning.encoders_wanted.emit()
    assert bench.dialog.isVisible()

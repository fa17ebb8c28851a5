"""Import of an encoder file."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtWidgets import QFileDialog

from tests.ui.conftest import WindowDriver
from tests.ui.encoders.conftest import FOUND, Bench, add_own

FILE = Path("/somewhere/vitl.pt")


def _look(bench: Bench, **more: object) -> None:
    bench.dialog.import_file(FILE)
    bench.end(0, {**FOUND, **more})


def test_two_clicks_lead_from_the_file_to_the_encoder(bench: Bench) -> None:
    bench.dialog.list.import_.click()
    dialog = bench.dialog.findChild(QFileDialog)
    assert dialog is not None
    dialog.fileSelected.emit(str(FILE))
    dialog.close()
    assert bench.children[-1].words == ["encoders", "import", str(FILE), "--look", "--json"]
    bench.end(0, {**FOUND, "ambiguous": False})
    page = bench.dialog.importer
    assert (page.name.text(), page.licence.text()) == ("vitl", "MIT")
    assert page.recognised.text() == "24 blocks of width 1024."
    assert "5.0 GB needed" in page.disk.text()
    assert not page.family.isVisible()
    page.start.click()
    words = ["encoders", "import", str(FILE), "--name=vitl", "--json"]  # the licence is an assumption still
    assert bench.children[-1].words == words
    bench.children[-1].said = ["writing 2500000000/5000000000"]  # more than Qt's integers hold
    bench.settle()
    assert page.state.text() == "Importing: writing, 2.5 GB of 5.0 GB"
    add_own("vitl")
    bench.end(0, {**FOUND, "card": "vitl.json", "checksum": "abc"})
    selected = bench.dialog.list.table.selected
    assert selected is not None
    assert selected.name == "vitl"
    assert bench.dialog.list.isVisible()
    assert "vitl was imported" in bench.told[0]


def test_the_assumed_family_can_be_changed(bench: Bench) -> None:
    _look(bench)
    page = bench.dialog.importer
    assert page.family.isVisible()
    assert page.family.currentText() == "V-JEPA 2"
    page.name.setText("ours")
    page.family.setCurrentIndex(page.family.findData("v-jepa"))
    page.family.activated.emit(page.family.currentIndex())
    assert bench.children[-1].words[3:] == ["--family=v-jepa", "--look", "--json"]
    bench.end(0, {**FOUND, "family": "V-JEPA", "licence": "CC BY-NC 4.0", "ambiguous": False, "assumed": []})
    assert page.family.isVisible()  # the choice can be taken back
    assert not page.assumed.isVisible()
    assert (page.name.text(), page.licence.text()) == ("ours", "CC BY-NC 4.0")
    page.start.click()
    assert bench.children[-1].words[3:-1] == ["--name=ours", "--family=v-jepa"]


def test_a_family_that_does_not_fit_leaves_the_one_that_does(bench: Bench) -> None:
    _look(bench)
    page = bench.dialog.importer
    page.family.setCurrentIndex(page.family.findData("v-jepa-2.1"))
    page.family.activated.emit(page.family.currentIndex())
    bench.end(
        2, sentence="vitl.pt is not a V-JEPA 2.1: it has one norm; omit --family or choose another family."
    )
    assert page.state.text() == "vitl.pt is not a V-JEPA 2.1: it has one norm; choose another."
    assert page.family.currentData() == "v-jepa-2"
    page.start.click()
    assert bench.children[-1].words[3:] == ["--name=vitl", "--json"]  # still an assumption


def test_a_foreign_file_gets_the_commands_sentence(bench: Bench) -> None:
    bench.dialog.import_file(Path("/somewhere/resnet50.pth"))
    assert not bench.dialog.importer.start.isEnabled()
    bench.end(2, sentence="resnet50.pth is a convolutional network: choose a V-JEPA checkpoint.")
    page = bench.dialog.importer
    assert "convolutional network" in page.state.text()
    assert not page.start.isEnabled()
    assert page.other.isEnabled()
    page.back.click()
    assert bench.dialog.list.isVisible()


def test_a_rejected_import_keeps_the_typed_text(bench: Bench) -> None:
    _look(bench)
    page = bench.dialog.importer
    page.licence.setText("Ours alone")
    page.start.click()
    bench.end(2, sentence="An encoder is called vitl already: choose another name.")
    assert "called vitl already" in page.state.text()
    assert (page.name.text(), page.licence.text()) == ("vitl", "Ours alone")
    page.name.setText("  ")
    assert not page.start.isEnabled()
    page.name.setText("vitl-2")
    page.start.click()
    assert {"--name=vitl-2", "--licence=Ours alone"} <= set(bench.children[-1].words)


def test_stop_asks_the_import_to_clear_up(bench: Bench) -> None:
    _look(bench)
    page = bench.dialog.importer
    page.start.click()
    assert page.back.text() == "Stop"
    page.back.click()
    assert bench.children[-1].asked == ["stop"]
    assert not page.back.isEnabled()
    bench.end(130)
    assert page.state.text() == "Stopped. Nothing was imported."
    assert page.start.isEnabled()


def test_closing_stops_an_import_and_reports_it(bench: Bench, driver: WindowDriver) -> None:
    _look(bench)
    bench.dialog.importer.start.click()
    bench.dialog.close()
    assert bench.children[-1].asked == ["leave"]
    assert any("import was stopped" in text for _, text in driver.window.banner.messages())
    bench.show()
    assert bench.dialog.list.isVisible()


def test_a_killed_child_is_reported(bench: Bench) -> None:
    _look(bench)
    bench.dialog.importer.start.click()
    bench.end(-9, sentence="It was ended from outside, perhaps because the memory was full.")
    assert "memory was full" in bench.dialog.importer.state.text()
    assert bench.dialog.importer.start.isEnabled()


def test_escape_leads_back_but_ends_no_import(bench: Bench) -> None:
    _look(bench)
    bench.dialog.importer.start.click()
    bench.dialog.reject()
    assert bench.children[-1].asked == []
    bench.end(2, sentence="No room.")
    bench.dialog.reject()
    assert bench.dialog.list.isVisible()
    bench.dialog.reject()
    assert not bench.dialog.isVisible()

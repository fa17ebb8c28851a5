"""Import of an encoder file."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtWidgets import QFileDialog

from tests.ui.conftest import WindowDriver
from tests.ui.encoders.conftest import INSPECTED, EncodersDriver, add_imported

FILE = Path("/somewhere/vitl.pt")


def _inspect(encoders: EncodersDriver, **more: object) -> None:
    encoders.dialog.import_file(FILE)
    encoders.end(0, {**INSPECTED, **more})


def test_an_unambiguous_file_is_imported_in_two_clicks(encoders: EncodersDriver) -> None:
    encoders.dialog.list.import_.click()
    dialog = encoders.dialog.findChild(QFileDialog)
    assert dialog is not None
    dialog.fileSelected.emit(str(FILE))
    dialog.close()
    assert encoders.children[-1].arguments == ["encoders", "import", str(FILE), "--look", "--json"]
    encoders.end(0, {**INSPECTED, "ambiguous": False})
    page = encoders.dialog.importer
    assert (page.name.text(), page.licence.text()) == ("vitl", "MIT")
    assert page.recognised.text() == "24 blocks of width 1024."
    assert "5.0 GB needed" in page.disk.text()
    assert not page.family.isVisible()
    page.start.click()
    arguments = ["encoders", "import", str(FILE), "--name=vitl", "--json"]  # the licence is still assumed
    assert encoders.children[-1].arguments == arguments
    encoders.children[-1].lines = ["writing 2500000000/5000000000"]  # exceeds Qt's integers
    encoders.settle()
    assert page.state.text() == "Importing: writing, 2.5 GB of 5.0 GB"
    add_imported("vitl")
    encoders.end(0, {**INSPECTED, "card": "vitl.json", "checksum": "abc"})
    selected = encoders.dialog.list.table.selected
    assert selected is not None
    assert selected.name == "vitl"
    assert encoders.dialog.list.isVisible()
    assert "vitl was imported" in encoders.messages[0]


def test_the_assumed_family_can_be_changed(encoders: EncodersDriver) -> None:
    _inspect(encoders)
    page = encoders.dialog.importer
    assert page.family.isVisible()
    assert page.family.currentText() == "V-JEPA 2"
    page.name.setText("ours")
    page.family.setCurrentIndex(page.family.findData("v-jepa"))
    page.family.activated.emit(page.family.currentIndex())
    assert encoders.children[-1].arguments[3:] == ["--family=v-jepa", "--look", "--json"]
    encoders.end(
        0, {**INSPECTED, "family": "V-JEPA", "licence": "CC BY-NC 4.0", "ambiguous": False, "assumed": []}
    )
    assert page.family.isVisible()  # the choice can be changed back
    assert not page.assumed.isVisible()
    assert (page.name.text(), page.licence.text()) == ("ours", "CC BY-NC 4.0")
    page.start.click()
    assert encoders.children[-1].arguments[3:-1] == ["--name=ours", "--family=v-jepa"]


def test_an_unsuitable_family_is_rejected_and_the_assumed_one_is_kept(encoders: EncodersDriver) -> None:
    _inspect(encoders)
    page = encoders.dialog.importer
    page.family.setCurrentIndex(page.family.findData("v-jepa-2.1"))
    page.family.activated.emit(page.family.currentIndex())
    encoders.end(
        2, error="vitl.pt is not a V-JEPA 2.1: it has one norm; omit --family or choose another family."
    )
    assert page.state.text() == "vitl.pt is not a V-JEPA 2.1: it has one norm; choose another."
    assert page.family.currentData() == "v-jepa-2"
    page.start.click()
    assert encoders.children[-1].arguments[3:] == ["--name=vitl", "--json"]  # the family is still assumed


def test_the_error_for_an_unsuitable_file_is_displayed(encoders: EncodersDriver) -> None:
    encoders.dialog.import_file(Path("/somewhere/resnet50.pth"))
    assert not encoders.dialog.importer.start.isEnabled()
    encoders.end(2, error="resnet50.pth is a convolutional network: choose a V-JEPA checkpoint.")
    page = encoders.dialog.importer
    assert "convolutional network" in page.state.text()
    assert not page.start.isEnabled()
    assert page.other.isEnabled()
    page.back.click()
    assert encoders.dialog.list.isVisible()


def test_a_rejected_import_keeps_the_typed_text(encoders: EncodersDriver) -> None:
    _inspect(encoders)
    page = encoders.dialog.importer
    page.licence.setText("Ours alone")
    page.start.click()
    encoders.end(2, error="An encoder is called vitl already: choose another name.")
    assert "called vitl already" in page.state.text()
    assert (page.name.text(), page.licence.text()) == ("vitl", "Ours alone")
    page.name.setText("  ")
    assert not page.start.isEnabled()
    page.name.setText("vitl-2")
    page.start.click()
    assert {"--name=vitl-2", "--licence=Ours alone"} <= set(encoders.children[-1].arguments)


def test_stop_lets_the_import_clean_up(encoders: EncodersDriver) -> None:
    _inspect(encoders)
    page = encoders.dialog.importer
    page.start.click()
    assert page.back.text() == "Stop"
    page.back.click()
    assert encoders.children[-1].requests == ["stop"]
    assert not page.back.isEnabled()
    encoders.end(130)
    assert page.state.text() == "Stopped. Nothing was imported."
    assert page.start.isEnabled()


def test_closing_stops_an_import_and_reports_it(encoders: EncodersDriver, driver: WindowDriver) -> None:
    _inspect(encoders)
    encoders.dialog.importer.start.click()
    encoders.dialog.close()
    assert encoders.children[-1].requests == ["detach"]
    assert any("import was stopped" in text for _, text in driver.window.banner.messages())
    encoders.show()
    assert encoders.dialog.list.isVisible()


def test_a_killed_child_is_reported(encoders: EncodersDriver) -> None:
    _inspect(encoders)
    encoders.dialog.importer.start.click()
    encoders.end(-9, error="It was killed, perhaps because memory ran out.")
    assert "memory ran out" in encoders.dialog.importer.state.text()
    assert encoders.dialog.importer.start.isEnabled()


def test_escape_goes_back_but_does_not_end_an_import(encoders: EncodersDriver) -> None:
    _inspect(encoders)
    encoders.dialog.importer.start.click()
    encoders.dialog.reject()
    assert encoders.children[-1].requests == []
    encoders.end(2, error="No room.")
    encoders.dialog.reject()
    assert encoders.dialog.list.isVisible()
    encoders.dialog.reject()
    assert not encoders.dialog.isVisible()

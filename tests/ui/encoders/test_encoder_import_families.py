"""Import of a checkpoint of each family by the dialog with the real command."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from app.cli import main
from app.encoders import registry
from app.processes.child import Child
from tests import checkpoint_files
from tests.ui.encoders.conftest import EncodersDriver
from tests.ui.pretraining.conftest import FakeChild
from vjepa_core.encoder.load import load_card

pytestmark = pytest.mark.slow

TIMEOUT_MS = 40_000


class InProcessChild(FakeChild):
    """Runs the command in this process, because importing torch in a new one takes seconds."""

    def __init__(self, arguments: Sequence[str], run: Path | None = None) -> None:
        super().__init__(arguments, run)
        out, err = io.StringIO(), io.StringIO()
        if arguments[1] == "import":
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                self.exit_code = main(list(arguments))
        self.output = json.loads(out.getvalue() or "{}")
        self.lines = err.getvalue().splitlines()
        self.error = (self.lines or [""])[-1].removeprefix("apical: ")


@pytest.fixture
def in_process(encoders: EncodersDriver, monkeypatch: pytest.MonkeyPatch) -> EncodersDriver:
    monkeypatch.setattr("app.encoders.child_commands.Child", InProcessChild)
    return encoders


@pytest.mark.parametrize("kind", list(checkpoint_files.FILES))
def test_a_checkpoint_of_each_family_becomes_an_encoder(
    in_process: EncodersDriver, tmp_path: Path, kind: str
) -> None:
    in_process.dialog.import_file(checkpoint_files.write(kind, tmp_path))
    in_process.settle()
    page = in_process.dialog.importer
    assert "frames per second" in page.assumed.text()
    assert "--" not in page.assumed.text()  # no options of the command line
    if page.family.isVisible():
        assert page.family.currentData() is not None  # the recognised family can be selected
    name = page.name.text()
    page.start.click()
    in_process.settle()
    selected = in_process.dialog.list.table.selected
    assert selected is not None
    assert (selected.name, selected.is_own) == (name, True)
    assert selected.source["recognised"]
    load_card(selected.card)


def test_choosing_another_family_inspects_the_file_again_and_is_stored_in_the_card(
    in_process: EncodersDriver, tmp_path: Path
) -> None:
    in_process.dialog.import_file(checkpoint_files.write("v-jepa", tmp_path, "unnamed.pt"))
    in_process.settle()
    page = in_process.dialog.importer
    assert page.family.currentText() == "V-JEPA 2"
    for family, shown in (("v-jepa-2.1", "v-jepa-2"), ("v-jepa", "v-jepa")):
        page.family.setCurrentIndex(page.family.findData(family))
        page.family.activated.emit(page.family.currentIndex())
        in_process.settle()
        assert page.family.currentData() == shown  # the first does not fit
    page.start.click()
    in_process.settle()
    assert registry.find("unnamed").architecture.endswith("vjepa1")


def test_a_file_that_is_not_a_checkpoint_is_reported(in_process: EncodersDriver, tmp_path: Path) -> None:
    (tmp_path / "page.pt").write_text("<html>404</html>")
    in_process.dialog.import_file(tmp_path / "page.pt")
    in_process.settle()
    assert "page.pt" in in_process.dialog.importer.state.text()
    assert not in_process.dialog.importer.start.isEnabled()


def test_a_checkpoint_is_imported_by_a_real_child_process(
    encoders: EncodersDriver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.encoders.child_commands.Child", _only_imports(Child))
    page = encoders.dialog.importer
    encoders.dialog.import_file(checkpoint_files.write("v-jepa-2", tmp_path, "ours.pt"))
    encoders.qtbot.waitUntil(page.start.isEnabled, timeout=TIMEOUT_MS)
    page.start.click()
    encoders.qtbot.waitUntil(lambda: "ours" in encoders.names, timeout=TIMEOUT_MS)
    assert registry.find("ours").family == "V-JEPA 2"


def _only_imports(child: type[Child]) -> Callable[[Sequence[str]], Child | FakeChild]:
    return lambda arguments: child(arguments) if arguments[1] == "import" else FakeChild(arguments)

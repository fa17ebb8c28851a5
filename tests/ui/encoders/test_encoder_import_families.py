"""Import of a checkpoint of each family with the dialog and the real command."""

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
from tests.ui.encoders.conftest import Bench
from tests.ui.pretraining.conftest import FakeChild
from vjepa_core.encoder.load import load_card

pytestmark = pytest.mark.slow

PATIENCE_MS = 40_000


class Here(FakeChild):
    """The command, run to its end in this process: starting torch anew each time takes seconds."""

    def __init__(self, words: Sequence[str], run: Path | None = None) -> None:
        super().__init__(words, run)
        out, err = io.StringIO(), io.StringIO()
        if words[1] == "import":
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                self.exit_code = main(list(words))
        self.told = json.loads(out.getvalue() or "{}")
        self.said = err.getvalue().splitlines()
        self.sentence = (self.said or [""])[-1].removeprefix("apical: ")


@pytest.fixture
def here(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setattr("app.encoders.child_commands.Child", Here)
    return bench


@pytest.mark.parametrize("kind", list(checkpoint_files.FILES))
def test_a_checkpoint_of_each_family_becomes_an_encoder(here: Bench, tmp_path: Path, kind: str) -> None:
    here.dialog.import_file(checkpoint_files.write(kind, tmp_path))
    here.settle()
    page = here.dialog.importer
    assert "frames per second" in page.assumed.text()
    assert "--" not in page.assumed.text()  # options are of the command line
    if page.family.isVisible():
        assert page.family.currentData() is not None  # the family that is named is one of the choice
    name = page.name.text()
    page.start.click()
    here.settle()
    selected = here.dialog.list.table.selected
    assert selected is not None
    assert (selected.name, selected.is_own) == (name, True)
    assert selected.source["recognised"]
    load_card(selected.card)


def test_another_family_is_inspected_again_and_written_on_the_card(here: Bench, tmp_path: Path) -> None:
    here.dialog.import_file(checkpoint_files.write("v-jepa", tmp_path, "unnamed.pt"))
    here.settle()
    page = here.dialog.importer
    assert page.family.currentText() == "V-JEPA 2"
    for family, shown in (("v-jepa-2.1", "v-jepa-2"), ("v-jepa", "v-jepa")):
        page.family.setCurrentIndex(page.family.findData(family))
        page.family.activated.emit(page.family.currentIndex())
        here.settle()
        assert page.family.currentData() == shown  # the first does not fit
    page.start.click()
    here.settle()
    assert registry.find("unnamed").architecture.endswith("vjepa1")


def test_a_file_that_is_none_gets_a_sentence(here: Bench, tmp_path: Path) -> None:
    (tmp_path / "page.pt").write_text("<html>404</html>")
    here.dialog.import_file(tmp_path / "page.pt")
    here.settle()
    assert "page.pt" in here.dialog.importer.state.text()
    assert not here.dialog.importer.start.isEnabled()


def test_the_command_in_a_process_of_its_own(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.encoders.child_commands.Child", _only_imports(Child))
    page = bench.dialog.importer
    bench.dialog.import_file(checkpoint_files.write("v-jepa-2", tmp_path, "ours.pt"))
    bench.qtbot.waitUntil(page.start.isEnabled, timeout=PATIENCE_MS)
    page.start.click()
    bench.qtbot.waitUntil(lambda: "ours" in bench.names, timeout=PATIENCE_MS)
    assert registry.find("ours").family == "V-JEPA 2"


def _only_imports(child: type[Child]) -> Callable[[Sequence[str]], Child | FakeChild]:
    return lambda words: child(words) if words[1] == "import" else FakeChild(words)

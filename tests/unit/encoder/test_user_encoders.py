"""Keeping, choosing and removing the user's encoders."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from app import paths
from app.domain.errors import ProjectError
from app.encoders import registry
from app.storage.filelock import FileLock
from tests.conftest import ROOT
from vjepa_core.encoder.catalogue import DEFAULT_ENCODER, available
from vjepa_core.encoder.load import load_encoder
from vjepa_core.encoder.models import create_encoder
from vjepa_core.errors import EncoderError

ARCHITECTURE = "vit_tiny_patch16_224_t2"

SHIPPED = [card.name for card in available()[0]]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("APICAL_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def write_encoder(folder: Path, name: str = "run", content: bytes = b"weights") -> Path:
    """Write a card and its weights, like a run of pre-training."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.joinpath(f"{name}.safetensors").write_bytes(content)
    card = {
        "name": name,
        "family": "V-JEPA 2.1",
        "architecture": ARCHITECTURE,
        "parameters": 1,
        "licence": "Research only",
        "description": "Trained for 20 steps.",
        "trained": True,
        "checksum": hashlib.sha256(content).hexdigest(),
        "file": f"{name}.safetensors",
        "fps": 30.0,
        "depths": [2, 5, 8, 11],
        "training": {"steps": 20},
    }
    path = folder / f"{name}.json"
    path.write_text(json.dumps(card), encoding="utf-8")
    return path


def test_a_kept_encoder_does_not_need_its_run(tmp_path: Path, home: Path) -> None:
    card = write_encoder(tmp_path / "run")
    kept = registry.keep(card, "my-cines.v2")
    assert (kept.name, kept.trained, kept.description) == ("my-cines.v2", True, "Trained for 20 steps.")
    assert registry.find("my-cines.v2") == kept
    assert [c.name for c in registry.cards()[0]] == [*SHIPPED, "my-cines.v2"]
    assert registry.is_own(kept)
    assert not registry.is_own(registry.find(DEFAULT_ENCODER))
    assert kept.path is not None
    assert kept.path.read_bytes() == b"weights"
    assert json.loads((home / "encoders" / "my-cines.v2.json").read_text())["training"] == {"steps": 20}
    assert sorted(f.name for f in (home / "encoders").iterdir()) == [
        "my-cines.v2.json",
        "my-cines.v2.safetensors",
    ]


def test_a_kept_encoder_is_loaded_by_name(tmp_path: Path) -> None:
    state = {name: value.half() for name, value in create_encoder(ARCHITECTURE).state_dict().items()}
    save_file(state, tmp_path / "w.safetensors")
    registry.keep(write_encoder(tmp_path / "run", content=(tmp_path / "w.safetensors").read_bytes()), "mine")
    module, card = load_encoder("mine", folders=registry.encoder_folders())
    assert card.name == "mine"
    key = "blocks.3.mlp.fc1.weight"
    torch.testing.assert_close(module.state_dict()[key], state[key].float())


@pytest.mark.parametrize("name", ["", ".hidden", "a/b", "a b", "ä", "x" * 61, "con", "NUL.txt", "a\n"])
def test_invalid_names_are_rejected(tmp_path: Path, home: Path, name: str) -> None:
    with pytest.raises(EncoderError, match="is not a valid name"):
        registry.keep(write_encoder(tmp_path / "run"), name)


@pytest.mark.parametrize("name", [DEFAULT_ENCODER, DEFAULT_ENCODER.upper(), "mine", "Mine"])
def test_used_names_are_rejected_in_any_case(tmp_path: Path, name: str) -> None:
    card = write_encoder(tmp_path / "run")
    registry.keep(card, "mine")
    with pytest.raises(EncoderError, match="already: choose another name"):
        registry.keep(card, name)


def test_damaged_missing_and_foreign_files_leave_nothing(tmp_path: Path, home: Path) -> None:
    damaged = write_encoder(tmp_path / "damaged")
    (tmp_path / "damaged" / "run.safetensors").write_bytes(b"other")
    alone = write_encoder(tmp_path / "alone")
    (tmp_path / "alone" / "run.safetensors").unlink()
    foreign = tmp_path / "foreign.json"
    foreign.write_text("[]", encoding="utf-8")
    for card, message in (
        (damaged, "damaged or not the file"),
        (alone, "cannot be read: export"),
        (foreign, "cannot be read: remove or correct it"),
        (tmp_path / "nothing.json", "cannot be read"),
    ):
        with pytest.raises(EncoderError, match=message):
            registry.keep(card, "mine")
    assert list((home / "encoders").iterdir()) == []


def test_a_full_disk_leaves_nothing(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    card = write_encoder(tmp_path / "run")
    replace = Path.replace

    def full(self: Path, target: Path) -> Path:
        if target.suffix == ".json":
            raise OSError(28, "No space left on device")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(ProjectError, match="free some space"):
        registry.keep(card, "mine")
    assert list((home / "encoders").iterdir()) == []


def test_the_chosen_encoder_is_used_until_it_is_deleted(tmp_path: Path, home: Path) -> None:
    assert registry.chosen() == DEFAULT_ENCODER
    card = write_encoder(tmp_path / "run")
    registry.keep(card, "mine")
    registry.choose("mine")
    assert registry.chosen() == "mine"
    (home / "encoders" / "mine.safetensors").rename(tmp_path / "away")
    assert registry.chosen() == DEFAULT_ENCODER
    (tmp_path / "away").rename(home / "encoders" / "mine.safetensors")
    assert registry.chosen() == "mine"
    registry.remove("mine")
    assert registry.chosen() == DEFAULT_ENCODER
    assert list((home / "encoders").iterdir()) == []
    registry.keep(card, "mine")
    assert registry.chosen() == DEFAULT_ENCODER  # the chosen encoder is a different one


def test_unknown_names_are_rejected(tmp_path: Path) -> None:
    with pytest.raises(EncoderError, match=DEFAULT_ENCODER):
        registry.choose("nobody")
    with pytest.raises(EncoderError, match="There is no encoder called"):
        registry.remove("nobody")
    with pytest.raises(EncoderError, match="ships with the program"):
        registry.remove(DEFAULT_ENCODER)
    assert registry.chosen() == DEFAULT_ENCODER


def test_weights_are_deleted_before_their_card(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.keep(write_encoder(tmp_path / "run"), "mine")
    unlink = Path.unlink

    def held(self: Path, missing_ok: bool = False) -> None:
        if self.suffix == ".safetensors":
            raise PermissionError(13, "in use")
        unlink(self, missing_ok=missing_ok)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", held)
        with pytest.raises(ProjectError, match="cannot be removed"):
            registry.remove("mine")
    assert registry.find("mine").name == "mine"
    (home / "encoders" / "mine.safetensors").unlink()
    registry.remove("mine")
    assert list((home / "encoders").iterdir()) == []


def test_a_name_taken_by_another_process_is_not_overwritten(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = write_encoder(tmp_path / "a", content=b"first"), write_encoder(tmp_path / "b")

    class Late(FileLock):
        def __init__(self, path: Path) -> None:
            monkeypatch.setattr(registry, "FileLock", FileLock)
            registry.keep(first, "mine")
            super().__init__(path)

    monkeypatch.setattr(registry, "FileLock", Late)
    with pytest.raises(EncoderError, match="already: choose another name"):
        registry.keep(second, "mine")
    assert (home / "encoders" / "mine.safetensors").read_bytes() == b"first"


KILLED = """
import os, sys
from pathlib import Path
from app.encoders import registry

def rename(self, target, old=Path.replace):
    if target.suffix == ".json":
        os._exit(9)
    return old(self, target)

Path.replace = rename
registry.keep(Path(sys.argv[1]), "mine")
"""


def test_weights_of_an_interrupted_addition_are_removed(tmp_path: Path, home: Path) -> None:
    card = write_encoder(tmp_path / "run")
    assert subprocess.run([sys.executable, "-c", KILLED, str(card)], cwd=ROOT, check=False).returncode == 9
    assert (home / "encoders" / "mine.safetensors").exists()
    assert [c.name for c in registry.cards()[0]] == SHIPPED
    registry.keep(card, "other")
    remaining = {f.name for f in (home / "encoders").iterdir()} - {".adding.lock"}
    assert remaining == {"other.json", "other.safetensors"}


def test_other_files_of_the_user_are_not_changed(tmp_path: Path) -> None:
    card = write_encoder(tmp_path / "run")
    theirs = paths.encoders_dir() / "mine.safetensors"
    theirs.write_bytes(b"theirs")
    registry.keep(card, "other")
    with pytest.raises(EncoderError, match="exists and belongs to no encoder"):
        registry.keep(card, "mine")
    assert theirs.read_bytes() == b"theirs"


@pytest.mark.parametrize("text", ["", "{", "[]", '{"encoder": 3}', '{"encoder": "gone"}'])
def test_an_unreadable_choice_is_ignored(text: str) -> None:
    (paths.config_dir() / "encoder.json").write_text(text, encoding="utf-8")
    assert registry.chosen() == DEFAULT_ENCODER


def test_a_bad_card_does_not_affect_the_others(tmp_path: Path) -> None:
    (paths.encoders_dir() / "bad.json").write_text("{", encoding="utf-8")
    registry.keep(write_encoder(tmp_path / "run"), "mine")
    assert registry.find("mine").name == "mine"
    registry.choose("mine")
    assert registry.chosen() == "mine"
    registry.remove("mine")
    assert registry.find(DEFAULT_ENCODER).name == DEFAULT_ENCODER


def test_bundled_encoders_need_no_writable_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "file"
    file.write_text("")
    monkeypatch.setenv("APICAL_HOME", str(file))
    assert [card.name for card in registry.cards()[0]] == SHIPPED
    assert registry.chosen() == DEFAULT_ENCODER


def test_neither_torch_nor_qt_is_needed() -> None:
    code = (
        "import sys; from app.encoders import registry; registry.chosen(); registry.cards(); "
        "sys.exit(any(name in sys.modules for name in ('torch', 'PySide6')))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, cwd=Path(__file__).parents[3])
    assert done.returncode == 0

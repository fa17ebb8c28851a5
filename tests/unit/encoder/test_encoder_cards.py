"""Encoder cards, generated weights, and files that must be rejected."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from vjepa_core.encoder.catalogue import DEFAULT_ENCODER, UNTRAINED_ENCODER, available, card, read_card
from vjepa_core.encoder.initialise import initialise, state_checksum
from vjepa_core.encoder.load import load_encoder
from vjepa_core.encoder.models import create_encoder
from vjepa_core.errors import EncoderError
from vjepa_core.resources import resource_path

ARCHITECTURE = "vit_tiny_patch16_224_t2"


def write_card(folder: Path, file: str | None, checksum: str, **changes: object) -> None:
    fields: dict[str, object] = {"name": "mine", "family": "V-JEPA 2.1", "architecture": ARCHITECTURE}
    fields |= {"parameters": 1, "licence": "MIT", "description": "-", "trained": True, "fps": 30}
    fields |= {"checksum": checksum, "file": file, "depths": [2, 5, 8, 11]}
    folder.joinpath("mine.json").write_text(json.dumps(fields | changes), encoding="utf-8")


def save(folder: Path, state: dict[str, torch.Tensor]) -> None:
    save_file(state, folder / "mine.safetensors")
    write_card(
        folder, "mine.safetensors", hashlib.sha256((folder / "mine.safetensors").read_bytes()).hexdigest()
    )


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    return {name: value.half() for name, value in create_encoder(ARCHITECTURE).state_dict().items()}


def test_the_default_encoder_is_first_and_describes_its_training() -> None:
    first = available()[0][0]
    assert first == card()
    assert first.name == DEFAULT_ENCODER
    assert first.trained
    assert first.path is not None
    assert first.path.stat().st_size <= 45e6
    assert "non-commercial" in first.licence
    stored = json.loads(first.path.with_suffix(".json").read_text(encoding="utf-8"))
    assert f"{stored['training']['steps']:,} steps" in first.description


def test_the_untrained_encoder_is_described_as_untrained() -> None:
    found = card(UNTRAINED_ENCODER)
    assert not found.trained
    assert found.path is None
    assert found.description.startswith("Untrained")
    assert "not been trained" in resource_path("encoders", "README.md").read_text(encoding="utf-8")


def test_every_shipped_encoder_has_a_model_card() -> None:
    text = resource_path("encoders", "README.md").read_text(encoding="utf-8")
    for found in available()[0]:
        assert f"## {found.name}\n" in text


def test_the_default_encoder_is_frozen_and_matches_its_card() -> None:
    model, found = load_encoder()
    assert not model.training
    assert not any(parameter.requires_grad for parameter in model.parameters())
    assert sum(parameter.numel() for parameter in model.parameters()) == found.parameters
    assert model.depths == found.depths
    assert found.path is not None
    assert hashlib.sha256(found.path.read_bytes()).hexdigest() == found.checksum


def test_the_untrained_encoder_matches_its_card() -> None:
    model, found = load_encoder(UNTRAINED_ENCODER)
    assert state_checksum(model.state_dict()) == found.checksum


def test_generated_weights_depend_on_the_seed_only() -> None:
    def checksum(seed: int) -> str:
        model = create_encoder(ARCHITECTURE)
        initialise(model, seed)
        return state_checksum(model.state_dict())

    assert checksum(3) == checksum(3)
    assert checksum(3) != checksum(4)


def test_untrained_features_differ_between_tokens_at_every_depth() -> None:
    model = create_encoder(ARCHITECTURE).eval()
    initialise(model, 0)
    x = torch.randn(1, 3, 4, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        for grid in model.forward_intermediates(x):
            tokens = torch.nn.functional.normalize(grid[0].reshape(-1, grid.shape[-1]), dim=-1)  # type: ignore[union-attr]
            similarity = (tokens @ tokens.T).mean()
            assert torch.isfinite(grid).all()  # type: ignore[arg-type]
            assert similarity < 0.8


def test_half_precision_weights_are_read_as_float32(tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
    save(tmp_path, state)
    model, found = load_encoder("mine", folders=[tmp_path])
    assert found.trained
    loaded = model.state_dict()
    assert all(value.dtype == torch.float32 for value in loaded.values())
    torch.testing.assert_close(loaded["blocks.3.mlp.fc1.weight"], state["blocks.3.mlp.fc1.weight"].float())


def test_missing_unknown_and_wrongly_shaped_weights_are_named(
    tmp_path: Path, state: dict[str, torch.Tensor]
) -> None:
    without = {name: value for name, value in state.items() if name != "blocks.0.attn.qkv.bias"}
    for changed, message in (
        (without, r"lacks weights \(blocks.0.attn.qkv.bias\)"),
        (state | {"cls_token": torch.zeros(1)}, r"unknown weights \(cls_token\)"),
        (
            state | {"video_mod_embed": torch.zeros(1, 1, 5)},
            r"weights of the wrong shape \(video_mod_embed\)",
        ),
    ):
        save(tmp_path, changed)
        with pytest.raises(EncoderError, match=message):
            load_encoder("mine", folders=[tmp_path])


def test_damaged_missing_and_other_files_are_rejected(tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
    save(tmp_path, state)
    path = tmp_path / "mine.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(EncoderError, match="damaged"):
        load_encoder("mine", folders=[tmp_path])
    path.unlink()
    with pytest.raises(EncoderError, match="cannot be read"):
        load_encoder("mine", folders=[tmp_path])
    path.write_bytes(b"PK not weights")
    write_card(tmp_path, path.name, hashlib.sha256(path.read_bytes()).hexdigest())
    with pytest.raises(EncoderError, match="not a safetensors file"):
        load_encoder("mine", folders=[tmp_path])


def test_generated_weights_that_differ_from_the_card_are_rejected(tmp_path: Path) -> None:
    write_card(tmp_path, None, "0" * 64)
    with pytest.raises(EncoderError, match="reinstall"):
        load_encoder("mine", folders=[tmp_path])


def test_unknown_names_and_unreadable_cards_are_rejected(tmp_path: Path) -> None:
    with pytest.raises(EncoderError, match=DEFAULT_ENCODER):
        card("nobody")
    for text in ("{", "[]", "{}"):
        tmp_path.joinpath("bad.json").write_text(text, encoding="utf-8")
        cards, faults = available([tmp_path, resource_path("encoders")])
        assert cards[0].name == DEFAULT_ENCODER
        assert list(faults) == ["bad"]
        assert "bad.json cannot be read" in faults["bad"]
        with pytest.raises(EncoderError, match=r"bad\.json"):
            card("bad", [tmp_path])
        with pytest.raises(EncoderError, match="There is no encoder called another"):
            card("another", [tmp_path])


@pytest.mark.parametrize(
    "changes",
    [
        {"name": ""},
        {"name": 3},
        {"architecture": "resnet"},
        {"architecture": "vit_w64d999999999h1m64_patch16_224_t2"},
        {"parameters": float("inf")},
        {"parameters": -1},
        {"parameters": [1]},
        {"trained": "false"},
        {"file": ""},
        {"file": ".."},
        {"file": 5},
        {"seed": 1 << 70},
        {"fps": 0},
        {"fps": -5},
        {"fps": float("nan")},
        {"fps": float("inf")},
        {"fps": 1e9},
        {"depths": []},
        {"depths": [12]},
        {"depths": [-1]},
        {"depths": [1.5]},
        {"depths": 3},
    ],
)
def test_a_card_with_an_invalid_value_gives_one_sentence(tmp_path: Path, changes: dict[str, object]) -> None:
    write_card(tmp_path, "mine.safetensors", "0" * 64)
    assert read_card(tmp_path / "mine.json").name == "mine"
    stored = json.loads((tmp_path / "mine.json").read_text(encoding="utf-8"))
    (tmp_path / "mine.json").write_text(json.dumps(stored | changes), encoding="utf-8")
    cards, faults = available([tmp_path, resource_path("encoders")])
    assert cards[0].name == DEFAULT_ENCODER
    assert "mine.json cannot be read: remove or correct it." in faults["mine"]


@pytest.mark.parametrize("content", [b"[" * 100_000, b'{"name": "\xff"}', b" " * (2 << 20) + b"{}", b"3"])
def test_a_file_that_is_not_a_card_gives_one_sentence(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bad.json").write_bytes(content)
    assert list(available([tmp_path])[1]) == ["bad"]


def test_control_characters_on_a_card_are_replaced(tmp_path: Path) -> None:
    texts = {"licence": "free\x1b[2J\nTrained: yes", "description": "\u202etfel"}
    write_card(tmp_path, "mine\n.safetensors", "0" * 64, **texts)
    found = read_card(tmp_path / "mine.json")
    assert (found.licence, found.description) == ("free?[2J?Trained: yes", "?tfel")


def test_listing_encoders_does_not_import_torch() -> None:
    code = (
        "import sys; from vjepa_core.encoder.catalogue import available; import vjepa_core.letterbox; "
        "assert available()[0]; sys.exit('torch' in sys.modules)"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], check=False, cwd=Path(__file__).parents[3]).returncode
        == 0
    )


def test_an_installed_wheel_reads_its_own_copy_of_the_resources(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vjepa_core import resources

    package = tmp_path / "vjepa_core"
    package.mkdir()
    monkeypatch.setattr(resources, "_PACKAGE", package)
    assert resource_path("encoders", "x.json") == tmp_path / "resources" / "encoders" / "x.json"
    (package / "_bundled").mkdir()
    assert resource_path("encoders") == package / "_bundled" / "encoders"

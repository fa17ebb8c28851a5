"""Conversion keeps values and dtypes and needs little memory."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from app.encoders import registry
from app.encoders.importing import import_checkpoint, inspect_checkpoint
from tests import checkpoint_files
from tests.conftest import ROOT
from vjepa_core.encoder.checkpoints.convert import file_size, write
from vjepa_core.encoder.load import load_card
from vjepa_core.errors import EncoderError


def quiet(stage: str, done: int, total: int) -> None:
    assert stage in ("reading", "writing")
    assert 0 < done <= total


@pytest.mark.parametrize("kind", checkpoint_files.FILES)
def test_weights_of_every_release_are_preserved(tmp_path: Path, kind: str) -> None:
    path = checkpoint_files.write(kind, tmp_path)
    card, facts = import_checkpoint(inspect_checkpoint(path), quiet)
    model = load_card(card)
    assert model.architecture.name == checkpoint_files.ARCHITECTURES[kind]
    expected = checkpoint_files.weights_of(kind)
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, expected[name], rtol=0, atol=0)
    assert model(torch.zeros(1, 3, 4, 32, 32)).isfinite().all()
    assert card.path is not None
    assert facts["bytes"] == card.path.stat().st_size
    assert facts["checksum"] == hashlib.sha256(card.path.read_bytes()).hexdigest()
    if kind != "hugging-face-shards":
        assert facts["source_checksum"] == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("kind", ["v-jepa-2.1", "hugging-face"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_dtypes_are_preserved(tmp_path: Path, kind: str, dtype: torch.dtype) -> None:
    found = inspect_checkpoint(checkpoint_files.write(kind, tmp_path, dtype=dtype))
    card, facts = import_checkpoint(found, quiet)
    assert facts["dtype"] == str(dtype).removeprefix("torch.")
    assert card.path is not None
    expected = checkpoint_files.weights_of(kind, dtype)
    for name, value in load_file(card.path).items():
        assert value.dtype == dtype
        assert torch.equal(value, expected[name])


def test_mixed_dtypes_and_memory_layouts(tmp_path: Path) -> None:
    def change(weights: checkpoint_files.State) -> checkpoint_files.State:
        big = torch.randn(300, 300)
        return weights | {
            "blocks.0.norm1.weight": weights["blocks.0.norm1.weight"].half(),
            "blocks.1.attn.proj.weight": big[::2, ::2][:128, :128],  # not contiguous
            "norms_block.0.bias": torch.zeros(1).expand(128),
        }

    card, facts = import_checkpoint(
        inspect_checkpoint(checkpoint_files.write("v-jepa-2.1", tmp_path, change=change)), quiet
    )
    assert facts["dtype"] == "float16 and float32"
    assert card.path is not None
    stored = load_file(card.path)
    assert stored["blocks.0.norm1.weight"].dtype == torch.float16
    assert stored["blocks.1.attn.proj.weight"].dtype == torch.float32
    load_card(card)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_invalid_weights_leave_no_files(tmp_path: Path, value: float) -> None:
    def change(weights: checkpoint_files.State) -> checkpoint_files.State:
        weights["blocks.3.mlp.fc2.weight"][5, 7] = value
        return weights

    found = inspect_checkpoint(checkpoint_files.write("v-jepa-2.1", tmp_path / "a", change=change))
    with pytest.raises(EncoderError, match=r"infinite or NaN values in blocks\.3\.mlp\.fc2\.weight"):
        import_checkpoint(found, quiet)
    assert all(not registry.is_own(card) for card in registry.cards()[0])


def test_missing_bytes_in_a_download_are_detected(tmp_path: Path) -> None:
    path = checkpoint_files.write("v-jepa-2.1", tmp_path)
    content = bytearray(path.read_bytes())
    start = len(content) * 3 // 4  # the moving average is in the second half
    content[start : start + 4096] = bytes(4096)
    path.write_bytes(content)
    with pytest.raises(EncoderError, match="is damaged: download"):
        import_checkpoint(inspect_checkpoint(path), quiet)
    assert all(not registry.is_own(card) for card in registry.cards()[0])


@pytest.mark.parametrize("damage", [RuntimeError, NotImplementedError, zlib.error, EOFError])
def test_any_error_in_a_zip_member_is_reported_as_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: type[Exception]
) -> None:
    def fail(*_: object) -> None:
        raise damage("odd")

    found = inspect_checkpoint(checkpoint_files.write("v-jepa-2.1", tmp_path))
    monkeypatch.setattr(zipfile.ZipFile, "open", fail)
    with pytest.raises(EncoderError, match="is damaged: download"):
        import_checkpoint(found, quiet)


def test_a_file_removed_in_the_meantime_gives_an_error(tmp_path: Path) -> None:
    path = checkpoint_files.write("hugging-face", tmp_path)
    found = inspect_checkpoint(path)
    path.unlink()
    with pytest.raises(EncoderError, match="can no longer be read"):
        import_checkpoint(found, quiet)


def test_a_file_of_this_program_keeps_the_values_of_its_card(tmp_path: Path) -> None:
    first, _ = import_checkpoint(
        inspect_checkpoint(checkpoint_files.write("v-jepa-2.1", tmp_path)), quiet, "first", "Mine", 12.5
    )
    assert (first.fps, first.licence) == (12.5, "Mine")
    assert first.path is not None
    card = first.path.with_suffix(".json")
    card.write_text(json.dumps(json.loads(card.read_text()) | {"trained": False, "depths": [3]}))
    again, facts = import_checkpoint(inspect_checkpoint(first.path), quiet, "again")
    assert (again.fps, again.licence, again.trained, again.depths) == (12.5, "Mine", False, (3,))
    assert (facts["assumed"], again.checksum) == ([], first.checksum)


def test_the_file_can_be_read_by_safetensors(tmp_path: Path) -> None:
    weights = {
        "a": (torch.ones(3, dtype=torch.float16),),
        "b": (torch.arange(4.0).reshape(2, 2), torch.zeros(1, 2)),
        "ü": (torch.full((1,), 2.0, dtype=torch.bfloat16), torch.zeros(1)),
    }
    with (tmp_path / "x.safetensors").open("wb") as out:
        checksum = write("x", weights, out, lambda done, total: None)
    content = (tmp_path / "x.safetensors").read_bytes()
    assert (len(content), checksum) == (file_size(weights), hashlib.sha256(content).hexdigest())
    stored = load_file(tmp_path / "x.safetensors")
    assert stored["b"].tolist() == [[0, 1], [2, 3], [0, 0]]
    assert stored["ü"].dtype == torch.float32
    assert stored["a"].dtype == torch.float16


def test_matches_hugging_face_for_a_model_saved_by_it(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.VJEPA2Config(
        crop_size=64,
        frames_per_clip=4,
        hidden_size=96,
        num_attention_heads=4,
        num_hidden_layers=3,
        mlp_ratio=2.0,
        pred_hidden_size=24,
        pred_num_attention_heads=2,
        pred_num_hidden_layers=1,
    )
    torch.manual_seed(0)
    peer = transformers.VJEPA2Model(config).eval()
    peer.save_pretrained(tmp_path / "vjepa2-tiny", max_shard_size="400KB")
    (index,) = (tmp_path / "vjepa2-tiny").glob("*.index.json")
    found = inspect_checkpoint(index)
    assert found.name == "vjepa2-tiny"
    one_part = min((tmp_path / "vjepa2-tiny").glob("*-of-*.safetensors"))
    assert inspect_checkpoint(one_part).facts() == found.facts()
    assert found.encoder.architecture.name == "vit_w96d3h4m192_patch16_64_t2.vjepa2"
    card, _ = import_checkpoint(found, quiet)
    clip = torch.randn(2, 4, 3, 64, 64)
    with torch.inference_mode():
        theirs = peer(clip, skip_predictor=True).last_hidden_state
        ours = load_card(card)(clip.transpose(1, 2))
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4)


PEAK_MEMORY = """
import sys, threading, time
from pathlib import Path
from app.encoders.importing import import_checkpoint, inspect_checkpoint

def anonymous():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))

before = peak = anonymous()
def report(stage, done, total):
    global peak
    peak = max(peak, anonymous())
import_checkpoint(inspect_checkpoint(Path(sys.argv[1])), report)
print((peak - before) // 1024)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc/self/status")
@pytest.mark.parametrize("kind", ["torch", "safetensors"])
def test_a_large_file_needs_little_memory(tmp_path: Path, kind: str) -> None:
    of = checkpoint_files.weight_shapes(1024, 4, 4096, "vjepa2")
    weights = {name: torch.full(shape, 0.01) for name, shape in of.items()}
    path = tmp_path / "large.pt"
    if kind == "torch":
        torch.save({"target_encoder": checkpoint_files.with_training_prefix(weights)}, path)
    else:
        save_file(checkpoint_files.hugging_face_names(weights), path)
    done = subprocess.run(
        [sys.executable, "-c", PEAK_MEMORY, str(path)], cwd=ROOT, check=True, capture_output=True, text=True
    )
    size = path.stat().st_size >> 20
    assert size > 190
    assert int(done.stdout) < size / 2

"""Packed sets on disk: contents are restored and damage is reported."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from vjepa_core.pretraining.errors import PretrainingError
from vjepa_core.pretraining.shards import INDEX, PackedSet, ShardWriter


def smooth(frames: int, height: int, width: int) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    return np.stack([40 + 100 * y / height + 60 * x / width + t for t in range(frames)]).astype(np.uint8)


def write(folder: Path, codec: str = "webp") -> None:
    masks = (smooth(1, 48, 48) // 80).astype(np.uint8)
    with ShardWriter(folder, size=64, quality=80, codec=codec, terms={"echo": "research only"}) as writer:
        writer.add("a", smooth(5, 40, 60), 24.0, "echo")
        writer.add("b", smooth(1, 48, 48), 0.0, "still", masks)


@pytest.mark.parametrize("codec", ["webp", "jpeg"])
def test_images_are_restored(tmp_path: Path, codec: str) -> None:
    write(tmp_path / "set", codec)
    packed = PackedSet(tmp_path / "set")
    (first, frames, none), (second, still, masks) = packed.read()
    assert (first.name, first.group, first.fps, first.frames) == ("a", "echo", 24.0, 5)
    assert packed.terms == {"echo": "research only"}
    assert np.abs(frames.astype(int) - smooth(5, 40, 60)).mean() < 3
    assert none is None
    assert second.fps == 0
    assert still.shape == (1, 48, 48)
    assert masks is not None
    np.testing.assert_array_equal(masks, smooth(1, 48, 48) // 80)  # labels are preserved exactly


def test_groups_can_be_selected(tmp_path: Path) -> None:
    write(tmp_path / "set")
    assert [cine.name for cine, _, _ in PackedSet(tmp_path / "set").read({"still"})] == ["b"]


def test_a_set_may_have_several_shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vjepa_core.pretraining.shards.SHARD_BYTES", 300)
    write(tmp_path / "set")
    assert len(list((tmp_path / "set").glob("*.bin"))) == 2
    assert [cine.name for cine, _, _ in PackedSet(tmp_path / "set").read()] == ["a", "b"]


def test_damage_gives_an_error(tmp_path: Path) -> None:
    write(tmp_path / "set")
    shard = tmp_path / "set" / "shard_000.bin"
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 255
    shard.write_bytes(data)
    with pytest.raises(PretrainingError, match="damaged"):
        list(PackedSet(tmp_path / "set").read())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"format": "other"}, "another format"),
        ({"version": 99}, "another version"),
        ({"cines": [{"name": "x"}]}, "damaged"),
        ({"shards": {"../../secret.bin": "0"}}, "damaged"),
    ],
)
def test_a_bad_index_gives_an_error(tmp_path: Path, change: dict[str, object], words: str) -> None:
    write(tmp_path / "set")
    index = tmp_path / "set" / INDEX
    index.write_text(json.dumps({**json.loads(index.read_text()), **change}))
    with pytest.raises(PretrainingError, match=words):
        PackedSet(tmp_path / "set")


def test_a_folder_without_a_packed_set_gives_an_error(tmp_path: Path) -> None:
    assert not PackedSet.is_packed(tmp_path)
    with pytest.raises(PretrainingError, match="is not a packed set"):
        PackedSet(tmp_path)


def test_other_files_are_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(PretrainingError, match="not empty"):
        ShardWriter(tmp_path, size=64, quality=60, codec="webp")
    write(tmp_path / "set")
    with pytest.raises(PretrainingError, match="not empty"):
        ShardWriter(tmp_path / "set", size=64, quality=60, codec="webp")


def test_an_interrupted_packing_can_be_repeated(tmp_path: Path) -> None:
    (tmp_path / "shard_000.bin").write_bytes(b"half")
    assert not PackedSet.is_packed(tmp_path)
    write(tmp_path)
    assert len(PackedSet(tmp_path).cines) == 2


def test_an_unknown_codec_gives_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="codec"):
        ShardWriter(tmp_path, size=64, quality=60, codec="png")

"""The cache never fails loudly, never gives back something else, and stays within its size."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from vjepa_core.fewshot.feature_cache import FeatureCache, feature_key
from vjepa_core.fewshot.features import CineFeatures


def features(fill: float = 1.0) -> CineFeatures:
    return CineFeatures(
        torch.full((2, 3, 2, 2, 4), fill, dtype=torch.float16), torch.arange(3, dtype=torch.float64)
    )


@pytest.fixture
def cache(tmp_path: Path) -> FeatureCache:
    return FeatureCache(tmp_path / "features")


def test_what_was_put_comes_back(cache: FeatureCache) -> None:
    assert cache.get("a") is None
    assert cache.put("a", features())
    found = cache.get("a")
    assert found is not None
    assert torch.equal(found.values, features().values)
    assert torch.equal(found.times, features().times)
    assert cache.size() > 0
    assert [path.name for path in cache.folder.iterdir()] == ["a.safetensors"]


def test_features_are_made_once(cache: FeatureCache) -> None:
    made: list[int] = []

    def make() -> CineFeatures:
        made.append(1)
        return features()

    assert torch.equal(cache.get_or_make("a", make).values, cache.get_or_make("a", make).values)
    assert len(made) == 1


@pytest.mark.parametrize("damage", ["empty", "truncated", "flipped", "other"])
def test_a_damaged_file_is_missing_and_removed(cache: FeatureCache, damage: str) -> None:
    cache.put("a", features())
    path = cache.folder / "a.safetensors"
    content = path.read_bytes()
    flipped = bytearray(content)
    flipped[-3] ^= 4
    path.write_bytes(
        {"empty": b"", "truncated": content[:-5], "flipped": bytes(flipped), "other": b"x" * 999}[damage]
    )
    assert cache.get("a") is None
    assert not path.exists()


def test_the_longest_unused_go_first(cache: FeatureCache) -> None:
    for age, name in ((300, "a"), (200, "b"), (100, "c")):
        cache.put(name, features())
        path = cache.folder / f"{name}.safetensors"
        os.utime(path, (path.stat().st_mtime - age,) * 2)
    assert cache.get("a") is not None  # now the latest
    cache.max_bytes = cache.size()
    assert cache.put("d", features())
    assert cache.get("b") is None
    assert cache.size() <= cache.max_bytes
    assert cache.get("a") is not None
    assert cache.get("d") is not None


def test_features_larger_than_the_cache_are_not_stored(cache: FeatureCache) -> None:
    cache.max_bytes = 10
    assert not cache.put("a", features())
    assert cache.size() == 0


def test_a_full_disk_is_no_error(cache: FeatureCache, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    assert torch.equal(cache.get_or_make("a", features).values, features().values)
    assert list(cache.folder.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_no_error(tmp_path: Path) -> None:
    tmp_path.joinpath("file").write_text("in the way")
    cache = FeatureCache(tmp_path / "file" / "features")
    assert torch.equal(cache.get_or_make("a", features).values, features().values)
    assert not cache.put("a", features())


def test_leftovers_of_a_killed_process_are_swept(cache: FeatureCache) -> None:
    cache.folder.mkdir()
    old, new = cache.folder / "old.tmp", cache.folder / "new.tmp"
    old.touch()
    new.touch()
    os.utime(old, (0, 0))
    cache.put("a", features())
    assert not old.exists()
    assert new.exists()  # perhaps another process is writing it


def test_the_key_follows_all_that_features_depend_on() -> None:
    frames = np.zeros((4, 8, 8), np.uint8)
    other = frames.copy()
    other[3, 7, 7] = 1
    keys = {
        feature_key(frames, "e1", stride_frames=1, depths=(2, 5)),
        feature_key(other, "e1", stride_frames=1, depths=(2, 5)),
        feature_key(frames, "e2", stride_frames=1, depths=(2, 5)),
        feature_key(frames, "e1", stride_frames=2, depths=(2, 5)),
        feature_key(frames, "e1", stride_frames=1, depths=(2, 8)),
        feature_key(frames.reshape(4, 4, 16), "e1", stride_frames=1, depths=(2, 5)),
    }
    assert len(keys) == 6
    assert feature_key(frames.copy(), "e1", stride_frames=1, depths=[2, 5]) in keys

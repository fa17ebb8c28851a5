"""The cache never raises, never returns wrong features, and stays within its size limit."""

from __future__ import annotations

import dataclasses
import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from vjepa_core.encoder.catalogue import EncoderCard
from vjepa_core.fewshot import cache_folder
from vjepa_core.fewshot.cache_folder import CAP_VARIABLE, DEFAULT_CAP, CacheFolder
from vjepa_core.fewshot.feature_cache import FeatureCache, feature_key
from vjepa_core.fewshot.features import CineFeatures

GIB = 2**30
CARD = EncoderCard(
    "name", "V-JEPA 2", "vit_giant_patch16_224_t2.vjepa2", 1, "-", "-", True, "sum", None, 0, 30.0, (2, 5)
)


class Disk(NamedTuple):
    total: int
    used: int
    free: int


def features(fill: float = 1.0) -> CineFeatures:
    return CineFeatures(
        torch.full((2, 3, 2, 2, 4), fill, dtype=torch.float16), torch.arange(3, dtype=torch.float64)
    )


@pytest.fixture
def cache(tmp_path: Path) -> FeatureCache:
    return FeatureCache(tmp_path / "features", GIB)


def aged(cache: FeatureCache, key: str, seconds: float) -> None:
    path = cache.path(key)
    os.utime(path, (path.stat().st_mtime - seconds,) * 2)


def test_stored_features_are_returned(cache: FeatureCache) -> None:
    assert cache.get("a") is None
    assert cache.put("a", features())
    found = cache.get("a")
    assert found is not None
    assert torch.equal(found.values, features().values)
    assert torch.equal(found.times, features().times)
    assert cache.size() > 0
    assert [path.name for path in cache.folder.iterdir()] == ["a.safetensors"]


def test_features_are_computed_once(cache: FeatureCache) -> None:
    made: list[int] = []

    def make() -> CineFeatures:
        made.append(1)
        return features()

    assert torch.equal(cache.get_or_make("a", make).values, cache.get_or_make("a", make).values)
    assert len(made) == 1


def test_stored_features_are_mapped_from_disk(cache: FeatureCache) -> None:
    made = features()
    assert cache.get_or_make("a", lambda: made) is not made
    cache.max_bytes = 0
    assert cache.get_or_make("a", lambda: made) is made


def test_features_stay_valid_after_their_file_is_removed(cache: FeatureCache) -> None:
    """Another process may remove or replace an entry while it is in use."""
    cache.put("a", features(1))
    cache.put("b", features(2))
    a, b = cache.get("a"), cache.get("b")
    cache.clear()
    cache.put("b", features(3))
    assert a is not None
    assert b is not None
    assert torch.equal(a.values, features(1).values)
    assert torch.equal(b.values, features(2).values)


def write_invalid(path: Path, **tensors: torch.Tensor) -> None:
    save_file({"values": features().values, "times": features().times} | tensors, path, {"key": "a"})


DAMAGES: dict[str, Callable[[Path, bytes], object]] = {
    "empty": lambda path, whole: path.write_bytes(b""),
    "half written": lambda path, whole: path.write_bytes(whole[: len(whole) // 2]),
    "header alone": lambda path, whole: path.write_bytes(whole[:40]),
    "truncated": lambda path, whole: path.write_bytes(whole[:-5]),
    "too long": lambda path, whole: path.write_bytes(whole + b"more"),
    "zeros": lambda path, whole: path.write_bytes(bytes(len(whole))),
    "huge header": lambda path, whole: path.write_bytes(b"\xff" * 8 + whole[8:]),
    "foreign": lambda path, whole: path.write_bytes(b"x" * 999),
    "of another cine": lambda path, whole: shutil.copy(path.with_name("b.safetensors"), path),
    "without checksum": lambda path, whole: write_invalid(path),
    "other names": lambda path, whole: save_file({"weights": torch.zeros(3)}, path),
    "other precision": lambda path, whole: write_invalid(path, values=features().values.float()),
    "other shape": lambda path, whole: write_invalid(path, values=torch.zeros(2, 3, dtype=torch.float16)),
    "other length": lambda path, whole: write_invalid(path, times=torch.zeros(4, dtype=torch.float64)),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_replaced_without_an_error(
    cache: FeatureCache, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    cache.put("a", features(1))
    cache.put("b", features(2))
    path = cache.path("a")
    DAMAGES[damage](path, path.read_bytes())
    assert cache.get("a") is None
    assert not path.exists()
    DAMAGES[damage](path, path.read_bytes() if path.exists() else bytes(500))
    assert torch.equal(cache.get_or_make("a", lambda: features(1)).values, features(1).values)
    again = cache.get("a")
    assert again is not None
    assert torch.equal(again.values, features(1).values)
    assert not [record for record in caplog.records if record.levelname != "DEBUG"]


def test_every_flipped_bit_is_detected(cache: FeatureCache) -> None:
    cache.put("a", features())
    path = cache.path("a")
    whole = path.read_bytes()
    for place in range(0, len(whole)):
        broken = bytearray(whole)
        broken[place] ^= 1 << place % 8
        path.write_bytes(broken)
        found = cache.get("a")
        # Some bits of a header have no meaning, such as those of white space.
        assert found is None or torch.equal(found.values, features().values), place
        assert found is None or place < len(whole) - features().values.nbytes


def test_the_least_recently_used_are_removed_first(cache: FeatureCache) -> None:
    for age, name in ((300, "a"), (200, "b"), (100, "c")):
        cache.put(name, features())
        aged(cache, name, age)
    assert cache.get("a") is not None  # now the most recently used
    cache.max_bytes = cache.size() + 100
    assert cache.put("d", features())
    assert cache.get("b") is None
    assert cache.size() <= cache.max_bytes
    assert cache.get("a") is not None
    assert cache.get("d") is not None


def test_features_larger_than_the_cache_are_not_stored_and_nothing_is_removed(cache: FeatureCache) -> None:
    cache.put("a", features())
    cache.max_bytes = cache.size()
    large = CineFeatures(
        torch.zeros(2, 3, 2, 2, 99, dtype=torch.float16), torch.arange(3, dtype=torch.float64)
    )
    assert not cache.put("b", large)
    assert cache.get("a") is not None


def test_files_that_cannot_be_removed_count_towards_the_limit(
    cache: FeatureCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On Windows, open files cannot be removed; the limit still applies."""
    cache.put("a", features())
    cache.max_bytes = cache.size() + 10

    def held(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "in use by another process")

    monkeypatch.setattr(Path, "unlink", held)
    assert torch.equal(cache.get_or_make("b", features).values, features().values)
    assert [entry.path.stem for entry in cache.entries()] == ["a"]
    assert cache.clear() == (0, 0, 1)


def test_a_disabled_cache_stores_and_returns_nothing(tmp_path: Path) -> None:
    FeatureCache(tmp_path / "features", GIB).put("a", features(1))
    off = FeatureCache(tmp_path / "features", 0)
    assert torch.equal(off.get_or_make("a", lambda: features(2)).values, features(2).values)
    assert not off.put("b", features())
    assert not FeatureCache(tmp_path / "none", 0).put("a", features())
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("text", "cap"),
    [
        ("", DEFAULT_CAP),
        ("20", 20 * GIB),
        (" 0.5 ", GIB // 2),
        ("0", 0),
        ("-1", DEFAULT_CAP),
        ("inf", DEFAULT_CAP),
        ("nan", DEFAULT_CAP),
        ("plenty", DEFAULT_CAP),
    ],
)
def test_the_limit_can_be_set(text: str, cap: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CAP_VARIABLE, text)
    assert FeatureCache(tmp_path).max_bytes == cap


def test_free_disk_space_is_reserved(cache: FeatureCache, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = Disk(1000 * GIB, 990 * GIB, 10 * GIB)
    monkeypatch.setattr(cache_folder.shutil, "disk_usage", lambda _: disk)
    cache.max_bytes = 100 * GIB
    assert cache.limit(0) == 8 * GIB  # 2 GiB stay free
    assert cache.limit(5 * GIB) == 13 * GIB
    disk = Disk(20 * GIB, 15 * GIB, 5 * GIB)
    assert cache.limit(0) == 4 * GIB  # a twentieth of a small disk
    disk = Disk(20 * GIB, 20 * GIB, 0)
    assert cache.limit(0) == 0
    assert not cache.put("a", features())

    # Existing entries are removed if other programs have filled the disk.
    disk = Disk(20 * GIB, 0, 20 * GIB)
    for age, name in ((200, "a"), (100, "b")):
        assert cache.put(name, features())
        aged(cache, name, age)
    disk = Disk(20 * GIB, 0, GIB + 500)  # too little for a third entry
    assert cache.put("c", features())
    assert [entry.path.stem for entry in cache.entries()] == ["b", "c"]
    disk = Disk(20 * GIB, 0, GIB - cache.size() + 800)
    assert cache.put("d", features())
    assert [entry.path.stem for entry in cache.entries()] == ["d"]


@pytest.mark.parametrize("refused", ["replace", "save_file", "disk_usage"])
def test_a_full_disk_is_not_an_error(
    cache: FeatureCache, refused: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    place = {
        "replace": "pathlib.Path.replace",
        "save_file": "vjepa_core.fewshot.feature_cache.save_file",
        "disk_usage": "shutil.disk_usage",
    }[refused]
    monkeypatch.setattr(place, full)
    assert torch.equal(cache.get_or_make("a", features).values, features().values)
    assert [p.suffix for p in cache.folder.iterdir()] == ([".safetensors"] if refused == "disk_usage" else [])


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_safetensors_error_for_a_full_disk_is_not_raised(
    cache: FeatureCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    def onto_a_full_disk(tensors: dict[str, torch.Tensor], path: Path, metadata: dict[str, str]) -> None:
        save_file(tensors, "/dev/full/nothing", metadata)

    monkeypatch.setattr("vjepa_core.fewshot.feature_cache.save_file", onto_a_full_disk)
    assert not cache.put("a", features())
    assert list(cache.folder.iterdir()) == []


def test_a_folder_that_cannot_be_created_is_not_an_error(tmp_path: Path) -> None:
    tmp_path.joinpath("file").write_text("in the way")
    cache = FeatureCache(tmp_path / "file" / "features", GIB)
    assert torch.equal(cache.get_or_make("a", features).values, features().values)
    assert not cache.put("a", features())
    assert cache.size() == 0
    assert cache.clear() == (0, 0, 0)


def test_a_folder_in_place_of_a_file_is_not_an_error(cache: FeatureCache) -> None:
    cache.path("a").mkdir(parents=True)
    assert torch.equal(cache.get_or_make("a", features).values, features().values)
    assert cache.get("a") is None


def test_temporary_files_of_killed_processes_are_removed(cache: FeatureCache) -> None:
    cache.folder.mkdir()
    names = ("old.tmp", ".tmpZLQK7I", "new.tmp")
    old, olds, new = (cache.folder / name for name in names)
    for path in (old, olds, new):
        path.touch()
    for path in (old, olds):
        os.utime(path, (0, 0))
    cache.put("a", features())
    assert not old.exists()
    assert not olds.exists()
    assert new.exists()  # perhaps another process is writing it


def test_files_that_disappear_during_listing_are_ignored(
    cache: FeatureCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b", "c"):
        cache.put(name, features())
    cache.folder.joinpath("x.tmp").touch()
    one = cache.size() // 3
    stat = Path.stat

    def vanishing(path: Path, **more: bool) -> os.stat_result:
        if path.name in {"a.safetensors", "x.tmp"}:
            path.unlink(missing_ok=True)
        return stat(path, **more)

    monkeypatch.setattr(Path, "stat", vanishing)
    assert cache.size() == 2 * one
    assert cache.put("d", features())
    assert {entry.path.stem for entry in cache.entries()} == {"b", "c", "d"}


def test_clear_returns_what_was_removed(cache: FeatureCache) -> None:
    for name in ("a", "b"):
        cache.put(name, features())
    cache.folder.joinpath("new.tmp").touch()
    size = cache.size()
    assert CacheFolder(cache.folder).clear() == (2, size, 0)
    assert [path.name for path in cache.folder.iterdir()] == ["new.tmp"]
    assert cache.get("a") is None


def test_the_key_depends_on_everything_that_determines_features() -> None:
    frames = np.zeros((4, 8, 8), np.uint8)
    other = frames.copy()
    other[3, 7, 7] = 1
    keys = {
        feature_key(frames, CARD, fps=30.0),
        feature_key(other, CARD, fps=30.0),
        feature_key(frames.reshape(4, 4, 16), CARD, fps=30.0),
        feature_key(frames, CARD, fps=60.0),
        feature_key(frames, CARD, fps=30.0, matrices=torch.bfloat16),
        feature_key(frames, dataclasses.replace(CARD, checksum="other"), fps=30.0),
        feature_key(frames, dataclasses.replace(CARD, depths=(2, 8)), fps=30.0),
        # The same weights, interpreted as those of another release.
        feature_key(
            frames, dataclasses.replace(CARD, architecture="vit_giant_patch16_224_t2.vjepa1"), fps=30.0
        ),
    }
    assert len(keys) == 8


def test_the_key_does_not_depend_on_anything_else() -> None:
    frames = np.arange(256, dtype=np.uint8).reshape(4, 8, 8)
    key = feature_key(frames, CARD, fps=30.0)
    assert feature_key(np.asfortranarray(frames), CARD, fps=31.5) == key
    renamed = dataclasses.replace(CARD, name="mine", path=Path("elsewhere"), licence="?", trained=False)
    assert feature_key(frames, renamed, fps=30.0) == key

"""`apical bench robustness` with few files."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from app.bench.mutations import damage
from app.bench.robustness import FAULTS, Opener, run
from app.bench.samples import write_samples
from app.domain.errors import ApicalError
from app.readers.open import format_of, open_cine


def test_damaged_files_cause_no_faults(demo_cine_path: Path) -> None:
    result = run([demo_cine_path], files=200, seed=3)
    assert result["faults"] == []
    assert result["exit_code"] == 0
    assert sum(row["n"] for row in result["rows"]) == 200
    assert {row["what"] for row in result["rows"]} >= {"dicom", "video", "gif", "image", "folder", "nifti"}
    assert all(row[fault] == 0 for row in result["rows"] for fault in FAULTS)
    assert sum(row["opened"] for row in result["rows"]) > 40
    assert sum(row["refused"] for row in result["rows"]) > 40


def test_samples_are_intact_and_damage_is_reproducible(tmp_path: Path) -> None:
    for path in write_samples(tmp_path):
        cine = open_cine(path)
        assert cine.n_frames == (1 if path.suffix == ".jpg" else 8)
        if path.is_file():
            data, found = path.read_bytes(), format_of(path)
            assert found is not None
            for seed in range(5):
                once, what = damage(data, found.name, random.Random(seed))
                assert (once, what) == damage(data, found.name, random.Random(seed))


def test_a_crashed_process_is_replaced(tmp_path: Path, demo_cine_path: Path) -> None:
    with Opener(hang_s=20) as opener:
        assert opener.open(demo_cine_path)["outcome"] == "opened"
        child = opener.process
        assert child is not None
        child.kill()
        child.wait()
        assert opener.open(demo_cine_path)["outcome"] == "crash"
        assert opener.open(demo_cine_path)["outcome"] == "opened"


def test_excess_of_memory_and_time_is_detected(demo_cine_path: Path) -> None:
    with Opener(memory=1 << 20) as opener:
        assert opener.open(demo_cine_path)["outcome"] == "memory"
    with Opener(hang_s=0.0) as opener:
        assert opener.open(demo_cine_path)["outcome"] == "hang"


def test_a_missing_path_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(ApicalError, match="does not exist"):
        run([tmp_path / "gone"], files=1)

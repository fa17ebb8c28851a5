"""Atomic checkpoint files and consistent logs."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import BinaryIO

import pytest
import torch

from tests.unit.pretraining.runs import tiny
from vjepa_core.pretraining import checkpoint
from vjepa_core.pretraining.errors import PretrainingError
from vjepa_core.pretraining.files import LOG
from vjepa_core.pretraining.log import StepLog, read_log


def test_a_state_is_restored(tmp_path: Path) -> None:
    checkpoint.save(tmp_path, {"step": 3, "weights": {"a": torch.arange(4.0)}})
    state = checkpoint.load(tmp_path)
    assert state["step"] == 3
    assert torch.equal(state["weights"]["a"], torch.arange(4.0))


def test_a_failed_write_leaves_only_the_old_file(tmp_path: Path) -> None:
    checkpoint.save(tmp_path, {"step": 1})

    def fail(out: BinaryIO) -> None:
        out.write(b"half")
        raise OSError(28, "No space left on device")

    with pytest.raises(PretrainingError, match="space"):
        checkpoint.write_atomically(tmp_path / checkpoint.CHECKPOINT, fail)
    assert checkpoint.load(tmp_path)["step"] == 1
    assert [file.name for file in tmp_path.iterdir()] == [checkpoint.CHECKPOINT]


@pytest.mark.parametrize("content", [b"", b"nonsense", pickle.dumps({"format": 1}, protocol=2)])
def test_a_damaged_file_gives_an_error(content: bytes, tmp_path: Path) -> None:
    (tmp_path / checkpoint.CHECKPOINT).write_bytes(content)
    with pytest.raises(PretrainingError):
        checkpoint.load(tmp_path)


def test_a_file_cannot_execute_code(tmp_path: Path) -> None:
    torch.save({"format": 1, "trap": Path("x")}, tmp_path / checkpoint.CHECKPOINT)
    with pytest.raises(PretrainingError, match="damaged"):
        checkpoint.load(tmp_path)


def test_other_versions_and_empty_folders_give_an_error(tmp_path: Path) -> None:
    with pytest.raises(PretrainingError, match="no checkpoint"):
        checkpoint.load(tmp_path)
    with pytest.raises(PretrainingError, match="no run"):
        checkpoint.read_stored_config(tmp_path)
    torch.save({"format": 99}, tmp_path / checkpoint.CHECKPOINT)
    with pytest.raises(PretrainingError, match="another version"):
        checkpoint.load(tmp_path)


def test_the_configuration_is_stored(tmp_path: Path) -> None:
    checkpoint.write_config(tmp_path, tiny(seed=9))
    assert checkpoint.read_stored_config(tmp_path) == tiny(seed=9)


def test_log_lines_after_the_checkpoint_are_removed(tmp_path: Path) -> None:
    lines = [json.dumps({"step": step, "loss": 0.5}) for step in (1, 2, 3)]
    (tmp_path / LOG).write_text("\n".join(lines) + '\n{"step": 4, "lo')
    diary = StepLog(tmp_path, 2)
    diary.write({"step": 3, "loss": float("nan")})
    assert read_log(tmp_path) == [
        {"step": 1, "loss": 0.5},
        {"step": 2, "loss": 0.5},
        {"step": 3, "loss": None},
    ]

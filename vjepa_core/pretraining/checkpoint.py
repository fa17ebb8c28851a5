"""A run's state in one file that is always whole."""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from vjepa_core.atomic import replacing
from vjepa_core.pretraining.config import PretrainConfig, as_dict, changed
from vjepa_core.pretraining.errors import PretrainingError
from vjepa_core.pretraining.files import CHECKPOINT, CONFIG

_FORMAT = 1


def write_atomically(file: Path, write: Any) -> None:
    """Call `write(binary file)` on a neighbour, put it on the disk, then move it into place.

    Raises
    ------
    PretrainingError
        If the disk does not take it; the old file is then still there.
    """
    try:
        with replacing(file, sync=True) as temporary, temporary.open("wb") as out:
            write(out)
    except (OSError, RuntimeError) as error:  # torch.save turns a full disk into a RuntimeError
        raise PretrainingError(
            f"{file} cannot be written: check the disk's space and permissions. "
            "What was saved before is unharmed."
        ) from error


def save(run: Path, state: Mapping[str, Any]) -> None:
    """Store a state: tensors, numbers, strings, lists and dicts of them, nothing else."""
    write_atomically(run / CHECKPOINT, lambda out: torch.save({"format": _FORMAT, **state}, out))


def has_checkpoint(run: Path) -> bool:
    """Whether a folder holds a state to go on from."""
    return (run / CHECKPOINT).exists()


def has_config(run: Path) -> bool:
    """Whether a run was begun in a folder, even if it was killed before its first checkpoint."""
    return (run / CONFIG).exists()


def refuse_started(run: Path) -> None:
    """Raise PretrainingError if a new run would overwrite one."""
    if has_checkpoint(run):
        raise PretrainingError(f"{run} already holds a run: go on with --resume, or choose another folder.")


def load(run: Path) -> dict[str, Any]:
    """The last state, on the CPU; nothing in the file is executed.

    Raises
    ------
    PretrainingError
        If there is none or it is damaged.
    """
    file = run / CHECKPOINT
    if not file.exists():
        raise PretrainingError(f"{run} holds no checkpoint to go on from: start without --resume.")
    try:
        state: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
        known = state["format"] == _FORMAT
    except (
        OSError,
        RuntimeError,
        KeyError,
        TypeError,
        EOFError,
        ValueError,
        pickle.UnpicklingError,
    ) as error:
        raise PretrainingError(f"{file} is damaged: remove it and start again.") from error
    if not known:
        raise PretrainingError(f"{file} was written by another version of the program.")
    return state


def write_config(run: Path, config: PretrainConfig) -> None:
    """Store the configuration as readable JSON."""
    text = json.dumps(as_dict(config), indent=2) + "\n"
    write_atomically(run / CONFIG, lambda out: out.write(text.encode()))


def stored_config(run: Path) -> PretrainConfig:
    """The configuration of a run.

    Raises
    ------
    PretrainingError
        If the folder holds no run.
    """
    try:
        raw = json.loads((run / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise PretrainingError(f"{run} holds no run of `apical pretrain`: check the folder.") from error
    config: PretrainConfig = changed(PretrainConfig(), raw)
    return config

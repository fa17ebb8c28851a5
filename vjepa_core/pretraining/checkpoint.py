"""Checkpoint and configuration files of a run, replaced atomically."""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from vjepa_core.atomic import replacing
from vjepa_core.pretraining.config import PretrainConfig, as_dict, with_values
from vjepa_core.pretraining.errors import PretrainingError
from vjepa_core.pretraining.files import CHECKPOINT, CONFIG

_FORMAT = 1


def write_atomically(file: Path, write: Any) -> None:
    """Write a file atomically: to a temporary file that is synced and then renamed.

    Parameters
    ----------
    file : Path
        File to create or replace.
    write : callable
        Called with the open binary file.

    Raises
    ------
    PretrainingError
        If the file cannot be written; the old file is then unchanged.
    """
    try:
        with replacing(file, sync=True) as temporary, temporary.open("wb") as out:
            write(out)
    except (OSError, RuntimeError) as error:  # torch.save turns a full disk into a RuntimeError
        raise PretrainingError(
            f"{file} cannot be written: check free disk space and permissions. "
            "The previously saved file is unchanged."
        ) from error


def save(run: Path, state: Mapping[str, Any]) -> None:
    """Store a state of tensors, numbers, strings, lists and dicts."""
    write_atomically(run / CHECKPOINT, lambda out: torch.save({"format": _FORMAT, **state}, out))


def has_checkpoint(run: Path) -> bool:
    """Return True if a folder contains a checkpoint."""
    return (run / CHECKPOINT).exists()


def has_config(run: Path) -> bool:
    """Return True if a run was started in a folder, even if it ended before its first checkpoint."""
    return (run / CONFIG).exists()


def check_not_started(run: Path) -> None:
    """Raise PretrainingError if the folder already contains a run."""
    if has_checkpoint(run):
        raise PretrainingError(f"{run} already contains a run: use --resume, or choose another folder.")


def load(run: Path) -> dict[str, Any]:
    """Load the last state of a run on the CPU, without executing code from the file.

    Raises
    ------
    PretrainingError
        If there is no checkpoint, or it is damaged or of another version.
    """
    file = run / CHECKPOINT
    if not file.exists():
        raise PretrainingError(f"{run} contains no checkpoint: start without --resume.")
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


def read_stored_config(run: Path) -> PretrainConfig:
    """Read the configuration of a run.

    Raises
    ------
    PretrainingError
        If the folder contains no run.
    """
    try:
        raw = json.loads((run / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise PretrainingError(f"{run} contains no run of `apical pretrain`: check the folder.") from error
    config: PretrainConfig = with_values(PretrainConfig(), raw)
    return config

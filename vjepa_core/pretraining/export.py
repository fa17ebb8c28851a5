"""A run's encoder as a file that the program loads: weights and their card."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Literal

import safetensors.torch
import torch

from vjepa_core.encoder.architecture import FAMILIES
from vjepa_core.encoder.models import create_encoder
from vjepa_core.encoder.vit import VisionTransformer3D
from vjepa_core.pretraining import checkpoint
from vjepa_core.pretraining.config import PretrainConfig, as_dict, changed
from vjepa_core.pretraining.encode import stills_like_clips
from vjepa_core.pretraining.errors import PretrainingError

LICENCE = "Research only, non-commercial: follows the terms of the data it was trained on"


def trained_encoder(
    run: Path, which: Literal["teacher", "student"] = "teacher"
) -> tuple[VisionTransformer3D, PretrainConfig, int]:
    """An encoder of a run's last checkpoint, the run's configuration, and its steps so far."""
    state = checkpoint.load(run)
    config: PretrainConfig = changed(PretrainConfig(), state["config"])
    encoder = create_encoder(config.architecture)
    own = "student."
    weights = (
        state["teacher"]
        if which == "teacher"
        else {k.removeprefix(own): v for k, v in state["objective"].items() if k.startswith(own)}
    )
    encoder.load_state_dict(weights)
    stills_like_clips(encoder)
    return encoder.eval(), config, int(state["step"])


def export_encoder(
    run: Path, out: Path, name: str, *, licence: str = LICENCE, description: str | None = None
) -> Path:
    """Write the teacher of a run's last checkpoint as float16 safetensors, with its card.

    Parameters
    ----------
    run : Path
        Folder of a run.
    out : Path
        Folder for `NAME.safetensors` and `NAME.json`; give it to `load_encoder(folders=[...])`.
    name : str
        Letters, digits, dots, dashes and underscores.
    licence, description : str
        For the card.

    Returns
    -------
    Path
        The card.
    """
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]*", name):
        raise PretrainingError(f"{name} is no name for an encoder: use letters, digits, dots and dashes.")
    encoder, config, steps = trained_encoder(run)
    weights = {key: value.to(torch.float16).contiguous() for key, value in encoder.state_dict().items()}
    if not all(bool(value.isfinite().all()) for value in weights.values()):
        raise PretrainingError("The encoder holds numbers that float16 cannot: train it again.")
    content = safetensors.torch.save(weights)
    begun = f"Led on from {config.start_from}" if config.start_from else "Trained"
    told = f"{begun} with `apical pretrain` for {steps} steps of {config.batch} clips. Check every frame."
    card = {
        "name": name,
        "family": FAMILIES[encoder.architecture.form],
        "architecture": config.architecture,
        "parameters": sum(value.numel() for value in weights.values()),
        "licence": licence,
        "description": description or told,
        "trained": True,
        "checksum": hashlib.sha256(content).hexdigest(),
        "file": f"{name}.safetensors",
        "fps": config.fps,
        "depths": list(encoder.depths),
        "training": {"steps": steps, "config": as_dict(config)},
    }
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PretrainingError(f"{out} cannot be made a folder: choose another one.") from error
    checkpoint.write_atomically(out / f"{name}.safetensors", lambda file: file.write(content))
    text = json.dumps(card, indent=2) + "\n"
    checkpoint.write_atomically(out / f"{name}.json", lambda file: file.write(text.encode()))
    return out / f"{name}.json"

"""Export the encoder of a run: weights and card."""

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
from vjepa_core.pretraining.config import PretrainConfig, as_dict, with_values
from vjepa_core.pretraining.encode import copy_clip_embedding_to_stills
from vjepa_core.pretraining.errors import PretrainingError

LICENCE = "Research only, non-commercial: follows the terms of the data it was trained on"


def trained_encoder(
    run: Path, which: Literal["teacher", "student"] = "teacher"
) -> tuple[VisionTransformer3D, PretrainConfig, int]:
    """Load an encoder from the last checkpoint of a run.

    Returns
    -------
    encoder : VisionTransformer3D
        Teacher or student, in evaluation mode.
    config : PretrainConfig
        Configuration of the run.
    steps : int
        Number of training steps so far.
    """
    state = checkpoint.load(run)
    config: PretrainConfig = with_values(PretrainConfig(), state["config"])
    encoder = create_encoder(config.architecture)
    prefix = "student."
    weights = (
        state["teacher"]
        if which == "teacher"
        else {k.removeprefix(prefix): v for k, v in state["objective"].items() if k.startswith(prefix)}
    )
    encoder.load_state_dict(weights)
    copy_clip_embedding_to_stills(encoder)
    return encoder.eval(), config, int(state["step"])


def export_encoder(
    run: Path, out: Path, name: str, *, licence: str = LICENCE, description: str | None = None
) -> Path:
    """Write the teacher of a run's last checkpoint as float16 safetensors, with a card.

    Parameters
    ----------
    run : Path
        Folder of the run.
    out : Path
        Folder for `NAME.safetensors` and `NAME.json`, for use with `load_encoder(folders=[...])`.
    name : str
        Name of the encoder: letters, digits, dots, dashes and underscores, beginning with a letter or digit.
    licence, description : str
        Texts for the card.

    Returns
    -------
    Path
        Path of the card.

    Raises
    ------
    PretrainingError
        If the name is invalid, a weight does not fit into float16, or a file cannot be written.
    """
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]*", name):
        raise PretrainingError(
            f"{name} is not a valid encoder name: use letters, digits, dots, dashes and underscores, "
            "and begin with a letter or digit."
        )
    encoder, config, steps = trained_encoder(run)
    weights = {key: value.to(torch.float16).contiguous() for key, value in encoder.state_dict().items()}
    if not all(bool(value.isfinite().all()) for value in weights.values()):
        raise PretrainingError("The encoder has weights that do not fit into float16: train it again.")
    content = safetensors.torch.save(weights)
    start = f"Continued from {config.start_from}" if config.start_from else "Trained"
    steps_text = f"{steps} steps of {config.batch} clips"
    default = f"{start} with `apical pretrain` for {steps_text}. Check every predicted frame."
    card = {
        "name": name,
        "family": FAMILIES[encoder.architecture.form],
        "architecture": config.architecture,
        "parameters": sum(value.numel() for value in weights.values()),
        "licence": licence,
        "description": description or default,
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
        raise PretrainingError(f"The folder {out} cannot be created: choose another one.") from error
    checkpoint.write_atomically(out / f"{name}.safetensors", lambda file: file.write(content))
    text = json.dumps(card, indent=2) + "\n"
    checkpoint.write_atomically(out / f"{name}.json", lambda file: file.write(text.encode()))
    return out / f"{name}.json"

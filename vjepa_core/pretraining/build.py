"""Build student, objective and optimiser of a run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from vjepa_core.encoder.catalogue import card
from vjepa_core.encoder.initialise import initialise
from vjepa_core.encoder.load import load_encoder
from vjepa_core.encoder.models import create_encoder
from vjepa_core.encoder.vit import VisionTransformer3D
from vjepa_core.pretraining.config import PretrainConfig
from vjepa_core.pretraining.errors import PretrainingError
from vjepa_core.pretraining.objective import Objective


def build_student(config: PretrainConfig, folders: Sequence[Path] | None = None) -> VisionTransformer3D:
    """Create the encoder to train, with random weights or the weights of `config.start_from`.

    Parameters
    ----------
    config : PretrainConfig
        Configuration of the run.
    folders : sequence of Path, optional
        Folders with encoder cards; default: the shipped encoders.

    Raises
    ------
    EncoderError
        If the encoder does not exist or cannot be loaded.
    PretrainingError
        If its architecture differs from `config.architecture`.
    """
    if not config.start_from:
        student = create_encoder(config.architecture)
        initialise(student, config.seed)
        return student
    start_card = card(config.start_from, folders)
    if start_card.architecture != config.architecture:
        raise PretrainingError(
            f"{start_card.name} has the architecture {start_card.architecture}, but the run is configured "
            f"for {config.architecture}: use the same architecture."
        )
    student, _ = load_encoder(config.start_from, folders=folders)
    return student.train().requires_grad_(True)


def build_objective(student: VisionTransformer3D, config: PretrainConfig) -> Objective:
    """Create the objective with weights from the seed, without changing torch's global random state."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        return Objective(student, config)


def build_optimiser(objective: nn.Module, config: PretrainConfig, *, fused: bool) -> torch.optim.AdamW:
    """Create AdamW without weight decay for one-dimensional weights (biases, norms, learned tokens)."""
    trained = [p for p in objective.parameters() if p.requires_grad]
    decaying = [p for p in trained if sum(side > 1 for side in p.shape) > 1]
    others = [p for p in trained if sum(side > 1 for side in p.shape) <= 1]
    groups = [{"params": decaying, "decays": True}, {"params": others, "decays": False, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=0.0, betas=config.optimiser.betas, fused=fused)

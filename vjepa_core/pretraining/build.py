"""What a run starts from: student, objective, optimiser."""

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
    """The encoder that training starts from: untrained, or a stored one.

    Parameters
    ----------
    folders : sequence of Path, optional
        Where `config.start_from` is looked for; default the encoders that ship.
    """
    if not config.start_from:
        student = create_encoder(config.architecture)
        initialise(student, config.seed)
        return student
    found = card(config.start_from, folders)
    if found.architecture != config.architecture:
        raise PretrainingError(
            f"{found.name} is a {found.architecture}, the run is set to {config.architecture}: "
            "set one to the other."
        )
    student, _ = load_encoder(config.start_from, folders=folders)
    return student.train().requires_grad_(True)


def build_objective(student: VisionTransformer3D, config: PretrainConfig) -> Objective:
    """The objective with random weights from the seed; the caller's random state is left alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        return Objective(student, config)


def build_optimiser(objective: nn.Module, config: PretrainConfig, *, fused: bool) -> torch.optim.AdamW:
    """AdamW; weights of one dimension (biases, norms, learned tokens) do not decay."""
    trained = [p for p in objective.parameters() if p.requires_grad]
    decaying = [p for p in trained if sum(side > 1 for side in p.shape) > 1]
    others = [p for p in trained if sum(side > 1 for side in p.shape) <= 1]
    groups = [{"params": decaying, "decays": True}, {"params": others, "decays": False, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=0.0, betas=config.optimiser.betas, fused=fused)

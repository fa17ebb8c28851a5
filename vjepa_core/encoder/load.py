"""Load encoders with their weights for inference."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from vjepa_core.encoder import catalogue
from vjepa_core.encoder.catalogue import DEFAULT_ENCODER, EncoderCard
from vjepa_core.encoder.initialise import initialise, state_checksum
from vjepa_core.encoder.models import create_encoder
from vjepa_core.encoder.precision import cast_matrices
from vjepa_core.encoder.vit import VisionTransformer3D
from vjepa_core.errors import EncoderError


def load_encoder(
    name: str = DEFAULT_ENCODER,
    device: str | torch.device = "cpu",
    folders: Sequence[Path] | None = None,
    *,
    matrices: torch.dtype = torch.float32,
) -> tuple[VisionTransformer3D, EncoderCard]:
    """Load an encoder by name, frozen and in evaluation mode.

    Parameters
    ----------
    name : str
        Name on the card.
    device : str or torch.device
        Device of the weights.
    folders : sequence of Path, optional
        Folders with cards; default: the shipped encoders.
    matrices : torch.dtype
        Dtype of linear layers and patch embeddings; everything else is float32. `inference_dtype` returns the
        fastest one.

    Returns
    -------
    encoder : VisionTransformer3D
        The loaded encoder.
    card : EncoderCard
        Its card.

    Raises
    ------
    EncoderError
        If there is no such encoder, or its weights are missing, damaged or different from the card.
    """
    card = catalogue.card(name, folders)
    return load_card(card, device, matrices=matrices), card


def load_card(
    card: EncoderCard, device: str | torch.device = "cpu", *, matrices: torch.dtype = torch.float32
) -> VisionTransformer3D:
    """Load the encoder of a card; see `load_encoder` for the other parameters and the errors."""
    # Do not allocate and initialise weights that are overwritten.
    with torch.device("meta"):
        model = create_encoder(card.architecture)
    if card.path is None:
        model.to_empty(device="cpu")
        initialise(model, card.seed)
        if state_checksum(model.state_dict()) != card.checksum:
            raise EncoderError(f"The weights of {card.name} do not match its card: reinstall the program.")
        cast_matrices(model, matrices).to(device)
    else:
        cast_matrices(model, matrices)
        _verify(card, card.path)
        _read_weights(model, card.architecture, card.path, torch.device(device))
    return model.eval().requires_grad_(False)


def _verify(card: EncoderCard, path: Path) -> None:
    try:
        with path.open("rb") as file:
            checksum = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise EncoderError(
            f"The weights of {card.name} cannot be read from {path}: import them again, or choose another "
            "encoder."
        ) from error
    if checksum != card.checksum:
        raise EncoderError(
            f"{path} is damaged or does not match the card of {card.name}: import it again, or choose "
            "another encoder."
        )


def _read_weights(model: VisionTransformer3D, architecture: str, path: Path, device: torch.device) -> None:
    """Load the weights of a model on the meta device one tensor at a time, to limit memory."""
    expected = model.state_dict()
    state: dict[str, torch.Tensor] = {}
    try:
        with safe_open(path, framework="pt") as file:
            _compare(file, expected, architecture, path)
            for key, tensor in expected.items():
                state[key] = file.get_tensor(key).to(device, tensor.dtype, copy=True)
    except SafetensorError as error:
        raise EncoderError(f"{path} is not a safetensors file: import the checkpoint again.") from error
    model.load_state_dict(state, assign=True)


def _compare(file: Any, expected: dict[str, torch.Tensor], architecture: str, path: Path) -> None:
    """Raise EncoderError unless the file contains exactly the expected weights with their shapes."""
    shapes = {key: tuple(file.get_slice(key).get_shape()) for key in file.keys()}  # noqa: SIM118 - no dict
    missing = sorted(expected.keys() - shapes.keys())
    unexpected = sorted(shapes.keys() - expected.keys())
    mismatched = sorted(key for key in expected.keys() & shapes.keys() if shapes[key] != expected[key].shape)
    for problem, keys in (
        ("lacks weights", missing),
        ("has unknown weights", unexpected),
        ("has weights of the wrong shape", mismatched),
    ):
        if keys:
            more = f" and {len(keys) - 1} more" if len(keys) > 1 else ""
            raise EncoderError(f"{path} is not a {architecture}: it {problem} ({keys[0]}{more}).")

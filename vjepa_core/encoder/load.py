"""A card's encoder with its weights, ready to be used and not to be trained."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from vjepa_core.encoder.catalogue import DEFAULT_ENCODER, EncoderCard, card
from vjepa_core.encoder.initialise import initialise, state_checksum
from vjepa_core.encoder.models import create_encoder
from vjepa_core.encoder.precision import with_matrices_in
from vjepa_core.encoder.vit import VisionTransformer3D
from vjepa_core.errors import EncoderError


def load_encoder(
    name: str = DEFAULT_ENCODER,
    device: str | torch.device = "cpu",
    folders: Sequence[Path] | None = None,
    *,
    matrices: torch.dtype = torch.float32,
) -> tuple[VisionTransformer3D, EncoderCard]:
    """Build an encoder, frozen and in evaluation mode.

    Parameters
    ----------
    name : str
        Name on the card.
    device : str or torch.device
        Where it is wanted.
    folders : sequence of Path, optional
        Folders with cards; default those that ship.
    matrices : torch.dtype
        Of linear maps and patch embeddings, all else is float32. `inference_dtype` tells the fastest one.

    Returns
    -------
    module, card

    Raises
    ------
    EncoderError
        If there is no such encoder, or its weights are missing, damaged or not the ones on the card.
    """
    found = card(name, folders)
    return load_card(found, device, matrices=matrices), found


def load_card(
    found: EncoderCard, device: str | torch.device = "cpu", *, matrices: torch.dtype = torch.float32
) -> VisionTransformer3D:
    """Build the encoder of a card at hand; otherwise as `load_encoder`."""
    # No time and memory spent on random weights that are overwritten at once.
    with torch.device("meta"):
        model = create_encoder(found.architecture)
    if found.path is None:
        model.to_empty(device="cpu")
        initialise(model, found.seed)
        if state_checksum(model.state_dict()) != found.checksum:
            raise EncoderError(
                f"The weights of {found.name} were not built as its card says; reinstall the program."
            )
        with_matrices_in(model, matrices).to(device)
    else:
        with_matrices_in(model, matrices)
        _verify(found, found.path)
        _read_weights(model, found.architecture, found.path, torch.device(device))
    return model.eval().requires_grad_(False)


def _verify(found: EncoderCard, path: Path) -> None:
    try:
        with path.open("rb") as file:
            checksum = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise EncoderError(
            f"The weights of {found.name} cannot be read from {path}: import them again, or choose another "
            "encoder."
        ) from error
    if checksum != found.checksum:
        raise EncoderError(
            f"{path} is damaged or not the file on {found.name}'s card: import it again, or choose another "
            "encoder."
        )


def _read_weights(model: VisionTransformer3D, architecture: str, path: Path, device: torch.device) -> None:
    """Fill a model without memory, one tensor after the other: a large file is never in memory as a whole."""
    expected = model.state_dict()
    state: dict[str, torch.Tensor] = {}
    try:
        with safe_open(path, framework="pt") as file:
            _compare(file, expected, architecture, path)
            for key, place in expected.items():
                state[key] = file.get_tensor(key).to(device, place.dtype, copy=True)
    except SafetensorError as error:
        raise EncoderError(f"{path} is not a safetensors file: import the checkpoint again.") from error
    model.load_state_dict(state, assign=True)


def _compare(file: Any, expected: dict[str, torch.Tensor], architecture: str, path: Path) -> None:
    """Every weight is there, in its shape, and no other."""
    shapes = {key: tuple(file.get_slice(key).get_shape()) for key in file.keys()}  # noqa: SIM118 - no dict
    missing = sorted(expected.keys() - shapes.keys())
    unexpected = sorted(shapes.keys() - expected.keys())
    misfits = sorted(key for key in expected.keys() & shapes.keys() if shapes[key] != expected[key].shape)
    for what, keys in (("lacks", missing), ("has unknown", unexpected), ("has misshapen", misfits)):
        if keys:
            more = f" and {len(keys) - 1} more" if len(keys) > 1 else ""
            raise EncoderError(f"{path} is no {architecture}: it {what} weights ({keys[0]}{more}).")

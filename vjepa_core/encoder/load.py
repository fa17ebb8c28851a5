"""A card's encoder with its weights, ready to be used and not to be trained."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError

from vjepa_core.encoder.catalogue import DEFAULT_ENCODER, EncoderCard, card
from vjepa_core.encoder.initialise import initialise, state_checksum
from vjepa_core.encoder.models import create_encoder
from vjepa_core.encoder.vit import VisionTransformer3D
from vjepa_core.errors import EncoderError


def load_encoder(
    name: str = DEFAULT_ENCODER, device: str | torch.device = "cpu", folders: Sequence[Path] | None = None
) -> tuple[VisionTransformer3D, EncoderCard]:
    """Build an encoder, in float32, frozen and in evaluation mode.

    Parameters
    ----------
    name : str
        Name on the card.
    device : str or torch.device
        Where it is wanted.
    folders : sequence of Path, optional
        Folders with cards; default those that ship.

    Returns
    -------
    module, card

    Raises
    ------
    EncoderError
        If there is no such encoder, or its weights are missing, damaged or not the ones on the card.
    """
    found = card(name, folders)
    return load_card(found, device), found


def load_card(found: EncoderCard, device: str | torch.device = "cpu") -> VisionTransformer3D:
    """Build the encoder of a card at hand; otherwise as `load_encoder`."""
    # No time spent on random weights that are overwritten at once.
    with torch.device("meta"):
        model = create_encoder(found.architecture)
    model.to_empty(device="cpu")
    if found.path is None:
        initialise(model, found.seed)
        if state_checksum(model.state_dict()) != found.checksum:
            raise EncoderError(
                f"The weights of {found.name} were not built as its card says; reinstall the program."
            )
    else:
        _read_weights(model, found, found.path)
    return model.to(device).eval().requires_grad_(False)


def _read_weights(model: VisionTransformer3D, found: EncoderCard, path: Path) -> None:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise EncoderError(
            f"The weights of {found.name} cannot be read from {path}: import them again, or choose another "
            "encoder."
        ) from error
    if hashlib.sha256(content).hexdigest() != found.checksum:
        raise EncoderError(
            f"{path} is damaged or not the file on {found.name}'s card: import it again, or choose another "
            "encoder."
        )
    try:
        state = safetensors.torch.load(content)
    except SafetensorError as error:
        raise EncoderError(f"{path} is not a safetensors file: import the checkpoint again.") from error
    expected = model.state_dict()
    shapes = {key: value.shape for key, value in state.items()}
    missing = sorted(expected.keys() - state.keys())
    unexpected = sorted(state.keys() - expected.keys())
    misfits = sorted(key for key in expected.keys() & state.keys() if shapes[key] != expected[key].shape)
    for what, keys in (("lacks", missing), ("has unknown", unexpected), ("has misshapen", misfits)):
        if keys:
            more = f" and {len(keys) - 1} more" if len(keys) > 1 else ""
            raise EncoderError(f"{path} is no {found.architecture}: it {what} weights ({keys[0]}{more}).")
    model.load_state_dict({key: value.float() for key, value in state.items()})

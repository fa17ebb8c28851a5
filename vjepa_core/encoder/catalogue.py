"""Available encoders, read from their cards without importing torch."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vjepa_core.encoder.architecture import Architecture
from vjepa_core.errors import EncoderError, printable
from vjepa_core.resources import resource_path

DEFAULT_ENCODER = "apical-vits16"
UNTRAINED_ENCODER = "apical-vits16-untrained"
"""The same architecture with its random initial weights, the baseline for trained encoders."""
MAX_DEPTH, MAX_WIDTH = 128, 1 << 14
"""Upper bounds on blocks and channels, far above every encoder of the family."""
MAX_FPS = 1000.0

_MAX_CARD_BYTES = 1 << 20


@dataclass(frozen=True)
class EncoderCard:
    """Description of an encoder, available without loading its weights.

    Attributes
    ----------
    name : str
        Name of the encoder.
    family : str
        Release that it belongs to, such as "V-JEPA 2.1".
    architecture : str
        Architecture name for `create_encoder`.
    parameters : int
        Number of parameters.
    licence, description : str
        Texts for the user.
    trained : bool
        False if the weights are random; the window then displays a note.
    checksum : str
        Hexadecimal SHA-256 of the weight file, or of the generated weights if there is no file.
    path : Path or None
        Weight file (safetensors); None if the weights are generated from `seed`.
    seed : int
        Seed of the weights; unused if there is a file.
    fps : float
        Frame rate of the input clips in Hz.
    depths : tuple of int
        Blocks whose outputs the head uses, counted from 0.
    """

    name: str
    family: str
    architecture: str
    parameters: int
    licence: str
    description: str
    trained: bool
    checksum: str
    path: Path | None
    seed: int
    fps: float
    depths: tuple[int, ...]


def available(folders: Sequence[Path] | None = None) -> tuple[list[EncoderCard], dict[str, str]]:
    """List every encoder in `folders` (default: the shipped encoders).

    Returns
    -------
    cards : list of EncoderCard
        The default encoder first. If two encoders share a name, only the one in the earlier folder is listed.
    faults : dict of str to str
        Error message for each card that cannot be read, by the stem of its file name.
    """
    cards: dict[str, EncoderCard] = {}
    faults: dict[str, str] = {}
    for file in _files(folders):
        try:
            found = read_card(file)
        except EncoderError as error:
            faults[file.stem] = str(error)
        else:
            cards.setdefault(found.name, found)
    return sorted(cards.values(), key=lambda card: (card.name != DEFAULT_ENCODER, card.name)), faults


def card(name: str = DEFAULT_ENCODER, folders: Sequence[Path] | None = None) -> EncoderCard:
    """Return the card of an encoder; if several encoders share the name, the one in the earliest folder.

    Raises
    ------
    EncoderError
        If there is no encoder of that name, or its card cannot be read.
    """
    cards, faults = available(folders)
    for found in cards:
        if found.name == name:
            return found
    if name in faults:
        raise EncoderError(faults[name])
    names = ", ".join(card.name for card in cards) or "none"
    raise EncoderError(f"There is no encoder called {name}. Available encoders: {names}.")


def _files(folders: Sequence[Path] | None) -> list[Path]:
    """Return the card files, folder by folder."""
    folders = [resource_path("encoders")] if folders is None else folders
    return [file for folder in folders for file in sorted(folder.glob("*.json"))]


def read_card(file: Path) -> EncoderCard:
    """Read and validate one card.

    Raises
    ------
    EncoderError
        If the card cannot be read or contains invalid values.
    """
    raw = content(file)
    try:
        architecture = Architecture.parse(_text(raw, "architecture"))
        card = EncoderCard(
            name=_text(raw, "name"),
            family=_text(raw, "family"),
            architecture=_text(raw, "architecture"),
            parameters=int(raw["parameters"]),
            licence=_text(raw, "licence"),
            description=_text(raw, "description"),
            trained=raw["trained"],
            checksum=_text(raw, "checksum"),
            # Only the name is used: the file is in the folder of the card.
            path=None if raw["file"] is None else file.parent / Path(_text(raw, "file")).name,
            seed=int(raw.get("seed", 0)),
            fps=float(raw["fps"]),
            depths=tuple(raw["depths"]),
        )
    except (EncoderError, ValueError, KeyError, TypeError, OverflowError) as error:
        raise _unreadable(file) from error
    valid = (
        card.name,
        isinstance(card.trained, bool),
        card.path is None or (card.path.name.strip(".") and card.path != file.parent),
        architecture.depth <= MAX_DEPTH
        and architecture.embed_dim <= MAX_WIDTH
        and architecture.mlp_dim <= MAX_WIDTH,
        card.parameters >= 0 and 0 <= card.seed < 1 << 63,
        math.isfinite(card.fps) and 0 < card.fps <= MAX_FPS,
        card.depths and all(type(depth) is int and 0 <= depth < architecture.depth for depth in card.depths),
    )
    if not all(valid):
        raise _unreadable(file)
    return card


def content(file: Path) -> dict[str, Any]:
    """Return the raw JSON object of a card.

    Raises
    ------
    EncoderError
        If the file cannot be read or does not contain a JSON object.
    """
    try:
        with file.open("rb") as card:
            raw = json.loads(card.read(_MAX_CARD_BYTES))
    except (OSError, ValueError, RecursionError) as error:
        raise _unreadable(file) from error
    if not isinstance(raw, dict):
        raise _unreadable(file)
    return raw


def _text(raw: dict[str, Any], key: str) -> str:
    if not isinstance(raw[key], str):
        raise TypeError(key)
    return printable(raw[key])


def _unreadable(file: Path) -> EncoderError:
    return EncoderError(f"The encoder card {file} cannot be read: remove or correct it.")

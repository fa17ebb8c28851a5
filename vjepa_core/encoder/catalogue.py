"""Which encoders there are, read from their cards alone: the window lists them without torch."""

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
"""The same architecture at its random start: what training is measured against."""
DEEPEST, WIDEST = 128, 1 << 14
"""Blocks and channels that no encoder of the family comes near."""
FASTEST_FPS = 1000.0

_LONGEST = 1 << 20


@dataclass(frozen=True)
class EncoderCard:
    """What is known of an encoder before its weights are touched.

    Attributes
    ----------
    name, family, architecture : str
        Own name; release whose form it has ("V-JEPA 2.1"); name for `create_encoder`.
    parameters : int
        Number of weights.
    licence, description : str
        For the user to read.
    trained : bool
        False: the weights are a random start, and the window has to say so.
    checksum : str
        SHA-256, hexadecimal: of the weight file, or of the built weights where there is no file.
    path : Path or None
        Weight file (safetensors); None if the weights are made from `seed`.
    seed : int
        Seed of the weights; unused where there is a file.
    fps : float
        Frame rate that the encoder is used at, Hz.
    depths : tuple of int
        Blocks whose features the head reads, counted from 0.
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
    """Every encoder in `folders` (default: those that ship).

    Returns
    -------
    cards : list of EncoderCard
        The default encoder first; where two have one name, that of the earlier folder.
    faults : dict
        What is wrong with cards that cannot be read, a sentence by the name of their file.
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
    """The card of one encoder; where two have the name, that of the earlier folder.

    Raises
    ------
    EncoderError
        If there is none of that name.
    """
    cards, faults = available(folders)
    for found in cards:
        if found.name == name:
            return found
    if name in faults:
        raise EncoderError(faults[name])
    names = ", ".join(card.name for card in cards) or "none"
    raise EncoderError(f"No encoder is called {name}; there are: {names}.")


def _files(folders: Sequence[Path] | None) -> list[Path]:
    """Card files, folder by folder."""
    folders = [resource_path("encoders")] if folders is None else folders
    return [file for folder in folders for file in sorted(folder.glob("*.json"))]


def read_card(file: Path) -> EncoderCard:
    """Read one card, whoever wrote it.

    Raises
    ------
    EncoderError
        If it cannot be read, or tells what cannot be.
    """
    raw = content(file)
    try:
        built = Architecture.parse(_text(raw, "architecture"))
        card = EncoderCard(
            name=_text(raw, "name"),
            family=_text(raw, "family"),
            architecture=_text(raw, "architecture"),
            parameters=int(raw["parameters"]),
            licence=_text(raw, "licence"),
            description=_text(raw, "description"),
            trained=raw["trained"],
            checksum=_text(raw, "checksum"),
            # Beside the card, whatever path a stranger wrote into it.
            path=None if raw["file"] is None else file.parent / Path(_text(raw, "file")).name,
            seed=int(raw.get("seed", 0)),
            fps=float(raw["fps"]),
            depths=tuple(raw["depths"]),
        )
    except (EncoderError, ValueError, KeyError, TypeError, OverflowError) as error:
        raise _unreadable(file) from error
    fits = (
        card.name,
        isinstance(card.trained, bool),
        card.path is None or (card.path.name.strip(".") and card.path != file.parent),
        built.depth <= DEEPEST and built.embed_dim <= WIDEST and built.mlp_dim <= WIDEST,
        card.parameters >= 0 and 0 <= card.seed < 1 << 63,
        math.isfinite(card.fps) and 0 < card.fps <= FASTEST_FPS,
        card.depths and all(type(depth) is int and 0 <= depth < built.depth for depth in card.depths),
    )
    if not all(fits):
        raise _unreadable(file)
    return card


def content(file: Path) -> dict[str, Any]:
    """All that stands on a card.

    Raises
    ------
    EncoderError
        If it cannot be read.
    """
    try:
        with file.open("rb") as card:
            raw = json.loads(card.read(_LONGEST))
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
    return EncoderError(f"The encoder card {file} cannot be read: remove it or put it right.")

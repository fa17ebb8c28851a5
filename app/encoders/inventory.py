"""All encoders on this machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from app.encoders import registry
from vjepa_core.encoder.catalogue import EncoderCard, content
from vjepa_core.errors import EncoderError


@dataclass(frozen=True)
class EncoderEntry:
    """One encoder on this machine.

    Attributes
    ----------
    card : EncoderCard
        Description of the encoder.
    is_own : bool
        True for an encoder of the user, which can be removed.
    in_use : bool
        True for the encoder that the program uses.
    n_bytes : int or None
        Size of the weights file; 0 if the file is missing, None for weights generated from a seed.
    source : mapping
        File that it was imported from, and what was recognised and assumed; empty if it was not imported.
    """

    card: EncoderCard
    is_own: bool
    in_use: bool
    n_bytes: int | None
    source: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Name on the card."""
        return self.card.name

    @property
    def is_usable(self) -> bool:
        """False if the weights file is missing."""
        return self.n_bytes != 0


def list_encoders() -> tuple[list[EncoderEntry], list[str]]:
    """Return all encoders, the default one first, and the errors of cards that cannot be read."""
    (cards, errors), chosen = registry.cards(), registry.chosen()
    entries = [
        EncoderEntry(card, registry.is_own(card), card.name == chosen, _file_size(card), _source(card))
        for card in cards
    ]
    return entries, list(errors.values())


def _file_size(card: EncoderCard) -> int | None:
    if card.path is None:
        return None
    try:
        return card.path.stat().st_size
    except OSError:
        return 0


def _source(card: EncoderCard) -> Mapping[str, Any]:
    """Return the data that an import added to the card."""
    if card.path is None:
        return {}
    try:
        source = content(card.path.with_suffix(".json")).get("source")
    except EncoderError:
        return {}
    return source if isinstance(source, dict) else {}

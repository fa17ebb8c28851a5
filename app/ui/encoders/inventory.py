"""Every encoder of this machine with what its files tell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from app.encoders import registry
from vjepa_core.encoder.catalogue import EncoderCard, content
from vjepa_core.errors import EncoderError


@dataclass(frozen=True)
class Known:
    """One encoder.

    Attributes
    ----------
    card : EncoderCard
        What its card says.
    own : bool
        The user's own, which may be removed.
    in_use : bool
        The program uses it.
    on_disk : int or None
        Bytes of its weights, 0 where the file is gone; None for weights that are made from a seed.
    source : mapping
        Where it was imported from, what was recognised and assumed; empty where it was not imported.
    """

    card: EncoderCard
    own: bool
    in_use: bool
    on_disk: int | None
    source: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The card's."""
        return self.card.name

    @property
    def usable(self) -> bool:
        """False where its weights are gone."""
        return self.on_disk != 0


def known() -> tuple[list[Known], list[str]]:
    """All encoders, the default one first, and what is wrong with cards that cannot be read."""
    (cards, faults), chosen = registry.cards(), registry.chosen()
    found = [
        Known(card, registry.is_own(card), card.name == chosen, _on_disk(card), _source(card))
        for card in cards
    ]
    return found, list(faults.values())


def _on_disk(card: EncoderCard) -> int | None:
    if card.path is None:
        return None
    try:
        return card.path.stat().st_size
    except OSError:
        return 0


def _source(card: EncoderCard) -> Mapping[str, Any]:
    """What an import wrote on the card beside what the program needs."""
    if card.path is None:
        return {}
    try:
        source = content(card.path.with_suffix(".json")).get("source")
    except EncoderError:
        return {}
    return source if isinstance(source, dict) else {}

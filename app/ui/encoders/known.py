"""Every encoder of this machine with what its files tell: a broken card hides none of the others."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from app import encoders
from vjepa_core.encoder.catalogue import DEFAULT_ENCODER, EncoderCard, read_card
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
    found: dict[str, Known] = {}
    faults = []
    chosen = encoders.chosen()
    for folder in encoders.encoder_folders():
        for file in sorted(folder.glob("*.json")):
            try:
                card = read_card(file)
                raw = json.loads(file.read_text(encoding="utf-8")).get("source")
            except EncoderError as error:
                faults.append(str(error))
                continue
            except OSError:  # removed meanwhile
                continue
            source = raw if isinstance(raw, dict) else {}
            entry = Known(card, encoders.is_own(card), card.name == chosen, _on_disk(card), source)
            found.setdefault(card.name, entry)  # as for all the program: the earlier folder's
    ordered = sorted(found.values(), key=lambda one: (one.name != DEFAULT_ENCODER, one.own, one.name))
    return ordered, faults


def _on_disk(card: EncoderCard) -> int | None:
    if card.path is None:
        return None
    try:
        return card.path.stat().st_size
    except OSError:
        return 0

"""The rows of `apical bench fewshot`, by the words that choose them, on stills and within cines."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

from vjepa_core.bench.camus import BenchError
from vjepa_core.bench.cine_rows import CARRIED, FROM_PHANTOMS, FROM_SCRATCH, Ours, without_encoder
from vjepa_core.bench.encoded_stills import EncodedStills
from vjepa_core.bench.fewshot import CONVERGED, OURS, Contestant
from vjepa_core.bench.own_head import OwnHead, for_stills, phantom_head
from vjepa_core.bench.rivals.forest import Forest, filters, upsampled
from vjepa_core.bench.rivals.unet import UNet
from vjepa_core.encoder.catalogue import DEFAULT_ENCODER
from vjepa_core.encoder.loaded import LoadedEncoder

ROWS: Mapping[str, str] = {
    "ours": OURS,
    "ours-alone": "ours, labels alone",
    "ours-random": "ours, random encoder",
    "ours-blind": "ours, without encoder",
    "unet": "U-Net, our time",
    "unet-converged": CONVERGED,
    "forest-filters": "forest on filters",
    "forest-features": "forest on our features",
}
"""Words of the command line, and what the rows are called."""

CARRY = "flow"
"""The word for all rows that carry labels along, within cines only."""

WORDS = (*ROWS, CARRY)

BUNDLED, RANDOM = "bundled", "random"
_OWN_ENCODERS = {"ours": BUNDLED, "ours-alone": BUNDLED, "ours-random": RANDOM, "ours-blind": BUNDLED}


@dataclass(frozen=True)
class LineUp:
    """Who is measured.

    Attributes
    ----------
    rows : collection of str
        Of `WORDS`.
    encoder : callable
        `BUNDLED` or `RANDOM` to the encoder and its card, loaded when it is first asked for.
    budget_s : float, optional
        Most seconds of each fit of ours, and of the U-Net at our time; default: ours takes its own steps, and
        the U-Net the seconds that ours took.
    converged_s : float
        Most seconds of the U-Net that is left to converge; 0 leaves it out.

    Raises
    ------
    BenchError
        For a row that there is not.
    """

    rows: Collection[str]
    encoder: Callable[[str], LoadedEncoder]
    budget_s: float | None = None
    converged_s: float = 1800.0

    def __post_init__(self) -> None:
        unknown = [row for row in self.rows if row not in WORDS]
        if unknown:
            raise BenchError(f"There is no row {unknown[0]}: choose of {', '.join(WORDS)}.")

    @property
    def chosen(self) -> list[str]:
        """Words of `ROWS` that are measured, ours first."""
        left_out = {"unet-converged"} if self.converged_s <= 0 else set()
        return [row for row in ROWS if row in self.rows and row not in left_out]

    @cached_property
    def _tokens(self) -> EncodedStills:
        """Of the bundled encoder; our head and the forest read the same."""
        return EncodedStills(*self.encoder(BUNDLED))

    def on_stills(self) -> list[Contestant]:
        """Rows for `vjepa_core.bench.fewshot.run`."""
        found = []
        for row in self.chosen:
            if row in _OWN_ENCODERS:
                what, tokens = ROWS[row], self._tokens_for(row)
                config = for_stills() if row != "ours-alone" else replace(for_stills(), unlabelled_share=0.0)
                own = OwnHead(what, tokens, config)
                note = _note(start(tokens), seen(tokens.name))
                found.append(Contestant(what, own, tokens, self.budget_s, note))
        return [*found, *self.learners()]

    def within_cines(self) -> list[Ours]:
        """Our rows for `vjepa_core.bench.fewshot_cines.run_cines`."""
        found = []
        for row in self.chosen:
            if row in _OWN_ENCODERS and row != "ours-alone":  # a single cine has no other beside it
                module, card = self.encoder(_OWN_ENCODERS[row])
                loaded = without_encoder(card) if row == "ours-blind" else (module, card)
                name = None if row == "ours-blind" else card.name
                found.append(Ours(ROWS[row], loaded, seen(name)))
        return found

    def learners(self) -> list[Contestant]:
        """Rivals that learn, on stills and within cines."""
        found = []
        for row in self.chosen:
            what = ROWS[row]
            if row == "forest-features":
                forest = Forest(what, upsampled(self._tokens))
                found.append(Contestant(what, forest, self._tokens, note=seen(self._tokens.name)))
            elif row == "forest-filters":
                found.append(Contestant(what, Forest(what, filters)))
            elif row not in _OWN_ENCODERS:
                found.append(Contestant(what, UNet(what), budget_s=self._unet_budget(row)))
        return found

    def carried(self) -> list[str]:
        """Rows that carry labels within a cine."""
        return list(CARRIED) if CARRY in self.rows else []

    def _tokens_for(self, row: str) -> EncodedStills:
        if row in {"ours", "ours-alone"}:
            return self._tokens
        module, card = self.encoder(_OWN_ENCODERS[row])
        return EncodedStills(None if row == "ours-blind" else module, card)

    def _unet_budget(self, row: str) -> float | Literal["ours"]:
        if row == "unet-converged":
            return self.converged_s
        return "ours" if "ours" in self.chosen or self.budget_s is None else self.budget_s


def start(tokens: EncodedStills) -> str:
    """From what the program's head starts over these features, for the notes of its rows."""
    return FROM_SCRATCH if phantom_head(tokens) is None else FROM_PHANTOMS


def seen(encoder: str | None) -> str:
    """What an encoder that ships has seen of CAMUS, for the notes of rows that read it."""
    if encoder != DEFAULT_ENCODER:
        return ""
    return "encoder saw CAMUS's training stills, without their labels"


def _note(*parts: str) -> str:
    return "; ".join(filter(None, parts))

"""Rows of `apical bench fewshot` on still images and within cines, by their command-line names."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

from vjepa_core.bench.baselines.forest import Forest, filters, pixel_features
from vjepa_core.bench.baselines.unet import UNet
from vjepa_core.bench.camus import BenchError
from vjepa_core.bench.cine_rows import CARRIED, FROM_PHANTOMS, FROM_SCRATCH, EncoderRow, without_encoder
from vjepa_core.bench.encoded_stills import EncodedStills
from vjepa_core.bench.fewshot import CONVERGED, OURS, Entry
from vjepa_core.bench.head_on_stills import HeadOnStills, for_stills, phantom_head
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
"""Names of the rows by their command-line names."""

CARRY = "flow"
"""Command-line name of all rows that carry labels, within cines only."""

ROW_NAMES = (*ROWS, CARRY)

BUNDLED, RANDOM = "bundled", "random"
_OWN_ENCODERS = {"ours": BUNDLED, "ours-alone": BUNDLED, "ours-random": RANDOM, "ours-blind": BUNDLED}


@dataclass(frozen=True)
class RowSelection:
    """Selection of rows to measure.

    Attributes
    ----------
    rows : collection of str
        Names in `ROW_NAMES`.
    encoder : callable
        Returns the encoder and its card for `BUNDLED` or `RANDOM`; called when first needed.
    budget_s : float, optional
        Maximum seconds of each fit of ours and of the U-Net with equal time; default: the steps of the
        program for ours, and the time of ours for the U-Net.
    converged_s : float
        Maximum seconds of the converged U-Net; 0 omits it.

    Raises
    ------
    BenchError
        If a row is unknown.
    """

    rows: Collection[str]
    encoder: Callable[[str], LoadedEncoder]
    budget_s: float | None = None
    converged_s: float = 1800.0

    def __post_init__(self) -> None:
        unknown = [row for row in self.rows if row not in ROW_NAMES]
        if unknown:
            raise BenchError(f"There is no row {unknown[0]}: choose from {', '.join(ROW_NAMES)}.")

    @property
    def chosen(self) -> list[str]:
        """Keys of `ROWS` that are measured, ours first."""
        left_out = {"unet-converged"} if self.converged_s <= 0 else set()
        return [row for row in ROWS if row in self.rows and row not in left_out]

    @cached_property
    def _tokens(self) -> EncodedStills:
        """Features of the bundled encoder, shared by our head and the forest."""
        return EncodedStills(*self.encoder(BUNDLED))

    def on_stills(self) -> list[Entry]:
        """Return the rows for `vjepa_core.bench.fewshot.run`."""
        entries = []
        for row in self.chosen:
            if row in _OWN_ENCODERS:
                what, tokens = ROWS[row], self._tokens_for(row)
                config = for_stills() if row != "ours-alone" else replace(for_stills(), unlabelled_share=0.0)
                method = HeadOnStills(what, tokens, config)
                note = _note(start_note(tokens), camus_note(tokens.name))
                entries.append(Entry(what, method, tokens, self.budget_s, note))
        return [*entries, *self.learners()]

    def within_cines(self) -> list[EncoderRow]:
        """Return our rows for `vjepa_core.bench.fewshot_cines.run_cines`."""
        rows = []
        for row in self.chosen:
            if row in _OWN_ENCODERS and row != "ours-alone":  # within a cine, there are no other cines
                module, card = self.encoder(_OWN_ENCODERS[row])
                loaded = without_encoder(card) if row == "ours-blind" else (module, card)
                name = None if row == "ours-blind" else card.name
                rows.append(EncoderRow(ROWS[row], loaded, camus_note(name)))
        return rows

    def learners(self) -> list[Entry]:
        """Return the other methods that learn, on still images and within cines."""
        entries = []
        for row in self.chosen:
            what = ROWS[row]
            if row == "forest-features":
                forest = Forest(what, pixel_features(self._tokens))
                entries.append(Entry(what, forest, self._tokens, note=camus_note(self._tokens.name)))
            elif row == "forest-filters":
                entries.append(Entry(what, Forest(what, filters)))
            elif row not in _OWN_ENCODERS:
                entries.append(Entry(what, UNet(what), budget_s=self._unet_budget(row)))
        return entries

    def carried(self) -> list[str]:
        """Return the rows that carry labels within a cine."""
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


def start_note(tokens: EncodedStills) -> str:
    """Return a note on the initial weights of the program's head for these features."""
    return FROM_SCRATCH if phantom_head(tokens) is None else FROM_PHANTOMS


def camus_note(encoder: str | None) -> str:
    """Return a note on the CAMUS images in the training of a shipped encoder."""
    if encoder != DEFAULT_ENCODER:
        return ""
    return "encoder trained with CAMUS's training stills, without their labels"


def _note(*parts: str) -> str:
    return "; ".join(filter(None, parts))

"""Rows of the benchmark within cines: the program's head, and methods that carry labels by optical flow."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from vjepa_core.bench.baselines import flow
from vjepa_core.bench.scored_cines import GIVEN
from vjepa_core.encoder.architecture import Architecture
from vjepa_core.encoder.catalogue import EncoderCard
from vjepa_core.encoder.loaded import LoadedEncoder
from vjepa_core.encoder.vit import VisionTransformer3D
from vjepa_core.fewshot.starter import PHANTOM_ONLY, SHIPPED, Starter, load_starter
from vjepa_core.resources import resource_path

CARRIED: Mapping[str, tuple[Callable[..., NDArray[np.uint8]], str]] = {
    "flow": (flow.carried, "nearest mask along DIS flow, from frame to frame"),
    "flow, blended": (
        partial(flow.carried, both=True),
        "both neighbours' masks along DIS flow, from frame to frame",
    ),
    "direct flow": (partial(flow.carried, chained=False), "nearest mask along one DIS flow"),
    "direct flow, blended": (
        partial(flow.carried, both=True, chained=False),
        "both neighbours' masks along one DIS flow each",
    ),
    "nearest mask": (flow.copied, "copied unchanged"),
}
"""Methods that carry labels by name, with their functions and descriptions."""

FROM_SCRATCH = "head from scratch"
FROM_PHANTOMS = "head pre-trained on phantoms, no human label"


class _ZeroEncoder(VisionTransformer3D):
    """Encoder whose tokens are all zero."""

    def forward_intermediates(
        self,
        x: Tensor,
        indices: Sequence[int] | None = None,
        *,
        norm: bool = True,
        intermediates_only: bool = True,
    ) -> list[Tensor]:
        """Return zeros in the shapes of the encoder's grids."""
        b, _, frames, height, width = x.shape
        grid = (frames // self.tubelet_size, height // self.patch_size, width // self.patch_size)
        return [x.new_zeros(b, *grid, self.embed_dim) for _ in (self.depths if indices is None else indices)]


@dataclass(frozen=True, eq=False)
class EncoderRow:
    """Row of the program: an encoder with the head that `segment` fits.

    Attributes
    ----------
    what : str
        Name of the row.
    encoder : LoadedEncoder
        Encoder and card; see `without_encoder` for the row without an encoder.
    note : str
        Note for the reader of the row.
    """

    what: str
    encoder: LoadedEncoder
    note: str = ""

    @property
    def name(self) -> str | None:
        """Name of the encoder; None without one."""
        module, card = self.encoder
        return None if isinstance(module, _ZeroEncoder) else card.name

    def start(self, kind: str) -> tuple[Starter | None, str]:
        """Return the starter of fits on cines of a kind (None for random weights), and a note on it.

        This is the shipped starter, as in the window, but the one fitted to phantoms only for cines that are
        phantoms or derived from CAMUS patients.
        """
        path, note = resource_path("heads", PHANTOM_ONLY), FROM_PHANTOMS
        if kind == GIVEN:
            path, note = resource_path("heads", SHIPPED), "shipped head, fitted to CAMUS and phantoms"
        starter = None if self.name is None else load_starter(self.encoder[1], path)
        return (None, FROM_SCRATCH) if starter is None else (starter, note)


def without_encoder(card: EncoderCard) -> LoadedEncoder:
    """Return a replacement for an encoder whose features are all zero."""
    architecture = replace(Architecture.parse(card.architecture), depth=max(4, len(card.depths)))
    return _ZeroEncoder(architecture).eval(), card

"""Who is measured within a cine besides rivals that learn: the program, and labels carried along."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from vjepa_core.bench.rivals import flow
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
    "nearest mask": (flow.copied, "copied as it is"),
}
"""Rows that carry labels and learn nothing, and what they do."""

FROM_SCRATCH = "head from scratch"
FROM_PHANTOMS = "head pre-trained on phantoms, no human label"


class _Nothing(VisionTransformer3D):
    """Sees nothing: zeros in the shape of an encoder's tokens."""

    def forward_intermediates(
        self,
        x: Tensor,
        indices: Sequence[int] | None = None,
        *,
        norm: bool = True,
        intermediates_only: bool = True,
    ) -> list[Tensor]:
        """As the encoder's, all zeros."""
        b, _, frames, height, width = x.shape
        grid = (frames // self.tubelet_size, height // self.patch_size, width // self.patch_size)
        return [x.new_zeros(b, *grid, self.embed_dim) for _ in (self.depths if indices is None else indices)]


@dataclass(frozen=True, eq=False)
class Ours:
    """A row of the program's own: an encoder, under the head that `segment` fits.

    Attributes
    ----------
    what : str
    encoder : (module, card)
        See `without_encoder` for the row that has none.
    note : str
        What a reader of the row has to know.
    """

    what: str
    encoder: LoadedEncoder
    note: str = ""

    @property
    def name(self) -> str | None:
        """Of the encoder; None without one."""
        module, card = self.encoder
        return None if isinstance(module, _Nothing) else card.name

    def start(self, kind: str) -> tuple[Starter | None, str]:
        """What fits start from on cines of a kind (None: from nothing), and its words for the row's note.

        It is the starter that ships, as in the window; but on cines that were made of phantoms or of patients
        of CAMUS the one that was fitted to phantoms alone.
        """
        path, words = resource_path("heads", PHANTOM_ONLY), FROM_PHANTOMS
        if kind == GIVEN:
            path, words = resource_path("heads", SHIPPED), "head that ships, fitted to CAMUS and phantoms"
        starter = None if self.name is None else load_starter(self.encoder[1], path)
        return (None, FROM_SCRATCH) if starter is None else (starter, words)


def without_encoder(card: EncoderCard) -> LoadedEncoder:
    """What stands in for an encoder where the head shall do without: its features are zeros."""
    form = replace(Architecture.parse(card.architecture), depth=max(4, len(card.depths)))
    return _Nothing(form).eval(), card

"""Label image that a head predicted for one frame."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from app.domain.label_packing import pack_pixels, unpack_pixels
from vjepa_core.label_image import LabelImage


@dataclass(frozen=True)
class Prediction:
    """A predicted label image, compressed: a long cine has thousands of them.

    Attributes
    ----------
    packed : bytes
        Label image as `pack_pixels` returns it.
    shape : tuple of int
        Its height and width.
    expected_dice : float
        Estimated overlap with what a human would draw, 0 to 1.
    revision : int
        Revision of the annotation layer that the head was fitted to.
    head_id : int or None
        Row of the head in the project; None for a preview and for a draft.
    structure_dice : mapping of int to float
        Dice of each structure expected from the softmax, by label value, not calibrated; empty if unknown.
    """

    packed: bytes
    shape: tuple[int, int]
    expected_dice: float
    revision: int
    head_id: int | None = None
    structure_dice: Mapping[int, float] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        mask: LabelImage,
        expected_dice: float,
        revision: int,
        head_id: int | None = None,
        structure_dice: Mapping[int, float] | None = None,
    ) -> Prediction:
        """Compress a label image, shape (height, width), uint8."""
        shape = (mask.shape[0], mask.shape[1])
        return cls(pack_pixels(mask), shape, expected_dice, revision, head_id, structure_dice or {})

    @property
    def mask(self) -> LabelImage:
        """Label image, shape (height, width), uint8, read-only; ValueError if it is damaged."""
        return unpack_pixels(self.packed, self.shape)

"""Label sets: the named structures a clinician outlines, with colour and SNOMED CT code."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

UNLABELLED = 255
"""Pixel value for 'nobody has said what this is'; 0 is background, 1.. are classes."""


def named(label: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Where a label image names a structure: neither background nor unlabelled; of the same shape."""
    return np.asarray((label > 0) & (label != UNLABELLED))


@dataclass(frozen=True)
class LabelClass:
    """One structure. `value` is its pixel value (1..254); `colour` an RGB triple 0..255."""

    value: int
    name: str
    colour: tuple[int, int, int]
    snomed: str | None = None


@dataclass(frozen=True)
class LabelSet:
    """Structures that belong together on one label image."""

    name: str
    classes: tuple[LabelClass, ...]

    @property
    def values(self) -> tuple[int, ...]:
        return tuple(c.value for c in self.classes)

    @property
    def is_left_heart(self) -> bool:
        """The structures of `LEFT_HEART`, whatever their colours and names: a starter head knows them."""
        own, known = ([(c.value, c.snomed) for c in one.classes] for one in (self, LEFT_HEART))
        return own == known

    def __getitem__(self, value: int) -> LabelClass:
        for label in self.classes:
            if label.value == value:
                return label
        raise KeyError(value)


# Colours after Okabe and Ito, told apart with any colour vision, and readable on grey.
LEFT_HEART = LabelSet(
    "Left heart",
    (
        LabelClass(1, "LV cavity", (0, 158, 235), "87878005"),
        LabelClass(2, "LV myocardium", (240, 170, 20), "49848007"),
        LabelClass(3, "Left atrium", (225, 110, 170), "82471001"),
    ),
)

"""Body surface area, by which volumes are indexed."""

from __future__ import annotations

import math
from dataclasses import dataclass

HEIGHT_CM = (30.0, 250.0)
WEIGHT_KG = (1.0, 400.0)
"""Plausible ranges."""


@dataclass(frozen=True)
class BodySize:
    """Height and weight of a patient.

    Attributes
    ----------
    height_cm, weight_kg : float

    Raises
    ------
    ValueError
        If a value is not plausible; the text is a sentence for the user.
    """

    height_cm: float
    weight_kg: float

    def __post_init__(self) -> None:
        for name, value, (low, high), unit in (
            ("height", self.height_cm, HEIGHT_CM, "cm"),
            ("weight", self.weight_kg, WEIGHT_KG, "kg"),
        ):
            if not low <= value <= high:
                raise ValueError(
                    f"A {name} of {value:g} {unit} is not plausible: enter {low:g} to {high:g} {unit}."
                )

    @property
    def surface_m2(self) -> float:
        """Body surface area in m2, sqrt(height * weight / 3600) (Mosteller, N Engl J Med 1987; 317: 1098)."""
        return math.sqrt(self.height_cm * self.weight_kg / 3600.0)

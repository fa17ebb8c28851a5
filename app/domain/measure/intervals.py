"""90 % intervals of measurements, derived from the uncertainty of the masks they were measured on.

The doubt of a mask is 1 minus the Dice of its LV cavity that the softmax of the head expects. The logarithm
of a volume, or of a ratio of two volumes or lengths, is taken to be wrong by at most
``factor * (doubt + OFFSET)`` in 90 % of cases. The factors were calibrated against the outlines of an expert
on the validation patients of CAMUS: `apical bench measure` states as "interval_scale" by what they would have
to be multiplied. docs/measuring.md states the coverage.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

OFFSET = 0.02
"""Part of the error that does not depend on the doubt, on the scale of doubts."""

HUMAN_DOUBT = 0.032
"""Doubt of a mask that was drawn or accepted by a human.

The biplane EF of two readings of one expert on CAMUS differs by 5.7 points (SD; Leclerc et al. 2019,
10.1109/TMI.2019.2900516), that is by less than about 9 points in 90 % of cases. This doubt gives that
half-width at an EF of 55 %.
"""

UNKNOWN_DOUBT = 0.06
"""Doubt of a predicted mask whose expected Dice was not stored: as high as that of one draft in ten."""


class Quantity(StrEnum):
    """Kind of a measurement, which determines the factor of its interval."""

    EDV = "end-diastolic volume"
    ESV = "end-systolic volume"
    SV = "stroke volume"
    EF = "ejection fraction"
    STRAIN = "longitudinal strain"
    LA_VOLUME = "volume of the left atrium"


_SINGLE_PLANE = {
    Quantity.EDV: 2.9,
    Quantity.ESV: 5.0,
    Quantity.SV: 6.0,
    Quantity.EF: 5.0,
    Quantity.STRAIN: 1.25,
    Quantity.LA_VOLUME: 4.5,
}
_BIPLANE = {
    Quantity.EDV: 2.0,
    Quantity.ESV: 3.25,
    Quantity.SV: 4.3,
    Quantity.EF: 3.5,
    Quantity.STRAIN: 1.25,
    Quantity.LA_VOLUME: 4.5,
}

Interval = tuple[float, float]
"""Lower and upper end, in the unit of the measurement."""


@dataclass(frozen=True)
class Mask:
    """What is known about the mask that a measurement is based on.

    Attributes
    ----------
    is_human : bool
        True if a human drew or accepted the LV cavity.
    structure_dice : float or None
        Dice of the LV cavity expected from the softmax, 0 to 1, of a predicted mask; None if unknown.
    """

    is_human: bool
    structure_dice: float | None = None

    @property
    def doubt(self) -> float:
        """1 minus the expected Dice of the LV cavity."""
        if self.is_human:
            return HUMAN_DOUBT
        return UNKNOWN_DOUBT if self.structure_dice is None else 1.0 - self.structure_dice


def half_width(quantity: Quantity, masks: Sequence[Mask], *, biplane: bool = False) -> float:
    """Return the largest error of the logarithm that is expected in 90 % of cases.

    Parameters
    ----------
    quantity : Quantity
    masks : sequence of Mask
        Masks that the measurement is based on: one per view and phase.
    biplane : bool
        True for a measurement from two views.
    """
    factor = (_BIPLANE if biplane else _SINGLE_PLANE)[quantity]
    return factor * (math.fsum(mask.doubt for mask in masks) / len(masks) + OFFSET)


def volume_interval(
    volume_ml: float, quantity: Quantity, masks: Sequence[Mask], *, biplane: bool = False
) -> Interval:
    """Return the 90 % interval of a volume in ml; parameters as in `half_width`."""
    half = half_width(quantity, masks, biplane=biplane)
    return volume_ml * math.exp(-half), volume_ml * math.exp(half)


def ef_interval(ef_percent: float, masks: Sequence[Mask], *, biplane: bool = False) -> Interval:
    """Return the 90 % interval of an ejection fraction in percent, within 0 to 100.

    The uncertain quantity is the ratio of both volumes, 1 - EF; parameters as in `half_width`.
    """
    half = half_width(Quantity.EF, masks, biplane=biplane)
    ratio = 100.0 - ef_percent
    return max(0.0, 100.0 - ratio * math.exp(half)), 100.0 - ratio * math.exp(-half)


def strain_interval(strain_percent: float, masks: Sequence[Mask], *, biplane: bool = False) -> Interval:
    """Return the 90 % interval of a longitudinal strain in percent; parameters as in `half_width`.

    The uncertain quantity is the ratio of both lengths, 1 + strain.
    """
    half = half_width(Quantity.STRAIN, masks, biplane=biplane)
    ratio = 100.0 + strain_percent
    return ratio * math.exp(-half) - 100.0, ratio * math.exp(half) - 100.0

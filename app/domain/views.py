"""Echocardiographic views and the origin of the view that is assigned to a cine."""

from __future__ import annotations

from enum import StrEnum


class View(StrEnum):
    """Standard view; the value is the name that the program shows."""

    A4C = "A4C"
    A2C = "A2C"
    A3C = "A3C"
    A5C = "A5C"
    PLAX = "PLAX"
    PSAX = "PSAX"
    PSAX_AORTIC = "PSAX-AV"
    PSAX_MITRAL = "PSAX-MV"
    PSAX_PAPILLARY = "PSAX-PM"
    PSAX_APICAL = "PSAX-AP"
    SUBCOSTAL = "subcostal"
    SUBCOSTAL_4C = "subcostal 4C"

    @property
    def snomed(self) -> str | None:
        """SNOMED CT code; None if the standard has no code for the view.

        References
        ----------
        DICOM PS3.16, context group 12226, Echocardiography Image View.
        """
        return _SNOMED.get(self)


def view_named(name: str | None) -> View | None:
    """Return the view of a name, such as that of `Cine.view`; None for another name or None."""
    return View(name) if name in set(View) else None


_SNOMED = {
    View.A4C: "399214001",
    View.A2C: "399232001",
    View.A3C: "399339008",
    View.A5C: "398994001",
    View.PLAX: "399139001",
    View.PSAX: "399306005",
    View.PSAX_AORTIC: "399239005",
    View.PSAX_MITRAL: "399036006",
    View.PSAX_PAPILLARY: "399271003",
}


class FactSource(StrEnum):
    """Origin of a view, landmark or phase mark."""

    FILE = "file"
    """Stated by the file of the cine."""
    RECOGNISED = "recognised"
    """Proposed by the program and confirmed by a human."""
    MANUAL = "manual"
    """Set by a human."""

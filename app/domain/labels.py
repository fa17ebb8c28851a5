"""Label sets: the structures that a clinician outlines, with names, colours and SNOMED CT codes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Structure:
    """An anatomical structure with its label value.

    Attributes
    ----------
    value : int
        Label value, 1 to 254.
    name : str
        Name for the user.
    colour : tuple of int
        Red, green and blue, 0 to 255.
    snomed : str or None
        SNOMED CT code.
    wall_of : int or None
        Value of the cavity that this structure surrounds without a gap, if it is a wall.
    """

    value: int
    name: str
    colour: tuple[int, int, int]
    snomed: str | None = None
    wall_of: int | None = None


@dataclass(frozen=True)
class LabelSet:
    """Structures that belong together on one label image.

    Attributes
    ----------
    name : str
        Name for the user.
    structures : tuple of Structure
        Structures, in the order of the digit keys that select them.
    keep_enclosed : bool
        True if structures inside an outline keep their pixels, so that an epicardial outline around the
        cavity fills only the wall.
    """

    name: str
    structures: tuple[Structure, ...]
    keep_enclosed: bool = True

    @property
    def values(self) -> tuple[int, ...]:
        """Label values, in the order of the structures."""
        return tuple(c.value for c in self.structures)

    @property
    def walls(self) -> tuple[tuple[int, int], ...]:
        """(wall, cavity) values of every wall whose cavity is in the set."""
        return tuple((c.value, c.wall_of) for c in self.structures if c.wall_of in self.values)

    @property
    def is_left_heart(self) -> bool:
        """True if the structures are those of `LEFT_HEART`, which the starter head predicts."""
        own, known = ([(c.value, c.snomed) for c in one.structures] for one in (self, LEFT_HEART))
        return own == known

    def __getitem__(self, value: int) -> Structure:
        """Return the structure of a label value; KeyError if there is none."""
        for label in self.structures:
            if label.value == value:
                return label
        raise KeyError(value)


LV_CAVITY, LV_MYOCARDIUM, LEFT_ATRIUM = "87878005", "49848007", "82471001"
"""SNOMED CT codes of the structures of the left heart."""

# Colours after Okabe and Ito: distinguishable with any colour vision, and readable on grey.
LEFT_HEART = LabelSet(
    "Left heart",
    (
        Structure(1, "LV cavity", (0, 158, 235), LV_CAVITY),
        Structure(2, "LV myocardium", (240, 170, 20), LV_MYOCARDIUM, wall_of=1),
        Structure(3, "Left atrium", (225, 110, 170), LEFT_ATRIUM),
    ),
)

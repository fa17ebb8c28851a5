"""Label sets: the named structures a clinician outlines, with colour and SNOMED CT code."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class LabelClass:
    """One structure.

    Attributes
    ----------
    value
        Its pixel value, 1..254.
    name
        As the user reads it.
    colour
        RGB triple, 0..255.
    snomed
        SNOMED CT code.
    wall_of
        Value of the cavity that this structure surrounds, if it is a wall: there is nothing between them.
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
    name
        As the user reads it.
    classes
        Structures, in the order of their keys.
    keep_enclosed
        Whether an outline leaves structures that lie inside it as they are: an epicardial outline around the
        cavity then fills the wall alone.
    """

    name: str
    classes: tuple[LabelClass, ...]
    keep_enclosed: bool = True

    @property
    def values(self) -> tuple[int, ...]:
        return tuple(c.value for c in self.classes)

    @property
    def walls(self) -> tuple[tuple[int, int], ...]:
        """(wall, cavity) values of every wall whose cavity is in the set."""
        return tuple((c.value, c.wall_of) for c in self.classes if c.wall_of in self.values)

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


LV_CAVITY, LV_MYOCARDIUM, LEFT_ATRIUM = "87878005", "49848007", "82471001"
"""SNOMED CT codes of the structures of the left heart."""

# Colours after Okabe and Ito, told apart with any colour vision, and readable on grey.
LEFT_HEART = LabelSet(
    "Left heart",
    (
        LabelClass(1, "LV cavity", (0, 158, 235), LV_CAVITY),
        LabelClass(2, "LV myocardium", (240, 170, 20), LV_MYOCARDIUM, wall_of=1),
        LabelClass(3, "Left atrium", (225, 110, 170), LEFT_ATRIUM),
    ),
)

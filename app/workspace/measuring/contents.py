"""What the measure panel displays, without widgets."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One number with its name.

    Attributes
    ----------
    label : str
        Name, such as 'EDV'.
    value : str
        Number with its unit, such as '104 ml'.
    interval : str
        90 % interval, such as '97 to 112'.
    detail : str
        Origin of the frames, mean over beats, or a remark.
    help : str
        Tooltip: definition or caveat.
    """

    label: str
    value: str
    interval: str = ""
    detail: str = ""
    help: str = ""

    @property
    def note(self) -> str:
        """Interval and detail, as they are displayed beside the number."""
        return " · ".join(part for part in (self.interval, self.detail) if part)


@dataclass(frozen=True)
class Link:
    """Part of a line that can be clicked.

    Attributes
    ----------
    text : str
    target : str
        Name of the command, such as 'calibrate', or 'frame:3:12' for frame 12 of the cine with id 3.
    """

    text: str
    target: str


Line = tuple[str | Link, ...]
"""A line of text with links."""


@dataclass(frozen=True)
class Contents:
    """Everything that the measure panel displays apart from the pictures.

    Attributes
    ----------
    headline : Row or None
        Ejection fraction; None if it cannot be given.
    rows, minor : tuple of Row
        Main numbers, and those that are displayed on request.
    missing : tuple of Line
        Sentences that say what is missing for numbers.
    warnings : tuple of Line
        Sentences that cast doubt on the numbers.
    facts : tuple of Line
        View, pair, pixel size, landmarks, body size.
    is_updating : bool
        True while the masks are still changing.
    """

    headline: Row | None = None
    rows: tuple[Row, ...] = ()
    minor: tuple[Row, ...] = ()
    missing: tuple[Line, ...] = ()
    warnings: tuple[Line, ...] = ()
    facts: tuple[Line, ...] = ()
    is_updating: bool = False

    @property
    def has_numbers(self) -> bool:
        """True if there is any number to copy."""
        return self.headline is not None or bool(self.rows)


def frame_link(text: str, cine_id: int, frame: int) -> Link:
    """Return a link to a frame of a cine."""
    return Link(text, f"frame:{cine_id}:{frame}")


def frame_of(target: str) -> tuple[int, int] | None:
    """Return cine id and frame of a link of `frame_link`; None for other targets."""
    name, _, rest = target.partition(":")
    if name != "frame":
        return None
    cine_id, _, frame = rest.partition(":")
    return int(cine_id), int(frame)

"""Horizontal positions of frames, the same in the timeline and in the curve above it."""

from __future__ import annotations

from dataclasses import dataclass

MARGIN = 14
"""Space in pixels at both ends of an axis of frames."""


@dataclass(frozen=True)
class FrameAxis:
    """Axis on which every frame of a cine has the same width.

    Attributes
    ----------
    n_frames : int
        Number of frames; 0 without a cine.
    width : int
        Width of the widget in pixels, margins included.
    """

    n_frames: int
    width: int

    @property
    def span(self) -> float:
        """Width of all frames together in pixels."""
        return float(max(self.width - 2 * MARGIN, 1))

    def x_of(self, frame: float) -> float:
        """Return the horizontal position in pixels of the centre of a frame."""
        return MARGIN + (frame + 0.5) * self.span / max(self.n_frames, 1)

    def frame_at(self, x: float) -> int:
        """Return the frame at a horizontal position in pixels, clamped to the cine; 0 without a cine."""
        if self.n_frames == 0:
            return 0
        return min(max(int((x - MARGIN) / self.span * self.n_frames), 0), self.n_frames - 1)

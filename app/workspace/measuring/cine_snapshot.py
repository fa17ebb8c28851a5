"""What the measurements of a cine depend on, fixed at one time, so that another thread can measure it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from app.domain.calibration import with_calibrations
from app.domain.cine import Box, Cine
from app.domain.facts import Landmarks, Phase
from app.domain.measure.frame_geometry import FrameGeometry, examine_frame
from app.domain.measure.heart import Values
from app.domain.measure.left_heart import ViewInput
from app.domain.prediction import Prediction
from app.domain.provenance import States
from app.domain.shown_mask import FrameMasks
from app.domain.views import FactSource, View
from app.engine.sector import sector_of
from app.workspace.measuring.chosen_frames import with_marked_frames
from app.workspace.opened_cine import OpenedCine
from vjepa_core.label_image import LabelImage


@dataclass(frozen=True, eq=False)
class FrameContent:
    """What the shown mask and the landmarks of a frame depend on."""

    annotation: LabelImage | None
    states: States
    prediction: Prediction | None
    landmarks: Landmarks | None

    def is_same(self, other: FrameContent) -> bool:
        """Return True if the same is measured on both; arrays are compared by identity."""
        packed, other_packed = (
            None if content.prediction is None else content.prediction.packed for content in (self, other)
        )
        return (
            self.annotation is other.annotation
            and self.states == other.states
            and packed is other_packed
            and self.landmarks == other.landmarks
        )


class ShownMasks(Mapping[int, LabelImage]):
    """Shown masks of a cine, computed when they are read.

    Parameters
    ----------
    shape : (int, int)
        Height and width.
    frames : mapping of int to FrameContent
    walls : tuple of (int, int)
        As in `FrameMasks`.
    """

    def __init__(
        self, shape: tuple[int, int], frames: Mapping[int, FrameContent], walls: tuple[tuple[int, int], ...]
    ) -> None:
        self._shape, self._frames, self._walls = shape, frames, walls

    def __getitem__(self, frame: int) -> LabelImage:
        content = self._frames[frame]
        predicted = None
        if content.prediction is not None:
            try:
                predicted = content.prediction.mask
            except ValueError:  # damaged on disk; the frame will be predicted again
                predicted = np.zeros(self._shape, np.uint8)
        return FrameMasks(self._shape, content.annotation, content.states, predicted, self._walls).shown

    def __iter__(self) -> Iterator[int]:
        return iter(self._frames)

    def __len__(self) -> int:
        return len(self._frames)


@dataclass(frozen=True, eq=False)
class CineSnapshot:
    """A cine as it is measured.

    Attributes
    ----------
    opened : OpenedCine
        Only to identify the cine: it may have changed since.
    cine : Cine
        With the calibrations by hand.
    frames : dict of int to FrameContent
        Frames with a shown mask.
    walls : tuple of (int, int)
    view : View or None
    view_source : FactSource or None
        None if the view is assumed.
    marks : dict of Phase to int
        Frame of each phase that was marked by hand.
    beat : int
        Beat that is shown first.
    """

    opened: OpenedCine
    cine: Cine
    frames: dict[int, FrameContent]
    walls: tuple[tuple[int, int], ...]
    view: View | None
    view_source: FactSource | None
    marks: dict[Phase, int]
    beat: int

    @classmethod
    def of(cls, opened: OpenedCine, view: View | None, view_source: FactSource | None, beat: int = 0) -> Self:
        """Return the present state of a cine."""
        layer = opened.recorder.layer
        labels, landmarks = layer.labels, layer.landmarks
        frames = {
            frame: FrameContent(
                labels.get(frame), layer.states(frame), opened.predictions.get(frame), landmarks.get(frame)
            )
            for frame in sorted(labels.keys() | opened.predictions.keys())
        }
        marks: dict[Phase, int] = {}
        for frame, mark in layer.phases.items():
            marks.setdefault(mark.phase, frame)
        cine = with_calibrations(opened.cine, layer.calibrations)
        return cls(opened, cine, frames, opened.walls, view, view_source, marks, beat)

    @property
    def masks(self) -> ShownMasks:
        """The shown masks."""
        return ShownMasks((self.cine.height, self.cine.width), self.frames, self.walls)

    def view_input(
        self,
        values: Values,
        *,
        inside: NDArray[np.bool_] | None,
        known: Mapping[int, FrameGeometry] | None = None,
    ) -> ViewInput:
        """Return the input of the measurements, with the frames that follow from the marks.

        Parameters
        ----------
        values : Values
        inside : (height, width) bool or None
            Pixels of the ultrasound sector.
        known : mapping of int to FrameGeometry, optional
            Geometry that a `GeometryCache` has; without it, all masks are computed here, once.
        """
        landmarks = {frame: content.landmarks for frame, content in self.frames.items()}
        given = ViewInput(
            self.cine,
            dict(self.masks) if known is None else self.masks,
            self.view,
            self.view_source,
            beat=self.beat,
            landmarks={frame: points for frame, points in landmarks.items() if points is not None},
            structure_dice=self.structure_dice(values.cavity),
            expected_dice=self.expected_dice(),
            is_human=self.drawn_frames(values.cavity),
            inside=inside,
            known=known or {},
        )
        return with_marked_frames(given, self.marks, values)

    def drawn_frames(self, cavity: int) -> frozenset[int]:
        """Return the frames whose LV cavity was drawn or accepted."""
        states = {frame: content.states.get(cavity) for frame, content in self.frames.items()}
        return frozenset(frame for frame, state in states.items() if state is not None and state.is_human)

    def expected_dice(self) -> dict[int, float]:
        """Return the expected Dice of predicted frames."""
        return {f: c.prediction.expected_dice for f, c in self.frames.items() if c.prediction is not None}

    def structure_dice(self, cavity: int) -> dict[int, float]:
        """Return the Dice of the LV cavity expected from the softmax, by predicted frame."""
        found = {
            frame: content.prediction.structure_dice.get(cavity)
            for frame, content in self.frames.items()
            if content.prediction is not None
        }
        return {frame: dice for frame, dice in found.items() if dice is not None}


class GeometryCache:
    """Geometry of the frames of one cine, computed again only where something changed."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[FrameContent, FrameGeometry]] = {}
        self._basis: tuple[object, ...] = ()
        self._sector: tuple[Box, NDArray[np.bool_] | None] | None = None

    def sector(self, cine: Cine) -> NDArray[np.bool_] | None:
        """Return the ultrasound sector, (height, width) bool, found once per region."""
        if self._sector is None or self._sector[0] != cine.region:
            self._sector = cine.region, sector_of(cine)
        return self._sector[1]

    def known(self, snapshot: CineSnapshot, values: Values) -> dict[int, FrameGeometry]:
        """Return the geometry of the frames that are known and still hold."""
        cine = snapshot.cine
        basis = (cine.region, cine.regions, cine.calibration, values, snapshot.walls)
        if basis != self._basis:
            self._known.clear()
            self._basis = basis
        return {
            frame: geometry
            for frame, (content, geometry) in self._known.items()
            if frame in snapshot.frames and content.is_same(snapshot.frames[frame])
        }

    def examine(self, snapshot: CineSnapshot, frame: int, values: Values) -> None:
        """Compute the geometry of a frame."""
        content = snapshot.frames[frame]
        geometry = examine_frame(
            snapshot.cine,
            snapshot.masks[frame],
            values,
            landmarks=content.landmarks,
            inside=self.sector(snapshot.cine),
        )
        self._known[frame] = content, geometry

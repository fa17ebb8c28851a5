"""Geometry of the left heart on the frames of a cine, in the pixel size of the region it lies in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.domain.cine import Calibration, Cine
from app.domain.facts import Landmarks
from app.domain.measure.heart import HeartGeometry, Values, heart_geometry
from app.domain.measure.landmarks import from_pixels
from vjepa_core.label_image import LabelImage


@dataclass(frozen=True, eq=False)
class FrameGeometry:
    """What is measured on one frame.

    Attributes
    ----------
    cavity_px, atrium_px : int
        Numbers of pixels of the LV cavity and of the left atrium.
    calibration : Calibration or None
        Pixel size that holds for the LV cavity.
    heart : HeartGeometry or None
        In mm with a calibration, else in pixel widths; None where no left ventricle is labelled.
    """

    cavity_px: int
    atrium_px: int
    calibration: Calibration | None
    heart: HeartGeometry | None


def examine_frame(
    cine: Cine,
    label: LabelImage,
    values: Values,
    *,
    landmarks: Landmarks | None = None,
    inside: NDArray[np.bool_] | None = None,
) -> FrameGeometry:
    """Measure the left heart on a label image of a cine.

    Parameters
    ----------
    cine : Cine
        Gives the pixel size.
    label : (height, width) uint8
    values : Values
    landmarks : Landmarks, optional
        Hinge points and apex set by hand, in pixels; ignored if they do not lie on the cavity.
    inside : (height, width) bool, optional
        Pixels of the ultrasound sector.
    """
    cavity = label == values.cavity
    cavity_px = int(np.count_nonzero(cavity))
    atrium_px = 0 if values.atrium is None else int(np.count_nonzero(label == values.atrium))
    calibration = cine.calibration_of(cavity) if cavity_px else None
    spacing = spacing_of(cine, calibration)
    axis = None if landmarks is None else from_pixels(landmarks, spacing)
    heart = heart_geometry(label, values, spacing, axis=axis, inside=inside)
    return FrameGeometry(cavity_px, atrium_px, calibration, heart)


def spacing_of(cine: Cine, calibration: Calibration | None) -> tuple[float, float]:
    """Return height and width of a pixel in mm; in pixel widths without a calibration."""
    if calibration is None:
        return cine.pixel_aspect, 1.0
    return calibration.mm_per_px_y, calibration.mm_per_px_x


class Geometries:
    """Geometry of the frames of a cine, computed when it is needed and kept.

    Parameters
    ----------
    cine : Cine
    labels : mapping of int to LabelImage
        Label images by zero-based frame.
    values : Values
    landmarks : mapping of int to Landmarks
        Set by hand, by frame.
    inside : (height, width) bool or None
        Pixels of the ultrasound sector.
    known : mapping of int to FrameGeometry
        Results of `examine_frame` for the same input.
    """

    def __init__(
        self,
        cine: Cine,
        labels: Mapping[int, LabelImage],
        values: Values,
        *,
        landmarks: Mapping[int, Landmarks],
        inside: NDArray[np.bool_] | None,
        known: Mapping[int, FrameGeometry],
    ) -> None:
        self._cine, self._labels, self._values = cine, labels, values
        self._landmarks, self._inside = landmarks, inside
        self._known = dict(known)
        self._other: dict[tuple[int, Calibration | None], HeartGeometry | None] = {}
        self.frames = tuple(sorted(frame for frame in labels if 0 <= frame < cine.n_frames))

    def cavity_px(self) -> NDArray[np.float64]:
        """Return the number of pixels of the LV cavity by frame, (T,); nan where it is not labelled."""
        return self._sizes(self._values.cavity, lambda known: known.cavity_px)

    def atrium_px(self) -> NDArray[np.float64]:
        """Return the number of pixels of the left atrium by frame, (T,); nan where it is not labelled."""
        if self._values.atrium is None:
            return np.full(self._cine.n_frames, np.nan)
        return self._sizes(self._values.atrium, lambda known: known.atrium_px)

    def _sizes(self, value: int, of: Callable[[FrameGeometry], int]) -> NDArray[np.float64]:
        sizes = np.full(self._cine.n_frames, np.nan)
        for frame in self.frames:
            known = self._known.get(frame)
            found = np.count_nonzero(self._labels[frame] == value) if known is None else of(known)
            sizes[frame] = found or np.nan
        return sizes

    def is_examined(self, frame: int) -> bool:
        """Return True if the geometry of a frame is known, so that it costs no time."""
        return frame in self._known

    def examined(self, frame: int) -> FrameGeometry:
        """Geometry of a frame in its own pixel size."""
        if frame not in self._labels:
            return FrameGeometry(0, 0, None, None)
        if frame not in self._known:
            self._known[frame] = examine_frame(
                self._cine,
                self._labels[frame],
                self._values,
                landmarks=self._landmarks.get(frame),
                inside=self._inside,
            )
        return self._known[frame]

    def heart(self, frame: int, calibration: Calibration | None) -> HeartGeometry | None:
        """Geometry of a frame in a given pixel size, in pixel widths for None; None without a ventricle."""
        own = self.examined(frame)
        if own.heart is None or own.calibration == calibration:
            return own.heart
        key = frame, calibration
        if key not in self._other:
            spacing = spacing_of(self._cine, calibration)
            landmarks = self._landmarks.get(frame)
            self._other[key] = heart_geometry(
                self._labels[frame],
                self._values,
                spacing,
                axis=None if landmarks is None else from_pixels(landmarks, spacing),
                inside=self._inside,
            )
        return self._other[key]

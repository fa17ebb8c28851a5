"""From frames of any size to the encoder's square and back, with nothing moved by half a pixel.

Pixel centres lie at (i + 1/2) in every image here, as OpenCV's resize and torch's `align_corners=False` have
it. No torch here: the program letterboxes frames before it hands them to the engine.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

INPUT_SIZE = 224
"""Side of the square that encoder and head see, pixels."""


@dataclass(frozen=True)
class Letterbox:
    """Scales a picture to fit a square, keeping its true proportions, and centres it between black bars.

    Attributes
    ----------
    height, width : int
        Size of the source picture in pixels.
    size : int
        Side of the square.
    inner_height, inner_width : int
        Size of the picture inside the square.
    top, left : int
        First row and column of the picture inside the square.
    """

    height: int
    width: int
    size: int
    inner_height: int
    inner_width: int
    top: int
    left: int

    @classmethod
    def fit(cls, height: int, width: int, size: int = INPUT_SIZE, *, pixel_aspect: float = 1.0) -> Letterbox:
        """Letterbox for pictures of `height` x `width` pixels.

        Parameters
        ----------
        height, width : int
            Of the picture, pixels.
        size : int
            Side of the square.
        pixel_aspect : float
            Height of a source pixel divided by its width, both in mm; the square's pixels are square.

        Raises
        ------
        ValueError
            If a side or the aspect is not positive.
        """
        if min(height, width, size) < 1 or not 0 < pixel_aspect < math.inf:
            raise ValueError(
                f"cannot fit {height} x {width} pixels of aspect {pixel_aspect} into a square of {size}"
            )
        sides = height * pixel_aspect, width
        scale = size / max(sides)
        inner_height, inner_width = (max(1, round(side * scale)) for side in sides)
        top, left = (size - inner_height) // 2, (size - inner_width) // 2
        return cls(height, width, size, inner_height, inner_width, top, left)

    @property
    def scale(self) -> tuple[float, float]:
        """Pixels of the square per source pixel, vertically and horizontally.

        For square source pixels they differ only by rounding.
        """
        return self.inner_height / self.height, self.inner_width / self.width

    @property
    def inner(self) -> tuple[slice, slice]:
        """Where the picture lies inside the square: ``square[letterbox.inner]``."""
        return (
            slice(self.top, self.top + self.inner_height),
            slice(self.left, self.left + self.inner_width),
        )

    def apply(self, frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Frames (T, height, width) uint8 as squares (T, size, size) uint8; the bars are 0."""
        self._check(frames, 3)
        out = np.zeros((len(frames), self.size, self.size), np.uint8)
        for square, frame in zip(out, frames, strict=True):
            square[self.inner] = self._resize(frame)
        return out

    def apply_labels(self, labels: NDArray[np.uint8], fill: int = 0) -> NDArray[np.uint8]:
        """A label image (height, width) as (size, size): each pixel takes the label that covers most of it.

        Parameters
        ----------
        labels : array
            Any uint8 values, 255 for "not labelled" among them.
        fill : int
            Label of the bars.
        """
        self._check(labels, 2)
        values = np.unique(labels)
        cover = np.stack([self._resize((labels == value).astype(np.float32)) for value in values])
        out = np.full((self.size, self.size), fill, np.uint8)
        out[self.inner] = values[cover.argmax(0)]
        return out

    def invert(self, maps: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
        """Maps of the square, such as logits or probabilities, over the source pixels (K, height, width).

        Bilinear, so probabilities still sum to one and borders are finer than the maps.

        Parameters
        ----------
        maps : array
            (K, g, g), on any grid that covers the whole square.
        """
        if maps.ndim != 3 or maps.shape[1] != maps.shape[2]:
            raise ValueError(f"expected maps (K, g, g) of the square of {self.size}, got {maps.shape}")
        sy, sx = self.scale
        shrink = maps.shape[1] / self.size
        # Centre of source pixel x lies at (x + 1/2) sx + left in the square; the grid is `shrink` times that.
        place = np.array(
            [
                [sx * shrink, 0, (0.5 * sx + self.left) * shrink - 0.5],
                [0, sy * shrink, (0.5 * sy + self.top) * shrink - 0.5],
            ]
        )
        how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        out = np.empty((len(maps), self.height, self.width), np.float32)
        # One map at a time: warpAffine takes at most four channels.
        for target, source in zip(out, np.asarray(maps, np.float32), strict=True):
            target[...] = cv2.warpAffine(
                source, place, (self.width, self.height), flags=how, borderMode=cv2.BORDER_REPLICATE
            )
        return out

    def _resize(self, image: NDArray[Any]) -> NDArray[Any]:
        # Pixels that are not square may shrink along one axis and grow along the other. That takes two steps,
        # because cv2 averages areas only where no axis grows.
        inner = self.inner_width, self.inner_height
        least = min(self.inner_width, self.width), min(self.inner_height, self.height)
        out = np.ascontiguousarray(image)
        if least != (self.width, self.height):
            out = np.asarray(cv2.resize(out, least, interpolation=cv2.INTER_AREA))
        if least != inner:
            out = np.asarray(cv2.resize(out, inner, interpolation=cv2.INTER_LINEAR))
        return out

    def _check(self, array: NDArray[np.uint8], ndim: int) -> None:
        if array.dtype != np.uint8 or array.ndim != ndim or array.shape[-2:] != (self.height, self.width):
            raise ValueError(
                f"expected uint8 pictures of {self.height} x {self.width} pixels, "
                f"got {array.dtype} {array.shape}"
            )

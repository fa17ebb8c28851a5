"""Map frames of any size to the encoder's square input and back, without half-pixel shifts.

The centre of pixel i is at i + 1/2 in every image, the convention of OpenCV's `resize` and of torch's
`align_corners=False`. This module does not import torch: the program letterboxes frames before it sends them
to the engine process.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

INPUT_SIZE = 224
"""Side of the square input of the encoder and the head, in pixels."""


@dataclass(frozen=True)
class Letterbox:
    """Placement of an image in a square: scaled without distortion and centred between black bars.

    Attributes
    ----------
    height, width : int
        Size of the source image in pixels.
    size : int
        Side of the square.
    inner_height, inner_width : int
        Size of the image inside the square.
    top, left : int
        First row and column of the image inside the square.
    """

    height: int
    width: int
    size: int
    inner_height: int
    inner_width: int
    top: int
    left: int

    @classmethod
    def for_image(
        cls, height: int, width: int, size: int = INPUT_SIZE, *, pixel_aspect: float = 1.0
    ) -> Letterbox:
        """Compute the letterbox for images of `height` x `width` pixels.

        Parameters
        ----------
        height, width : int
            Size of the image in pixels.
        size : int
            Side of the square in pixels.
        pixel_aspect : float
            Physical height of a source pixel divided by its physical width. The pixels of the square are
            square.

        Raises
        ------
        ValueError
            If a side or the pixel aspect is not positive.
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

        The two values differ only by rounding if the source pixels are square.
        """
        return self.inner_height / self.height, self.inner_width / self.width

    @property
    def inner(self) -> tuple[slice, slice]:
        """Slices of the image inside the square: ``square[letterbox.inner]``."""
        return (
            slice(self.top, self.top + self.inner_height),
            slice(self.left, self.left + self.inner_width),
        )

    def apply(self, frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Letterbox frames (T, height, width) uint8 to (T, size, size) uint8; the bars are 0."""
        self._check(frames, 3)
        out = np.zeros((len(frames), self.size, self.size), np.uint8)
        for square, frame in zip(out, frames, strict=True):
            square[self.inner] = self._resize(frame)
        return out

    def apply_labels(self, labels: NDArray[np.uint8], fill: int = 0) -> NDArray[np.uint8]:
        """Letterbox a label image (height, width) to (size, size).

        Each pixel gets the label that covers most of its area.

        Parameters
        ----------
        labels : ndarray of uint8
            Shape (height, width). Any values, including 255 for unlabelled.
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
        """Resample maps of the square, such as logits or probabilities, to the source pixels.

        The interpolation is bilinear, so that probabilities still sum to one.

        Parameters
        ----------
        maps : ndarray of float
            Shape (K, g, g), on any regular grid that covers the whole square.

        Returns
        -------
        ndarray of float32
            Shape (K, height, width).

        Raises
        ------
        ValueError
            If the maps are not square.
        """
        if maps.ndim != 3 or maps.shape[1] != maps.shape[2]:
            raise ValueError(f"expected maps of shape (K, g, g) that cover the square, got {maps.shape}")
        sy, sx = self.scale
        shrink = maps.shape[1] / self.size
        # The centre of source pixel x is at (x + 1/2) sx + left in the square, and at `shrink` times that
        # in the grid of the maps.
        matrix = np.array(
            [
                [sx * shrink, 0, (0.5 * sx + self.left) * shrink - 0.5],
                [0, sy * shrink, (0.5 * sy + self.top) * shrink - 0.5],
            ]
        )
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        out = np.empty((len(maps), self.height, self.width), np.float32)
        # One map at a time: warpAffine supports at most four channels.
        for target, source in zip(out, np.asarray(maps, np.float32), strict=True):
            target[...] = cv2.warpAffine(
                source, matrix, (self.width, self.height), flags=flags, borderMode=cv2.BORDER_REPLICATE
            )
        return out

    def _resize(self, image: NDArray[Any]) -> NDArray[Any]:
        # Non-square pixels may shrink along one axis and grow along the other. Two steps are needed, because
        # cv2 averages areas only if no axis grows.
        inner = self.inner_width, self.inner_height
        smallest = min(self.inner_width, self.width), min(self.inner_height, self.height)
        out = np.ascontiguousarray(image)
        if smallest != (self.width, self.height):
            out = np.asarray(cv2.resize(out, smallest, interpolation=cv2.INTER_AREA))
        if smallest != inner:
            out = np.asarray(cv2.resize(out, inner, interpolation=cv2.INTER_LINEAR))
        return out

    def _check(self, array: NDArray[np.uint8], ndim: int) -> None:
        if array.dtype != np.uint8 or array.ndim != ndim or array.shape[-2:] != (self.height, self.width):
            raise ValueError(
                f"expected uint8 images of {self.height} x {self.width} pixels, "
                f"got {array.dtype} {array.shape}"
            )

"""Synthetic beating ring in a sector of speckle, with masks."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

CAVITY, WALL = 1, 2


def beating(
    n_frames: int = 12, height: int = 96, width: int = 120, *, beats: float = 1.0, seed: int = 0
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return frames and masks, both (n_frames, height, width) uint8; the ring is widest on frame 0."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    noise = rng.normal(0, 1, (3 * height, 3 * width)).astype(np.float32)
    texture = (
        np.asarray(cv2.GaussianBlur(noise, (0, 0), 1.5), np.float32) * 5
    )  # standard deviation of about 1
    sector = np.abs(np.arctan2(x - width / 2, y + 4)) < 0.75
    frames, masks = [], []
    for t in range(n_frames):
        size = 1.0 - 0.3 * (0.5 - 0.5 * np.cos(2 * np.pi * beats * t / n_frames))
        u, v = (x - width / 2) / (0.17 * width), (y - 0.55 * height) / (0.27 * height)
        radius = np.sqrt(u**2 + v**2)
        mask = np.where(radius < size, CAVITY, np.where(radius < size + 0.4, WALL, 0)).astype(np.uint8)
        # Texture moves with the tissue: outward from the centre as the ring grows.
        stretch = np.where(radius < size + 0.8, 1 / size, 1.0).astype(np.float32)
        map_x = (x - width / 2) * stretch + 1.5 * width
        map_y = (y - 0.55 * height) * stretch + 1.5 * height
        speckle = cv2.remap(texture, map_x, map_y, cv2.INTER_LINEAR)
        level = np.choose(mask, [70.0, 20.0, 150.0])
        image = level * np.exp(0.3 * speckle) * sector + rng.normal(0, 3, sector.shape)
        frames.append(np.clip(image, 0, 255).astype(np.uint8))
        masks.append(mask * sector.astype(np.uint8))
    return np.stack(frames), np.stack(masks)


def dice(one: NDArray[np.uint8], other: NDArray[np.uint8], value: int) -> float:
    """Compute 2 |A and B| / (|A| + |B|) of one label value; 1 if both are empty."""
    a, b = one == value, other == value
    total = int(a.sum() + b.sum())
    return 2.0 * int((a & b).sum()) / total if total else 1.0

"""Create a packed set from cines: only the ultrasound image, downscaled, subsampled in time, compressed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from vjepa_core.letterbox import Letterbox
from vjepa_core.pretraining.errors import PretrainingError
from vjepa_core.pretraining.shards import ShardWriter

Frames = NDArray[np.uint8]

MIN_SIDE = 16
_MAX_EXAMINED = 24  # frames
_MIN_CHANGE = 5.0  # grey levels between the darkest and the brightest frame, blurred
_LIT = 8.0
_MIN_AREA = 0.02  # fraction of the image: smaller regions are not tissue
_TEXT_LEVEL = 80.0  # grey level
_MAX_TEXT_AREA = 0.01  # fraction of the image: larger regions are not text
_RIM_RATIO = 32  # shorter side of the image divided by the width of the rim


class RawCine(NamedTuple):
    """Cine to pack.

    Attributes
    ----------
    name : str
        Source of the cine, without patient information.
    frames : ndarray of uint8
        Ultrasound image only, shape (T, h, w).
    fps : float
        Frame rate in Hz; 0 for a still image or if unknown.
    group : str
        Kind of cine, which determines sampling weight and terms of use: "echo", "lung", "still", ...
    masks : ndarray of uint8, optional
        Label images, shape (T, h, w).
    pixel_aspect : float
        Height of a pixel divided by its width; packed pixels are square.
    """

    name: str
    frames: Frames
    fps: float
    group: str
    masks: Frames | None = None
    pixel_aspect: float = 1.0


@dataclass(frozen=True)
class GroupLimit:
    """Limits for the cines of a group.

    Attributes
    ----------
    fps : float
        Maximum frame rate in Hz; 0 for no limit.
    frames : int
        Maximum number of frames, taken from the middle of the cine; 0 for no limit.
    """

    fps: float = 0.0
    frames: int = 0


LIMITS: Mapping[str, GroupLimit] = {"lung": GroupLimit(fps=13.0, frames=40)}
"""Lung cines are numerous and change slowly: without a limit they would dominate a packed set."""


@dataclass(frozen=True)
class PackSummary:
    """Contents of a packed set: numbers of cines and frames by group, and size on disk in bytes."""

    cines: Mapping[str, int]
    frames: Mapping[str, int]
    n_bytes: int


def pack_cines(
    cines: Iterable[RawCine | tuple[str, Frames, float, str]],
    out: Path | str,
    *,
    size: int = 256,
    quality: int = 60,
    codec: str = "webp",
    limits: Mapping[str, GroupLimit] = LIMITS,
    terms: Mapping[str, str] | None = None,
) -> PackSummary:
    """Write cines into a packed set, one at a time.

    Parameters
    ----------
    cines : iterable
        `RawCine` or ``(name, frames, fps, group)``.
    out : Path
        Folder that does not exist yet or is empty.
    size : int
        Maximum side of a packed image in pixels; smaller images keep their size.
    quality : int
        Quality of the compression, 1..100.
    codec : str
        "webp" or "jpeg". With equal error, WebP took a third fewer bytes on CAMUS and lung images.
    limits : mapping of str to GroupLimit
        Limits by group.
    terms : mapping of str to str, optional
        Terms of use by group, stored in the index.

    Returns
    -------
    PackSummary
        Contents of the set.

    Raises
    ------
    PretrainingError
        If the folder is in use or there is no cine.
    ValueError
        If frames are not a stack of uint8 images.
    """
    count: dict[str, int] = {}
    frames_of: dict[str, int] = {}
    with ShardWriter(Path(out), size=size, quality=quality, codec=codec, terms=terms) as writer:
        for item in cines:
            cine = _checked(RawCine(*item))
            chosen, fps = subsample_frames(len(cine.frames), cine.fps, limits.get(cine.group, GroupLimit()))
            aspect = cine.pixel_aspect
            frames = downscale(cine.frames[chosen], size, pixel_aspect=aspect)
            masks = cine.masks
            if masks is not None:
                masks = downscale(masks[chosen], size, labels=True, pixel_aspect=aspect)
            writer.add(cine.name, frames, fps, cine.group, masks)
            count[cine.group] = count.get(cine.group, 0) + 1
            frames_of[cine.group] = frames_of.get(cine.group, 0) + len(frames)
        if not count:  # raised inside the context, so that no index is written
            raise PretrainingError("There is no cine to pack: give files or folders of ultrasound cines.")
    return PackSummary(count, frames_of, writer.n_bytes)


def subsample_frames(n_frames: int, fps: float, limit: GroupLimit) -> tuple[NDArray[np.int64], float]:
    """Choose every n-th frame of the middle of a cine to satisfy a limit.

    Returns
    -------
    frames : ndarray of int64
        Frame numbers.
    fps : float
        Their frame rate in Hz.
    """
    step = max(1, int(np.ceil(fps / limit.fps - 1e-6))) if limit.fps > 0 and fps > 0 else 1
    kept = np.arange(0, n_frames, step, dtype=np.int64)
    if 0 < limit.frames < len(kept):
        first = (len(kept) - limit.frames) // 2
        kept = kept[first : first + limit.frames]
    return kept, fps / step


def downscale(frames: Frames, size: int, *, labels: bool = False, pixel_aspect: float = 1.0) -> Frames:
    """Downscale frames (T, h, w) to square pixels with no side longer than `size`.

    Parameters
    ----------
    frames : ndarray of uint8
        Frames or label images, shape (T, h, w).
    size : int
        Maximum side of the result in pixels.
    labels : bool
        The frames are label images.
    pixel_aspect : float
        Height of a pixel divided by its width. If the pixels are not square, the square pixels are at least
        as large as their longer side.
    """
    height, width = frames.shape[1:]
    longest = round(max(height * min(1.0, pixel_aspect), width * min(1.0, 1.0 / pixel_aspect)))
    if longest <= size and pixel_aspect == 1.0:
        return np.ascontiguousarray(frames)
    box = Letterbox.for_image(height, width, min(size, longest), pixel_aspect=pixel_aspect)
    squares = np.stack([box.apply_labels(frame) for frame in frames]) if labels else box.apply(frames)
    return np.ascontiguousarray(squares[(slice(None), *box.inner)])


def _checked(cine: RawCine) -> RawCine:
    frames, masks = cine.frames, cine.masks
    if frames.dtype != np.uint8 or frames.ndim != 3 or not len(frames) or min(frames.shape[1:]) < MIN_SIDE:
        raise ValueError(
            f"{cine.name}: expected uint8 frames (T, h, w) of at least {MIN_SIDE} pixels per side, "
            f"got {frames.dtype} {frames.shape}"
        )
    if masks is not None and (masks.shape != frames.shape or masks.dtype != np.uint8):
        raise ValueError(f"{cine.name}: masks {masks.dtype} {masks.shape} do not match {frames.shape}")
    return cine


def isolate_ultrasound(frames: Frames) -> Frames:
    """Crop frames to the ultrasound image and remove text, scales, colour bars and traces.

    The image is the convex hull of moving pixels in a cine, and of bright pixels in a still image. Pixels
    outside are set to 0, and also small bright static parts inside that are away from all moving pixels.

    Parameters
    ----------
    frames : ndarray of uint8
        Shape (T, h, w).

    Returns
    -------
    ndarray of uint8
        Shape (T, h', w'), cropped; the unchanged frames if no ultrasound image is found.
    """
    stack = frames[np.unique(np.linspace(0, len(frames) - 1, _MAX_EXAMINED).round().astype(int))]
    brightest = stack.max(0).astype(np.float32)
    moves = len(stack) > 2
    signal = brightest - stack.min(0) if moves else brightest
    body = _body(cv2.GaussianBlur(signal, (0, 0), 2) > (_MIN_CHANGE if moves else _LIT))
    hull = _hull(body)
    if hull is None:
        return frames
    mask = hull
    if moves:
        disc = _disc(hull)
        away = (hull > cv2.dilate(body, disc)) & (brightest > _TEXT_LEVEL)
        rim = (hull > cv2.erode(body, disc)) & (stack.min(0) > _TEXT_LEVEL) & (signal < 3 * _MIN_CHANGE)
        mask = hull & (1 - _text(away | rim, hull))
    x, y, w, h = cv2.boundingRect(hull)
    if min(w, h) < MIN_SIDE:
        return frames
    return np.ascontiguousarray((frames * mask)[:, y : y + h, x : x + w])


def sector_mask(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a mask (h, w) of the ultrasound sector of a still image, 0 or 1; all 1 if none is found.

    The rim is excluded, because blurring makes the sector appear wider than it is.
    """
    hull = _hull(_body(cv2.GaussianBlur(image.astype(np.float32), (0, 0), 2) > _LIT))
    if hull is None:
        return np.ones_like(image)
    return np.asarray(cv2.erode(hull, _disc(hull), borderType=cv2.BORDER_CONSTANT, borderValue=0), np.uint8)


def _disc(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a disc-shaped structuring element with the radius of half a rim."""
    size = max(5, round(2 * min(image.shape) / _RIM_RATIO) | 1)
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size)), np.uint8)


def _text(static: NDArray[np.bool_], hull: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the small static bright parts, 0 or 1; large ones are tissue close to the probe."""
    near = np.ones((3, 3), np.uint8)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(
        cv2.dilate(static.astype(np.uint8), near, iterations=2)
    )
    small = stats[:, cv2.CC_STAT_AREA] < _MAX_TEXT_AREA * hull.sum()
    small[0] = False
    return np.asarray(small[labels], np.uint8)


def _body(mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Close gaps in speckle, then remove text, ticks and traces; return 0 or 1."""
    size = max(3, round(min(mask.shape) / 60))
    small = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
    wide = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * size + 1, 2 * size + 1))
    solid = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_CLOSE, small)
    return np.asarray(cv2.morphologyEx(solid, cv2.MORPH_OPEN, wide), np.uint8)


def _hull(body: NDArray[np.uint8]) -> NDArray[np.uint8] | None:
    """Return the convex hull of the parts that are large enough to be tissue, as 0 and 1, or None."""
    contours, _ = cv2.findContours(body, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    parts = [c for c in contours if cv2.contourArea(c) >= _MIN_AREA * body.size]
    if not parts:
        return None
    hull = np.zeros_like(body)
    cv2.fillConvexPoly(hull, cv2.convexHull(np.concatenate(parts)), 1)
    return hull

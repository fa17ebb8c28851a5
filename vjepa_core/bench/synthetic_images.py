"""Images without a heart in an apical view: textures, drawings, and CAMUS images changed into other views.

A reliable head does not apply to any of them. Textures need no data. Other views are derived from apical
images: the heart rotated in the sector (like a parasternal long axis), mirrored to a ring (like a short
axis), or upside down. They resemble ultrasound of the same scanner and differ in anatomy only.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

SIZE = 224

Grey = NDArray[np.float32]


def textures(n: int, *, seed: int, size: int = SIZE) -> tuple[NDArray[np.uint8], list[str]]:
    """Generate images of all kinds in turn.

    Parameters
    ----------
    n : int
        Number of images.
    seed : int
        Seed; the result is reproducible.
    size : int
        Side in pixels.

    Returns
    -------
    images : ndarray of uint8
        Shape (n, size, size).
    kinds : list of str
        Kind of each image.
    """
    kinds = list(_KINDS)
    images, names = [], []
    for i in range(n):
        name = kinds[i % len(kinds)]
        image = _KINDS[name](np.random.default_rng([seed, i]), size)
        images.append(np.clip(image, 0, 255).astype(np.uint8))
        names.append(name)
    return np.stack(images), names


def other_views(
    images: NDArray[np.uint8], masks: NDArray[np.uint8], *, seed: int
) -> tuple[NDArray[np.uint8], list[str]]:
    """Change apical images into other views.

    Parameters
    ----------
    images, masks : ndarray of uint8
        Images and label images, shape (N, h, w); label 1 is the cavity of the left ventricle.
    seed : int
        Seed of angles and speckle.

    Returns
    -------
    images : ndarray of uint8
        Shape (N, h, w).
    kinds : list of str
        Kind of each image.
    """
    kinds = ("turned", "ring", "upside down")
    views, names = [], []
    for i, (image, mask) in enumerate(zip(images, masks, strict=True)):
        rng = np.random.default_rng([seed, i])
        name = kinds[i % len(kinds)]
        lit = (image > 8).astype(np.uint8)
        sector = np.asarray(cv2.morphologyEx(lit, cv2.MORPH_CLOSE, np.ones((9, 9), np.uint8)), np.uint8)
        full = _continued(image, sector, rng)
        ys, xs = np.nonzero(mask == 1)
        y, x = float(ys.mean()), float(xs.mean())
        if name == "turned":
            angle = float(rng.uniform(55, 125)) * (1 if rng.random() < 0.5 else -1)
            matrix = cv2.getRotationMatrix2D((x, y), angle, float(rng.uniform(0.9, 1.2)))
            moved = cv2.warpAffine(full, matrix, full.shape[::-1], borderMode=cv2.BORDER_REFLECT)
        elif name == "ring":
            rows = np.arange(len(full), dtype=np.float32)
            middle = y + float(rng.uniform(-0.1, 0.1)) * float(np.ptp(ys))
            from_row = np.where(rows > middle, 2 * middle - rows, rows)
            grid_x, grid_y = np.meshgrid(np.arange(full.shape[1], dtype=np.float32), np.abs(from_row))
            moved = cv2.remap(full, grid_x, grid_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
            # The ring is deeper than an apex.
            down = np.array([[1, 0, 0], [0, 1, rng.uniform(0, 30)]], np.float32)
            moved = cv2.warpAffine(moved, down, full.shape[::-1], borderMode=cv2.BORDER_REFLECT)
        else:
            moved = full[::-1]
        views.append(np.where(sector > 0, moved, 0).clip(0, 255).astype(np.uint8))
        names.append(name)
    return np.stack(views), names


def _continued(image: NDArray[np.uint8], sector: NDArray[np.uint8], rng: np.random.Generator) -> Grey:
    """Extend the image beyond its sector with smooth grey levels and speckle."""
    inside = sector.astype(np.float32)
    weight = cv2.GaussianBlur(inside, (0, 0), 14) + 1e-4
    smooth = cv2.GaussianBlur(image * inside, (0, 0), 14) / weight
    grain = cv2.GaussianBlur(rng.standard_normal(image.shape).astype(np.float32), (0, 0), 1.2) * 0.9
    return np.where(sector > 0, image, np.minimum(smooth * np.exp(grain), 255)).astype(np.float32)


def _noise(rng: np.random.Generator, size: int) -> Grey:
    return rng.normal(rng.uniform(60, 180), rng.uniform(15, 70), (size, size)).astype(np.float32)


def _clouds(rng: np.random.Generator, size: int, slope: float | None = None) -> Grey:
    """Generate noise with the spectrum of photographs."""
    slope = float(rng.uniform(0.8, 2.0)) if slope is None else slope
    fy, fx = np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None]
    amplitude = 1 / np.maximum(np.hypot(fy, fx), 1 / size) ** slope
    phase = np.exp(2j * np.pi * rng.random(amplitude.shape))
    noise = np.fft.irfft2(amplitude * phase, (size, size))
    return np.asarray(128 + 60 * (noise - noise.mean()) / noise.std(), np.float32)


def _stripes(rng: np.random.Generator, size: int) -> Grey:
    y, x = np.mgrid[:size, :size] / size
    angle, count = rng.uniform(0, np.pi), rng.uniform(3, 30)
    wave = np.sin(2 * np.pi * count * (x * np.cos(angle) + y * np.sin(angle)))
    if rng.random() < 0.5:
        wave = np.sign(wave * np.sin(2 * np.pi * count * (y * np.cos(angle) - x * np.sin(angle))))
    return np.asarray(128 + 90 * wave + rng.normal(0, 6, wave.shape), np.float32)


def _leaves(rng: np.random.Generator, size: int) -> Grey:
    """Generate overlapping shapes of many sizes, with edges and occlusions as in photographs."""
    image = np.full((size, size), rng.uniform(40, 200), np.float32)
    for radius in sorted(size * 0.4 * rng.pareto(2.0, 250).clip(0.02, 1.0), reverse=True):
        at = tuple(int(v) for v in rng.uniform(0, size, 2))
        axes = (max(2, int(radius)), max(2, int(radius * rng.uniform(0.3, 1))))
        grey = (float(rng.uniform(0, 255)),)
        if rng.random() < 0.6:
            cv2.ellipse(image, at, axes, float(rng.uniform(0, 180)), 0, 360, grey, -1)
        else:
            corners = cv2.boxPoints((at, axes, float(rng.uniform(0, 180))))
            cv2.fillConvexPoly(image, corners.astype(np.int32), grey)
    shade = _clouds(rng, size, 1.5)
    soft = cv2.GaussianBlur(image, (0, 0), 0.8)
    return np.asarray(soft * (0.7 + 0.3 * shade / 128), np.float32)


def _page(rng: np.random.Generator, size: int) -> Grey:
    page = np.full((size, size), 235, np.uint8)
    for y in range(18, size, int(rng.integers(11, 22))):
        letters = "".join(chr(int(c)) for c in rng.integers(97, 123, 26))
        cv2.putText(page, letters, (int(rng.integers(2, 20)), y), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (20,), 1)
    image = page.astype(np.float32)
    return 255 - image if rng.random() < 0.5 else image


def _landscape(rng: np.random.Generator, size: int) -> Grey:
    y, x = np.mgrid[:size, :size] / size
    image = 220 - 60 * y + 0.15 * (_clouds(rng, size) - 128)
    for k in range(3):
        edge = 0.4 + 0.2 * k + 0.08 * np.sin(2 * np.pi * (rng.uniform(0.5, 3) * x + rng.random()))
        ground = rng.uniform(30, 150) + 0.4 * (_clouds(rng, size, 1.0) - 128)
        image = np.where(y > edge, ground, image)
    return np.asarray(image, np.float32)


def _plain(rng: np.random.Generator, size: int) -> Grey:
    y, x = np.mgrid[:size, :size] / size - 0.5
    angle = rng.uniform(0, 2 * np.pi)
    ramp = rng.uniform(0, 160) * (x * np.cos(angle) + y * np.sin(angle))
    if rng.random() < 0.4:
        ramp = 160 * np.exp(-(x**2 + y**2) / rng.uniform(0.02, 0.3))
    return np.asarray(rng.uniform(10, 120) + ramp + rng.normal(0, 2, x.shape), np.float32)


def _sector(rng: np.random.Generator, size: int) -> NDArray[np.float32]:
    """Generate a random sector, 1 inside and 0 outside."""
    y, x = np.mgrid[:size, :size] / size
    top = rng.uniform(-0.3, 0.05)
    dx, dy = x - rng.uniform(0.45, 0.55), y - top
    radius, angle = np.hypot(dx, dy), np.arctan2(dx, dy)
    inside = (np.abs(angle) < rng.uniform(0.5, 0.8)) & (radius < 0.98 - top) & (radius > 0.03 - min(top, 0))
    return np.asarray(inside, np.float32)


def _speckle(rng: np.random.Generator, size: int) -> Grey:
    """Generate speckle that is wider across the beam."""
    real, imaginary = (
        cv2.GaussianBlur(part, (0, 0), sigmaX=1.6, sigmaY=0.8)
        for part in rng.standard_normal((2, size, size)).astype(np.float32)
    )
    envelope = np.hypot(real, imaginary)
    return np.asarray(90 + 28 * np.log(envelope / envelope.mean() + 1e-2), np.float32)


def _speckled_sector(rng: np.random.Generator, size: int) -> Grey:
    gain = 1 + 0.5 * (_clouds(rng, size, 1.8) - 128) / 60
    return _speckle(rng, size) * np.clip(gain, 0.1, 2) * _sector(rng, size)


def _sector_of_shapes(rng: np.random.Generator, size: int) -> Grey:
    """Generate dark and bright bodies in a sector of speckle."""
    gain = np.full((size, size), rng.uniform(0.5, 1.1), np.float32)
    for _ in range(int(rng.integers(2, 9))):
        at = tuple(int(v) for v in rng.uniform(0.15 * size, 0.85 * size, 2))
        axes = tuple(int(v) for v in rng.uniform(0.04 * size, 0.25 * size, 2))
        grey = (float(rng.choice([0.08, 0.2, 1.5, 2.0])),)
        cv2.ellipse(gain, at, axes, float(rng.uniform(0, 180)), 0, 360, grey, -1)
    return _speckle(rng, size) * cv2.GaussianBlur(gain, (0, 0), 2) * _sector(rng, size)


def _sector_of_lines(rng: np.random.Generator, size: int) -> Grey:
    """Generate bright arcs at regular depths, as in lung ultrasound, and bright rays."""
    y, x = np.mgrid[:size, :size] / size
    depth = np.hypot(x - 0.5, y + 0.3)
    gain = 0.5 * np.exp(-2 * (y - 0.1)) + 0.1
    step = rng.uniform(0.12, 0.3)
    gain = gain + sum(np.exp(-(((depth - 0.35 - k * step) / 0.01) ** 2)) for k in range(6))
    rays = np.sin(rng.uniform(4, 16) * np.arctan2(x - 0.5, y + 0.3) + rng.random())
    gain = gain * (1 + 0.5 * (rays > rng.uniform(0.3, 0.9)))
    return np.asarray(_speckle(rng, size) * gain * _sector(rng, size), np.float32)


def _photograph_in_sector(rng: np.random.Generator, size: int) -> Grey:
    return _leaves(rng, size) * _sector(rng, size)


_KINDS: dict[str, Callable[[np.random.Generator, int], Grey]] = {
    "noise": _noise,
    "clouds": _clouds,
    "stripes": _stripes,
    "leaves": _leaves,
    "page": _page,
    "landscape": _landscape,
    "plain": _plain,
    "speckled fan": _speckled_sector,
    "fan of shapes": _sector_of_shapes,
    "fan of lines": _sector_of_lines,
    "leaves in a fan": _photograph_in_sector,
}


def imitate_other_scanners(images: NDArray[np.uint8], *, seed: int) -> NDArray[np.uint8]:
    """Change apical images (N, h, w) uint8 to imitate other machines and operators.

    The aspect ratio is changed, the image is slightly rotated, scaled, shifted and blurred, and gain,
    attenuation, speckle and shadows are augmented.
    """
    from vjepa_core.pretraining.augment import Augment

    moved = []
    for i, image in enumerate(images):
        rng = np.random.default_rng([seed, i])
        h, w = image.shape
        turn = cv2.getRotationMatrix2D(
            (w / 2, h / 2), float(rng.uniform(-12, 12)), float(rng.uniform(0.8, 1.1))
        )
        turn[0] *= rng.uniform(0.9, 1.35) if rng.random() < 0.5 else 1.0
        turn[:, 2] += np.array([w, h]) / 2 - turn[:, :2] @ np.array([w, h]) / 2
        turn[:, 2] += rng.uniform(-0.05, 0.05, 2) * (w, h)
        placed = cv2.warpAffine(image, turn, (w, h), flags=cv2.INTER_AREA)
        moved.append(cv2.GaussianBlur(placed, (0, 0), float(rng.uniform(0.3, 1.4))))
    clips = torch.from_numpy(np.stack(moved))[:, None]
    return np.asarray(Augment()(clips, torch.Generator().manual_seed(seed))[:, 0].numpy())

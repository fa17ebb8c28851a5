"""Reference implementation of the encoder: the published formulas in plain loops."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Grid = tuple[int, int, int]


def rotate(vector: Array, position: tuple[float, float, float], kind: str) -> Array:
    """Rotate the query or key of one head at grid position (t, y, x)."""
    d = 2 * ((len(vector) // 3) // 2)
    out = vector.copy()
    if kind == "vjepa1":  # the position was added to the token
        return out
    for axis in range(3):
        for pair in range(d // 2):
            first = axis * d + 2 * pair
            if kind == "vjepa21":
                k0 = k1 = pair
            else:  # the table f0 f1 .. f0 f1 .. over the channels
                k0, k1 = (2 * pair) % (d // 2), (2 * pair + 1) % (d // 2)
            a0, a1 = (position[axis] * 10000 ** (-k / (d / 2)) for k in (k0, k1))
            x0, x1 = vector[first], vector[first + 1]
            out[first] = x0 * math.cos(a0) - x1 * math.sin(a0)
            out[first + 1] = x1 * math.cos(a1) + x0 * math.sin(a1)
    return out


def positions(grid: tuple[int, int, int], kind: str) -> list[tuple[float, float, float]]:
    t, h, w = grid
    sy = 15 / (h - 1) if kind == "vjepa21" and h > 1 else 1.0
    sx = 15 / (w - 1) if kind == "vjepa21" and w > 1 else 1.0
    return [(float(k), y * sy, x * sx) for k in range(t) for y in range(h) for x in range(w)]


def sincos(place: tuple[int, int, int], dim: int) -> Array:
    """Return V-JEPA 1's embedding of an integer position (t, y, x)."""
    d = 2 * math.ceil(dim / 6)
    out = []
    for axis in range(3):
        angles = [place[axis] / 10000 ** (k / (d / 2)) for k in range(d // 2)]
        out += [math.sin(a) for a in angles] + [math.cos(a) for a in angles]
    return np.array(out[:dim])


def sincos_between(place: tuple[int, int, int], grid: Grid, stored: Grid, dim: int) -> Array:
    """Return the embedding of a position in another grid by trilinear interpolation."""
    near: list[list[tuple[int, float]]] = []
    for p, n, m in zip(place, grid, stored, strict=True):
        at = max((p + 0.5) * m / n - 0.5, 0.0)  # half-pixel centres
        low = min(int(at), m - 1)
        near.append([(low, 1 - (at - low)), (min(low + 1, m - 1), at - low)])
    total = np.zeros(dim)
    for t, a in near[0]:
        for y, b in near[1]:
            for x, c in near[2]:
                total += a * b * c * sincos((t, y, x), dim)
    return total


def norm(x: Array, weights: dict[str, Array], name: str) -> Array:
    centred = x - x.mean()
    return (
        centred / math.sqrt((centred**2).mean() + 1e-6) * weights[f"{name}.weight"] + weights[f"{name}.bias"]
    )


def linear(x: Array, weights: dict[str, Array], name: str) -> Array:
    return np.asarray(weights[f"{name}.weight"] @ x + weights[f"{name}.bias"])


def gelu(x: Array) -> Array:
    return np.array([0.5 * v * (1 + math.erf(v / math.sqrt(2))) for v in x])


def embed(clip: Array, weights: dict[str, Array], name: str, tubelet: int, patch: int) -> list[Array]:
    """Tokens of a clip (3, T, H, W) in the order time, height, width."""
    _, frames, height, width = clip.shape
    kernel = weights[f"{name}.proj.weight"]
    return [
        np.einsum("dcthw,cthw->d", kernel, clip[:, t : t + tubelet, y : y + patch, x : x + patch])
        + weights[f"{name}.proj.bias"]
        for t in range(0, frames, tubelet)
        for y in range(0, height, patch)
        for x in range(0, width, patch)
    ]


def block(
    tokens: list[Array],
    where: list[tuple[float, float, float]],
    weights: dict[str, Array],
    name: str,
    heads: int,
    kind: str,
) -> list[Array]:
    dim = len(tokens[0])
    size = dim // heads
    qkv = [linear(norm(x, weights, f"{name}.norm1"), weights, f"{name}.attn.qkv") for x in tokens]
    mixed = [np.zeros(dim) for _ in tokens]
    for head in range(heads):
        part = slice(head * size, (head + 1) * size)
        q = [rotate(v[:dim][part], p, kind) for v, p in zip(qkv, where, strict=True)]
        k = [rotate(v[dim : 2 * dim][part], p, kind) for v, p in zip(qkv, where, strict=True)]
        for i, query in enumerate(q):
            scores = np.array([query @ key / math.sqrt(size) for key in k])
            share = np.exp(scores - scores.max())
            share /= share.sum()
            mixed[i][part] = sum(s * v[2 * dim :][part] for s, v in zip(share, qkv, strict=True))
    tokens = [x + linear(m, weights, f"{name}.attn.proj") for x, m in zip(tokens, mixed, strict=True)]
    return [
        x
        + linear(
            gelu(linear(norm(x, weights, f"{name}.norm2"), weights, f"{name}.mlp.fc1")),
            weights,
            f"{name}.mlp.fc2",
        )
        for x in tokens
    ]

"""Weights to one safetensors file, a tensor at a time, so that the memory holds no second encoder."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from math import prod
from typing import BinaryIO

import torch
from torch import Tensor

from vjepa_core.errors import EncoderError

Weights = Mapping[str, tuple[Tensor, ...]]
Tell = Callable[[int, int], None]
"""Told how many bytes of how many are done."""

_BLOCK = 4 << 20
_NAMES = {torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16"}


def file_size(weights: Weights) -> int:
    """Bytes of the file that `write` makes."""
    head, order = _header(weights)
    return len(head) + sum(_bytes(weights[name]) for name in order)


def write(name: str, weights: Weights, out: BinaryIO, tell: Tell) -> str:
    """Write weights as safetensors, each in its own number format.

    Parameters
    ----------
    name : str
        Of the file that they come from, for the error.
    weights : mapping of str to tuple of Tensor
        Parts are joined along their first axis.
    out : binary file
        Where to.
    tell : callable
        Called after every few megabytes; what it raises ends the writing.

    Returns
    -------
    str
        SHA-256 of what was written.

    Raises
    ------
    EncoderError
        If a weight is infinite or not a number.
    """
    head, order = _header(weights)
    total = file_size(weights)
    digest, done = hashlib.sha256(head), out.write(head)
    for key in order:
        for block in _blocks(name, key, weights[key]):
            digest.update(block)
            done += out.write(block)
            tell(done, total)
    return digest.hexdigest()


def _blocks(file: str, key: str, parts: tuple[Tensor, ...]) -> Iterator[memoryview]:
    """The bytes of a weight, a few megabytes at a time."""
    dtype = _joined(parts)
    for part in parts:
        whole = part.to(dtype).contiguous()
        if not torch.isfinite(whole).all():
            raise EncoderError(
                f"{file} has numbers in {key[:80]} that are infinite or none at all: it is damaged; "
                "download or copy it again."
            )
        content = whole.reshape(-1).view(torch.uint8).numpy().data
        for start in range(0, len(content), _BLOCK):
            yield content[start : start + _BLOCK]


def _header(weights: Weights) -> tuple[bytes, list[str]]:
    """A safetensors header, and the order of the weights: wide numbers first, so that all are aligned."""
    order = sorted(weights, key=lambda name: -_joined(weights[name]).itemsize)
    entries: dict[str, object] = {}
    start = 0
    for name in order:
        parts = weights[name]
        shape = [sum(part.shape[0] for part in parts), *parts[0].shape[1:]]
        end = start + _bytes(parts)
        entries[name] = {"dtype": _NAMES[_joined(parts)], "shape": shape, "data_offsets": [start, end]}
        start = end
    text = json.dumps({"__metadata__": {"format": "pt"}, **entries}, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text, order


def _joined(parts: tuple[Tensor, ...]) -> torch.dtype:
    """Number format of the whole: that of the parts, float32 where they differ."""
    dtypes = {part.dtype for part in parts}
    return dtypes.pop() if len(dtypes) == 1 else torch.float32


def _bytes(parts: tuple[Tensor, ...]) -> int:
    return sum(prod(part.shape) for part in parts) * _joined(parts).itemsize

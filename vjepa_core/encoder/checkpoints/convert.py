"""Write weights to one safetensors file, one tensor at a time to limit memory."""

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
"""Parts of each weight by name; they are concatenated along the first axis."""
ReportProgress = Callable[[int, int], None]
"""Called with the number of written bytes and the total."""

_BLOCK = 4 << 20
_NAMES = {torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16"}


def file_size(weights: Weights) -> int:
    """Return the size in bytes of the file that `write` creates."""
    head, order = _header(weights)
    return len(head) + sum(_bytes(weights[name]) for name in order)


def write(name: str, weights: Weights, out: BinaryIO, report_progress: ReportProgress) -> str:
    """Write weights as safetensors, each in its own dtype.

    Parameters
    ----------
    name : str
        Name of the source file, for error messages.
    weights : mapping of str to tuple of Tensor
        Parts of each weight; they are concatenated along the first axis.
    out : binary file
        Output file.
    report_progress : callable
        Called every few megabytes. An exception that it raises stops the writing.

    Returns
    -------
    str
        SHA-256 of the written file.

    Raises
    ------
    EncoderError
        If a weight is infinite or NaN.
    """
    head, order = _header(weights)
    total = file_size(weights)
    digest, done = hashlib.sha256(head), out.write(head)
    for key in order:
        for block in _blocks(name, key, weights[key]):
            digest.update(block)
            done += out.write(block)
            report_progress(done, total)
    return digest.hexdigest()


def _blocks(file: str, key: str, parts: tuple[Tensor, ...]) -> Iterator[memoryview]:
    """Yield the bytes of a weight, a few megabytes at a time."""
    dtype = _common_dtype(parts)
    for part in parts:
        values = part.to(dtype).contiguous()
        if not torch.isfinite(values).all():
            raise EncoderError(
                f"{file} has infinite or NaN values in {key[:80]}, so it is damaged: "
                "download or copy it again."
            )
        content = values.reshape(-1).view(torch.uint8).numpy().data
        for start in range(0, len(content), _BLOCK):
            yield content[start : start + _BLOCK]


def _header(weights: Weights) -> tuple[bytes, list[str]]:
    """Return the header and the order of the weights: wide dtypes first, so that all are aligned."""
    order = sorted(weights, key=lambda name: -_common_dtype(weights[name]).itemsize)
    entries: dict[str, object] = {}
    start = 0
    for name in order:
        parts = weights[name]
        shape = [sum(part.shape[0] for part in parts), *parts[0].shape[1:]]
        end = start + _bytes(parts)
        entries[name] = {"dtype": _NAMES[_common_dtype(parts)], "shape": shape, "data_offsets": [start, end]}
        start = end
    text = json.dumps({"__metadata__": {"format": "pt"}, **entries}, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text, order


def _common_dtype(parts: tuple[Tensor, ...]) -> torch.dtype:
    """Return the dtype of the parts, float32 if they differ."""
    dtypes = {part.dtype for part in parts}
    return dtypes.pop() if len(dtypes) == 1 else torch.float32


def _bytes(parts: tuple[Tensor, ...]) -> int:
    return sum(prod(part.shape) for part in parts) * _common_dtype(parts).itemsize

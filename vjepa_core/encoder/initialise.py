"""Random initial weights that are bit-identical on every machine and useful without any training.

**Reproducible.** Numbers come from the raw stream of PCG64, which NumPy guarantees to keep stable, through
integer sums and one float32 product: no logarithm, sine or matrix product whose last bit depends on the
platform. The sum of four uniform 16-bit integers is close to normal and bounded at 3.5 standard deviations.

**Useful.** A random encoder must not map all tokens to similar vectors. As in mimetic initialisation
(Trockman & Kolter, ICML 2023), keys start as a copy of queries, weights and bias, so that a token attends to
similar tokens. Because the rotary embedding rotates the bias, it also attends to nearby tokens: each head is
an edge-preserving blur of a different width. Patches are read in cells of 4 x 4 pixels, coarser than speckle.
See docs/pretraining.md for a comparison with the usual initialisation.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vjepa_core.encoder.block import RotaryAttention
from vjepa_core.encoder.sincos import sincos_table
from vjepa_core.encoder.vit import VisionTransformer3D

_CELL = 4  # pixels
_SIMILARITY = 0.3  # gain of the query and key weights
_LOCALITY = (1.0, 4.0)  # variance of the query and key bias, first head to last
_BRANCH_GAIN = 1.5  # gain of all other linear layers
# Standard deviation of the sum of four independent uniform integers 0..65535.
_SUM_STD = float(np.sqrt(4 * (65536.0**2 - 1) / 12))


class _Stream:
    """Stream of approximately normal float32 numbers from a seed."""

    def __init__(self, seed: int) -> None:
        self._bits = np.random.PCG64(seed)

    def normal(self, shape: tuple[int, ...], std: float) -> NDArray[np.float32]:
        """Return the next numbers in an array of the given shape and standard deviation."""
        words = np.asarray(self._bits.random_raw(int(np.prod(shape))), dtype="<u8")
        total = words.view("<u2").reshape(-1, 4).sum(-1, dtype=np.int64) - 2 * 65535
        scaled = total.astype(np.float32) * np.float32(std / _SUM_STD)
        return np.asarray(scaled.reshape(shape))


@torch.no_grad()
def initialise(model: VisionTransformer3D, seed: int) -> None:
    """Overwrite every parameter, in a fixed order, from `seed`."""
    stream = _Stream(seed)
    patch = model.patch_size
    cell = _CELL if patch % _CELL == 0 else 1

    def fan_in(parameter: Tensor) -> int:
        return parameter[0].numel()

    def fill(parameter: Tensor, std: float) -> None:
        parameter.copy_(torch.from_numpy(stream.normal(tuple(parameter.shape), std)))

    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            parameter.zero_()
        elif parameter.ndim == 1:  # norms
            parameter.fill_(1.0)
        elif name.endswith("mod_embed"):
            fill(parameter, 0.02)
        elif name.startswith("patch_embed"):
            cells = stream.normal(
                (*parameter.shape[:3], patch // cell, patch // cell), 1 / math.sqrt(fan_in(parameter))
            )
            parameter.copy_(torch.from_numpy(cells.repeat(cell, -1).repeat(cell, -2)))
        else:
            fill(parameter, _BRANCH_GAIN / math.sqrt(fan_in(parameter)))
    if model.pos_embed is not None:  # not a parameter, but its memory may be uninitialised
        model.pos_embed.copy_(sincos_table(model.stored_grid, model.embed_dim))
    for module in model.modules():
        if isinstance(module, RotaryAttention):
            _initialise_attention(module, stream)


def _initialise_attention(attention: RotaryAttention, stream: _Stream) -> None:
    """Set keys equal to queries, with a common bias whose length determines the width of the head."""
    weight, bias = attention.qkv.weight, attention.qkv.bias
    dim, heads = weight.shape[1], attention.heads
    query = torch.from_numpy(stream.normal((dim, dim), _SIMILARITY / math.sqrt(dim)))
    widths = np.sqrt(np.linspace(*_LOCALITY, heads, dtype=np.float32))[:, None]
    locality = torch.from_numpy((stream.normal((heads, dim // heads), 1.0) * widths).reshape(-1))
    weight[:dim], weight[dim : 2 * dim] = query, query
    bias[:dim], bias[dim : 2 * dim] = locality, locality


def state_checksum(state: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 of names, shapes and float32 values of a state dict, in its order."""
    digest = hashlib.sha256()
    for name, tensor in state.items():
        digest.update(f"{name}{tuple(tensor.shape)}".encode())
        values = tensor.detach().to("cpu", torch.float32).contiguous().numpy()
        digest.update(values.astype("<f4", copy=False).data)
    return digest.hexdigest()

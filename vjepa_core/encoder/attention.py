"""Scaled dot-product attention, with the fastest available implementation on each device."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

bfloat16_by_head = True
"""Use `attend_by_head` for bfloat16 on a CPU. Set by `vjepa_core.encoder.speed` from a measurement."""


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Compute attention for queries, keys and values (B, heads, N, head_dim); return the same shape.

    Uses torch's fused kernel, except for bfloat16 on a CPU without gradients if `bfloat16_by_head` is set.
    """
    on_cpu = q.device.type == "cpu" and q.dtype == torch.bfloat16
    if on_cpu and bfloat16_by_head and not torch.is_grad_enabled():
        return attend_by_head(q, k, v)
    return scaled_dot_product_attention(q, k, v)


def attend_by_head(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Compute attention one head at a time, so that the scores of a head fit into the processor's cache.

    In bfloat16 this can be twice as fast on a CPU: the blocks of the fused kernel are too small for the
    processor's bfloat16 units. The scores are then bfloat16. The mean key is subtracted first: it adds a
    constant to all scores of a query, which softmax ignores but which would cost precision.
    """
    out = torch.empty_like(v)
    q, k = q * q.shape[-1] ** -0.5, k - k.mean(-2, keepdim=True)
    for sample in range(len(q)):
        for head in range(q.shape[1]):
            scores = torch.mm(q[sample, head], k[sample, head].T)
            torch.softmax(scores, -1, out=scores)
            torch.mm(scores, v[sample, head], out=out[sample, head])
    return out

"""Scaled dot-product attention, in the fastest way there is on each device."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

bfloat16_by_head = True
"""Whether `attend` goes head by head in bfloat16 on a CPU; `vjepa_core.encoder.speed` measures it."""


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Mix values (B, heads, N, head_dim) by the likeness of queries and keys; returns the same shape.

    torch's fused kernel, except for bfloat16 on a CPU, with `bfloat16_by_head` and without gradients.
    """
    on_cpu = q.device.type == "cpu" and q.dtype == torch.bfloat16
    if on_cpu and bfloat16_by_head and not torch.is_grad_enabled():
        return attend_by_head(q, k, v)
    return scaled_dot_product_attention(q, k, v)


def attend_by_head(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """The same, a head at a time, whose scores fit into the processor's cache.

    In bfloat16 that can be twice as fast on a CPU: the blocks of the fused kernel are too small for the
    processor's bfloat16 units. The scores are bfloat16 then. What all keys have in common adds the same to
    all scores of a query, which changes no share but would cost the scores their last bits: it is taken off
    first.
    """
    out = torch.empty_like(v)
    q, k = q * q.shape[-1] ** -0.5, k - k.mean(-2, keepdim=True)
    for sample in range(len(q)):
        for head in range(q.shape[1]):
            scores = torch.mm(q[sample, head], k[sample, head].T)
            torch.softmax(scores, -1, out=scores)
            torch.mm(scores, v[sample, head], out=out[sample, head])
    return out

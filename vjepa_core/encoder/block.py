"""Pre-norm transformer block with rotary attention.

Module names and results match timm's `EvaBlock(attn_type="rope")`, which the tests compare with. The block is
implemented here because `import timm` takes longer than encoding the first clip, and because timm's handling
of prefix tokens, which V-JEPA does not have, takes a tenth of the time of a clip.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.functional import gelu

from vjepa_core.encoder.attention import attend
from vjepa_core.encoder.rope import rotate

NORM_EPS = 1e-6


class RotaryAttention(nn.Module):
    """Multi-head self-attention with rotary position embedding of queries and keys."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor, rope: Tensor | None) -> Tensor:
        """Apply attention to tokens (B, N, D); the result has the dtype of the weights.

        `rope` is a table for `rotate`, or None without rotary positions.
        """
        x = x.to(self.qkv.weight.dtype)
        qkv = self.qkv(x).unflatten(-1, (3, self.heads, -1))
        qk, v = qkv[:, :, :2], qkv[:, :, 2]
        if rope is not None:  # queries and keys together
            qk = rotate(qk.flatten(2, 3), rope).unflatten(2, (2, -1))
        q, k = qk.unbind(2)
        mixed = attend(*(part.transpose(1, 2) for part in (q, k, v))).transpose(1, 2).flatten(2)
        out: Tensor = self.proj(mixed)
        return out


class Mlp(nn.Module):
    """Two linear layers with an exact GELU between them."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the MLP to tokens (B, N, D); the result has the dtype of the weights."""
        out: Tensor = self.fc2(gelu(self.fc1(x.to(self.fc1.weight.dtype))))
        return out


class Block(nn.Module):
    """Transformer block: normalised attention and normalised MLP, each with a residual connection."""

    def __init__(self, dim: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=NORM_EPS)
        self.attn = RotaryAttention(dim, heads)
        self.norm2 = nn.LayerNorm(dim, eps=NORM_EPS)
        self.mlp = Mlp(dim, hidden)

    def forward(self, x: Tensor, rope: Tensor | None) -> Tensor:
        """Transform tokens (B, N, D); `rope` as in `RotaryAttention.forward`."""
        x = x + self.attn(self.norm1(x), rope)
        out: Tensor = x + self.mlp(self.norm2(x))
        return out

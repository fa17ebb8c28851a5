"""Pre-norm transformer block with rotary attention.

Module names and numbers are those of timm's `EvaBlock(attn_type="rope")`, which the tests compare with. It is
written out because `import timm` takes longer than the first clip, and because splitting off prefix tokens,
of which there are none here, costs timm's attention a tenth of the time of a clip.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.functional import gelu

from vjepa_core.encoder.attention import attend
from vjepa_core.encoder.rope import rotate

NORM_EPS = 1e-6


class RotaryAttention(nn.Module):
    """Multi-head self-attention; the position enters through queries and keys alone."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor, rope: Tensor | None) -> Tensor:
        """Tokens (B, N, D) and a table as `rotate` takes it; returns (B, N, D) in the weights' precision."""
        x = x.to(self.qkv.weight.dtype)
        qkv = self.qkv(x).unflatten(-1, (3, self.heads, -1))
        qk, v = qkv[:, :, :2], qkv[:, :, 2]
        if rope is not None:  # both at once
            qk = rotate(qk.flatten(2, 3), rope).unflatten(2, (2, -1))
        q, k = qk.unbind(2)
        mixed = attend(*(part.transpose(1, 2) for part in (q, k, v))).transpose(1, 2).flatten(2)
        out: Tensor = self.proj(mixed)
        return out


class Mlp(nn.Module):
    """Two linear maps with an exact GELU between them."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.fc2(gelu(self.fc1(x.to(self.fc1.weight.dtype))))
        return out


class Block(nn.Module):
    """Attention and MLP, each added to its own normalised input."""

    def __init__(self, dim: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=NORM_EPS)
        self.attn = RotaryAttention(dim, heads)
        self.norm2 = nn.LayerNorm(dim, eps=NORM_EPS)
        self.mlp = Mlp(dim, hidden)

    def forward(self, x: Tensor, rope: Tensor | None) -> Tensor:
        x = x + self.attn(self.norm1(x), rope)
        out: Tensor = x + self.mlp(self.norm2(x))
        return out

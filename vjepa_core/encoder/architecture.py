"""Architectures of the V-JEPA family by name, without importing torch, so that the window can use them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, cast

from vjepa_core.errors import EncoderError

Form = Literal["vjepa1", "vjepa2", "vjepa21"]
"""Release that introduced the structure of an encoder.

`vjepa1`: sine-cosine position embeddings are added to the tokens; one final norm.
`vjepa2`: rotary position embeddings with a tiled table; one final norm. EchoJEPA has this form too.
`vjepa21`: interleaved rotary position embeddings, with positions scaled to a 16 x 16 grid; one norm for each
output depth; a separate patch embedding for still images, and learned vectors that distinguish still
images from videos.
"""

FAMILIES: dict[Form, str] = {"vjepa1": "V-JEPA", "vjepa2": "V-JEPA 2", "vjepa21": "V-JEPA 2.1"}

# name: width, depth, heads, MLP ratio
_SIZES: dict[str, tuple[int, int, int, float]] = {
    "tiny": (192, 12, 3, 4),
    "small": (384, 12, 6, 4),
    "base": (768, 12, 12, 4),
    "large": (1024, 24, 16, 4),
    "huge": (1280, 32, 16, 4),
    "giant": (1408, 40, 22, 48 / 11),
    "gigantic": (1664, 48, 26, 64 / 13),
}
# The two largest sizes of V-JEPA 1 have this number of heads.
_LARGEST, _LARGEST_HEADS_V1 = ("giant", "gigantic"), 16
_NAME = re.compile(
    r"vit_(?P<size>[a-z]+|w(?P<w>\d+)d(?P<d>\d+)h(?P<h>\d+)m(?P<m>\d+))_patch(?P<patch>\d+)_(?P<px>\d+)"
    r"_t(?P<t>\d+)(\.(?P<form>vjepa1|vjepa2))?",
    re.ASCII,
)


@dataclass(frozen=True)
class Architecture:
    """Complete description of an encoder except its weights.

    Parameters
    ----------
    embed_dim, depth, num_heads : int
        Token width, number of blocks and number of attention heads.
    mlp_ratio : float
        Hidden width of the MLPs divided by `embed_dim`.
    patch_size, tubelet_size : int
        Side in pixels and number of frames that one token covers.
    image_size : int
        Side of the square images used in pre-training. A `vjepa1` position table is stored for this size.
    form : {"vjepa21", "vjepa2", "vjepa1"}
        See `Form`.
    """

    embed_dim: int
    depth: int
    num_heads: int
    mlp_ratio: float = 4.0
    patch_size: int = 16
    tubelet_size: int = 2
    image_size: int = 224
    form: Form = "vjepa21"

    @property
    def mlp_dim(self) -> int:
        """Hidden width of the MLPs."""
        return round(self.embed_dim * self.mlp_ratio)

    @property
    def size(self) -> str:
        """Published name of the size ("large"), or its dimensions ("w96d4h2m384")."""
        dimensions = (self.embed_dim, self.depth, self.num_heads, self.mlp_dim)
        for name, (width, depth, heads, ratio) in _SIZES.items():
            if dimensions == (width, depth, _heads(name, heads, self.form), round(width * ratio)):
                return name
        return "w{}d{}h{}m{}".format(*dimensions)

    @property
    def name(self) -> str:
        """Name in timm's style; inverse of `parse`."""
        tag = "" if self.form == "vjepa21" else f".{self.form}"
        return f"vit_{self.size}_patch{self.patch_size}_{self.image_size}_t{self.tubelet_size}{tag}"

    @classmethod
    def parse(cls, name: str) -> Architecture:
        """Parse a name such as `vit_large_patch16_256_t2.vjepa2`.

        Raises
        ------
        EncoderError
            If the name is not that of an architecture.
        """
        match = _NAME.fullmatch(name)
        if match is None or (match["w"] is None and match["size"] not in _SIZES):
            some = ", ".join(architectures()[:4])
            raise EncoderError(f"There is no encoder architecture {name[:80]}; choose for example {some}.")
        form = cast(Form, match["form"] or "vjepa21")
        if match["w"] is None:
            width, depth, heads, ratio = _SIZES[match["size"]]
            heads = _heads(match["size"], heads, form)
        else:
            width, depth, heads, hidden = (int(match[key]) for key in "wdhm")
            if min(width, depth, heads, hidden) < 1 or width % heads:
                raise EncoderError(f"{name[:80]} is invalid: the heads do not divide the width.")
            ratio = hidden / width
        patch, pixels, tubelet = (int(match[key]) for key in ("patch", "px", "t"))
        if min(patch, pixels, tubelet) < 1:
            raise EncoderError(f"{name[:80]} is invalid: patch, image and tubelet sizes must be positive.")
        return cls(width, depth, heads, ratio, patch, tubelet, pixels, form)


def published_heads(embed_dim: int, depth: int, form: Form) -> int | None:
    """Return the number of heads of the published size with this width and depth, or None.

    The shapes of the weights do not determine the number of heads.
    """
    for name, (width, blocks, heads, _) in _SIZES.items():
        if (width, blocks) == (embed_dim, depth):
            return _heads(name, heads, form)
    return None


def architectures() -> tuple[str, ...]:
    """Return the names of the published sizes in the 2.1 form, smallest first."""
    return tuple(f"vit_{size}_patch16_224_t2" for size in _SIZES)


def default_depths(depth: int) -> tuple[int, ...]:
    """Return the blocks whose outputs V-JEPA 2.1 normalises and uses, including the last block."""
    if depth == 48:  # the only size whose levels are not quarters of the depth
        return (11, 23, 37, 47)
    return tuple(depth * (level + 1) // 4 - 1 for level in range(4))


def _heads(size: str, heads: int, form: Form) -> int:
    return _LARGEST_HEADS_V1 if form == "vjepa1" and size in _LARGEST else heads

"""Names of an encoder's weights in a checkpoint: common prefix and translation to our names."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

from vjepa_core.errors import printable

_START = re.compile(r"(?P<prefix>(.*\.)?)(?P<hf>embeddings\.patch_embeddings|patch_embed)\.proj\.weight")
# Moving averages of an encoder over its training, which are published for use, in order of preference. If
# both exist, `target_encoder` may be the larger teacher of a distilled encoder.
_AVERAGES = ("ema_encoder", "target_encoder", "teacher", "ema")
_WRAPPERS = {"module", "backbone", "vjepa2", "_orig_mod", "model", "state_dict"}


@dataclass(frozen=True)
class EncoderLocation:
    """Location of an encoder in a checkpoint.

    Attributes
    ----------
    prefix : str
        Common prefix of its weight names, including the last dot.
    hugging_face : bool
        True if the rest of the names follows Hugging Face, False if it follows V-JEPA.
    container : str
        Name of the encoder in the checkpoint; empty if the checkpoint contains nothing else.
    averaged : bool
        True if the weights are a moving average over the training.
    left_out : tuple of str
        Other contents of the checkpoint.
    """

    prefix: str
    hugging_face: bool
    container: str
    averaged: bool
    left_out: tuple[str, ...]


def printable_name(name: str) -> str:
    """Return a name from a file, shortened and printable."""
    return printable(name[:80])


def find_encoder(names: Collection[str]) -> EncoderLocation | None:
    """Return the location of the encoder to import, or None if there is none."""
    starts = [found for name in names if (found := _START.fullmatch(name))]
    if not starts:
        return None
    best = min(starts, key=lambda start: (_rank(start["prefix"]), len(start["prefix"]), start["prefix"]))
    prefix, words = best["prefix"], best["prefix"].split(".")[:-1]
    hugging_face = best["hf"] != "patch_embed"
    own = [word for word in words if word not in _WRAPPERS]
    averages = [word for word in words if word in _AVERAGES]
    container = (averages or ([] if hugging_face else own) or [""])[0]
    depth = words.index(container) if container else 0
    before = "".join(f"{word}." for word in words[:depth])
    others = {name[len(before) :].split(".")[0] for name in names if not name.startswith(prefix)}
    left_out = sorted(others - {*words, ""}) if prefix else []
    return EncoderLocation(prefix, hugging_face, container, bool(averages), tuple(left_out))


def stored_names(name: str, hugging_face: bool) -> tuple[str, ...]:
    """Return the names in the file, without the prefix, of the parts of one of our weights.

    Hugging Face stores queries, keys and values separately.
    """
    if not hugging_face:
        return (name,)
    for ours, theirs in (
        ("patch_embed.", "embeddings.patch_embeddings."),
        ("blocks.", "layer."),
        (".attn.", ".attention."),
    ):
        name = name.replace(ours, theirs)
    name = re.sub(r"^norm\.", "layernorm.", name)
    if ".qkv." in name:
        return tuple(name.replace(".qkv.", f".{part}.") for part in ("query", "key", "value"))
    return (name,)


def count_blocks(names: Collection[str], hugging_face: bool) -> int:
    """Return the number of blocks in weight names without the prefix."""
    block = re.compile(r"(?:layer|blocks)\.(\d{1,4})\." if hugging_face else r"blocks\.(\d{1,4})\.")
    return max((int(found[1]) + 1 for name in names if (found := block.match(name))), default=0)


def _rank(prefix: str) -> int:
    words = prefix.split(".")
    return next((i for i, word in enumerate(_AVERAGES) if word in words), len(_AVERAGES))

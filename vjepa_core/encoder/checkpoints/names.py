"""Names that an encoder's weights have in a checkpoint: where they begin, and which stands for which."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

from vjepa_core.errors import printable

_START = re.compile(r"(?P<prefix>(.*\.)?)(?P<hf>embeddings\.patch_embeddings|patch_embed)\.proj\.weight")
# Averages of an encoder over its training, which is what is published and meant to be used, best first:
# where both are there, `target_encoder` may be the larger one that a distilled encoder learnt from.
_AVERAGES = ("ema_encoder", "target_encoder", "teacher", "ema")
_WRAPPERS = {"module", "backbone", "vjepa2", "_orig_mod", "model", "state_dict"}


@dataclass(frozen=True)
class Place:
    """Where an encoder lies among the names of a checkpoint.

    Attributes
    ----------
    prefix : str
        What all its names begin with, the last dot included.
    hugging_face : bool
        Whether the names behind it are Hugging Face's, else V-JEPA's own.
    container : str
        What the checkpoint calls it; empty where it is all there is.
    averaged : bool
        Whether that is an average over the training.
    left_out : tuple of str
        What else is there.
    """

    prefix: str
    hugging_face: bool
    container: str
    averaged: bool
    left_out: tuple[str, ...]


def shown(name: str) -> str:
    """A name out of a file, fit for a sentence."""
    return printable(name[:80])


def find(names: Collection[str]) -> Place | None:
    """The encoder to take, None if there is none."""
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
    return Place(prefix, hugging_face, container, bool(averages), tuple(left_out))


def in_file(name: str, hugging_face: bool) -> tuple[str, ...]:
    """Names in the file, behind the prefix, of the weights that stand one after the other in ours.

    Hugging Face has queries, keys and values apart.
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


def depth_of(names: Collection[str], hugging_face: bool) -> int:
    """Blocks that the names behind the prefix speak of."""
    block = re.compile(r"(?:layer|blocks)\.(\d{1,4})\." if hugging_face else r"blocks\.(\d{1,4})\.")
    return max((int(found[1]) + 1 for name in names if (found := block.match(name))), default=0)


def _rank(prefix: str) -> int:
    words = prefix.split(".")
    return next((i for i, word in enumerate(_AVERAGES) if word in words), len(_AVERAGES))

"""What lies beside a checkpoint and tells what its weights do not: Hugging Face's config.json, our card."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from vjepa_core.encoder.architecture import Architecture, Form, heads_of
from vjepa_core.encoder.catalogue import WIDEST, EncoderCard
from vjepa_core.encoder.checkpoints.family import forms_of
from vjepa_core.encoder.checkpoints.read import Checkpoint
from vjepa_core.errors import EncoderError

_HEAD_DIM = 64
_IMAGE_SIZE: dict[Form, int] = {"vjepa1": 224, "vjepa2": 256, "vjepa21": 224}
_NORM_EPS = 1e-6


@dataclass(frozen=True)
class Sizes:
    """What the shapes of an encoder's weights tell."""

    width: int
    depth: int
    hidden: int
    patch: int
    tubelet: int

    def architecture(self, heads: int, side: int, form: Form) -> Architecture:
        """All of it, with what they do not tell."""
        ratio = self.hidden / self.width
        return Architecture(self.width, self.depth, heads, ratio, self.patch, self.tubelet, side, form)


@dataclass(frozen=True)
class Told:
    """Our card beside the file, the encoder on it, and why a card that is there is left aside."""

    card: EncoderCard | None = None
    built: Architecture | None = None
    aside: str = ""


def on_card(checkpoint: Checkpoint, sizes: Sizes, heads: int | None) -> Told:
    """What our card says, where that can be.

    Parameters
    ----------
    heads : int, optional
        Attention heads that Hugging Face's config.json tells.

    Raises
    ------
    EncoderError
        If both tell the heads, and not the same.
    """
    card = checkpoint.card
    if card is None:
        return Told(aside=checkpoint.card_aside)
    built = Architecture.parse(card.architecture)
    if sizes != Sizes(built.embed_dim, built.depth, built.mlp_dim, built.patch_size, built.tubelet_size):
        return Told(aside="The card beside the file names an encoder of another size and is left aside.")
    if built.form not in forms_of(card.family):
        return Told(aside="The card beside the file names a family and another one's form: it is left aside.")
    if heads not in (None, built.num_heads):
        raise EncoderError(
            f"{checkpoint.name} has {heads} attention heads after its config.json, {built.num_heads} after "
            "its card: remove the wrong one of the two."
        )
    return Told(card, built)


def heads_on_config(checkpoint: Checkpoint, width: int) -> int | None:
    """Attention heads after Hugging Face's config.json, None if there is none.

    Raises
    ------
    EncoderError
        If it describes an encoder that computes another thing than the family's.
    """
    config, name = checkpoint.config, checkpoint.name
    act, eps = config.get("hidden_act", "gelu"), config.get("layer_norm_eps", _NORM_EPS)
    heads = config.get("num_attention_heads")
    if act != "gelu":
        odd = f"another activation (hidden_act) than gelu: {str(act)[:40]!r}"
    elif not isinstance(eps, int | float) or not math.isclose(eps, _NORM_EPS):
        odd = f"another layer_norm_eps than {_NORM_EPS:g}: {str(eps)[:40]!r}"
    elif heads is not None and (type(heads) is not int or heads < 1 or width % heads):
        odd = f"num_attention_heads that do not divide its width of {width}: {str(heads)[:40]!r}"
    else:
        return heads
    raise EncoderError(
        f"{name} cannot be taken, because config.json beside it has {odd}; choose a V-JEPA checkpoint, "
        "or put its own config.json there."
    )


def assumed_heads(name: str, sizes: Sizes, form: Form) -> tuple[int, str]:
    """Attention heads where nothing tells them, and a sentence that says so; EncoderError if none can be."""
    heads = heads_of(sizes.width, sizes.depth, form)
    if heads is not None:
        return heads, f"{heads} attention heads, as the published size has: weights do not tell."
    if sizes.width % _HEAD_DIM:
        raise EncoderError(
            f"{name} holds an encoder of width {sizes.width} and {sizes.depth} blocks, a size "
            "that was not published, and weights do not tell its attention heads: import it with its card or "
            "its config.json beside it."
        )
    heads = sizes.width // _HEAD_DIM
    return heads, f"{heads} attention heads, one for every {_HEAD_DIM} channels: this size was not published."


def side_of(checkpoint: Checkpoint, hugging_face: bool, form: Form) -> int:
    """Side of the pictures of its training; it changes nothing where places are not stored."""
    said = checkpoint.config.get("crop_size") if hugging_face else None
    if isinstance(said, int) and 0 < said <= WIDEST:
        return said
    named = re.search(r"(?<!\d)(224|256|336|384|512)(?!\d)", checkpoint.name)
    return int(named[1]) if named else _IMAGE_SIZE[form]

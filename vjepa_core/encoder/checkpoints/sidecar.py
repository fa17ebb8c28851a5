"""Information that the weights of a checkpoint do not contain: Hugging Face's config.json and our card."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from vjepa_core.encoder.architecture import Architecture, Form, published_heads
from vjepa_core.encoder.catalogue import MAX_WIDTH, EncoderCard
from vjepa_core.encoder.checkpoints.family import forms_of
from vjepa_core.encoder.checkpoints.read import Checkpoint
from vjepa_core.errors import EncoderError

_HEAD_DIM = 64
_IMAGE_SIZE: dict[Form, int] = {"vjepa1": 224, "vjepa2": 256, "vjepa21": 224}
_NORM_EPS = 1e-6


@dataclass(frozen=True)
class Sizes:
    """Dimensions that follow from the shapes of an encoder's weights."""

    width: int
    depth: int
    hidden: int
    patch: int
    tubelet: int

    def architecture(self, heads: int, side: int, form: Form) -> Architecture:
        """Return the architecture with the given number of heads, image size and form."""
        ratio = self.hidden / self.width
        return Architecture(self.width, self.depth, heads, ratio, self.patch, self.tubelet, side, form)


@dataclass(frozen=True)
class CardInfo:
    """Card beside a checkpoint and its architecture, or the reason for ignoring an existing card."""

    card: EncoderCard | None = None
    architecture: Architecture | None = None
    problem: str = ""


def card_info(checkpoint: Checkpoint, sizes: Sizes, heads: int | None) -> CardInfo:
    """Return the card beside a checkpoint if it matches the weights.

    Parameters
    ----------
    checkpoint : Checkpoint
        The checkpoint.
    sizes : Sizes
        Dimensions of its weights.
    heads : int, optional
        Attention heads in Hugging Face's config.json.

    Raises
    ------
    EncoderError
        If the card and config.json contain different numbers of heads.
    """
    card = checkpoint.card
    if card is None:
        return CardInfo(problem=checkpoint.card_problem)
    architecture = Architecture.parse(card.architecture)
    if sizes != Sizes(
        architecture.embed_dim,
        architecture.depth,
        architecture.mlp_dim,
        architecture.patch_size,
        architecture.tubelet_size,
    ):
        return CardInfo(
            problem="The card in the same folder is that of an encoder of another size and is ignored."
        )
    if architecture.form not in forms_of(card.family):
        return CardInfo(
            problem="The family and the form on the card in the same folder do not match: it is ignored."
        )
    if heads not in (None, architecture.num_heads):
        raise EncoderError(
            f"{checkpoint.name} has {heads} attention heads according to its config.json and "
            f"{architecture.num_heads} according to its card: remove the wrong file."
        )
    return CardInfo(card, architecture)


def heads_from_config(checkpoint: Checkpoint, width: int) -> int | None:
    """Return the number of heads in Hugging Face's config.json, or None if there is none.

    Raises
    ------
    EncoderError
        If config.json describes an encoder that differs from the V-JEPA family.
    """
    config, name = checkpoint.config, checkpoint.name
    act, eps = config.get("hidden_act", "gelu"), config.get("layer_norm_eps", _NORM_EPS)
    heads = config.get("num_attention_heads")
    if act != "gelu":
        problem = f"an unsupported activation (hidden_act): {str(act)[:40]!r}"
    elif not isinstance(eps, int | float) or not math.isclose(eps, _NORM_EPS):
        problem = f"a layer_norm_eps other than {_NORM_EPS:g}: {str(eps)[:40]!r}"
    elif heads is not None and (type(heads) is not int or heads < 1 or width % heads):
        problem = f"num_attention_heads that do not divide its width of {width}: {str(heads)[:40]!r}"
    else:
        return heads
    raise EncoderError(
        f"{name} cannot be imported, because its config.json has {problem}; choose a V-JEPA checkpoint, "
        "or replace config.json by the right one."
    )


def assumed_heads(name: str, sizes: Sizes, form: Form) -> tuple[int, str]:
    """Return a default number of heads and a sentence that explains it.

    Raises
    ------
    EncoderError
        If the width is not a multiple of the usual head size.
    """
    heads = published_heads(sizes.width, sizes.depth, form)
    if heads is not None:
        return (
            heads,
            f"{heads} attention heads, as in the published size; the weights do not contain the number.",
        )
    if sizes.width % _HEAD_DIM:
        raise EncoderError(
            f"{name} contains an encoder of width {sizes.width} with {sizes.depth} blocks, which is not a "
            "published size, and the weights do not contain the number of attention heads: import it with "
            "its card or config.json in the same folder."
        )
    heads = sizes.width // _HEAD_DIM
    return (
        heads,
        f"{heads} attention heads, one for every {_HEAD_DIM} channels: this is not a published size.",
    )


def training_image_size(checkpoint: Checkpoint, hugging_face: bool, form: Form) -> int:
    """Return the side of the training images in pixels; it matters only if a position table is stored."""
    size = checkpoint.config.get("crop_size") if hugging_face else None
    if isinstance(size, int) and 0 < size <= MAX_WIDTH:
        return size
    in_name = re.search(r"(?<!\d)(224|256|336|384|512)(?!\d)", checkpoint.name)
    return int(in_name[1]) if in_name else _IMAGE_SIZE[form]

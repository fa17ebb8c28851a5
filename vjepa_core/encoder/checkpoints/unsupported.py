"""What a set of named tensors is that is no encoder of the V-JEPA family: one sentence for the user."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import NoReturn

from torch import Tensor

from vjepa_core.encoder.checkpoints.file_signature import WAY_OUT
from vjepa_core.encoder.checkpoints.names import shown
from vjepa_core.errors import EncoderError

# Part of a weight's name, what holds such weights; the first that fits counts.
_NO_ENCODER = (
    (r"predictor|(^|\.)mask_tokens?", "only the predictor of a training, not the encoder"),
    (r"exp_avg|momentum_buffer", "only the state of an optimiser"),
    (
        r"running_mean|(^|\.)(layer\d|conv\d|stem|features|downs?|ups?|encoder\d)\.",
        "the weights of a convolutional network",
    ),
    (r"pooler\.|probe|(^|\.)(classifiers?|head|linear)\.", "only a classifier that sits on an encoder"),
)
_CLASS_TOKEN = re.compile(r"cls_token|class_token|class_embedding")
_VIDEOMAE = re.compile(r"videomae|encoder_to_decoder|attn\.q_bias|attention\.q_bias|(^|\.)decoder\.")
_LORA = re.compile(r"lora_|\.base_layer\.|adapter_")


def refuse_no_encoder(file: str, tensors: Mapping[str, Tensor]) -> NoReturn:
    """Raise EncoderError for tensors among which no encoder was found, naming what they seem to be."""
    refuse_other_models(file, tensors)
    if not tensors:
        raise EncoderError(f"{file} holds no tensors with names: {WAY_OUT}.")
    for words, what in _NO_ENCODER:
        if _some(words, tensors):
            raise EncoderError(f"{file} holds {what}: {WAY_OUT}.")
    first = shown(min(tensors))
    raise EncoderError(
        f"{file} holds {len(tensors)} tensors ({first}, ...), but no encoder of the V-JEPA family: {WAY_OUT}."
    )


def refuse_other_models(file: str, names: Collection[str]) -> None:
    """Raise EncoderError for names that only other models have, however alike the rest is."""
    if _some(_LORA, names):
        raise EncoderError(
            f"{file} holds changes to another encoder (LoRA): merge them into its weights, then import those."
        )
    if _some(_VIDEOMAE, names):
        raise EncoderError(f"{file} holds a VideoMAE, which is built differently: {WAY_OUT}.")
    if _some(_CLASS_TOKEN, names):
        raise EncoderError(
            f"{file} holds a picture transformer with a class token, such as ViT, DINO or CLIP: {WAY_OUT}."
        )


def _some(words: str | re.Pattern[str], names: Collection[str]) -> bool:
    return any(re.search(words, name) for name in names)

"""Recognise tensors that do not belong to an encoder of the V-JEPA family."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import NoReturn

from torch import Tensor

from vjepa_core.encoder.checkpoints.file_signature import CHOOSE_CHECKPOINT
from vjepa_core.encoder.checkpoints.names import printable_name
from vjepa_core.errors import EncoderError

# Pattern of a weight name and description of models with such weights; the first match is used.
_NOT_AN_ENCODER = (
    (r"predictor|(^|\.)mask_tokens?", "only the predictor of pre-training, not the encoder"),
    (r"exp_avg|momentum_buffer", "only the state of an optimiser"),
    (
        r"running_mean|(^|\.)(layer\d|conv\d|stem|features|downs?|ups?|encoder\d)\.",
        "the weights of a convolutional network",
    ),
    (
        r"pooler\.|probe|(^|\.)(classifiers?|head|linear)\.",
        "only a classifier for the features of an encoder",
    ),
)
_CLASS_TOKEN = re.compile(r"cls_token|class_token|class_embedding")
_VIDEOMAE = re.compile(r"videomae|encoder_to_decoder|attn\.q_bias|attention\.q_bias|(^|\.)decoder\.")
_LORA = re.compile(r"lora_|\.base_layer\.|adapter_")


def reject_without_encoder(file: str, tensors: Mapping[str, Tensor]) -> NoReturn:
    """Raise EncoderError for a checkpoint without an encoder, with a description of its contents."""
    reject_other_models(file, tensors)
    if not tensors:
        raise EncoderError(f"{file} contains no named tensors: {CHOOSE_CHECKPOINT}.")
    for pattern, description in _NOT_AN_ENCODER:
        if _any_matches(pattern, tensors):
            raise EncoderError(f"{file} contains {description}: {CHOOSE_CHECKPOINT}.")
    first = printable_name(min(tensors))
    raise EncoderError(
        f"{file} contains {len(tensors)} tensors ({first}, ...), but no encoder of the V-JEPA family: "
        f"{CHOOSE_CHECKPOINT}."
    )


def reject_other_models(file: str, names: Collection[str]) -> None:
    """Raise EncoderError for weight names that occur in other models only."""
    if _any_matches(_LORA, names):
        raise EncoderError(
            f"{file} contains an adapter for another encoder (LoRA): merge it into the weights of that "
            "encoder and import those."
        )
    if _any_matches(_VIDEOMAE, names):
        raise EncoderError(
            f"{file} contains a VideoMAE, which has a different architecture: {CHOOSE_CHECKPOINT}."
        )
    if _any_matches(_CLASS_TOKEN, names):
        raise EncoderError(
            f"{file} contains an image transformer with a class token, such as ViT, DINO or CLIP: "
            f"{CHOOSE_CHECKPOINT}."
        )


def _any_matches(pattern: str | re.Pattern[str], names: Collection[str]) -> bool:
    return any(re.search(pattern, name) for name in names)

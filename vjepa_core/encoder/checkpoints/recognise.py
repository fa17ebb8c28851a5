"""Which encoder a checkpoint holds, and which of its tensors are whose weights; no tensor is read."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from vjepa_core.encoder.architecture import Architecture, Form, default_depths, heads_of
from vjepa_core.encoder.catalogue import EncoderCard
from vjepa_core.encoder.checkpoints import names
from vjepa_core.encoder.checkpoints.family import LICENCES, Release, release
from vjepa_core.encoder.checkpoints.read import Checkpoint
from vjepa_core.encoder.checkpoints.stranger import refuse_no_encoder, refuse_other_models
from vjepa_core.encoder.vit import SINCOS_FRAMES, VisionTransformer3D
from vjepa_core.errors import EncoderError

_DEEPEST, _WIDEST = 128, 1 << 14
_HEAD_DIM = 64
_DTYPES = (torch.float32, torch.float16, torch.bfloat16)
_IMAGE_SIZE: dict[Form, int] = {"vjepa1": 224, "vjepa2": 256, "vjepa21": 224}
_FPS = 30.0
_ON_RATE = f"Read at {_FPS:.0f} frames a second: weights do not tell the rate of their training."
# Beside an encoder whose names have no prefix; they take no part in what it computes.
_BESIDE = re.compile(r"(predictor|opt|optimizer|scaler)\b")


@dataclass(frozen=True)
class Recognised:
    """An encoder found in a checkpoint, complete and of the right shapes.

    Attributes
    ----------
    architecture : Architecture
        All about it but the weights.
    family, licence, dtype, container : str
        "EchoJEPA"; its terms; "float32"; what the checkpoint calls the encoder, empty if it is all there is.
    recognised, assumed : tuple of str
        Sentences for the user.
    ambiguous : bool
        The form had to be assumed, and another one is possible.
    parameters : int
        Number of weights.
    fps : float
        Frame rate to use it at, Hz.
    depths : tuple of int
        Blocks whose features are to be read.
    weights : mapping of str to tuple of Tensor
        By our names, in our order: tensors of the checkpoint that stand one after the other.
    """

    architecture: Architecture
    family: str
    licence: str
    dtype: str
    container: str
    recognised: tuple[str, ...]
    assumed: tuple[str, ...]
    ambiguous: bool
    parameters: int
    fps: float
    depths: tuple[int, ...]
    weights: Mapping[str, tuple[Tensor, ...]]


def recognise(checkpoint: Checkpoint, family: str | None = None) -> Recognised:
    """Find the encoder in a checkpoint.

    Parameters
    ----------
    checkpoint : Checkpoint
        As `read` gives it.
    family : str, optional
        What the user says it is, one of `family.CHOICES`' values; default: by names, then by the file's.

    Raises
    ------
    EncoderError
        If it holds no encoder of the family, not all its weights, or more than the family has.
    """
    file = checkpoint.name
    place = names.find(checkpoint.tensors)
    if place is None:
        refuse_no_encoder(file, checkpoint.tensors)
    cut = len(place.prefix)
    tensors = {name[cut:]: t for name, t in checkpoint.tensors.items() if name.startswith(place.prefix)}
    refuse_other_models(file, tensors)
    shape = _sizes(file, tensors, place.hugging_face)
    on_card = _on_card(checkpoint, shape) if family is None else None
    assumed: tuple[str, ...]
    if on_card is not None:
        card, built = on_card
        found = Release(card.family, built.form, f"{card.family}, as the card beside the file says.")
        licence, fps, depths = card.licence, card.fps, card.depths
        assumed = ()
    else:
        side = _stored_side(tensors.get("pos_embed"), shape)
        found = release(tensors, file, family, side is not None)
        if side is None or found.form != "vjepa1":
            side = _side(checkpoint, place, found.form)
        heads, on_heads = _heads(checkpoint, place, found.form, shape)
        ratio = shape.hidden / shape.width
        built = Architecture(
            shape.width, shape.depth, heads, ratio, shape.patch, shape.tubelet, side, found.form
        )
        licence, fps, depths = LICENCES[found.family], _FPS, default_depths(shape.depth)
        on_licence = f"Licence {licence}, from the family; check it where you found the file."
        assumed = (found.assumed, on_heads, on_licence, _ON_RATE)
    weights, parameters = _weights(file, built, tensors, place)
    dtypes = sorted({str(part.dtype).removeprefix("torch.") for parts in weights.values() for part in parts})
    dtype = " and ".join(dtypes)
    recognised = (f"{checkpoint.kind}.", _where(place), found.recognised, _size(built, parameters, dtype))
    return Recognised(
        built,
        found.family,
        licence,
        dtype,
        place.container,
        tuple(filter(None, recognised)),
        tuple(filter(None, assumed)),
        found.ambiguous,
        parameters,
        fps,
        depths,
        weights,
    )


@dataclass(frozen=True)
class _Sizes:
    width: int
    depth: int
    hidden: int
    patch: int
    tubelet: int


def _sizes(file: str, tensors: Mapping[str, Tensor], hugging_face: bool) -> _Sizes:
    (patches,) = names.in_file("patch_embed.proj.weight", hugging_face)
    shape = tensors[patches].shape
    if len(shape) == 4:
        raise EncoderError(
            f"{file} holds an encoder of still pictures (I-JEPA or another), not of video: "
            "choose a V-JEPA checkpoint."
        )
    depth = names.depth_of(tensors, hugging_face)
    if len(shape) != 5 or shape[1] != 3 or shape[3] != shape[4] or not depth or 0 in shape:
        raise EncoderError(
            f"{file} holds no encoder of the V-JEPA family: its patch embedding has the shape {tuple(shape)} "
            f"and {depth} blocks follow; choose a V-JEPA checkpoint."
        )
    (fc1,) = names.in_file("blocks.0.mlp.fc1.weight", hugging_face)
    hidden = tensors[fc1].shape[0] if fc1 in tensors and tensors[fc1].ndim else 4 * shape[0]
    if depth > _DEEPEST or max(shape[0], hidden) > _WIDEST:
        raise EncoderError(
            f"{file} holds an encoder of {depth} blocks and width {shape[0]}, larger than any of the family: "
            "choose a V-JEPA checkpoint."
        )
    return _Sizes(shape[0], depth, hidden, shape[3], shape[2])


def _stored_side(table: Tensor | None, sizes: _Sizes) -> int | None:
    """Pixels of the square picture that a table of places was stored for, None if it was none such."""
    if table is None or table.ndim != 3 or table.shape[0] != 1 or table.shape[2] != sizes.width:
        return None
    times = SINCOS_FRAMES // sizes.tubelet
    side = math.isqrt(table.shape[1] // times) if times else 0
    return side * sizes.patch if side and times * side * side == table.shape[1] else None


def _side(checkpoint: Checkpoint, place: names.Place, form: Form) -> int:
    """Side of the pictures of its training; it changes nothing where places are not stored."""
    said = checkpoint.config.get("crop_size") if place.hugging_face else None
    if isinstance(said, int) and 0 < said <= _WIDEST:
        return said
    named = re.search(r"(?<!\d)(224|256|384|512)(?!\d)", checkpoint.name)
    return int(named[1]) if named else _IMAGE_SIZE[form]


def _heads(checkpoint: Checkpoint, place: names.Place, form: Form, sizes: _Sizes) -> tuple[int, str]:
    """Number of heads, and what had to be assumed about it."""
    said = checkpoint.config.get("num_attention_heads") if place.hugging_face else None
    if isinstance(said, int) and said > 0 and sizes.width % said == 0:
        return said, ""
    heads = heads_of(sizes.width, sizes.depth, form)
    if heads is not None:
        return heads, f"{heads} attention heads, as the published size has: weights do not tell."
    if sizes.width % _HEAD_DIM:
        raise EncoderError(
            f"{checkpoint.name} holds an encoder of width {sizes.width} and {sizes.depth} blocks, a size "
            "that was not published, and weights do not tell its attention heads: import it with its card or "
            "its config.json beside it."
        )
    heads = sizes.width // _HEAD_DIM
    return heads, f"{heads} attention heads, one for every {_HEAD_DIM} channels: this size was not published."


def _on_card(checkpoint: Checkpoint, sizes: _Sizes) -> tuple[EncoderCard, Architecture] | None:
    """Our card beside the file, and the encoder that it names, where that has these sizes."""
    card = checkpoint.card
    if card is None:
        return None
    try:
        built = Architecture.parse(card.architecture)
    except EncoderError:
        return None
    own = _Sizes(built.embed_dim, built.depth, built.mlp_dim, built.patch_size, built.tubelet_size)
    return (card, built) if own == sizes else None


def _weights(
    file: str, built: Architecture, tensors: Mapping[str, Tensor], place: names.Place
) -> tuple[dict[str, tuple[Tensor, ...]], int]:
    """Tensors of every weight of the encoder, and how many numbers they hold."""
    with torch.device("meta"):
        model = VisionTransformer3D(built)
    expected = model.state_dict()
    parts = {name: names.in_file(name, place.hugging_face) for name in expected}
    wanted = [part for of_one in parts.values() for part in of_one]
    missing = [part for part in wanted if part not in tensors]
    if missing:
        raise EncoderError(
            f"{file} lacks {_and_more(missing)} of an encoder of its size ({built.name}): "
            "it is not whole; export or download it again."
        )
    for name, of_one in parts.items():
        rows, *rest = expected[name].shape
        for part in of_one:
            tensor = tensors[part]
            if tensor.dtype not in _DTYPES or tensor.layout != torch.strided or tensor.is_meta:
                kind = str(tensor.dtype).removeprefix("torch.")
                raise EncoderError(
                    f"{file} has {names.shown(part)} in {kind}, and nothing quantised or packed "
                    "can be taken: choose a checkpoint in float32, float16 or bfloat16."
                )
            if tuple(tensor.shape) != (rows // len(of_one), *rest):
                raise EncoderError(
                    f"{file} has {names.shown(part)} of the shape {tuple(tensor.shape)}, and an encoder of "
                    f"its size ({built.name}) {(rows // len(of_one), *rest)}: choose a V-JEPA checkpoint."
                )
    unused = {"pos_embed"} if built.form == "vjepa2" else set()
    more = sorted(tensors.keys() - set(wanted) - unused)
    more = [name for name in more if place.prefix or not _BESIDE.match(name)]
    if more:
        raise EncoderError(
            f"{file} has {_and_more(more)}, for which an encoder of its form ({built.name}) has no use, "
            "so it would not compute the same: choose a V-JEPA checkpoint."
        )
    counted = sum(weight.numel() for weight in model.parameters())
    return {name: tuple(tensors[part] for part in of_one) for name, of_one in parts.items()}, counted


def _and_more(keys: list[str]) -> str:
    return names.shown(keys[0]) + (f" and {len(keys) - 1} more weights" if len(keys) > 1 else "")


def _size(built: Architecture, parameters: int, dtype: str) -> str:
    name = "" if re.match(r"w\d", built.size) else f"{built.size}, "
    patch, side = built.patch_size, built.image_size
    places = f"; places stored for {SINCOS_FRAMES} frames of {side} x {side} pixels"
    return (
        f"Size: {name}{built.depth} blocks of width {built.embed_dim}, {parameters:,} weights in {dtype}; "
        f"a token covers {built.tubelet_size} frames of {patch} x {patch} pixels"
        f"{places if built.form == 'vjepa1' else ''}."
    )


def _where(place: names.Place) -> str:
    out = (
        f"; left out: {', '.join(names.shown(name) for name in place.left_out[:6])}" if place.left_out else ""
    )
    if place.hugging_face and not place.averaged:
        return f"Named as in Hugging Face's VJEPA2Model; only the encoder is taken{out}."
    if place.averaged:
        what = "the average of the encoder over its training, which is the one meant to be used"
    elif place.container:
        what = "no average over the training is beside it"
    else:
        return f"Only the encoder is taken{out}." if out else ""
    return f"Weights of {names.shown(place.container)}, {what}{out}."

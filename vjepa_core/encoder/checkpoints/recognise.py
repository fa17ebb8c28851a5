"""Recognise the encoder in a checkpoint and assign its tensors to weights, without reading the tensors."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from vjepa_core.encoder.architecture import Architecture, Form, default_depths
from vjepa_core.encoder.catalogue import MAX_DEPTH, MAX_WIDTH
from vjepa_core.encoder.checkpoints import names
from vjepa_core.encoder.checkpoints.family import (
    LICENCES,
    PositionTable,
    Release,
    describe_assumed_rate,
    identify_release,
)
from vjepa_core.encoder.checkpoints.read import Checkpoint
from vjepa_core.encoder.checkpoints.sidecar import (
    Sizes,
    assumed_heads,
    card_info,
    heads_from_config,
    training_image_size,
)
from vjepa_core.encoder.checkpoints.unsupported import reject_other_models, reject_without_encoder
from vjepa_core.encoder.sincos import sincos_table
from vjepa_core.encoder.vit import SINCOS_FRAMES, VisionTransformer3D
from vjepa_core.errors import EncoderError

_DTYPES = (torch.float32, torch.float16, torch.bfloat16)
_FPS = 30.0
# Modules that may share the prefix of an encoder but do not belong to it.
_OTHER_MODULES = re.compile(r"(predictor|opt|optimizer|scaler|head|fc|classifiers?|pooler|probe|linear)\b")
# Lengths of the position tables for 64 frames that published V-JEPA 2 checkpoints contain but do not use.
_UNUSED_TABLES = (32 * 16**2, 32 * 24**2)
_CORNER = 4


@dataclass(frozen=True)
class Recognised:
    """A complete encoder found in a checkpoint.

    Attributes
    ----------
    architecture : Architecture
        Architecture of the encoder.
    family, licence, dtype : str
        For example "EchoJEPA", "MIT" and "float32".
    container : str
        Name of the encoder in the checkpoint; empty if the checkpoint contains nothing else.
    recognised, form_assumed : tuple of str
        Sentences for the user about the recognised properties and the assumptions about the form.
    licence_assumed, rate_assumed : str
        Sentences about the assumed licence and the assumed frame rate; empty if known.
    ambiguous : bool
        The form was assumed and another one is possible.
    parameters : int
        Number of parameters.
    trained : bool
        False if a card beside the file states that its weights are random.
    fps : float
        Frame rate at which to use the encoder, in Hz.
    depths : tuple of int
        Blocks whose outputs to use, counted from 0.
    weights : mapping of str to tuple of Tensor
        Parts of each weight, by our names and in our order; see `convert.write`.
    """

    architecture: Architecture
    family: str
    licence: str
    dtype: str
    container: str
    recognised: tuple[str, ...]
    form_assumed: tuple[str, ...]
    licence_assumed: str
    rate_assumed: str
    ambiguous: bool
    parameters: int
    trained: bool
    fps: float
    depths: tuple[int, ...]
    weights: Mapping[str, tuple[Tensor, ...]]

    @property
    def assumed(self) -> tuple[str, ...]:
        """All assumptions, one sentence each."""
        return tuple(filter(None, (*self.form_assumed, self.licence_assumed, self.rate_assumed)))


def recognise(checkpoint: Checkpoint, family: str | None = None) -> Recognised:
    """Find the encoder in a checkpoint.

    Parameters
    ----------
    checkpoint : Checkpoint
        Result of `read`.
    family : str, optional
        Family chosen by the user, one of the values of `family.CHOICES`. Default: the family on the card
        beside the file, otherwise identified from the weight names and the file name.

    Raises
    ------
    EncoderError
        If the checkpoint contains no encoder of the family, an incomplete one, or unknown weights.
    """
    file = checkpoint.name
    location = names.find_encoder(checkpoint.tensors)
    if location is None:
        reject_without_encoder(file, checkpoint.tensors)
    prefix = location.prefix
    tensors = {name[len(prefix) :]: t for name, t in checkpoint.tensors.items() if name.startswith(prefix)}
    reject_other_models(file, tensors)
    sizes = _sizes(file, tensors, location.hugging_face)
    heads = heads_from_config(checkpoint, sizes.width) if location.hugging_face else None
    info = card_info(checkpoint, sizes, heads)
    card, on_card = info.card, info.architecture
    table = tensors.get("pos_embed")
    side = _table_image_size(table, sizes)
    if card is not None and on_card is not None and family is None:
        release = Release(card.family, on_card.form, f"{card.family}, from the card in the same folder.")
    else:
        position_table = None if table is None else _position_table(table, side, sizes)
        release = identify_release(tensors, file, family, position_table)
    heads_note = ""
    if on_card is not None:
        heads = on_card.num_heads
    elif heads is None:
        heads, heads_note = assumed_heads(file, sizes, release.form)
    if side is None or release.form != "vjepa1":
        side = (
            on_card.image_size
            if on_card
            else training_image_size(checkpoint, location.hugging_face, release.form)
        )
    architecture = sizes.architecture(heads, side, release.form)
    used, left_out = _without_other_modules(tensors, architecture.form)
    weights, parameters = _weights(file, architecture, used, location.hugging_face)
    dtypes = sorted({str(part.dtype).removeprefix("torch.") for parts in weights.values() for part in parts})
    dtype = " and ".join(dtypes)
    location = replace(location, left_out=tuple(sorted({*location.left_out, *left_out})))
    licence = LICENCES[release.family]
    card_note = (
        "Heads, depths, rate and licence are those of the card in the same folder." if card and family else ""
    )
    recognised = (
        f"{checkpoint.kind}.",
        _describe_location(location),
        release.recognised,
        card_note,
        _describe_size(architecture, parameters, dtype),
    )
    licence_note = f"Licence {licence}, from the family; check it at the source of the file."
    return Recognised(
        architecture=architecture,
        family=release.family,
        licence=card.licence if card else licence,
        dtype=dtype,
        container=location.container,
        recognised=tuple(filter(None, recognised)),
        form_assumed=tuple(filter(None, (info.problem, release.assumed, heads_note))),
        licence_assumed="" if card else licence_note,
        rate_assumed="" if card else describe_assumed_rate(release.family, _FPS),
        ambiguous=release.ambiguous,
        parameters=parameters,
        trained=card.trained if card else True,
        fps=card.fps if card else _FPS,
        depths=card.depths if card else _depths(sizes.depth),
        weights=weights,
    )


def _sizes(file: str, tensors: Mapping[str, Tensor], hugging_face: bool) -> Sizes:
    (patches,) = names.stored_names("patch_embed.proj.weight", hugging_face)
    shape = tensors[patches].shape
    if len(shape) == 4:
        raise EncoderError(
            f"{file} contains an encoder of still images (such as I-JEPA), not of video: "
            "choose a V-JEPA checkpoint."
        )
    depth = names.count_blocks(tensors, hugging_face)
    if len(shape) != 5 or shape[1] != 3 or shape[3] != shape[4] or not depth or 0 in shape:
        raise EncoderError(
            f"{file} contains no encoder of the V-JEPA family: its patch embedding has the shape "
            f"{tuple(shape)} and it has {depth} blocks; choose a V-JEPA checkpoint."
        )
    (fc1,) = names.stored_names("blocks.0.mlp.fc1.weight", hugging_face)
    hidden = tensors[fc1].shape[0] if fc1 in tensors and tensors[fc1].ndim else 4 * shape[0]
    if depth > MAX_DEPTH or max(shape[0], hidden) > MAX_WIDTH:
        raise EncoderError(
            f"{file} contains an encoder of {depth} blocks and width {shape[0]}, larger than any of the "
            "V-JEPA family: choose a V-JEPA checkpoint."
        )
    return Sizes(shape[0], depth, hidden, shape[3], shape[2])


def _table_image_size(table: Tensor | None, sizes: Sizes) -> int | None:
    """Return the image size in pixels of a position table, or None if it does not fit a square image."""
    if table is None or table.ndim != 3 or table.shape[0] != 1 or table.shape[2] != sizes.width:
        return None
    times = SINCOS_FRAMES // sizes.tubelet
    side = math.isqrt(table.shape[1] // times) if times else 0
    return side * sizes.patch if side and times * side * side == table.shape[1] else None


def _position_table(table: Tensor, side: int | None, sizes: Sizes) -> PositionTable:
    tokens = table.shape[1] if table.ndim == 3 else table.numel()
    sincos = side is not None and _is_sincos(table, side // sizes.patch)
    return PositionTable(tokens, side is not None and (sincos or tokens not in _UNUSED_TABLES), sincos)


def _is_sincos(table: Tensor, side: int) -> bool:
    """Return True if a table is V-JEPA's for this grid; only a corner of it is compared."""
    if table.dtype not in _DTYPES or table.is_meta or table.layout != torch.strided:
        return False
    corner = min(side, _CORNER)
    grid = table.unflatten(1, (-1, side, side))[:, :, :corner, :corner]
    expected = sincos_table((grid.shape[1], corner, corner), grid.shape[-1]).to(table.dtype)
    tolerance = max(1e-4, torch.finfo(table.dtype).eps)
    return torch.allclose(grid.flatten(1, 3).float(), expected.float(), rtol=0, atol=tolerance)


def _without_other_modules(tensors: Mapping[str, Tensor], form: Form) -> tuple[dict[str, Tensor], set[str]]:
    """Return the tensors that an encoder of this form may use, and the names of the other modules."""
    unused = {name for name in tensors if _OTHER_MODULES.match(name)}
    if form != "vjepa1":  # rotary embeddings need no table
        unused |= tensors.keys() & {"pos_embed"}
    used = {name: tensor for name, tensor in tensors.items() if name not in unused}
    return used, {name.split(".")[0] for name in unused}


def _depths(depth: int) -> tuple[int, ...]:
    """Return the blocks to use, fewer than four in a shallow encoder."""
    return tuple(sorted({max(level, 0) for level in default_depths(depth)}))


def _weights(
    file: str, architecture: Architecture, tensors: Mapping[str, Tensor], hugging_face: bool
) -> tuple[dict[str, tuple[Tensor, ...]], int]:
    """Return the parts of every weight of the encoder, and the number of parameters."""
    with torch.device("meta"):
        model = VisionTransformer3D(architecture)
    expected = model.state_dict()
    stored = {name: names.stored_names(name, hugging_face) for name in expected}
    required = [part for parts in stored.values() for part in parts]
    missing = [part for part in required if part not in tensors]
    stills = {name for name in required if "img_" in name or "_img" in name}
    if missing and stills.issuperset(missing) and not stills & tensors.keys():
        raise EncoderError(
            f"{file} is a V-JEPA 2.1 that was trained without still images, since it lacks "
            f"{_and_more(missing)}: that is not supported; choose a published one."
        )
    if missing:
        raise EncoderError(
            f"{file} lacks {_and_more(missing)} of an encoder of its size ({architecture.name}): "
            "it is incomplete; export or download it again."
        )
    for name, parts in stored.items():
        rows, *rest = expected[name].shape
        shape = (rows // len(parts), *rest)
        for part in parts:
            tensor = tensors[part]
            if tensor.dtype not in _DTYPES or tensor.layout != torch.strided or tensor.is_meta:
                kind = str(tensor.dtype).removeprefix("torch.")
                if tensor.dtype == torch.float64:
                    raise EncoderError(
                        f"{file} has {names.printable_name(part)} in {kind}: convert its weights to float32, "
                        "then import that."
                    )
                raise EncoderError(
                    f"{file} has {names.printable_name(part)} in {kind}, and quantised or packed weights are "
                    "not supported: choose a checkpoint in float32, float16 or bfloat16."
                )
            if tuple(tensor.shape) != shape:
                raise EncoderError(
                    f"{file} has {names.printable_name(part)} of the shape {tuple(tensor.shape)} instead of "
                    f"{shape} for its size ({architecture.name}): choose a V-JEPA checkpoint."
                )
    more = sorted(tensors.keys() - set(required))
    if more:
        raise EncoderError(
            f"{file} has {_and_more(more)}, which an encoder of its form ({architecture.name}) does not "
            "have, so its results would differ: choose a V-JEPA checkpoint."
        )
    parameters = sum(weight.numel() for weight in model.parameters())
    return {name: tuple(tensors[part] for part in parts) for name, parts in stored.items()}, parameters


def _and_more(keys: list[str]) -> str:
    return names.printable_name(keys[0]) + (f" and {len(keys) - 1} more weights" if len(keys) > 1 else "")


def _describe_size(architecture: Architecture, parameters: int, dtype: str) -> str:
    name = "" if re.match(r"w\d", architecture.size) else f"{architecture.size}, "
    patch, side = architecture.patch_size, architecture.image_size
    table = f"; position table for {SINCOS_FRAMES} frames of {side} x {side} pixels"
    return (
        f"Size: {name}{architecture.depth} blocks of width {architecture.embed_dim}, {parameters:,} "
        f"weights in {dtype}; a token covers {architecture.tubelet_size} frames of {patch} x {patch} pixels"
        f"{table if architecture.form == 'vjepa1' else ''}."
    )


def _describe_location(location: names.EncoderLocation) -> str:
    others = ", ".join(names.printable_name(name) for name in location.left_out[:6])
    out = f"; left out: {others}" if others else ""
    if location.hugging_face and not location.averaged:
        return f"Weight names of Hugging Face's VJEPA2Model; only the encoder is imported{out}."
    if location.averaged:
        note = "the moving average of the encoder, which is intended for use"
    elif location.container:
        note = "without a moving average"
    else:
        return f"Only the encoder is imported{out}." if out else ""
    return f"Weights of {names.printable_name(location.container)}, {note}{out}."

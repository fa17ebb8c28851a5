"""Which encoder a checkpoint holds, and which of its tensors are whose weights; no tensor is read."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from vjepa_core.encoder.architecture import Architecture, Form, default_depths
from vjepa_core.encoder.catalogue import DEEPEST, WIDEST
from vjepa_core.encoder.checkpoints import names
from vjepa_core.encoder.checkpoints.family import LICENCES, Places, Release, on_rate, release
from vjepa_core.encoder.checkpoints.read import Checkpoint
from vjepa_core.encoder.checkpoints.sidecar import Sizes, assumed_heads, heads_on_config, on_card, side_of
from vjepa_core.encoder.checkpoints.unsupported import refuse_no_encoder, refuse_other_models
from vjepa_core.encoder.sincos import sincos_table
from vjepa_core.encoder.vit import SINCOS_FRAMES, VisionTransformer3D
from vjepa_core.errors import EncoderError

_DTYPES = (torch.float32, torch.float16, torch.bfloat16)
_FPS = 30.0
# Beside an encoder's weights under one prefix; they take no part in what it computes.
_BESIDE = re.compile(r"(predictor|opt|optimizer|scaler|head|fc|classifiers?|pooler|probe|linear)\b")
# Lengths of the tables of 64 frames that V-JEPA 2 was published with and does not use.
_UNUSED = (32 * 16**2, 32 * 24**2)
_CORNER = 4


@dataclass(frozen=True)
class Recognised:
    """An encoder found in a checkpoint, complete and of the right shapes.

    Attributes
    ----------
    architecture : Architecture
        All about it but the weights.
    family, licence, dtype, container : str
        "EchoJEPA"; its terms; "float32"; what the checkpoint calls the encoder, empty if it is all there is.
    recognised, form_assumed : tuple of str
        Sentences for the user.
    licence_assumed, rate_assumed : str
        One sentence each; empty where somebody has said it.
    ambiguous : bool
        The form had to be assumed, and another one is possible.
    parameters : int
        Number of weights.
    trained : bool
        False where our card beside the file says that its weights are random.
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
        """All that had to be assumed, a sentence each."""
        return tuple(filter(None, (*self.form_assumed, self.licence_assumed, self.rate_assumed)))


def recognise(checkpoint: Checkpoint, family: str | None = None) -> Recognised:
    """Find the encoder in a checkpoint.

    Parameters
    ----------
    checkpoint : Checkpoint
        As `read` gives it.
    family : str, optional
        What the user says it is, one of `family.CHOICES`' values; default: what our card beside it says, else
        by the names of the weights, then by the file's.

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
    sizes = _sizes(file, tensors, place.hugging_face)
    heads = heads_on_config(checkpoint, sizes.width) if place.hugging_face else None
    told = on_card(checkpoint, sizes, heads)
    table = tensors.get("pos_embed")
    side = _stored_side(table, sizes)
    if told.card is not None and told.built is not None and family is None:
        name = told.card.family
        found = Release(name, told.built.form, f"{name}, as the card beside the file says.")
    else:
        found = release(tensors, file, family, None if table is None else _places(table, side, sizes))
    on_heads = ""
    if told.built is not None:
        heads = told.built.num_heads
    elif heads is None:
        heads, on_heads = assumed_heads(file, sizes, found.form)
    if side is None or found.form != "vjepa1":
        side = told.built.image_size if told.built else side_of(checkpoint, place.hugging_face, found.form)
    built = sizes.architecture(heads, side, found.form)
    taken, left_out = _beside(tensors, built.form)
    weights, parameters = _weights(file, built, taken, place.hugging_face)
    dtypes = sorted({str(part.dtype).removeprefix("torch.") for parts in weights.values() for part in parts})
    dtype = " and ".join(dtypes)
    place = replace(place, left_out=tuple(sorted({*place.left_out, *left_out})))
    card, licence = told.card, LICENCES[found.family]
    rest = "Heads, depths, rate and licence are those of the card beside the file." if card and family else ""
    size = _size(built, parameters, dtype)
    recognised = (f"{checkpoint.kind}.", _where(place), found.recognised, rest, size)
    on_licence = f"Licence {licence}, from the family; check it where you found the file."
    return Recognised(
        architecture=built,
        family=found.family,
        licence=card.licence if card else licence,
        dtype=dtype,
        container=place.container,
        recognised=tuple(filter(None, recognised)),
        form_assumed=tuple(filter(None, (told.aside, found.assumed, on_heads))),
        licence_assumed="" if card else on_licence,
        rate_assumed="" if card else on_rate(found.family, _FPS),
        ambiguous=found.ambiguous,
        parameters=parameters,
        trained=card.trained if card else True,
        fps=card.fps if card else _FPS,
        depths=card.depths if card else _depths(sizes.depth),
        weights=weights,
    )


def _sizes(file: str, tensors: Mapping[str, Tensor], hugging_face: bool) -> Sizes:
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
    if depth > DEEPEST or max(shape[0], hidden) > WIDEST:
        raise EncoderError(
            f"{file} holds an encoder of {depth} blocks and width {shape[0]}, larger than any of the family: "
            "choose a V-JEPA checkpoint."
        )
    return Sizes(shape[0], depth, hidden, shape[3], shape[2])


def _stored_side(table: Tensor | None, sizes: Sizes) -> int | None:
    """Pixels of the square picture that a table of places was stored for, None if it was none such."""
    if table is None or table.ndim != 3 or table.shape[0] != 1 or table.shape[2] != sizes.width:
        return None
    times = SINCOS_FRAMES // sizes.tubelet
    side = math.isqrt(table.shape[1] // times) if times else 0
    return side * sizes.patch if side and times * side * side == table.shape[1] else None


def _places(table: Tensor, side: int | None, sizes: Sizes) -> Places:
    tokens = table.shape[1] if table.ndim == 3 else table.numel()
    sincos = side is not None and _is_sincos(table, side // sizes.patch)
    return Places(tokens, side is not None and (sincos or tokens not in _UNUSED), sincos)


def _is_sincos(table: Tensor, side: int) -> bool:
    """Whether a table is V-JEPA's of this grid: places are whole numbers, so that a corner tells."""
    if table.dtype not in _DTYPES or table.is_meta or table.layout != torch.strided:
        return False
    few = min(side, _CORNER)
    grid = table.unflatten(1, (-1, side, side))[:, :, :few, :few]
    expected = sincos_table((grid.shape[1], few, few), grid.shape[-1]).to(table.dtype)
    close = max(1e-4, torch.finfo(table.dtype).eps)
    return torch.allclose(grid.flatten(1, 3).float(), expected.float(), rtol=0, atol=close)


def _beside(tensors: Mapping[str, Tensor], form: Form) -> tuple[dict[str, Tensor], set[str]]:
    """Tensors without those that an encoder of this form does not compute with, and what those are called."""
    unused = {name for name in tensors if _BESIDE.match(name)}
    if form != "vjepa1":  # turned by its place, a token needs no table
        unused |= tensors.keys() & {"pos_embed"}
    taken = {name: tensor for name, tensor in tensors.items() if name not in unused}
    return taken, {name.split(".")[0] for name in unused}


def _depths(depth: int) -> tuple[int, ...]:
    """Blocks to read; fewer than four where there are fewer."""
    return tuple(sorted({max(level, 0) for level in default_depths(depth)}))


def _weights(
    file: str, built: Architecture, tensors: Mapping[str, Tensor], hugging_face: bool
) -> tuple[dict[str, tuple[Tensor, ...]], int]:
    """Tensors of every weight of the encoder, and how many numbers they hold."""
    with torch.device("meta"):
        model = VisionTransformer3D(built)
    expected = model.state_dict()
    parts = {name: names.in_file(name, hugging_face) for name in expected}
    wanted = [part for of_one in parts.values() for part in of_one]
    missing = [part for part in wanted if part not in tensors]
    stills = {name for name in wanted if "img_" in name or "_img" in name}
    if missing and stills.issuperset(missing) and not stills & tensors.keys():
        raise EncoderError(
            f"{file} is a V-JEPA 2.1 that was trained without stills, for it lacks {_and_more(missing)}: "
            "that is not supported; choose a published one."
        )
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
                if tensor.dtype == torch.float64:
                    raise EncoderError(
                        f"{file} has {names.shown(part)} in {kind}: convert its weights to float32, "
                        "then import that."
                    )
                raise EncoderError(
                    f"{file} has {names.shown(part)} in {kind}, and nothing quantised or packed "
                    "can be taken: choose a checkpoint in float32, float16 or bfloat16."
                )
            if tuple(tensor.shape) != (rows // len(of_one), *rest):
                raise EncoderError(
                    f"{file} has {names.shown(part)} of the shape {tuple(tensor.shape)}, and an encoder of "
                    f"its size ({built.name}) {(rows // len(of_one), *rest)}: choose a V-JEPA checkpoint."
                )
    more = sorted(tensors.keys() - set(wanted))
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

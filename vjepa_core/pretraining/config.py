"""Configuration of a pre-training run, stored with its results."""

from __future__ import annotations

import dataclasses
import json
import tomllib
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

from vjepa_core.encoder.rope import Grid
from vjepa_core.pretraining.errors import PretrainingError
from vjepa_core.pretraining.localisation import LocalisationConfig
from vjepa_core.pretraining.masks import LONG_RANGE, SHORT_RANGE, BlockMask
from vjepa_core.pretraining.schedule import TermWeight

PATCH = 16
"""Side of a token in pixels."""
TUBELET = 2
"""Frames of a token."""

ConfigT = TypeVar("ConfigT")


@dataclass(frozen=True)
class PredictorConfig:
    """Size of the predictor; smaller than V-JEPA's 384 x 12, because the encoders are smaller too.

    Attributes
    ----------
    width, depth, heads : int
        Token width, number of blocks and number of attention heads.
    added_positions : bool
        Add a sine-cosine position embedding to its tokens, in addition to the rotary embedding.
    """

    width: int = 192
    depth: int = 6
    heads: int = 6
    added_positions: bool = False


@dataclass(frozen=True)
class OptimiserConfig:
    """AdamW and its schedules.

    Attributes
    ----------
    lr, lr_start, lr_end : float
        Peak, first and last learning rate; not scaled with the batch size.
    warmup : float
        Fraction of the run with linear warm-up.
    weight_decay, weight_decay_end : float
        First and last weight decay, cosine schedule; not applied to one-dimensional weights.
    betas : (float, float)
        Decay rates of AdamW's moment estimates.
    clip : float
        Maximum norm of the gradient.
    ema, ema_end : float
        First and last momentum of the teacher, linear schedule. With `ema` 0, both are derived from the
        number of steps (`schedule.ema_ends`), so that the teacher of a short run is not mostly random.
    """

    lr: float = 5e-4
    lr_start: float = 1e-4
    lr_end: float = 1e-6
    warmup: float = 0.1
    weight_decay: float = 0.04
    weight_decay_end: float = 0.4
    betas: tuple[float, float] = (0.9, 0.999)
    clip: float = 10.0
    ema: float = 0.0
    ema_end: float = 1.0


@dataclass(frozen=True)
class PretrainConfig:
    """Configuration of one run.

    Attributes
    ----------
    architecture : str
        Name for `create_encoder`.
    start_from : str
        Name of the encoder whose weights to start from; empty for random weights.
    frames, size : int
        Frames and side in pixels of a clip.
    fps : float
        Maximum frame rate of a clip in Hz.
    phantom : float
        Fraction of phantom clips in each batch, generated on the device.
    batch : int
        Clips per step, over all devices.
    micro_batch : int
        Maximum number of clips per device and pass; gradients are accumulated. 0: all clips in one pass.
    steps : int
        Length of the run; all schedules end there.
    seed : int
        Seed of the weights and of all random choices.
    masks : tuple of BlockMask
        Kinds of mask; each clip gets one mask of each kind.
    target_share : float
        Fraction of the masked tokens that is predicted.
    deep : bool
        Predict the outputs at four depths, not only that of the last block.
    jepa, loc, ctx, pixels, truth : TermWeight
        Weights of the loss terms: latent prediction, localisation, dense context, pixel prediction (as in
        VideoMAE, for comparison), phantom labels.
    truth_share : float
        Number of labelled phantom clips in addition to the batch, as a fraction of it; used with `truth`
        only.
    truth_frames : tuple of int
        Lengths of the labelled clips, one drawn per step; the number of frames stays the same. Empty:
        `frames`.
    localisation : LocalisationConfig
        Localisation task.
    predictor : PredictorConfig
        Size of the predictor.
    optimiser : OptimiserConfig
        Optimiser and schedules.
    precision : {"auto", "bf16", "fp32"}
        "auto" is bf16 on a GPU that supports it and on a CPU on which it is faster, otherwise fp32.
    compile : bool
        Compile the blocks, which takes a minute or two at the start.
    shard : bool
        Shard weights and optimiser state over the processes (FSDP) instead of replicating them, for encoders
        that do not fit on one GPU.
    checkpoint_every : int
        Steps between checkpoints.
    """

    architecture: str = "vit_small_patch16_224_t2"
    start_from: str = ""
    frames: int = 16
    size: int = 224
    fps: float = 30.0
    phantom: float = 0.0
    batch: int = 256
    micro_batch: int = 0
    steps: int = 4000
    seed: int = 0
    masks: tuple[BlockMask, ...] = (SHORT_RANGE, LONG_RANGE)
    target_share: float = 1.0
    deep: bool = False
    jepa: TermWeight = field(default=TermWeight(1.0))
    loc: TermWeight = field(default=TermWeight(0.25, rise=0.1, fall=0.6))
    ctx: TermWeight = field(default=TermWeight(0.0, rise=0.2))
    pixels: TermWeight = field(default=TermWeight(0.0))
    truth: TermWeight = field(default=TermWeight(0.0))
    truth_share: float = 0.25
    truth_frames: tuple[int, ...] = ()
    localisation: LocalisationConfig = field(default=LocalisationConfig())
    predictor: PredictorConfig = field(default=PredictorConfig())
    optimiser: OptimiserConfig = field(default=OptimiserConfig())
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    compile: bool = False
    shard: bool = False
    checkpoint_every: int = 200

    def __post_init__(self) -> None:
        problems = [
            (self.frames < TUBELET or self.frames % TUBELET, f"frames must be a multiple of {TUBELET}"),
            (self.size < PATCH or self.size % PATCH, f"size must be a multiple of {PATCH}"),
            (
                min(self.batch, self.steps, self.checkpoint_every) < 1,
                "batch, steps, checkpoint_every: 1 or more",
            ),
            (self.micro_batch < 0, "micro_batch must not be negative"),
            (self.seed < 0, "seed must not be negative"),
            (not self.fps > 0, "fps must be above 0"),
            (not 0 <= self.phantom < 1, "phantom must be at least 0 and below 1"),
            (not 0 < self.truth_share <= 8, "truth_share must be above 0 and at most 8"),
            (
                any(n < TUBELET or n % TUBELET or n > self.frames for n in self.truth_frames),
                f"truth_frames must be multiples of {TUBELET}, up to frames",
            ),
            # Each process draws a length, but sharded processes must run the same number of passes.
            (
                self.shard and len(self.truth_frames) > 1,
                "with shard, truth_frames may contain one length only",
            ),
            (not self.masks, "masks must contain at least one kind"),
            (not 0 < self.target_share <= 1, "target_share must be above 0 and at most 1"),
            (not self.optimiser.lr > 0, "optimiser.lr must be above 0"),
            (
                not 0 <= self.optimiser.ema <= self.optimiser.ema_end <= 1,
                "optimiser: 0 <= ema <= ema_end <= 1",
            ),
            (self.predictor.width % self.predictor.heads, "predictor.width must be a multiple of its heads"),
            (
                self.predictor.width // max(self.predictor.heads, 1) < 6,
                "predictor: at least 6 channels per head",
            ),
            (self.predictor.depth < 1, "predictor.depth must be 1 or more"),
            (
                min(self.localisation.pairs, self.localisation.pool) < 1,
                "localisation: pairs, pool: 1 or more",
            ),
            (not 0 < self.localisation.window <= 1, "localisation.window must be above 0 and at most 1"),
            (not 0 < self.localisation.visible <= 1, "localisation.visible must be above 0 and at most 1"),
            (
                _windows_only(self.localisation)
                and (self.localisation.where != "windows" or self.localisation.pool > 1),
                'localisation: pairing "same-cell", unrelated_targets and vary_windows need where "windows" '
                "and pool 1",
            ),
        ]
        for is_invalid, sentence in problems:
            if is_invalid:
                raise PretrainingError(f"The configuration is invalid: {sentence}.")

    @property
    def grid(self) -> Grid:
        """Tokens along time, height and width."""
        return self.frames // TUBELET, self.size // PATCH, self.size // PATCH


def _windows_only(task: LocalisationConfig) -> bool:
    return task.pairing == "same-cell" or task.unrelated_targets or task.vary_windows


def small_config() -> PretrainConfig:
    """Return a configuration that runs on two CPU cores in minutes, only to check the setup."""
    return PretrainConfig(
        architecture="vit_tiny_patch16_224_t2",
        size=112,
        batch=4,
        steps=200,
        predictor=PredictorConfig(width=96, depth=2, heads=3),
        # The default learning rate is for large batches; with small ones the features collapse.
        optimiser=OptimiserConfig(lr=1e-4, lr_start=1e-5),
        checkpoint_every=10,
    )


def continued_config(base: PretrainConfig) -> PretrainConfig:
    """Adapt a configuration to continue training an encoder.

    It uses the image size of the program, a small learning rate, and all loss terms of the shipped encoder,
    because training without the phantom labels loses what was learned from them.
    """
    small_steps = replace(
        base.optimiser, lr=min(1e-4, base.optimiser.lr / 2), lr_start=1e-6, clip=1.0, ema=0.99, ema_end=0.999
    )
    return replace(
        base,
        size=224,
        deep=True,
        ctx=TermWeight(0.5),
        truth=TermWeight(1.0),
        truth_share=0.5,
        optimiser=small_steps,
    )


def read_config(file: Path, base: PretrainConfig) -> PretrainConfig:
    """Read a configuration file (TOML, or JSON as stored by a run) and apply its values to `base`.

    Raises
    ------
    PretrainingError
        If the file cannot be read, or contains an unknown key or an invalid value.
    """
    try:
        text = file.read_text(encoding="utf-8")
        raw: Any = json.loads(text) if file.suffix.lower() == ".json" else tomllib.loads(text)
    except (OSError, ValueError) as error:
        raise PretrainingError(f"The configuration {file} cannot be read: check the file.") from error
    if not isinstance(raw, dict):
        raise PretrainingError(f"The configuration {file} must contain names and values.")
    return with_values(base, raw)


def as_dict(config: PretrainConfig) -> dict[str, Any]:
    """Convert a configuration to JSON types; inverse of `with_values`."""
    return typing.cast("dict[str, Any]", json.loads(json.dumps(dataclasses.asdict(config))))


def with_values(base: ConfigT, values: Mapping[str, Any], where: str = "") -> ConfigT:
    """Return a copy of a configuration object with some values replaced.

    Parameters
    ----------
    base : dataclass
        One of the configuration objects above.
    values : mapping
        New values by field name; nested configuration objects are mappings.
    where : str
        Prefix of field names in error messages.

    Raises
    ------
    PretrainingError
        If a name is unknown or a value is invalid.
    """
    hints = typing.get_type_hints(type(base))
    new: dict[str, Any] = {}
    for name, value in values.items():
        if name not in hints:
            raise PretrainingError(
                f"The configuration has no field {where}{name}; its fields are {', '.join(sorted(hints))}."
            )
        new[name] = _value(hints[name], getattr(base, name), value, f"{where}{name}")
    try:
        return typing.cast("ConfigT", replace(typing.cast("Any", base), **new))
    except ValueError as error:
        raise PretrainingError(f"The configuration is invalid: {where.rstrip('.')}: {error}.") from error


def _value(kind: Any, old: Any, value: Any, name: str) -> Any:
    if dataclasses.is_dataclass(kind):
        if isinstance(value, dict):
            return with_values(old, value, f"{name}.")
    elif typing.get_origin(kind) is Literal:
        if value in typing.get_args(kind):
            return value
        raise PretrainingError(f"{name} must be one of {', '.join(typing.get_args(kind))}.")
    elif typing.get_origin(kind) is tuple:
        inner = typing.get_args(kind)
        any_length = len(inner) == 2 and inner[1] is Ellipsis
        if isinstance(value, list | tuple) and (any_length or len(value) == len(inner)):
            kinds = [inner[0]] * len(value) if any_length else inner
            return tuple(_value(k, _BLANK.get(k), v, name) for k, v in zip(kinds, value, strict=True))
    elif kind is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    elif isinstance(kind, type) and type(value) is kind:
        return value
    expected = "a table" if dataclasses.is_dataclass(kind) else getattr(kind, "__name__", str(kind))
    raise PretrainingError(f"{name} must be {expected}, not {value!r}.")


# Default values for items of a list.
_BLANK: Mapping[Any, Any] = types.MappingProxyType({BlockMask: SHORT_RANGE})

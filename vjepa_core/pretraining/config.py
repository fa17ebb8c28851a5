"""Everything that decides what a run computes, in one frozen object that is stored beside its results."""

from __future__ import annotations

import dataclasses
import json
import tomllib
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from vjepa_core.encoder.rope import Grid
from vjepa_core.pretraining.errors import PretrainingError
from vjepa_core.pretraining.localisation import LocalisationConfig
from vjepa_core.pretraining.masks import LONG_RANGE, SHORT_RANGE, BlockMask
from vjepa_core.pretraining.schedule import TermWeight

PATCH = 16
TUBELET = 2


@dataclass(frozen=True)
class PredictorConfig:
    """Size of the predictor; smaller than V-JEPA's 384 x 12, since the encoder is.

    Attributes
    ----------
    width, depth, heads : int
    added_positions : bool
        Add sines and cosines of the places to its tokens, besides the rotary positions.
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
        Peak, first and last learning rate, for the whole batch as it is.
    warmup : float
        Share of the run.
    weight_decay, weight_decay_end : float
        Cosine from one to the other; none on biases and other one-dimensional weights.
    betas : (float, float)
    clip : float
        Largest norm of the gradient.
    ema, ema_end : float
        Momentum of the teacher, linear from one to the other. `ema` 0: both follow from the number of steps
        (`schedule.ema_ends`), so that a short run does not end with a mostly random teacher.
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
    """One run.

    Attributes
    ----------
    architecture : str
        Name for `create_encoder`.
    start_from : str
        Name of an encoder to go on from; empty for the untrained start.
    frames, size, fps
        Clips: frames, pixels a side, frames a second.
    phantom : float
        Share of every batch that are phantom clips, made on the device as they are needed.
    batch : int
        Clips a step, over all devices together.
    micro_batch : int
        Most clips of one device in one pass; 0 for all at once. Smaller ones are accumulated.
    steps : int
        Length of the run; all schedules end there.
    seed : int
        Of the weights and of everything random.
    masks : tuple of BlockMask
        Kinds of mask; each clip gets one of each.
    target_share : float
        Share of the masked tokens that is predicted.
    deep : bool
        Predict the tokens after four depths, not only after the last block.
    jepa, loc, ctx, pixels, truth : TermWeight
        Weights of the terms: latent prediction, localisation, dense context, prediction of pixels (as
        VideoMAE does it, for comparison), the phantom's labels.
    truth_share : float
        Labelled phantom clips of a step, besides the batch, as a share of it; made only if `truth` counts.
    truth_frames : tuple of int
        Lengths of the labelled clips, one drawn a step; shorter ones are as many more. Empty: `frames`.
    localisation, predictor, optimiser
        See there.
    precision : {"auto", "bf16", "fp32"}
        auto: bf16 on a GPU with units for it and on a CPU where it was measured to be faster, else fp32.
    compile : bool
        Compile the blocks; takes a minute or two at the start.
    shard : bool
        With several processes, split weights and optimiser among them (FSDP) instead of copying them: for
        encoders that do not fit one GPU.
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
            # Each process draws its own length, and shards must take the same passes.
            (self.shard and len(self.truth_frames) > 1, "with shard, truth_frames may name one length only"),
            (not self.masks, "masks must name at least one kind"),
            (not 0 < self.target_share <= 1, "target_share must be above 0 and at most 1"),
            (not self.optimiser.lr > 0, "optimiser.lr must be above 0"),
            (
                not 0 <= self.optimiser.ema <= self.optimiser.ema_end <= 1,
                "optimiser: 0 <= ema <= ema_end <= 1",
            ),
            (self.predictor.width % self.predictor.heads, "predictor.width must be a multiple of its heads"),
            (
                self.predictor.width // max(self.predictor.heads, 1) < 6,
                "predictor: at least 6 channels a head",
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
        for wrong, sentence in problems:
            if wrong:
                raise PretrainingError(f"The configuration does not work: {sentence}.")

    @property
    def grid(self) -> Grid:
        """Tokens along time, height and width."""
        return self.frames // TUBELET, self.size // PATCH, self.size // PATCH


def _windows_only(task: LocalisationConfig) -> bool:
    return task.pairing == "same-cell" or task.unrelated_targets or task.vary_windows


def small() -> PretrainConfig:
    """What two CPU cores can do in minutes: to see that everything works, not to train an encoder."""
    return PretrainConfig(
        architecture="vit_tiny_patch16_224_t2",
        size=112,
        batch=4,
        steps=200,
        predictor=PredictorConfig(width=96, depth=2, heads=3),
        # The default rate is for large batches; with small ones it makes the features collapse.
        optimiser=OptimiserConfig(lr=1e-4, lr_start=1e-5),
        checkpoint_every=10,
    )


def going_on(base: PretrainConfig) -> PretrainConfig:
    """`base` for an encoder that is trained already.

    At the size that the program shows it, with small steps, and with all the terms of the encoder that ships:
    one that is led on without the phantom's labels forgets what they taught it.
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
    """A configuration file (TOML, or JSON as a run stores it) over `base`.

    Raises
    ------
    PretrainingError
        If the file cannot be read, has an unknown key or a value of the wrong kind.
    """
    try:
        text = file.read_text(encoding="utf-8")
        raw: Any = json.loads(text) if file.suffix.lower() == ".json" else tomllib.loads(text)
    except (OSError, ValueError) as error:
        raise PretrainingError(f"The configuration {file} cannot be read: check the file.") from error
    if not isinstance(raw, dict):
        raise PretrainingError(f"The configuration {file} must hold names and values.")
    return changed(base, raw)


def as_dict(config: PretrainConfig) -> dict[str, Any]:
    """Plain JSON types, for `changed`."""
    return typing.cast("dict[str, Any]", json.loads(json.dumps(dataclasses.asdict(config))))


def changed(base: Any, values: Mapping[str, Any], where: str = "") -> Any:
    """`base`, any of the frozen objects above, with some values replaced; tables go into its parts.

    Raises
    ------
    PretrainingError
        For an unknown name or a value of the wrong kind.
    """
    hints = typing.get_type_hints(type(base))
    new: dict[str, Any] = {}
    for name, value in values.items():
        if name not in hints:
            raise PretrainingError(
                f"The configuration does not know {where}{name}; it knows {', '.join(sorted(hints))}."
            )
        new[name] = _value(hints[name], getattr(base, name), value, f"{where}{name}")
    try:
        return replace(base, **new)
    except ValueError as error:
        raise PretrainingError(f"The configuration does not work: {where.rstrip('.')}: {error}.") from error


def _value(kind: Any, old: Any, value: Any, name: str) -> Any:
    if dataclasses.is_dataclass(kind):
        if isinstance(value, dict):
            return changed(old, value, f"{name}.")
    elif typing.get_origin(kind) is Literal:
        if value in typing.get_args(kind):
            return value
        raise PretrainingError(f"{name} must be one of {', '.join(typing.get_args(kind))}.")
    elif typing.get_origin(kind) is tuple:
        inner = typing.get_args(kind)
        open_ended = len(inner) == 2 and inner[1] is Ellipsis
        if isinstance(value, list | tuple) and (open_ended or len(value) == len(inner)):
            kinds = [inner[0]] * len(value) if open_ended else inner
            return tuple(_value(k, _BLANK.get(k), v, name) for k, v in zip(kinds, value, strict=True))
    elif kind is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    elif isinstance(kind, type) and type(value) is kind:
        return value
    wanted = "a table" if dataclasses.is_dataclass(kind) else getattr(kind, "__name__", str(kind))
    raise PretrainingError(f"{name} must be {wanted}, not {value!r}.")


# What an item of a list starts from where its table leaves something out.
_BLANK: Mapping[Any, Any] = types.MappingProxyType({BlockMask: SHORT_RANGE})

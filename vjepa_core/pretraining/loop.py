"""The training loop: one code for a CPU, a GPU, and many of them under torchrun (DDP or FSDP).

A run repeats itself: all that is random in a step comes from one generator that is seeded from (seed, step,
rank), so there is no random state to carry over a crash, and a resumed run walks the path of one that was
never stopped.
"""

from __future__ import annotations

import contextlib
import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vjepa_core.encoder.precision import inference_dtype
from vjepa_core.pretraining import checkpoint
from vjepa_core.pretraining.accumulation import Passes
from vjepa_core.pretraining.build import build_objective, build_optimiser, build_student
from vjepa_core.pretraining.config import PretrainConfig, as_dict, changed
from vjepa_core.pretraining.dense_labels import LabelledSource
from vjepa_core.pretraining.distributed import World
from vjepa_core.pretraining.ema import follow, teacher_of
from vjepa_core.pretraining.errors import PretrainingError
from vjepa_core.pretraining.log import StepLog
from vjepa_core.pretraining.monitors import CollapseMonitor
from vjepa_core.pretraining.objective import TERMS
from vjepa_core.pretraining.parallel import Reader, distribute, norm_of_all, scattered, whole
from vjepa_core.pretraining.schedule import cosine, ema_ends, learning_rate, momentum
from vjepa_core.pretraining.source import ClipSource, marked_batch

log = logging.getLogger(__name__)

MAX_BAD_STEPS = 5
_HEALTH = ("feature_std", "effective_rank", "top_share", "position_share", "grad_norm")
# What may change between a run and its continuation.
_FREE = {"steps", "micro_batch", "precision", "compile", "shard", "checkpoint_every", "start_from"}


@dataclass(frozen=True)
class Outcome:
    """How a call of `pretrain` ended.

    Attributes
    ----------
    steps : int
        Steps done since the run began.
    finished : bool
        False: stopped before, and saved; it can be resumed.
    last : dict
        Last line of the log; empty if no step was done.
    """

    steps: int
    finished: bool
    last: dict[str, Any]


def pretrain(
    config: PretrainConfig,
    source: ClipSource,
    run: Path,
    *,
    labelled: LabelledSource | None = None,
    world: World | None = None,
    resume: bool = False,
    folders: Sequence[Path] | None = None,
    on_step: Callable[[dict[str, Any]], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Outcome:
    """Train, or go on training, in the folder `run`.

    Parameters
    ----------
    config : PretrainConfig
    source : ClipSource
        Clips of `config.frames` frames and `config.size` pixels on `world.device`.
    run : Path
        Gets `config.json`, `log.jsonl`, `checkpoint.pt`.
    labelled : LabelledSource, optional
        Labelled clips of the same size; needed if `config.truth` counts.
    world : World, optional
        See `joined`; default this process alone on the CPU.
    resume : bool
        Go on from the checkpoint in `run`.
    folders : sequence of Path, optional
        Where `config.start_from` is looked for.
    on_step : callable, optional
        Gets the log's line of each step, in the leading process.
    should_stop : callable, optional
        Asked after each step; True saves and returns.

    Raises
    ------
    PretrainingError
        One sentence; the last checkpoint is unharmed.
    """
    world = world or World(torch.device("cpu"))
    trainer = Trainer(config, source, run, world, labelled=labelled, resume=resume, folders=folders)
    return trainer.train(on_step or (lambda _: None), should_stop or (lambda: False))


class Trainer:
    """State of a run and one step of it; see `pretrain`."""

    def __init__(
        self,
        config: PretrainConfig,
        source: ClipSource,
        run: Path,
        world: World,
        *,
        labelled: LabelledSource | None = None,
        resume: bool = False,
        folders: Sequence[Path] | None = None,
    ) -> None:
        if config.batch % world.size:
            raise PretrainingError(
                f"A batch of {config.batch} cannot be shared by {world.size} devices: choose a multiple."
            )
        if config.truth.peak > 0 and labelled is None:
            raise PretrainingError("The term truth needs labelled clips: give a source of them.")
        self.config, self.source, self.run, self.world = config, source, run, world
        self.labelled = labelled
        self.done = self.bad = 0
        self.monitor = CollapseMonitor()
        state = self._open(resume)
        student = build_student(config if state is None else _from_scratch(config), folders)
        self.objective = build_objective(student, config)
        self.teacher = teacher_of(self.objective.student)
        if state is not None:
            self._restore(state)
        on_gpu = world.device.type == "cuda"
        fast = inference_dtype(world.device) == torch.bfloat16
        # Processes on unlike processors may measure differently: what most of them found counts for all.
        auto = float(world.mean(torch.tensor(float(fast), device=world.device))) > 0.5
        if state is not None:  # a run stays what it was; those that do not tell are older
            auto = auto and bool(state.get("bf16", on_gpu))
        bf16 = config.precision == "bf16" or (config.precision == "auto" and auto)
        micro = config.micro_batch or config.batch // world.size
        if config.compile:
            self._compile()
        self.sharded = config.shard and world.size > 1
        reader = Reader(self.teacher)
        model = distribute(self.objective, reader, world, sharded=self.sharded, bf16=bf16)
        alone = world.size == 1
        self.passes = Passes(self.objective, model, reader, micro=micro, bf16=bf16, alone=alone)
        # Shards are slow one operation after the other, in Python, on CPUs too.
        self.optimiser = build_optimiser(self.objective, config, fused=on_gpu or self.sharded)
        if state is not None:
            self._restore_optimiser(state)
        if on_gpu:
            torch.set_float32_matmul_precision("high")
        self.generator = torch.Generator(world.device)

    def train(self, on_step: Callable[[dict[str, Any]], None], should_stop: Callable[[], bool]) -> Outcome:
        """Steps until the end, or until somebody says stop."""
        diary = StepLog(self.run, self.done) if self.world.leads else None
        entry: dict[str, Any] = {}
        stopped = False
        while self.done < self.config.steps and not stopped:
            entry, stopped = self.step(should_stop)
            if diary is not None:
                for sentence in entry.get("warnings", ()):
                    log.warning("%s", sentence)
                diary.write(entry)
                on_step(entry)
            if self.bad >= min(MAX_BAD_STEPS, self.config.steps):
                raise PretrainingError(
                    f"The loss was not a number in {self.bad} steps in a row, up to step {self.done}: lower "
                    "the learning rate or use precision fp32, in a new run."
                )
            # A skipped step leaves the weights as they were. Amid a run the older checkpoint is kept then,
            # in case this is the start of a failure; at the end there is no later step that could save.
            ends = stopped or self.done == self.config.steps
            due = self.done % self.config.checkpoint_every == 0 and not self.bad
            if (ends or due) and (self.world.leads or self.sharded):
                self.save()
        return Outcome(self.done, self.done >= self.config.steps, entry)

    def step(self, should_stop: Callable[[], bool] = lambda: False) -> tuple[dict[str, Any], bool]:
        """One step; its line for the log, and whether somebody wants to stop."""
        config, world, index = self.config, self.world, self.done
        started = time.perf_counter()
        self.generator.manual_seed(step_seed(config.seed, index, world.rank))
        clips, moving = marked_batch(self.source, config.batch // world.size, self.generator)
        self._check(clips)
        labelled = self._labelled(len(clips))
        waited = time.perf_counter() - started
        weights = {name: getattr(config, name).at(index, config.steps) for name in self.objective.terms}
        weights.setdefault("jepa", 0.0)
        draw = self.objective.draw(clips, self.generator, labelled, moving)
        found = self.passes.gradients(draw, weights)
        norm = torch.nn.utils.clip_grad_norm_(
            [p for p in self.objective.parameters() if p.requires_grad], config.optimiser.clip
        )
        if self.sharded:
            norm = norm_of_all(norm)
        lr, momentum_now = self._schedule(index)
        # One meeting of the processes and one wait for the device, for all numbers of the step.
        asked = torch.tensor(float(should_stop()), device=world.device)
        names = [*found, "grad_norm", "stop"]
        values = world.mean(torch.stack([*found.values(), norm.detach(), asked]).float()).tolist()
        numbers: dict[str, Any] = dict(zip(names, values, strict=True))
        sound = math.isfinite(numbers["loss"]) and math.isfinite(numbers["grad_norm"])
        sentences = []
        if sound:
            self.optimiser.step()
            follow(self.teacher, self.objective.student, momentum_now)
            sentences = self.monitor.update(numbers)
            self.bad = 0
        else:
            self.bad += 1
            sentences = [f"Step {index + 1} was skipped: its loss or gradient was not a number."]
        self.done += 1
        stop = numbers.pop("stop") > 0
        elapsed = time.perf_counter() - started
        entry = {
            "step": self.done,
            **{name: numbers.get(name) for name in ("loss", *(f"loss_{term}" for term in TERMS))},
            "lr": lr,
            "ema": momentum_now,
            **{f"weight_{name}": weight for name, weight in weights.items()},
            **{n: numbers[n] for n in _HEALTH},
            "clips_per_second": config.batch / elapsed,
            "data_wait": waited / elapsed,
            "micro_batch": self.passes.micro,
            "skipped": not sound,
        }
        if world.device.type == "cuda":
            entry["memory_gib"] = torch.cuda.max_memory_allocated(world.device) / 2**30
        return (entry | {"warnings": sentences} if sentences else entry), stop

    def save(self) -> None:
        """Write the checkpoint; with shards all processes have to call this together."""
        weights = {
            "objective": self.objective.state_dict(),
            "teacher": self.teacher.state_dict(),
            "optimiser": self.optimiser.state_dict(),
        }
        if self.sharded:
            weights = whole(weights, keep=self.world.leads)
        if not self.world.leads:
            return
        checkpoint.save(
            self.run,
            {
                "step": self.done,
                "world": self.world.size,
                "bf16": self.passes.bf16,
                "config": as_dict(self.config),
                **weights,
                "monitor": self.monitor.state(),
            },
        )

    def _schedule(self, index: int) -> tuple[float, float]:
        """Set learning rate and weight decay of this step; the rate and the EMA's momentum."""
        o, steps = self.config.optimiser, self.config.steps
        lr = learning_rate(
            index, steps, start=o.lr_start, peak=o.lr, end=o.lr_end, warmup=round(o.warmup * steps)
        )
        decay = cosine(o.weight_decay, o.weight_decay_end, index / max(steps - 1, 1))
        for group in self.optimiser.param_groups:
            group["lr"] = lr
            group["weight_decay"] = decay if group["decays"] else 0.0
        start, end = (o.ema, o.ema_end) if o.ema else ema_ends(steps)
        return lr, momentum(index, steps, start, end)

    def _labelled(self, n: int) -> tuple[Tensor, ...]:
        """Labelled clips to go with `n` others."""
        if self.labelled is None or self.config.truth.peak <= 0:
            return ()
        return self.labelled.labelled(max(1, round(self.config.truth_share * n)), self.generator)

    def _check(self, clips: Tensor) -> None:
        wanted = (
            self.config.batch // self.world.size,
            self.config.frames,
            self.config.size,
            self.config.size,
        )
        if clips.dtype != torch.uint8 or tuple(clips.shape) != wanted:
            raise PretrainingError(
                f"The data gave clips of {clips.dtype} {tuple(clips.shape)}, the run needs uint8 {wanted}."
            )

    def _open(self, resume: bool) -> dict[str, Any] | None:
        """Prepare the folder; the state to go on from, or None."""
        if resume:
            state = checkpoint.load(self.run)
            _refuse_other(state["config"], as_dict(self.config))
            if state["config"]["steps"] != self.config.steps:
                log.warning("The run's length was changed: its schedules stretch from here on.")
        else:
            state = None
            checkpoint.refuse_started(self.run)
        if self.world.leads:
            try:
                self.run.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise PretrainingError(f"{self.run} cannot be made a folder: choose another one.") from error
            checkpoint.write_config(self.run, self.config)
        return state

    def _restore(self, state: dict[str, Any]) -> None:
        with self._fits():
            self.objective.load_state_dict(state["objective"])
            self.teacher.load_state_dict(state["teacher"])
            self.monitor.restore(state["monitor"])
            self.done = int(state["step"])

    def _restore_optimiser(self, state: dict[str, Any]) -> None:
        with self._fits():
            stored = state["optimiser"]
            self.optimiser.load_state_dict(scattered(stored, self.optimiser) if self.sharded else stored)

    @contextlib.contextmanager
    def _fits(self) -> Iterator[None]:
        try:
            yield
        except (RuntimeError, ValueError, KeyError, TypeError, IndexError) as error:
            raise PretrainingError(
                f"The checkpoint in {self.run} does not fit its own configuration."
            ) from error

    def _compile(self) -> None:
        blocks = (self.objective.student.blocks, self.teacher.blocks, self.objective.predictor.blocks)
        for block in (b for stack in blocks for b in stack):
            block.compile(dynamic=False)


def step_seed(seed: int, step: int, rank: int) -> int:
    """Seed of everything random in one step of one process."""
    return int(np.random.SeedSequence((seed, step, rank)).generate_state(1, np.uint64)[0] >> np.uint64(1))


def _from_scratch(config: PretrainConfig) -> PretrainConfig:
    """The same shapes without reading a start that the checkpoint overwrites anyway."""
    return replace(config, start_from="")


def _refuse_other(stored: dict[str, Any], new: dict[str, Any]) -> None:
    old = as_dict(changed(PretrainConfig(), stored))  # an older version may have stored fewer settings
    other = sorted(
        key for key in old.keys() | new.keys() if key not in _FREE and old.get(key) != new.get(key)
    )
    if other:
        raise PretrainingError(
            f"The run was begun with another {', '.join(other)}: resume it as it was, or start another run."
        )

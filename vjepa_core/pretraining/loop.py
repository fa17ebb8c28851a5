"""Training loop for a CPU, a GPU, and several of them under torchrun (DDP or FSDP).

Runs are reproducible: all random numbers of a step come from one generator that is seeded from (seed, step,
rank). No random state is stored, and a resumed run gives the same results as an uninterrupted one.
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
from vjepa_core.pretraining.accumulation import GradientAccumulator
from vjepa_core.pretraining.build import build_objective, build_optimiser, build_student
from vjepa_core.pretraining.config import PretrainConfig, as_dict, with_values
from vjepa_core.pretraining.dense_labels import LabelledSource
from vjepa_core.pretraining.distributed import World
from vjepa_core.pretraining.ema import create_teacher, update_teacher
from vjepa_core.pretraining.errors import PretrainingError
from vjepa_core.pretraining.log import StepLog
from vjepa_core.pretraining.monitors import CollapseMonitor
from vjepa_core.pretraining.objective import TERMS
from vjepa_core.pretraining.parallel import (
    TeacherRunner,
    distribute,
    full_norm,
    gather_state,
    shard_optimiser_state,
)
from vjepa_core.pretraining.schedule import cosine, ema_ends, learning_rate, momentum
from vjepa_core.pretraining.source import ClipSource, marked_batch

log = logging.getLogger(__name__)

MAX_BAD_STEPS = 5
_HEALTH = ("feature_std", "effective_rank", "top_share", "position_share", "grad_norm")
# Fields that may change when a run is resumed.
_MUTABLE = {"steps", "micro_batch", "precision", "compile", "shard", "checkpoint_every", "start_from"}


@dataclass(frozen=True)
class Outcome:
    """Result of `pretrain`.

    Attributes
    ----------
    steps : int
        Steps done since the start of the run.
    finished : bool
        False if the run was stopped and saved; it can be resumed.
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
    """Start or resume a run in the folder `run`.

    Parameters
    ----------
    config : PretrainConfig
        Configuration.
    source : ClipSource
        Clips of `config.frames` frames and `config.size` pixels on `world.device`.
    run : Path
        Folder for `config.json`, `log.jsonl` and `checkpoint.pt`.
    labelled : LabelledSource, optional
        Labelled clips of the same size; required if `config.truth` has a weight.
    world : World, optional
        See `init_distributed`; default: this process only, on the CPU.
    resume : bool
        Continue from the checkpoint in `run`.
    folders : sequence of Path, optional
        Folders with encoder cards for `config.start_from`.
    on_step : callable, optional
        Called with the log line of each step, in the main process.
    should_stop : callable, optional
        Called after each step; if it returns True, the run is saved and stops.

    Returns
    -------
    Outcome
        State at the end.

    Raises
    ------
    PretrainingError
        With a one-sentence message; the last checkpoint is unchanged.
    """
    world = world or World(torch.device("cpu"))
    trainer = Trainer(config, source, run, world, labelled=labelled, resume=resume, folders=folders)
    return trainer.train(on_step or (lambda _: None), should_stop or (lambda: False))


class Trainer:
    """State of a run and its steps; see `pretrain` for the parameters."""

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
                f"A batch of {config.batch} cannot be divided among {world.size} devices: choose a multiple."
            )
        if config.truth.peak > 0 and labelled is None:
            raise PretrainingError("The loss term truth requires a source of labelled clips.")
        self.config, self.source, self.run, self.world = config, source, run, world
        self.labelled = labelled
        self.done = self.consecutive_bad = 0
        self.monitor = CollapseMonitor()
        state = self._open(resume)
        student = build_student(config if state is None else _from_scratch(config), folders)
        self.objective = build_objective(student, config)
        self.teacher = create_teacher(self.objective.student)
        if state is not None:
            self._restore(state)
        on_gpu = world.device.type == "cuda"
        fast = inference_dtype(world.device) == torch.bfloat16
        # Measurements may differ between processes: all use the result of the majority.
        auto = float(world.mean(torch.tensor(float(fast), device=world.device))) > 0.5
        if state is not None:  # keep the precision of the run; older checkpoints do not store it
            auto = auto and bool(state.get("bf16", on_gpu))
        bf16 = config.precision == "bf16" or (config.precision == "auto" and auto)
        micro = config.micro_batch or config.batch // world.size
        if config.compile:
            self._compile()
        self.sharded = config.shard and world.size > 1
        teacher_runner = TeacherRunner(self.teacher)
        model = distribute(self.objective, teacher_runner, world, sharded=self.sharded, bf16=bf16)
        single_process = world.size == 1
        self.accumulator = GradientAccumulator(
            self.objective, model, teacher_runner, max_clips=micro, bf16=bf16, single_process=single_process
        )
        # Without a fused optimiser, sharded parameters are slow, on CPUs too.
        self.optimiser = build_optimiser(self.objective, config, fused=on_gpu or self.sharded)
        if state is not None:
            self._restore_optimiser(state)
        if on_gpu:
            torch.set_float32_matmul_precision("high")
        self.generator = torch.Generator(world.device)

    def train(self, on_step: Callable[[dict[str, Any]], None], should_stop: Callable[[], bool]) -> Outcome:
        """Run steps until the end or until `should_stop` returns True."""
        step_log = StepLog(self.run, self.done) if self.world.is_main else None
        entry: dict[str, Any] = {}
        stopped = False
        while self.done < self.config.steps and not stopped:
            entry, stopped = self.step(should_stop)
            if step_log is not None:
                for sentence in entry.get("warnings", ()):
                    log.warning("%s", sentence)
                step_log.write(entry)
                on_step(entry)
            if self.consecutive_bad >= min(MAX_BAD_STEPS, self.config.steps):
                raise PretrainingError(
                    f"The loss was not finite in {self.consecutive_bad} consecutive steps, "
                    f"up to step {self.done}: start a new run with a lower learning rate or precision fp32."
                )
            # A skipped step does not change the weights. During a run, the older checkpoint is then kept,
            # because the run may be about to fail; at the end, the checkpoint is always written.
            ends = stopped or self.done == self.config.steps
            due = self.done % self.config.checkpoint_every == 0 and not self.consecutive_bad
            if (ends or due) and (self.world.is_main or self.sharded):
                self.save()
        return Outcome(self.done, self.done >= self.config.steps, entry)

    def step(self, should_stop: Callable[[], bool] = lambda: False) -> tuple[dict[str, Any], bool]:
        """Run one step.

        Returns
        -------
        entry : dict
            Line of the log.
        stop : bool
            True if `should_stop` returned True in any process.
        """
        config, world, index = self.config, self.world, self.done
        started = time.perf_counter()
        self.generator.manual_seed(step_seed(config.seed, index, world.rank))
        clips, moving = marked_batch(self.source, config.batch // world.size, self.generator)
        self._check(clips)
        labelled = self._labelled(len(clips))
        waited = time.perf_counter() - started
        weights = {name: getattr(config, name).at(index, config.steps) for name in self.objective.terms}
        weights.setdefault("jepa", 0.0)
        batch = self.objective.draw(clips, self.generator, labelled, moving)
        results = self.accumulator.gradients(batch, weights)
        norm = torch.nn.utils.clip_grad_norm_(
            [p for p in self.objective.parameters() if p.requires_grad], config.optimiser.clip
        )
        if self.sharded:
            norm = full_norm(norm)
        lr, momentum_now = self._schedule(index)
        # All numbers of the step together, so that processes and device are synchronised only once.
        stop_requested = torch.tensor(float(should_stop()), device=world.device)
        names = [*results, "grad_norm", "stop"]
        values = world.mean(torch.stack([*results.values(), norm.detach(), stop_requested]).float()).tolist()
        numbers: dict[str, Any] = dict(zip(names, values, strict=True))
        finite = math.isfinite(numbers["loss"]) and math.isfinite(numbers["grad_norm"])
        sentences = []
        if finite:
            self.optimiser.step()
            update_teacher(self.teacher, self.objective.student, momentum_now)
            sentences = self.monitor.update(numbers)
            self.consecutive_bad = 0
        else:
            self.consecutive_bad += 1
            sentences = [f"Step {index + 1} was skipped: its loss or gradient was not finite."]
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
            "micro_batch": self.accumulator.max_clips,
            "skipped": not finite,
        }
        if world.device.type == "cuda":
            entry["memory_gib"] = torch.cuda.max_memory_allocated(world.device) / 2**30
        return (entry | {"warnings": sentences} if sentences else entry), stop

    def save(self) -> None:
        """Write the checkpoint; with sharding, all processes have to call this."""
        weights = {
            "objective": self.objective.state_dict(),
            "teacher": self.teacher.state_dict(),
            "optimiser": self.optimiser.state_dict(),
        }
        if self.sharded:
            weights = gather_state(weights, keep=self.world.is_main)
        if not self.world.is_main:
            return
        checkpoint.save(
            self.run,
            {
                "step": self.done,
                "world": self.world.size,
                "bf16": self.accumulator.bf16,
                "config": as_dict(self.config),
                **weights,
                "monitor": self.monitor.state(),
            },
        )

    def _schedule(self, index: int) -> tuple[float, float]:
        """Set learning rate and weight decay of a step; return the learning rate and the EMA momentum."""
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
        """Draw the labelled clips for a step with `n` other clips."""
        if self.labelled is None or self.config.truth.peak <= 0:
            return ()
        return self.labelled.labelled(max(1, round(self.config.truth_share * n)), self.generator)

    def _check(self, clips: Tensor) -> None:
        expected = (
            self.config.batch // self.world.size,
            self.config.frames,
            self.config.size,
            self.config.size,
        )
        if clips.dtype != torch.uint8 or tuple(clips.shape) != expected:
            raise PretrainingError(
                f"The source returned clips of {clips.dtype} {tuple(clips.shape)}, but the run needs uint8 "
                f"{expected}."
            )

    def _open(self, resume: bool) -> dict[str, Any] | None:
        """Prepare the folder; return the state to resume, or None."""
        if resume:
            state = checkpoint.load(self.run)
            _check_same_config(state["config"], as_dict(self.config))
            if state["config"]["steps"] != self.config.steps:
                log.warning("The length of the run was changed: its schedules are adapted from here on.")
        else:
            state = None
            checkpoint.check_not_started(self.run)
        if self.world.is_main:
            try:
                self.run.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise PretrainingError(
                    f"The folder {self.run} cannot be created: choose another one."
                ) from error
            checkpoint.write_config(self.run, self.config)
        return state

    def _restore(self, state: dict[str, Any]) -> None:
        with self._checkpoint_errors():
            self.objective.load_state_dict(state["objective"])
            self.teacher.load_state_dict(state["teacher"])
            self.monitor.restore(state["monitor"])
            self.done = int(state["step"])

    def _restore_optimiser(self, state: dict[str, Any]) -> None:
        with self._checkpoint_errors():
            stored = state["optimiser"]
            self.optimiser.load_state_dict(
                shard_optimiser_state(stored, self.optimiser) if self.sharded else stored
            )

    @contextlib.contextmanager
    def _checkpoint_errors(self) -> Iterator[None]:
        try:
            yield
        except (RuntimeError, ValueError, KeyError, TypeError, IndexError) as error:
            raise PretrainingError(
                f"The checkpoint in {self.run} does not match its configuration."
            ) from error

    def _compile(self) -> None:
        blocks = (self.objective.student.blocks, self.teacher.blocks, self.objective.predictor.blocks)
        for block in (b for stack in blocks for b in stack):
            block.compile(dynamic=False)


def step_seed(seed: int, step: int, rank: int) -> int:
    """Return the seed of the random numbers of one step in one process."""
    return int(np.random.SeedSequence((seed, step, rank)).generate_state(1, np.uint64)[0] >> np.uint64(1))


def _from_scratch(config: PretrainConfig) -> PretrainConfig:
    """Return the configuration without `start_from`, whose weights the checkpoint would overwrite."""
    return replace(config, start_from="")


def _check_same_config(stored: dict[str, Any], new: dict[str, Any]) -> None:
    old = as_dict(with_values(PretrainConfig(), stored))  # an older version may have stored fewer fields
    different = sorted(
        key for key in old.keys() | new.keys() if key not in _MUTABLE and old.get(key) != new.get(key)
    )
    if different:
        raise PretrainingError(
            f"The run was started with another {', '.join(different)}: resume it with the same "
            "configuration, or start a new run."
        )

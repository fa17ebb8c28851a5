"""Train an encoder on cines without labels, with V-JEPA and 3D localisation.

DATA are cines, folders of cines, or packed sets. With --resume, a run that was stopped or killed continues,
or starts if it has saved nothing yet, so that a requeued job can repeat its command. With torchrun, all
machines use the same command.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import re
import shlex
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.commands.report import STOPPED, Report
from app.domain.errors import ApicalError
from app.encoders import registry
from app.storage.errors import export_error

if TYPE_CHECKING:
    from vjepa_core.pretraining.config import PretrainConfig
    from vjepa_core.pretraining.distributed import World
    from vjepa_core.pretraining.loop import Outcome
    from vjepa_core.pretraining.source import ClipSource

log = logging.getLogger(__name__)

_PROGRAM = "app.cli"
"""Module started by name in the processes of a run on several devices."""
_LINE_INTERVAL_S = 10.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the data and the options of the run."""
    parser.add_argument("data", type=Path, nargs="+", metavar="DATA", help="cines, folders or packed sets")
    parser.add_argument("--out", type=Path, metavar="RUN", help="folder of the run")
    parser.add_argument("--config", type=Path, metavar="FILE", help="TOML or JSON; see RUN/config.json")
    parser.add_argument("--steps", type=int, metavar="N", help="length of the run")
    parser.add_argument("--encoder", metavar="NAME", help="encoder to start from (default: random weights)")
    parser.add_argument("--name", metavar="NAME", help="name of the finished encoder (default: the folder's)")
    parser.add_argument(
        "--resume", action="store_true", help="continue from the last checkpoint in RUN, if any"
    )
    parser.add_argument(
        "--estimate", action="store_true", help="only estimate the data in use and the duration"
    )
    parser.add_argument(
        "--devices", type=int, default=1, metavar="N", help="number of GPUs, or of processes without GPU"
    )
    parser.add_argument(
        "--num-nodes", type=int, default=1, metavar="N", help="number of machines, each with the same command"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> Report:
    """Check the arguments, then train in this process or in several."""
    from vjepa_core.pretraining.checkpoint import check_not_started, has_checkpoint

    for path in args.data:
        if not path.exists():
            raise ApicalError(f"{path} does not exist; check the path.")
    if min(args.devices, args.num_nodes) < 1:
        raise ApicalError("--devices and --num-nodes must be at least 1.")
    if args.steps is not None and args.steps < 1:
        raise ApicalError(f"--steps is {args.steps}; it must be at least 1.")
    if args.out is None and (args.resume or not args.estimate):
        raise ApicalError("--out is missing: name a folder for the run.")
    config = _config(args)
    if args.estimate:
        return _estimate(args, config)
    if not args.resume:
        check_not_started(args.out)
    if args.devices * args.num_nodes > 1 and "WORLD_SIZE" not in os.environ:
        return _launch(args)
    # Decided before the processes synchronise, because the first checkpoint is written after that.
    resume = args.resume and has_checkpoint(args.out)
    if args.resume and not resume and os.environ.get("RANK", "0") == "0":
        sys.stderr.write(f"{args.out} contains no checkpoint yet: the run starts from the beginning.\n")
    return _train(args, config, resume=resume)


def _config(args: argparse.Namespace) -> PretrainConfig:
    import torch

    from vjepa_core.pretraining.checkpoint import has_checkpoint, has_config, read_stored_config
    from vjepa_core.pretraining.config import PretrainConfig, continued_config, read_config, small_config

    is_started = args.resume and (has_checkpoint(args.out) or has_config(args.out))
    found = None if args.encoder is None or is_started else registry.find(args.encoder)
    if is_started:
        config = read_stored_config(args.out)
    elif torch.cuda.is_available():
        config = continued_config(PretrainConfig()) if found and found.trained else PretrainConfig()
    else:
        # Two tubelets per clip: with 16 frames of 224 pixels, a step takes half a minute on a CPU.
        config = (
            replace(continued_config(small_config()), frames=4) if found and found.trained else small_config()
        )
    if args.config is not None:
        config = read_config(args.config, config)
    if found is not None:
        config = replace(config, start_from=found.name, architecture=found.architecture, fps=found.fps)
    return config if args.steps is None else replace(config, steps=args.steps)


def _launch(args: argparse.Namespace) -> Report:
    import torch

    from vjepa_core.pretraining.launch import launch

    gpus = torch.cuda.device_count()
    if gpus and args.devices > gpus:
        raise ApicalError(f"--devices is {args.devices}, but this machine has {gpus} GPUs.")
    command = [sys.executable, "-m", _PROGRAM, "pretrain", *_arguments(args)]
    code = launch(command, args.devices, args.num_nodes)
    args.json = False  # the leading process has printed the report
    return Report(code=code)


def _arguments(args: argparse.Namespace) -> list[str]:
    """Return the arguments of the command without those that only the first process needs."""
    arguments = [str(path) for path in args.data]
    for name in ("out", "config", "steps", "encoder", "name"):
        value = getattr(args, name)
        arguments += [] if value is None else [f"--{name}", str(value)]
    arguments += [f"--{name}" for name in ("resume", "json") if getattr(args, name)]
    return arguments


def _train(args: argparse.Namespace, config: PretrainConfig, *, resume: bool) -> Report:
    from vjepa_core.pretraining.dense_labels import labelled_source
    from vjepa_core.pretraining.distributed import init_distributed
    from vjepa_core.pretraining.export import export_encoder
    from vjepa_core.pretraining.loop import pretrain

    with init_distributed() as world, _stop_signals() as should_stop:
        is_main = world.is_main
        source = _source(args, config, world)
        with _StepLines(config.steps) as lines:
            outcome = pretrain(
                config,
                source,
                args.out,
                labelled=labelled_source(config, world.device),
                world=world,
                resume=resume,
                folders=registry.encoder_folders(),
                on_step=lines,
                should_stop=should_stop,
            )
        card = (
            export_encoder(args.out, args.out / "encoder", args.name or _name(args.out)) if is_main else None
        )
    if card is None:
        args.json = False
        return Report(code=0 if outcome.finished else STOPPED)
    return _report(args, outcome, card)


def _source(args: argparse.Namespace, config: PretrainConfig, world: World) -> ClipSource:
    """Return the user's clips, mixed with phantom clips as configured."""
    from vjepa_core.pretraining.dense_labels import with_phantom

    return with_phantom(_own_clips(args, config, world), config, world.device)


def _estimate(args: argparse.Namespace, config: PretrainConfig) -> Report:
    from app.pretraining.estimate import Estimate, survey_data, temporary_folder, time_step
    from vjepa_core.pretraining.dense_labels import labelled_source, with_phantom
    from vjepa_core.pretraining.distributed import init_distributed

    with temporary_folder() as folder, init_distributed() as world:
        sample = Path(folder) / "sample"
        survey = survey_data(args.data, sample, _progress_line)
        _progress_line("timing", 0, 1)
        step_s = time_step(
            config,
            sample,
            world,
            folders=registry.encoder_folders(),
            mix=lambda own: with_phantom(own, config, world.device),
            labelled=labelled_source(config, world.device),
        )
    estimate = Estimate(survey, config, world.device, step_s)
    return Report(estimate.data(), estimate.text())


def _progress_line(stage: str, done: int, total: int) -> None:
    sys.stderr.write(f"{stage} {done}/{total}\n")
    sys.stderr.flush()


def _own_clips(args: argparse.Namespace, config: PretrainConfig, world: World) -> ClipSource:
    """Create the source of the user's clips; on each machine, one process packs the cines for the others."""
    from app.pretraining.packing import clips_from

    is_first = os.environ.get("LOCAL_RANK", "0") == "0"
    options = {
        "target_fps": config.fps,
        "size": config.size,
        "clip": config.frames,
        "device": world.device,
    }
    source = None
    if is_first:
        if world.is_main:
            sys.stderr.write("reading the cines ...\n")
        try:
            source = clips_from(args.data, args.out / "data", **options)
        except OSError as error:
            raise export_error(args.out / "data", error) from error
    world.minimum(0)
    return source or clips_from(args.data, args.out / "data", **options)


def _report(args: argparse.Namespace, outcome: Outcome, card: Path) -> Report:
    last = outcome.last
    data: dict[str, Any] = {
        "run": str(args.out),
        "steps": outcome.steps,
        "finished": outcome.finished,
        "encoder": str(card),
        "last": last,
    }
    loss = f", loss {last['loss']:.4f}" if last.get("loss") is not None else ""
    text = f"{outcome.steps} steps{loss}. Log, checkpoint and encoder are in {args.out}."
    if not outcome.finished:
        arguments = [argument for argument in _arguments(args) if argument not in ("--resume", "--json")]
        text = (
            f"Stopped and saved after {outcome.steps} steps. Continue with:\n"
            f"apical pretrain {shlex.join(arguments)} --resume"
        )
    return Report(data, text, 0 if outcome.finished else STOPPED)


def _name(out: Path) -> str:
    """Return the default name of the encoder, from the name of the folder."""
    name = re.sub(r"[^\w.-]+", "-", out.absolute().name, flags=re.ASCII).strip("-._")
    return name or "pretrained"


@contextlib.contextmanager
def _stop_signals() -> Iterator[Callable[[], bool]]:
    """Stop the run after its current step on Ctrl+C or SIGTERM; a second Ctrl+C stops at once."""
    requested = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield requested.is_set
        return

    def request(number: int, _frame: object) -> None:
        requested.set()
        signal.signal(number, before[number])
        sys.stderr.write("\nStopping after this step ...\n")

    before = {int(n): signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)}
    for number in before:
        signal.signal(number, request)
    try:
        yield requested.is_set
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


_LOSSES = (
    ("loss", "loss"),
    ("localisation", "loss_loc"),
    ("context", "loss_ctx"),
    ("phantom labels", "loss_truth"),
)


class _StepLines:
    """Progress on stderr: one line that is rewritten on a terminal, a line every few seconds elsewhere."""

    def __init__(self, steps: int) -> None:
        self._steps = steps
        self._terminal = sys.stderr.isatty()
        self._shown_at = 0.0

    def __enter__(self) -> _StepLines:
        return self

    def __exit__(self, *_: object) -> None:
        if self._terminal:
            sys.stderr.write("\n")

    def __call__(self, entry: dict[str, Any]) -> None:
        now = time.monotonic()
        is_due = self._terminal or now - self._shown_at > _LINE_INTERVAL_S or entry["step"] == self._steps
        if not is_due:
            return
        self._shown_at = now
        parts = [f"step {entry['step']}/{self._steps}"]
        parts += [f"{label} {entry[name]:.4f}" for label, name in _LOSSES if entry.get(name) is not None]
        parts.append(f"{entry['clips_per_second']:.1f} clips/s")
        line = ", ".join(parts)
        sys.stderr.write(f"\r\x1b[K{line}" if self._terminal else f"{line}\n")
        sys.stderr.flush()

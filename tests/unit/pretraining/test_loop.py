"""Runs are reproducible and resumable, and errors are handled."""

from __future__ import annotations

import json
import logging
import math
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.unit.pretraining.runs import clips, source, tiny
from vjepa_core.encoder.catalogue import read_card
from vjepa_core.encoder.load import load_encoder
from vjepa_core.pretraining import loop
from vjepa_core.pretraining.accumulation import GradientAccumulator
from vjepa_core.pretraining.build import build_student
from vjepa_core.pretraining.config import PretrainConfig
from vjepa_core.pretraining.distributed import World
from vjepa_core.pretraining.errors import PretrainingError
from vjepa_core.pretraining.export import export_encoder, trained_encoder
from vjepa_core.pretraining.files import CHECKPOINT
from vjepa_core.pretraining.log import read_log
from vjepa_core.pretraining.loop import MAX_BAD_STEPS, Trainer, pretrain, step_seed
from vjepa_core.pretraining.source import MemorySource

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[3]
FIELDS = {
    "step",
    "loss",
    "loss_jepa",
    "loss_loc",
    "loss_ctx",
    "lr",
    "ema",
    "feature_std",
    "effective_rank",
    "top_share",
    "clips_per_second",
    "data_wait",
}


def _losses(run: Path) -> list[tuple[float, ...]]:
    names = ("step", "loss", "loss_jepa", "loss_loc", "lr", "ema", "feature_std", "grad_norm")
    return [tuple(entry[name] for name in names) for entry in read_log(run)]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of an uninterrupted run."""
    run = tmp_path_factory.mktemp("whole")
    outcome = pretrain(tiny(), source(), run)
    assert (outcome.steps, outcome.finished) == (6, True)
    return run


def test_each_step_gives_one_log_line_with_all_fields(whole: Path) -> None:
    entries = read_log(whole)
    assert [entry["step"] for entry in entries] == list(range(1, 7))
    assert all(entry.keys() >= FIELDS for entry in entries)
    assert entries[0]["loss_ctx"] is None
    # The weight of the other term rises from zero.
    assert entries[0]["loss"] == pytest.approx(entries[0]["loss_jepa"])


def test_a_killed_and_resumed_run_equals_an_uninterrupted_run(whole: Path, tmp_path: Path) -> None:
    script = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from tests.unit.pretraining.runs import source, tiny\n"
        "from vjepa_core.pretraining.loop import pretrain\n"
        "def die(entry):\n"
        "    if entry['step'] == 5:\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "pretrain(tiny(), source(), Path(sys.argv[1]), on_step=die)\n"
    )
    killed = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": str(torch.get_num_threads())},
        timeout=120,
        check=False,
    )
    assert killed.returncode != 0
    assert len(read_log(tmp_path)) == 5
    assert pretrain(tiny(), source(), tmp_path, resume=True).finished
    assert _losses(tmp_path) == _losses(whole)


def test_a_stopped_and_resumed_run_equals_an_uninterrupted_run(whole: Path, tmp_path: Path) -> None:
    done: list[int] = []
    outcome = pretrain(
        tiny(),
        source(),
        tmp_path,
        on_step=lambda entry: done.append(entry["step"]),
        should_stop=lambda: len(done) == 2,  # called in the third step
    )
    assert (outcome.steps, outcome.finished) == (3, False)
    pretrain(tiny(), source(), tmp_path, resume=True)
    assert _losses(tmp_path) == _losses(whole)
    weights = [torch.load(run / CHECKPOINT, weights_only=True)["teacher"] for run in (tmp_path, whole)]
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[1])


def test_smaller_passes_give_the_same_step(whole: Path, tmp_path: Path) -> None:
    pretrain(tiny(steps=6, micro_batch=1), source(), tmp_path)
    for one, other in zip(_losses(tmp_path), _losses(whole), strict=True):
        assert one == pytest.approx(other, rel=2e-2)
    assert _losses(tmp_path)[0] == pytest.approx(_losses(whole)[0], rel=1e-4)


def test_bfloat16_is_close_to_float32(whole: Path, tmp_path: Path) -> None:
    pretrain(tiny(precision="bf16"), source(), tmp_path)
    for half, full in zip(read_log(tmp_path), read_log(whole), strict=True):
        assert half["loss_jepa"] == pytest.approx(full["loss_jepa"], rel=0.05)


def test_training_lowers_the_loss(tmp_path: Path) -> None:
    config = tiny(steps=40, batch=4, checkpoint_every=100, optimiser={"ema": 0.99, "ema_end": 0.99})
    pretrain(config, MemorySource(clips(4)), tmp_path)
    losses = [entry["loss_jepa"] for entry in read_log(tmp_path)]
    assert sum(losses[-5:]) < 0.9 * sum(losses[:5])


def test_seeds_differ_between_steps_and_ranks() -> None:
    seeds = {step_seed(seed, step, rank) for seed in range(3) for step in range(50) for rank in range(3)}
    assert len(seeds) == 450
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_out_of_memory_reduces_the_clips_per_pass_with_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    real = GradientAccumulator._accumulate

    def tight(self: GradientAccumulator, draw: Any, weights: Mapping[str, float]) -> dict[str, Tensor]:
        if self.max_clips > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(self, draw, weights)

    monkeypatch.setattr(GradientAccumulator, "_accumulate", tight)
    with caplog.at_level(logging.WARNING):
        pretrain(tiny(steps=1, batch=4), source(), tmp_path)
    assert [record.getMessage() for record in caplog.records] == [
        "A pass with 4 clips does not fit into memory: continuing with 2.",
        "A pass with 2 clips does not fit into memory: continuing with 1.",
    ]
    assert read_log(tmp_path)[0]["micro_batch"] == 1


def test_a_single_clip_that_does_not_fit_ends_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(GradientAccumulator, "_accumulate", never)
    with pytest.raises(PretrainingError, match="smaller size"):
        pretrain(tiny(), source(), tmp_path)


def _with_nan_losses(bad: set[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the loss NaN in some steps, counted from 0."""
    real, calls = GradientAccumulator.gradients, iter(range(1000))

    def gradients(self: GradientAccumulator, draw: Any, weights: Mapping[str, float]) -> dict[str, Tensor]:
        found = real(self, draw, weights)
        if next(calls) in bad:
            next(self.objective.predictor.parameters()).grad.fill_(float("nan"))  # type: ignore[union-attr]
            found["loss"] = found["loss"] * float("nan")
        return found

    monkeypatch.setattr(GradientAccumulator, "gradients", gradients)


def test_a_step_with_a_nan_loss_is_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    _with_nan_losses({1}, monkeypatch)
    trainer = Trainer(tiny(), source(), tmp_path, World(torch.device("cpu")), resume=False, folders=None)
    trainer.step()
    before = {k: v.clone() for k, v in trainer.objective.state_dict().items()}
    entry, _ = trainer.step()
    assert entry["skipped"]
    assert all(torch.equal(before[k], v) for k, v in trainer.objective.state_dict().items())
    assert "skipped" in entry["warnings"][0]
    entry, _ = trainer.step()
    assert not entry["skipped"]
    assert trainer.consecutive_bad == 0


def test_many_nan_losses_end_the_run_with_a_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _with_nan_losses(set(range(2, 100)), monkeypatch)
    with pytest.raises(PretrainingError, match=f"{MAX_BAD_STEPS} consecutive steps"):
        pretrain(tiny(steps=20), source(), tmp_path)
    state = torch.load(tmp_path / CHECKPOINT, weights_only=True)
    assert state["step"] == 2
    assert all(bool(value.isfinite().all()) for value in state["objective"].values())


@pytest.mark.parametrize("stop_at", [None, 3])
def test_a_run_whose_last_step_is_skipped_saves_its_weights(
    stop_at: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    last = stop_at or 5
    _with_nan_losses({last - 1}, monkeypatch)
    steps = iter(range(1, 100))
    outcome = pretrain(tiny(steps=5), source(), tmp_path, should_stop=lambda: next(steps) == stop_at)
    assert (outcome.steps, outcome.finished, outcome.last["skipped"]) == (last, stop_at is None, True)
    state = torch.load(tmp_path / CHECKPOINT, weights_only=True)
    assert state["step"] == last
    assert all(bool(value.isfinite().all()) for value in state["objective"].values())


def test_a_run_of_skipped_steps_only_is_not_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _with_nan_losses({0, 1}, monkeypatch)
    with pytest.raises(PretrainingError, match="2 consecutive steps"):
        pretrain(tiny(steps=2), source(), tmp_path)
    assert not (tmp_path / CHECKPOINT).exists()


def test_a_run_is_neither_overwritten_nor_resumed_with_another_configuration(whole: Path) -> None:
    with pytest.raises(PretrainingError, match="--resume"):
        pretrain(tiny(), source(), whole)
    with pytest.raises(PretrainingError, match="another seed"):
        pretrain(tiny(seed=1), source(), whole, resume=True)


def test_resuming_without_a_checkpoint_gives_an_error(tmp_path: Path) -> None:
    with pytest.raises(PretrainingError, match="without --resume"):
        pretrain(tiny(), source(), tmp_path, resume=True)


def test_clips_of_another_size_are_rejected(tmp_path: Path) -> None:
    with pytest.raises(PretrainingError, match="needs uint8"):
        pretrain(tiny(size=48), source(), tmp_path)


def test_the_exported_encoder_can_be_loaded_and_trained_further(whole: Path, tmp_path: Path) -> None:
    folder = tmp_path / "encoders"
    card = export_encoder(whole, folder, "small-one")
    assert card == folder / "small-one.json"
    encoder, found = load_encoder("small-one", folders=[folder])
    assert (found.trained, found.family, found.fps) == (True, "V-JEPA 2.1", 30.0)
    state = torch.load(whole / CHECKPOINT, weights_only=True)["teacher"]
    torch.testing.assert_close(
        encoder.state_dict()["blocks.3.mlp.fc1.weight"],
        state["blocks.3.mlp.fc1.weight"],
        atol=1e-3,
        rtol=1e-3,
    )
    config = tiny(start_from="small-one", steps=1)
    trainer = Trainer(
        config, source(), tmp_path / "run", World(torch.device("cpu")), resume=False, folders=[folder]
    )
    warm = trainer.objective.student.state_dict()
    assert all(torch.equal(warm[key], value) for key, value in encoder.state_dict().items())
    assert not trainer.step()[0]["skipped"]
    trainer.save()
    continued = export_encoder(tmp_path / "run", folder, "continued")
    assert "Continued from small-one" in json.loads(continued.read_text(encoding="utf-8"))["description"]


@pytest.mark.parametrize(("form", "family"), [("vjepa1", "V-JEPA"), ("vjepa2", "V-JEPA 2")])
def test_encoders_of_older_forms_can_be_trained_further(form: str, family: str, tmp_path: Path) -> None:
    architecture = f"vit_w48d4h2m96_patch16_64_t2.{form}"
    config = tiny(architecture=architecture, steps=2, deep=True)
    pretrain(config, source(), tmp_path / "run")
    card = read_card(export_encoder(tmp_path / "run", tmp_path, "older"))
    assert (card.family, card.architecture) == (family, architecture)
    goes_on = tiny(start_from="older", architecture=architecture, steps=1)
    pretrain(goes_on, source(), tmp_path / "on", folders=[tmp_path])
    (line,) = read_log(tmp_path / "on")
    assert math.isfinite(line["loss"])
    assert line["effective_rank"] > 1


def test_after_a_short_run_the_teacher_is_close_to_the_student(tmp_path: Path) -> None:
    config = tiny(steps=12, optimiser={"lr": 1e-3, "lr_start": 1e-3})
    pretrain(config, source(), tmp_path)
    teacher, student = (
        torch.cat([p.flatten() for p in trained_encoder(tmp_path, which)[0].parameters()])
        for which in ("teacher", "student")
    )
    start = torch.cat([p.flatten() for p in build_student(config).parameters()])
    assert (teacher - student).norm() < 0.5 * (student - start).norm()


def test_a_run_is_resumed_only_with_the_same_task(whole: Path) -> None:
    other = tiny(localisation={"pairing": "same-cell"})
    with pytest.raises(PretrainingError, match="another localisation"):
        pretrain(other, source(), whole, resume=True)


def test_a_name_outside_the_folder_is_rejected(whole: Path, tmp_path: Path) -> None:
    with pytest.raises(PretrainingError, match="not a valid encoder name"):
        export_encoder(whole, tmp_path, "../elsewhere")


def test_an_encoder_of_another_size_cannot_be_the_start(whole: Path, tmp_path: Path) -> None:
    export_encoder(whole, tmp_path, "tiny-one")
    config = tiny(start_from="tiny-one", architecture="vit_small_patch16_224_t2")
    with pytest.raises(PretrainingError, match="use the same architecture"):
        pretrain(config, source(), tmp_path / "run", folders=[tmp_path])


def test_a_batch_that_is_not_divisible_by_the_devices_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(PretrainingError, match="multiple"):
        Trainer(
            tiny(batch=3),
            source(),
            tmp_path,
            World(torch.device("cpu"), 0, 2),
            resume=False,
            folders=None,
        )


def test_two_processes_train_one_model(tmp_path: Path) -> None:
    script = (
        "import sys, torch\n"
        "from pathlib import Path\n"
        "from tests.unit.pretraining.runs import source, tiny\n"
        "from vjepa_core.pretraining.loop import Trainer\n"
        "from vjepa_core.pretraining.distributed import init_distributed\n"
        "torch.set_num_threads(1)\n"
        "with init_distributed() as world:\n"
        "    config = tiny(batch=4, micro_batch=1, ctx={'peak': 0.5}, deep=True, steps=3)\n"
        "    trainer = Trainer(config, source(), Path(sys.argv[1]), world, resume=False, folders=None)\n"
        "    trainer.train(lambda _: None, lambda: False)\n"
        "    state = trainer.objective.state_dict()\n"
        "    print(world.rank, sum(v.double().sum().item() for v in state.values()), file=sys.stderr)\n"
        "    torch.save(state, Path(sys.argv[1]) / f'rank{world.rank}.pt')\n"
    )
    launcher = (
        "import sys\n"
        "from vjepa_core.pretraining.launch import launch\n"
        "sys.exit(launch([sys.executable, *sys.argv[1:]], 2))\n"
    )
    environment = {k: v for k, v in os.environ.items() if k not in ("WORLD_SIZE", "RANK", "LOCAL_RANK")}
    done = subprocess.run(
        [sys.executable, "-c", launcher, "-c", script, str(tmp_path)],
        env={**environment, "PYTHONPATH": str(ROOT)},
        timeout=240,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    first, second = (torch.load(tmp_path / f"rank{rank}.pt", weights_only=True) for rank in (0, 1))
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert [entry["step"] for entry in read_log(tmp_path)] == [1, 2, 3]


def test_fields_that_may_change_exist() -> None:
    fields = set(PretrainConfig.__dataclass_fields__)
    assert fields >= loop._MUTABLE


@pytest.mark.parametrize(("stored", "used"), [(True, True), (False, False), (None, False)])
def test_a_resumed_run_keeps_its_precision(
    stored: bool | None, used: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "inference_dtype", lambda device: torch.bfloat16)
    config = tiny(precision="auto", steps=4)
    pretrain(config, source(), tmp_path, should_stop=lambda: True)
    state = torch.load(tmp_path / CHECKPOINT, weights_only=True)
    assert state.pop("bf16") is True
    torch.save(state if stored is None else {**state, "bf16": stored}, tmp_path / CHECKPOINT)
    trainer = Trainer(config, source(), tmp_path, World(torch.device("cpu")), resume=True)
    assert trainer.accumulator.bf16 is used

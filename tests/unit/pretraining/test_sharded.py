"""Two processes with sharded weights give the same results as one process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.unit.pretraining.runs import source
from tests.unit.pretraining.sharded_runs import settings
from vjepa_core.encoder.load import load_encoder
from vjepa_core.pretraining.distributed import World
from vjepa_core.pretraining.export import export_encoder
from vjepa_core.pretraining.files import CHECKPOINT
from vjepa_core.pretraining.log import read_log
from vjepa_core.pretraining.loop import Trainer, pretrain

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[3]
NAMES = ("loss", "loss_jepa", "loss_loc", "loss_ctx", "grad_norm", "feature_std", "lr", "ema")
LAUNCH = "import sys\nfrom vjepa_core.pretraining.launch import launch\nsys.exit(launch(sys.argv[1:], 2))\n"


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the runs of two processes (see `sharded_runs`) and of one process ("alone")."""
    folder = tmp_path_factory.mktemp("sharded")
    environment = {k: v for k, v in os.environ.items() if k not in ("WORLD_SIZE", "RANK", "LOCAL_RANK")}
    command = [sys.executable, "-m", "tests.unit.pretraining.sharded_runs", str(folder)]
    done = subprocess.run(
        [sys.executable, "-c", LAUNCH, *command],
        cwd=ROOT,
        env={**environment, "PYTHONPATH": str(ROOT)},
        timeout=600,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    pretrain(settings(batch=2), source(), folder / "alone")
    return folder


def _numbers(run: Path) -> list[tuple[float, ...]]:
    return [tuple(entry[name] for name in NAMES) for entry in read_log(run)]


def _state(run: Path) -> dict[str, Any]:
    state: dict[str, Any] = torch.load(run / CHECKPOINT, weights_only=True)
    return state


@pytest.mark.parametrize("name", ["sharded", "resumed", "crossed"])
def test_losses_match_those_of_one_process(runs: Path, name: str) -> None:
    for one, other in zip(_numbers(runs / name), _numbers(runs / "alone"), strict=True):
        assert one == pytest.approx(other, rel=1e-4)


def test_a_resumed_run_is_bit_identical(runs: Path) -> None:
    assert _numbers(runs / "resumed") == _numbers(runs / "sharded")
    one, other = _state(runs / "resumed"), _state(runs / "sharded")
    for part in ("objective", "teacher"):
        assert all(torch.equal(one[part][key], value) for key, value in other[part].items())
    for number, values in other["optimiser"]["state"].items():
        assert all(torch.equal(one["optimiser"]["state"][number][key], v) for key, v in values.items())


def test_final_weights_match_those_of_one_process(runs: Path) -> None:
    one, other = _state(runs / "sharded"), _state(runs / "alone")
    for part in ("objective", "teacher"):
        assert one[part].keys() == other[part].keys()
        for key, value in other[part].items():
            torch.testing.assert_close(one[part][key], value, atol=1e-5, rtol=1e-3)


def test_bfloat16_is_close_to_float32(runs: Path) -> None:
    half, full = (read_log(runs / name)[0] for name in ("half", "alone"))
    assert half["loss"] == pytest.approx(full["loss"], rel=0.05)
    assert half["grad_norm"] == pytest.approx(full["grad_norm"], rel=0.1)


def test_one_process_can_resume_a_sharded_run_and_export_its_encoder(runs: Path, tmp_path: Path) -> None:
    stored = _state(runs / "sharded")
    trainer = Trainer(
        settings(shard=True), source(), runs / "sharded", World(torch.device("cpu")), resume=True
    )
    assert trainer.done == stored["step"]
    for key, value in trainer.objective.state_dict().items():
        assert torch.equal(stored["objective"][key], value)
    moments = trainer.optimiser.state_dict()["state"]
    assert all(
        torch.equal(stored["optimiser"]["state"][n]["exp_avg"], m["exp_avg"]) for n, m in moments.items()
    )

    export_encoder(runs / "sharded", tmp_path, "shared")
    encoder, _ = load_encoder("shared", folders=[tmp_path])
    torch.testing.assert_close(
        encoder.state_dict()["blocks.3.mlp.fc1.weight"],
        stored["teacher"]["blocks.3.mlp.fc1.weight"],
        atol=1e-3,
        rtol=1e-3,
    )

"""Script of each of two processes in `test_sharded`: runs with and without sharding, some of them resumed."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.unit.pretraining.runs import source, tiny
from vjepa_core.pretraining import loop
from vjepa_core.pretraining.config import PretrainConfig
from vjepa_core.pretraining.distributed import World, init_distributed
from vjepa_core.pretraining.loop import Trainer

STEPS = 2
real_seed = loop.step_seed


def settings(**values: Any) -> PretrainConfig:
    """Return a configuration with two clips per process in two passes and all terms without labels."""
    return tiny(
        **{"batch": 4, "micro_batch": 1, "steps": STEPS, "deep": True, "ctx": {"peak": 0.5}, **values}
    )


def _train(run: Path, world: World, *, until: int = STEPS, resume: bool = False, **values: Any) -> Trainer:
    trainer = Trainer(settings(**values), source(), run, world, resume=resume)
    trainer.train(lambda _: None, lambda: trainer.done + 1 >= until)
    world.minimum(0)  # wait until the file exists for all processes
    return trainer


def main(folder: Path) -> None:
    """Run all configurations, each in a subfolder of `folder`."""
    torch.set_num_threads(1)
    # Both processes draw the same clips, so that their mean equals the result of one process.
    with init_distributed() as world, pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "step_seed", lambda seed, step, _rank: real_seed(seed, step, 0))
        trainer = _train(folder / "sharded", world, shard=True)
        for model in (trainer.objective.student, trainer.teacher):
            weight: Any = model.blocks[0].get_parameter("mlp.fc1.weight")
            assert 2 * weight.to_local().numel() == weight.numel()
        _train(folder / "resumed", world, until=1, shard=True)
        _train(folder / "resumed", world, resume=True, shard=True)
        _train(folder / "crossed", world, until=1, shard=False)
        _train(folder / "crossed", world, resume=True, shard=True)
        _train(folder / "half", world, until=1, shard=True, precision="bf16")


if __name__ == "__main__":
    main(Path(sys.argv[1]))

"""The pre-training benchmark: peer, rows and errors."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.unit.pretraining.runs import clips, tiny
from vjepa_core.bench import pretrain
from vjepa_core.bench.device import matrix_rate, peak_memory
from vjepa_core.bench.full_token_peer import every_token_config, use_every_token
from vjepa_core.bench.pretrain_process import Task
from vjepa_core.encoder.models import create_encoder
from vjepa_core.pretraining.build import build_objective
from vjepa_core.pretraining.errors import PretrainingError

CPU = torch.device("cpu")


def test_the_peer_has_the_same_weights_and_terms_and_sees_all_tokens() -> None:
    config = every_token_config(tiny())
    objective = build_objective(create_encoder(config.architecture), config)
    hidden = objective.draw(clips(2), torch.Generator().manual_seed(1)).masks[0].target
    before = copy.deepcopy(objective.state_dict())
    use_every_token(objective)
    draw = objective.draw(clips(2), torch.Generator().manual_seed(1))
    masks = draw.masks[0]
    assert torch.equal(masks.target, hidden)
    assert torch.equal(masks.context, torch.arange(32).expand(2, -1))
    with torch.no_grad():
        terms = objective(draw, objective.targets(objective.student, clips(2))[0])
    assert terms.keys() == {"jepa", "loc"}
    assert all(bool(value.isfinite()) for value in terms.values())
    assert all(torch.equal(before[key], value) for key, value in objective.state_dict().items())

    # Hidden positions get the mask token, independent of the student's output.
    context = torch.randn(2, 32, objective.latents)
    spoilt = context.scatter(1, hidden.unsqueeze(-1).expand(-1, -1, objective.latents), 9.0)
    one, other = (objective.predictor(tokens, masks, 0)[0] for tokens in (spoilt, context))
    torch.testing.assert_close(one, other)


def test_rows_and_ratios_from_the_results_of_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    tasks: list[Task] = []

    def fake_process(task: Task, *_: Any) -> dict[str, Any]:
        tasks.append(task)
        second = 0.4 if task.every_token else 0.1
        return {
            "seconds": [second] * task.steps,
            "waits": [second / 10] * task.steps,
            "micro_batch": 2,
            "peak_bytes": 3000 if task.every_token else 1000,
            "matrix_flops": 1e11 * len(tasks),
            "device": "CPU",
            "precision": "fp32",
            "threads": 2,
        }

    monkeypatch.setattr(pretrain, "_fresh_process", fake_process)
    result = pretrain.run(tiny(), steps=5)
    assert [task.every_token for task in tasks] == [False, True, False, True]
    assert [task.steps for task in tasks] == [2, 2, 3, 3]
    assert result.keys() == {"name", "machine", "rows", "ratios"}
    ours, peer = result["rows"]
    assert (ours["steps"], ours["clips_per_second"]) == (5, pytest.approx(20))
    assert ours["data_wait"] == pytest.approx(0.1)
    assert ours["utilisation"] == pytest.approx(20 * ours["clip_flops"] / 4e11)
    assert peer["clip_flops"] > ours["clip_flops"]
    assert list(result["ratios"].values()) == [pytest.approx(4), pytest.approx(3)]


def test_a_failed_process_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(PretrainingError, match="packed set"):
        pretrain.run(tiny(), steps=1, data=[tmp_path])


def test_the_device_is_measured() -> None:
    assert matrix_rate(CPU, torch.float32, side=64, seconds=0.01) > 1e6
    peak = peak_memory(CPU)
    assert peak is None or peak > 50 * 2**20

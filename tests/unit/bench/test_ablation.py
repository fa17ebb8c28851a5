"""The ablation experiment: arms, scores and continuation."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from vjepa_core.bench import ablation
from vjepa_core.bench.arm_scores import Protocol, nested_patients, score
from vjepa_core.bench.camus import BenchError, Stills
from vjepa_core.bench.flops import clip_flops
from vjepa_core.encoder.initialise import initialise
from vjepa_core.encoder.models import create_encoder
from vjepa_core.pretraining.config import PretrainConfig, small_config, with_values
from vjepa_core.pretraining.export import trained_encoder
from vjepa_core.pretraining.source import MemorySource

ROOT = Path(__file__).parents[3]
ARMS = ("U", "A", "D")
PROTOCOL = Protocol(frames=4, size=64, patients=(1, 2, 4), primary_patients=2, head_steps=2)


def base(**values: object) -> PretrainConfig:
    """A configuration of two steps of two clips."""
    tiny = {"frames": 4, "size": 64, "batch": 2, "steps": 2, "checkpoint_every": 1, "precision": "fp32"}
    config: PretrainConfig = with_values(small_config(), {**tiny, **values})
    return config


def stills(n: int = 8) -> Stills:
    """Noise with a square of each class, two images per patient."""
    images = np.random.default_rng(0).integers(0, 255, (n, 64, 64)).astype(np.uint8)
    masks = np.zeros_like(images)
    for value in (1, 2, 3):
        masks[:, 16 * value : 16 * value + 12, 16:40] = value
    return Stills(images, masks, np.array([f"patient{i // 2:04d}" for i in range(n)]))


def run_experiment(out: Path, **options: Any) -> dict[str, Any]:
    """Run or continue an experiment with two arms, their start and one seed."""
    clips = torch.from_numpy(stills().images)[:, None].expand(-1, 4, -1, -1).contiguous()
    options = {"arms": ARMS, "seeds": (0,), "protocol": PROTOCOL, **options}
    config = options.pop("config", base())
    ablation.run(config, MemorySource(clips), stills(), stills(), out, device=torch.device("cpu"), **options)
    return ablation.report(out)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("ablation")
    run_experiment(out)
    return out


def test_configurations_of_the_arms() -> None:
    on = {
        arm: {t for t in ("jepa", "loc", "ctx", "pixels", "truth") if getattr(config, t).peak > 0}
        for arm in ablation.ARMS
        for config in [ablation.arm_config(arm, base())]
    }
    assert on["A"] == {"jepa"}
    assert on["B"] == on["C"] == on["D"] == {"jepa", "loc"}
    assert on["M"] == {"pixels"}
    assert (on["P"], on["PA"], on["PD"]) == ({"truth"}, {"jepa", "truth"}, {"jepa", "loc", "truth"})
    tasks = {arm: ablation.arm_config(arm, base()).localisation for arm in "BCD"}
    assert (tasks["B"].pairing, tasks["D"].pairing) == ("any", "same-cell")
    assert with_values(tasks["D"], {"unrelated_targets": True}) == tasks["C"]
    with pytest.raises(BenchError, match="no arm Z"):
        ablation.arm_config("Z", base())
    with pytest.raises(BenchError, match="no localisation"):
        ablation.arm_config("A", base(loc={"peak": 0.0}))


@pytest.mark.parametrize("arm", ["A", "B", "C", "M"])
def test_arms_use_the_same_number_of_operations(arm: str) -> None:
    config, ours = (ablation.arm_config(name, base(steps=500)) for name in (arm, "D"))
    assert ours.steps == 500
    total = config.steps * clip_flops(config).total
    assert total == pytest.approx(ours.steps * clip_flops(ours).total, rel=0.01)


def test_sets_of_patients_are_nested_and_equal_for_all_arms() -> None:
    order = nested_patients(stills(40), 3)
    assert sorted(order.tolist()) == sorted(set(stills(40).patients.tolist()))
    assert np.array_equal(order, nested_patients(stills(40), 3))
    assert not np.array_equal(order, nested_patients(stills(40), 4))


def test_rows_of_both_heads_and_all_sets_of_patients() -> None:
    encoder = create_encoder("vit_tiny_patch16_224_t2")
    initialise(encoder, 0)
    rows = score(encoder.eval(), stills(), stills(), PROTOCOL, seed=0)
    assert [(row["head"], row["patients"]) for row in rows] == [
        (head, n) for head in ("linear", "conv") for n in (1, 2, 4)
    ]
    assert all(0 <= row["mean"] <= 1 for row in rows)
    with pytest.raises(BenchError, match="4 labelled patients"):
        score(encoder, stills(), stills(), Protocol(frames=4, size=64), seed=0)


def test_a_finished_experiment_has_rows_of_teacher_and_student(whole: Path) -> None:
    found = ablation.report(whole)
    kinds = {(row["arm"], row["encoder"]) for row in found["rows"]}
    assert kinds == {("U", "start")} | {(arm, w) for arm in "AD" for w in ("teacher", "student")}
    assert len(found["rows"]) == 5 * 6
    assert set(found["compared"]["D - A"]) == set(found["compared"]["A - U"]) == {"0"}
    assert found["compared"]["D - C"] == {}
    assert found["unfinished"] == {}


def test_student_and_teacher_are_read_from_one_run(whole: Path) -> None:
    teacher, student = (trained_encoder(whole / "runs" / "A-0", w)[0] for w in ("teacher", "student"))
    assert any(not torch.equal(p, q) for p, q in zip(teacher.parameters(), student.parameters(), strict=True))


def test_a_killed_experiment_continues_with_equal_scores(whole: Path, tmp_path: Path) -> None:
    script = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from tests.unit.bench.test_ablation import run_experiment\n"
        "def die(stage, done, total):\n"
        "    if stage == 'D-0: step' and done == 1:\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "run_experiment(Path(sys.argv[1]), on_progress=die)\n"
    )
    threads = str(torch.get_num_threads())
    killed = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": threads},
        timeout=300,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL
    part = ablation.report(tmp_path)
    assert {row["arm"] for row in part["rows"]} == {"U", "A"}
    assert {name: (one["step"], one["steps"]) for name, one in part["unfinished"].items()} == {"D-0": (1, 2)}
    stages: list[str] = []
    found = run_experiment(tmp_path, on_progress=lambda stage, done, total: stages.append(stage))
    assert "A-0: step" not in stages
    assert found["rows"] == ablation.report(whole)["rows"]


def test_a_run_is_measured_during_training(whole: Path) -> None:
    found = ablation.probes(whole / "runs" / "A-0")
    assert [sorted(one) for one in found] == [["start", "step"]] + 3 * [["step", "student", "teacher"]]
    assert [one["step"] for one in found] == [0, 1, 2, 3]


def test_an_invalid_experiment_is_rejected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The start, then teacher and student for each of two checkpoints.
    scores = iter([0.5, 0.44, 0.6, 0.44, 0.6])
    monkeypatch.setattr(ablation, "score", lambda *_, **__: [{"mean": next(scores)}])
    with pytest.raises(BenchError, match=r"scores 44\.0 after 2 of 4 steps.*optimiser\.lr"):
        run_experiment(tmp_path, arms=("A",))


def test_scores_of_another_experiment_are_rejected(whole: Path) -> None:
    with pytest.raises(BenchError, match="another config"):
        run_experiment(whole, config=base(steps=3))
    with pytest.raises(BenchError, match="another protocol"):
        run_experiment(whole, protocol=Protocol(frames=4, size=64, patients=(1,), primary_patients=1))


def test_a_folder_without_an_experiment_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="no readable experiment"):
        ablation.report(tmp_path)
    (tmp_path / "asked.json").write_text(json.dumps([1]))
    (tmp_path / "scores").mkdir()
    (tmp_path / "scores" / "A-0.json").write_text("{")
    with pytest.raises(BenchError, match="no readable experiment"):
        ablation.report(tmp_path)


@pytest.mark.parametrize(
    ("over_a", "over_c", "floor", "expected"),
    [
        ([0.03] * 5, [0.025] * 5, [0.1], "Met"),
        ([0.03] * 5, [0.01] * 5, [0.1], "Not met"),
        ([0.00] * 5, [0.03] * 5, [0.1], "Not met"),
        ([0.03] * 5, [0.03] * 4, [0.1], "Not decided: 4 of 5"),
        ([0.03] * 5, [0.03] * 5, [-0.1], "Not valid"),
    ],
)
def test_the_verdict_follows_from_the_differences(
    over_a: list[float], over_c: list[float], floor: list[float], expected: str
) -> None:
    def by_seed(values: list[float]) -> dict[str, float]:
        return {str(i): value for i, value in enumerate(values)}

    compared = {"D - A": by_seed(over_a), "D - C": by_seed(over_c), "A - U": by_seed(floor)}
    assert ablation.verdict(compared).startswith(expected)

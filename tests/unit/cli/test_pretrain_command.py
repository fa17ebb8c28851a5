"""`apical pretrain` on pydicom's sample cine."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from app import cli
from vjepa_core.encoder.load import load_encoder
from vjepa_core.pretraining.log import read_log

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[3]
SMALL = (
    "frames = 4\nsize = 64\nbatch = 2\ncheckpoint_every = 2\n[predictor]\nwidth = 24\ndepth = 1\nheads = 1\n"
)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "small.toml"
    file.write_text(SMALL + "[optimiser]\nlr = 1e-4\n")
    return file


def _lines(text: str) -> list[str]:
    return text.strip().splitlines()


@pytest.mark.parametrize(
    ("words", "word"),
    [
        (["nowhere", "--out", "run"], "does not exist"),
        (["."], "--out"),
        ([".", "--out", "run", "--steps", "0"], "--steps"),
        ([".", "--out", "run", "--devices", "0"], "--devices"),
        ([".", "--out", "run", "--encoder", "nobody"], "nobody"),
        ([".", "--out", "run", "--config", "none.toml"], "none.toml"),
        ([".", "--out", "run", "--num-nodes", "2"], "MASTER_ADDR"),
    ],
)
def test_bad_usage_is_one_line_and_writes_nothing(
    words: list[str],
    word: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    assert cli.main(["pretrain", *words]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert len(_lines(err)) == 1
    assert word in err
    assert list(tmp_path.iterdir()) == []


def test_a_run_writes_log_checkpoint_and_encoder(
    demo_cine_path: Path, config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "my run"
    words = ["pretrain", str(demo_cine_path), "--out", str(run), "--config", str(config), "--json"]
    assert cli.main([*words, "--steps", "2"]) == 0
    output = json.loads(capsys.readouterr().out)
    assert (output["steps"], output["finished"]) == (2, True)
    assert output["last"]["step"] == 2
    assert len(read_log(run)) == 2
    assert (run / "checkpoint.pt").exists()
    _, card = load_encoder("my-run", folders=[run / "encoder"])
    assert card.trained

    assert cli.main([*words, "--steps", "2"]) == 2  # does not overwrite
    assert "--resume" in capsys.readouterr().err
    assert cli.main([*words, "--steps", "3", "--resume"]) == 0
    assert json.loads(capsys.readouterr().out)["steps"] == 3


def test_resume_without_a_checkpoint_starts_the_run(
    demo_cine_path: Path, config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A requeued job repeats its command, even if nothing was saved before."""
    run = tmp_path / "run"
    words = ["pretrain", str(demo_cine_path), "--out", str(run), "--steps", "2", "--resume", "--json"]
    assert cli.main([*words, "--config", str(config)]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["steps"] == 2
    (line,) = [line for line in _lines(err) if "checkpoint" in line]
    assert "starts from the beginning" in line
    assert str(run) in line

    (run / "checkpoint.pt").unlink()  # killed before the first checkpoint; the settings of the run are kept
    settings = json.loads((run / "config.json").read_text())
    assert cli.main(words) == 0
    assert "starts from the beginning" in capsys.readouterr().err
    assert json.loads((run / "config.json").read_text()) == settings
    assert [entry["step"] for entry in read_log(run)] == [1, 2]

    assert cli.main([*words, "--steps", "3"]) == 0  # with a checkpoint, the run continues
    assert "beginning" not in capsys.readouterr().err
    assert [entry["step"] for entry in read_log(run)] == [1, 2, 3]


@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl+C to a child is another thing there")
def test_ctrl_c_saves_and_prints_how_to_continue(demo_cine_path: Path, config: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    words = ["pretrain", str(demo_cine_path), "--out", str(run), "--config", str(config)]
    child = subprocess.Popen(
        [sys.executable, "-m", "app.cli", *words, "--steps", "100000"],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        deadline = time.monotonic() + 60
        while not read_log(run) and time.monotonic() < deadline and child.poll() is None:
            time.sleep(0.1)
        child.send_signal(signal.SIGINT)
        out, err = child.communicate(timeout=60)
    finally:
        child.kill()
    assert child.returncode == 130, err
    assert "--resume" in out
    assert "Traceback" not in err
    steps = len(read_log(run))
    assert steps >= 1
    assert f"after {steps} steps" in out


def test_several_processes_on_one_machine(demo_cine_path: Path, config: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    words = ["pretrain", str(demo_cine_path), "--out", str(run), "--config", str(config), "--steps", "2"]
    done = subprocess.run(
        [sys.executable, "-m", "app.cli", *words, "--devices", "2", "--json"],
        cwd=ROOT,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["steps"] == 2
    assert len(read_log(run)) == 2

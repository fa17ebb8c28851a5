"""`apical bench pretrain` without pydicom and Qt."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from app import cli

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[3]
# Imported by every Python process that finds it on its path, so also by those that the benchmark starts.
BLOCKER = """
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"pydicom", "PySide6", "pyqtgraph", "gdcm", "nibabel"}:
            raise ImportError(f"{name} is not on a training machine")
sys.meta_path.insert(0, Blocker())
"""
TINY = "frames = 4\nsize = 64\nbatch = 2\n[predictor]\nwidth = 24\ndepth = 1\nheads = 1\n"


def test_without_the_readers_of_the_program(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(BLOCKER)
    (tmp_path / "tiny.toml").write_text(TINY)
    words = ["--steps", "1", "--config", str(tmp_path / "tiny.toml"), "--json", str(tmp_path / "out.json")]
    done = subprocess.run(
        [sys.executable, "-m", "app.cli", "bench", "pretrain", *words],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "times better: clips/s" in done.stdout
    result = json.loads((tmp_path / "out.json").read_text())
    assert result.keys() == {"name", "machine", "rows", "ratios"}
    assert [row["side"] for row in result["rows"]] == ["ours", "every token"]
    assert all(row["clips_per_second"] > 0 and row["steps"] == 1 for row in result["rows"])
    assert all(0 < row["data_wait"] < 1 and row["micro_batch"] == 2 for row in result["rows"])
    assert all(0 < row["utilisation"] < 1 for row in result["rows"])
    assert result["machine"]["matrix_flops"] > 0
    assert "clips/s against encoding every token" in result["ratios"]


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--steps", "0"], "--steps"),
        (["--config", "none.toml"], "none.toml"),
        (["--data", "nowhere"], "does not exist"),
        (["--data"], "--data"),
        (["--json", "no/such/folder/x.json"], "cannot be written"),
    ],
)
def test_bad_input_is_one_line(arguments: list[str], word: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["bench", "pretrain", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.strip().splitlines()) == 1
    assert word in err

"""`apical bench measure` on the command line."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pytest

from app.cli import main
from vjepa_core.bench import phantom_beats
from vjepa_core.fewshot import segmenter
from vjepa_core.fewshot.fit import FitConfig


def test_rows_and_plots_of_phantom_truth(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, plots = tmp_path / "measure.json", tmp_path / "plots"
    asked = [
        "bench",
        "measure",
        "--phantom",
        "3",
        "--predicted",
        "0",
        "--json",
        str(out),
        "--plot",
        str(plots),
    ]
    assert main(asked) == 0
    printed = capsys.readouterr().out
    assert "phantom truth biplane ef" in printed
    assert "Research use only" in printed
    result = json.loads(out.read_text())
    assert result["name"] == "measure"
    assert {"machine", "rows", "ratios"} <= set(result)
    assert {"what", "unit", "n", "bias", "sd", "mae", "r", "coverage"} <= set(result["rows"][0])
    assert [file.name for file in plots.glob("phantom*.png")] == ["phantom-truth.png"]


@pytest.mark.parametrize(
    "words",
    [
        ["--phantom", "-1"],
        ["--phantom", "0", "--predicted", "0"],
        ["--seeds", "0"],
        ["--patients", "0"],
        ["--data", "nowhere.npz"],
        ["--phantom", "1", "--predicted", "0", "--keep", __file__],
    ],
)
def test_bad_input_is_one_line(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "measure", *words]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "Traceback" not in line


@pytest.mark.slow
def test_predictions_of_one_phantom_are_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(phantom_beats, "FRAMES", 40)
    monkeypatch.setattr(segmenter, "FitConfig", partial(FitConfig, steps=6))
    asked = ["bench", "measure", "--phantom", "0", "--predicted", "1", "--keep", str(tmp_path)]
    assert main([*asked, "--json", str(tmp_path / "m.json")]) == 0
    assert "ED and ES outlined, other beat ef" in capsys.readouterr().out
    rows = {row["what"]: row for row in json.loads((tmp_path / "m.json").read_text())["rows"]}
    assert rows["phantom predicted, ED and ES outlined, outlined beat ef"]["mae"] < 15
    assert len(list(tmp_path.glob("phantom_*.npz"))) == 2

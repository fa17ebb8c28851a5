"""`apical bench suggest` from the command line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from app.cli import main
from vjepa_core.bench import scored_cines
from vjepa_core.bench.scored_cines import ScoredCine, phantom_cines


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    def short(n: int) -> list[ScoredCine]:
        return phantom_cines(n, frames=6, size=64)

    monkeypatch.setattr(scored_cines, "phantom_cines", short)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_a_table_a_file_and_a_plot(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result, plot = tmp_path / "suggest.json", tmp_path / "suggest.png"
    words = ["bench", "suggest", "--phantom", "1", "--frames", "2", "--draws", "1"]
    assert main([*words, "--json", str(result), "--plot", str(plot)]) == 0
    table = capsys.readouterr().out
    assert "carried by motion" in table
    assert "SAVED" in table
    output = json.loads(result.read_text())
    assert output["name"] == "suggest"
    assert {row["what"] for row in output["rows"]} == {"suggested", "evenly spaced", "random"}
    assert len(output["curves"]) == 6
    assert all(ratio > 0 for ratio in output["ratios"].values())
    assert plot.stat().st_size > 0


@pytest.mark.parametrize(
    ("more", "what"),
    [
        (["--frames", "0"], "must be at least 1"),
        (["--draws", "0"], "must be at least 1"),
        (["--phantom", "-1"], "at least 0"),
        (["--phantom", "0"], "no data to measure"),
        (["--encoder", "no-such"], "no-such"),
        (["--plot", "/no/such/folder/a.png"], "cannot be written"),
        (["--phantom", "1", "--data", "/no/such.npz"], "such.npz"),
        (["--cines", "/no/such.apical"], "such.apical"),
    ],
)
def test_bad_input_is_one_line(more: list[str], what: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "suggest", *more]) == 2
    error = capsys.readouterr().err
    assert what in error
    assert "Traceback" not in error

"""`apical bench fit` from the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from app.bench import live
from app.cli import main
from tests.unit.bench.test_fit_live import responses
from vjepa_core.bench import fit_live
from vjepa_core.bench.fit_live import AnnotatedCine


@pytest.fixture
def cases(monkeypatch: pytest.MonkeyPatch) -> list[AnnotatedCine]:
    """Replace both programs by ones that return the truth at once and record their calls."""
    asked: list[AnnotatedCine] = []

    def side(second: float, *, carried: bool) -> Any:
        def respond(case: AnnotatedCine) -> Any:
            asked.append(case)
            return responses(case, second, carried=carried)

        return respond

    monkeypatch.setattr(live, "program_responses", lambda *_: side(1.0, carried=True))
    monkeypatch.setattr(fit_live, "forest", lambda *_, **__: side(20.0, carried=False))
    return asked


def test_a_table_targets_ratios_and_a_file(
    cases: list[AnnotatedCine], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "fit.json"
    assert main(["bench", "fit", "--frames", "8", "--rounds", "2", "--json", str(file)]) == 0
    out, err = capsys.readouterr()
    assert "met: first preview of the visible frame 2.00 s, at most 3 s" in out
    assert "20.00  seconds to the whole cine, correction" in out
    assert "round 2 of 2, cine 1, forest on our features" in err
    result = json.loads(file.read_text())
    assert {"name", "machine", "rows", "ratios", "targets", "stopped"} == set(result)
    assert result["name"] == "fit"
    assert [row["kind"] for row in result["rows"]] == ["phantom"] * 4
    assert {row["rounds"] for row in result["rows"]} == {2}
    assert all(ratio > 0 for ratio in result["ratios"].values())
    assert len(cases) == 4
    assert cases[0].cine.frames.shape == (8, 224, 224)


def test_the_seed_determines_the_phantom(cases: list[AnnotatedCine]) -> None:
    for seed in ("0", "1"):
        assert main(["bench", "fit", "--frames", "4", "--rounds", "1", "--seed", seed]) == 0
    assert (cases[0].cine.frames != cases[2].cine.frames).any()


def test_a_given_cine_replaces_the_phantom(
    cases: list[AnnotatedCine], demo_cine_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "fit.json"
    assert main(["bench", "fit", str(demo_cine_path), "--rounds", "1", "--json", str(file)]) == 0
    assert len(cases[0].cine.frames) == 30
    assert {row["dice_rest"] for row in json.loads(file.read_text())["rows"]} == {None}
    assert "made-up outlines 1" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--rounds", "0"], "--rounds must be at least 1"),
        (["--frames", "2"], "--frames at least 3"),
        (["--seed", "-1"], "--seed"),
        (["--encoder", "none-such"], "none-such"),
        (["no-such.dcm"], "does not exist"),
        (["no-such.apical"], "no project"),
        (["--json", "no/such/folder/x.json"], "cannot be written"),
    ],
)
def test_bad_input_is_one_line(
    words: list[str], message: str, cases: list[AnnotatedCine], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", "fit", *words]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err
    assert len(err.strip().splitlines()) == 1
    assert cases == []

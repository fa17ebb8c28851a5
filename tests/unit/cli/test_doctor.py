"""What the doctor says, and when it gives up."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from app import cli
from app.commands import doctor, probes

GOOD_TORCH: dict[str, Any] = {
    "cuda_available": False,
    "cuda_build": None,
    "cuda_device": None,
    "cuda_works": False,
    "threads": 2,
}


@pytest.fixture
def _healthy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "probe_torch", lambda: GOOD_TORCH)
    monkeypatch.setattr(doctor, "probe_qt", lambda: "")
    monkeypatch.setattr(doctor, "gpus", list)


def _problems(capsys: pytest.CaptureFixture[str]) -> str:
    return json.dumps(json.loads(capsys.readouterr().out)["problems"])


def test_for_real(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["doctor", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["works"] is True
    assert found["versions"]["torch"]
    assert "error" not in found["torch"]
    assert found["window"]["qt_loads"] is True
    assert found["encoders"][0]["licence"]
    assert all(syntax["by"] for syntax in found["decoders"])
    assert found["folders"]["disk_free_bytes"] > 0


@pytest.mark.usefixtures("_healthy")
def test_for_a_reader(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["doctor"]) == 0
    told = capsys.readouterr().out
    assert "SHA-256" in told
    assert "torch pair   imports" in told


@pytest.mark.usefixtures("_healthy")
def test_a_pair_that_does_not_import_is_fatal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "probe_torch", lambda: {"error": "operator torchvision::nms does not exist"})
    assert cli.main(["doctor", "--json"]) == 1
    assert "matching pair" in _problems(capsys)
    assert cli.main(["doctor"]) == 1
    assert "does not import" in capsys.readouterr().out


@pytest.mark.usefixtures("_healthy")
@pytest.mark.parametrize(("built", "advice"), [("13.0", "driver"), (None, "CPU build")])
def test_a_gpu_that_is_not_used_gets_advice(
    built: str | None, advice: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "gpus", lambda: ["A GPU, 80 GiB, 400.00"])
    monkeypatch.setattr(doctor, "probe_torch", lambda: {**GOOD_TORCH, "cuda_build": built})
    assert cli.main(["doctor", "--json"]) == 0
    assert advice in _problems(capsys)


@pytest.mark.usefixtures("_healthy")
def test_a_window_that_does_not_load_leaves_the_command_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "probe_qt", lambda: "libEGL.so.1: cannot open shared object file")
    assert cli.main(["doctor", "--json"]) == 0
    assert "libEGL.so.1" in _problems(capsys)


@pytest.mark.usefixtures("_healthy")
def test_a_home_that_cannot_be_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("APICAL_HOME", str(tmp_path / "file"))
    assert cli.main(["doctor", "--json"]) == 0
    assert "APICAL_HOME" in _problems(capsys)


def test_a_probe_that_fails_says_its_last_line() -> None:
    found, error = probes._in_own_process("raise RuntimeError('no such operator')", {})
    assert found == {}
    assert error == "RuntimeError: no such operator"

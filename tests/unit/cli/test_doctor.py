"""`apical doctor`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from app import cli, paths
from app.commands import doctor, system_probes

GOOD_TORCH: dict[str, Any] = {
    "cuda_available": False,
    "cuda_build": None,
    "cuda_device": None,
    "cuda_works": False,
    "threads": 2,
    "encoder": {"device": "cpu", "dtype": "float32", "threads": 2, "origin": "kept", "reason": "So it is."},
}


@pytest.fixture
def _healthy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "probe_torch", lambda: GOOD_TORCH)
    monkeypatch.setattr(doctor, "probe_qt", lambda: "")
    monkeypatch.setattr(doctor, "gpus", list)


def _problems(capsys: pytest.CaptureFixture[str]) -> str:
    return json.dumps(json.loads(capsys.readouterr().out)["problems"])


def test_this_machine(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["doctor", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["works"] is True
    assert found["versions"]["torch"]
    assert "error" not in found["torch"]
    runs = found["torch"]["encoder"]
    assert runs["dtype"] in {"float32", "bfloat16"}
    assert runs["reason"]
    if runs["device"] == "cpu":
        assert all(took > 0 for took in runs["seconds"].values())
    assert found["window"]["qt_loads"] is True
    assert found["encoders"][0]["licence"]
    assert all(syntax["by"] for syntax in found["decoders"])
    assert found["folders"]["disk_free_bytes"] > 0


@pytest.mark.usefixtures("_healthy")
def test_text_output(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["doctor"]) == 0
    output = capsys.readouterr().out
    assert "SHA-256" in output
    assert "torch pair   imports" in output
    assert "encoder runs in float32 with 2 threads, measured earlier. So it is." in output


@pytest.mark.usefixtures("_healthy")
def test_torch_packages_that_do_not_import_are_fatal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "probe_torch", lambda: {"error": "operator torchvision::nms does not exist"})
    assert cli.main(["doctor", "--json"]) == 1
    assert "matching pair" in _problems(capsys)
    assert cli.main(["doctor"]) == 1
    assert "does not import" in capsys.readouterr().out


@pytest.mark.usefixtures("_healthy")
@pytest.mark.parametrize(("built", "advice"), [("13.0", "driver"), (None, "CPU build")])
def test_an_unused_gpu_gets_advice(
    built: str | None, advice: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "gpus", lambda: ["A GPU, 80 GiB, 400.00"])
    monkeypatch.setattr(doctor, "probe_torch", lambda: {**GOOD_TORCH, "cuda_build": built})
    assert cli.main(["doctor", "--json"]) == 0
    assert advice in _problems(capsys)


@pytest.mark.usefixtures("_healthy")
def test_a_window_that_does_not_load_is_not_fatal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "probe_qt", lambda: "libEGL.so.1: cannot open shared object file")
    assert cli.main(["doctor", "--json"]) == 0
    assert "libEGL.so.1" in _problems(capsys)


@pytest.mark.usefixtures("_healthy")
def test_an_encoder_that_cannot_be_measured_gets_advice(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    error = {"error": "APICAL_PRECISION is half: set it to float32 or bfloat16."}
    monkeypatch.setattr(doctor, "probe_torch", lambda: {**GOOD_TORCH, "encoder": error})
    assert cli.main(["doctor", "--json"]) == 0
    output = _problems(capsys)
    assert "APICAL_PRECISION is half" in output
    assert "Set it to float32 or bfloat16." in output


@pytest.mark.usefixtures("_healthy")
def test_a_home_that_cannot_be_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("APICAL_HOME", str(tmp_path / "file"))
    assert cli.main(["doctor", "--json"]) == 0
    assert "APICAL_HOME" in _problems(capsys)


def test_a_failed_probe_returns_its_last_line() -> None:
    found, error = system_probes.run_in_process("raise RuntimeError('no such operator')", {})
    assert found == {}
    assert error == "RuntimeError: no such operator"


@pytest.mark.usefixtures("_healthy")
def test_the_feature_cache_is_shown_and_cleared(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b"):
        (paths.features_dir() / f"{name}.safetensors").write_bytes(bytes(2 << 20))
    (paths.cache_dir() / "other").write_bytes(bytes(1 << 20))
    monkeypatch.setenv("APICAL_FEATURE_CACHE_GB", "0.5")
    assert cli.main(["doctor", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    half = 2**29
    assert found["feature_cache"] == {
        "bytes": 4 << 20,
        "entries": 2,
        "cap_bytes": half,
        "limit_bytes": half,
    }
    assert found["folders"]["cache_bytes"] == 5 << 20
    assert cli.main(["doctor"]) == 0
    assert "features     4 MiB in 2 entries, at most 512 MiB" in capsys.readouterr().out

    monkeypatch.setenv("APICAL_FEATURE_CACHE_GB", "0")
    assert cli.main(["doctor"]) == 0
    assert "off (APICAL_FEATURE_CACHE_GB is 0), 4 MiB in 2 entries from earlier" in capsys.readouterr().out

    paths.speed_file().write_text("{}")
    assert cli.main(["doctor", "--clear-cache"]) == 0
    output = capsys.readouterr().out
    assert not paths.speed_file().exists()
    assert output.startswith("Freed 4 MiB: 2 entries of the feature cache.")
    assert list(paths.features_dir().iterdir()) == []
    assert (paths.cache_dir() / "other").exists()  # may belong to an open window
    assert cli.main(["doctor", "--clear-cache", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"freed_bytes": 0, "entries": 0, "left": 0}


@pytest.mark.usefixtures("_healthy")
@pytest.mark.parametrize("message", ["lots", "-1", "nan"])
def test_an_invalid_cache_size_gets_advice(
    message: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("APICAL_FEATURE_CACHE_GB", message)
    assert cli.main(["doctor", "--json"]) == 0
    output = capsys.readouterr()
    found = json.loads(output.out)
    (problem,) = (p for p in found["problems"] if "APICAL_FEATURE_CACHE_GB" in p["what"])
    assert message in problem["what"]
    assert "8 GiB" in problem["do"]
    assert found["feature_cache"]["cap_bytes"] == 8 * 2**30
    assert output.err == ""


@pytest.mark.usefixtures("_healthy")
def test_files_in_use_are_reported(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b"):
        (paths.features_dir() / f"{name}.safetensors").write_bytes(bytes(2 << 20))
    unlink = Path.unlink

    def held(path: Path, **more: bool) -> None:
        if path.name == "a.safetensors":
            raise PermissionError(13, "in use")
        unlink(path, **more)

    monkeypatch.setattr(Path, "unlink", held)
    assert cli.main(["doctor", "--clear-cache"]) == 0
    assert "1 entry could not be deleted: close Apical's windows" in capsys.readouterr().out
    assert cli.main(["doctor", "--clear-cache"]) == 0
    assert capsys.readouterr().out.startswith("Nothing was freed. 1 entry could not")


def test_clearing_an_unwritable_cache_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("APICAL_HOME", str(tmp_path / "file"))
    assert cli.main(["doctor", "--clear-cache"]) == 2
    assert capsys.readouterr().err.count("\n") == 1

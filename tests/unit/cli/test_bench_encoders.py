"""`apical bench representation`, `ablation` and `localisation` from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from app.bench import plots
from app.cli import main
from app.domain.errors import ApicalError
from app.storage.filelock import FileLock
from vjepa_core.pretraining.pack import RawCine, pack_cines

TINY = """
frames = 2
size = 64
batch = 2
checkpoint_every = 1
[loc]
peak = 0.25
"""


@pytest.fixture
def camus(tmp_path: Path) -> Path:
    random = np.random.default_rng(0)
    images = random.integers(0, 255, (4, 224, 224)).astype(np.uint8)
    masks = np.zeros_like(images)
    masks[:, 50:100, 50:100], masks[:, 100:150, 50:100], masks[:, 150:200, 50:100] = 1, 2, 3
    names = np.array([f"patient{i // 2:04d}_4CH_E{'DS'[i % 2]}" for i in range(4)])
    arrays = {"img": images, "mask": masks}
    both = {f"{split}_{k}": v for split in ("train", "val") for k, v in arrays.items()}
    file = tmp_path / "camus.npz"
    np.savez(file, **both, train_name=names, val_name=np.char.add("other-", names))  # type: ignore[arg-type]
    return file


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    random = np.random.default_rng(0)
    cines = [
        RawCine(f"echo-{i}", random.integers(30, 200, (9, 64, 64)).astype(np.uint8), 30.0, "echo")
        for i in range(6)
    ]
    pack_cines(cines, tmp_path / "packed", size=64)
    return tmp_path / "packed"


def test_ablation_then_localisation_of_its_runs(
    camus: Path, packed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "run.toml"
    config.write_text(TINY)
    out, result = tmp_path / "out", tmp_path / "ablation.json"
    words = ["bench", "ablation", "--camus", str(camus), "--data", str(packed), "--out", str(out)]
    words += ["--config", str(config), "--steps", "2", "--seeds", "1", "--head-steps", "2"]
    words += ["--patients", "1", "2", "--arms", "U", "A", "D", "--json", str(result)]
    assert main(words) == 0
    table = capsys.readouterr().out
    assert "V-JEPA + leak-free localisation" in table
    assert "D - A: " in table
    assert "Not decided: 0 of 5 seeds" in table
    found = json.loads(result.read_text())
    assert {"name", "config", "rows", "compared"} <= set(found)
    assert len(found["rows"]) == 5 * 4
    assert main(["bench", "ablation", "--out", str(out), "--report"]) == 0
    assert capsys.readouterr().out == table

    runs = ["--plain", str(out / "runs" / "A-0"), "--localised", str(out / "runs" / "D-0")]
    plot = tmp_path / "loc.png"
    words = ["bench", "localisation", *runs, "--data", str(packed), "--seeds", "1", "--steps", "5"]
    words += ["--plot", str(plot)]
    assert main(words) == 0
    assert "REDUCTION" in capsys.readouterr().out
    assert plot.read_bytes()[:4] == b"\x89PNG"
    assert plots.main([str(out / "runs" / "A-0"), str(tmp_path / "run.svg")]) == 0

    swapped = ["--plain", runs[3], "--localised", runs[1]]
    assert main(["bench", "localisation", *swapped, "--data", str(packed)]) == 2
    assert "--plain must be" in capsys.readouterr().err


def test_a_folder_is_locked_by_one_command(
    camus: Path, packed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    words = ["bench", "ablation", "--camus", str(camus), "--data", str(packed), "--out", str(out)]
    lock = FileLock(out / "experiment")
    try:
        assert main([*words, "--patients", "1"]) == 2
    finally:
        lock.release()
    assert "already open" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["representation", "--camus", "none.npz"], "is not a CAMUS file"),
        (["representation", "--camus", "none.npz", "--shares", "2"], "--shares"),
        (["representation", "--camus", "none.npz", "--shares"], "no data to fit a head to"),
        (["representation", "--camus", "none.npz", "--encoder", "nobody"], "nobody"),
        (["ablation", "--camus", "none.npz", "--data", ".", "--out", "w", "--arms", "Z"], "no arm Z"),
        (["ablation", "--camus", "none.npz", "--data", "none", "--out", "w"], "does not exist"),
        (["ablation", "--out", "w"], "--camus and --data"),
        (["ablation", "--out", "w", "--report"], "no readable experiment"),
        (["localisation", "--plain", "none", "--localised", "none", "--data", "."], "none"),
    ],
)
def test_bad_input_is_one_sentence(
    words: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["bench", *words]) == 2
    output = capsys.readouterr().err
    assert message in output
    assert "Traceback" not in output


def test_a_run_without_a_log_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(ApicalError, match="no log"):
        plots.main([str(tmp_path), str(tmp_path / "a.png")])

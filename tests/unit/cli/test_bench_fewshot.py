"""`apical bench fewshot` from the command line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from app.bench.fewshot_plot import plot
from app.cli import main
from app.commands.benches.fewshot_text import text
from vjepa_core.bench.camus import BenchError
from vjepa_core.bench.head_on_stills import HeadOnStills, for_stills


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Use one thread, because short fits gain nothing from more."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def camus(tmp_path: Path) -> Path:
    random = np.random.default_rng(0)
    images = random.integers(0, 60, (4, 224, 224)).astype(np.uint8)
    masks = np.zeros_like(images)
    masks[:, 50:100, 50:100], masks[:, 100:150, 50:100], masks[:, 150:200, 50:100] = 1, 2, 3
    images += 50 * masks
    names = np.array([f"patient{i // 2:04d}_4CH_E{'DS'[i % 2]}" for i in range(4)])
    both = {f"{split}_{k}": v for split in ("train", "val") for k, v in (("img", images), ("mask", masks))}
    file = tmp_path / "camus.npz"
    np.savez(file, **both, train_name=names, val_name=np.char.add("other-", names))  # type: ignore[arg-type]
    return file


def test_a_table_a_file_and_a_plot(camus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result, plot = tmp_path / "fewshot.json", tmp_path / "fewshot.png"
    words = ["bench", "fewshot", "--data", str(camus), "--seeds", "1", "--stills", "2", "--budget", "0.01"]
    words += ["--rows", "unet", "ours-blind", "ours", "--json", str(result), "--plot", str(plot)]
    assert main(words) == 0
    table = capsys.readouterr().out
    assert "CAMUS stills" in table
    assert "U-Net, our time" in table
    assert "head " in table  # the start of the fit
    found = json.loads(result.read_text())
    assert {"name", "machine", "rows", "summary", "differences", "ratios"} <= set(found)
    assert found["stopped"] is False
    # Only 1 and 2 patients, because the file has no more; ours first, regardless of the arguments.
    assert len(found["rows"]) == 2 * 3
    assert [row["what"] for row in found["rows"][:3]] == [
        "ours",
        "ours, without encoder",
        "U-Net, our time",
    ]
    assert {row["hd95_mm"] for row in found["rows"]} == {None}
    assert len(found["differences"]) == len(found["ratios"]) == 2 * 2
    assert plot.read_bytes()[:4] == b"\x89PNG"


def test_within_a_phantom_cine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from vjepa_core.bench import scored_cines

    small = scored_cines.phantom_cines(1, frames=4, size=64)
    monkeypatch.setattr(scored_cines, "phantom_cines", lambda n: small)
    result = tmp_path / "fewshot.json"
    words = ["bench", "fewshot", "--cines", "--frames", "1,2", "--seeds", "1", "--rows", "flow"]
    assert main([*words, "--json", str(result)]) == 0
    table = capsys.readouterr().out
    assert "Phantom cines" in table
    assert "FRAMES" in table
    found = json.loads(result.read_text())
    assert {row["kind"] for row in found["rows"]} == {"phantom"}
    assert {row["frames"] for row in found["rows"]} == {1, 2}
    plot(tmp_path / "cines.svg", found["summary"])
    assert (tmp_path / "cines.svg").stat().st_size > 1000


def test_ctrl_c_ends_with_the_rows_so_far(
    camus: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fits: list[int] = []
    real = HeadOnStills.fit

    def fit(self: HeadOnStills, *args: object, **words: object) -> object:
        fits.append(1)
        if len(fits) > 1:
            raise KeyboardInterrupt
        return real(self, *args, **words)  # type: ignore[arg-type]

    monkeypatch.setattr(HeadOnStills, "fit", fit)
    words = ["bench", "fewshot", "--data", str(camus), "--patients", "1", "--rows", "ours-blind"]
    assert main([*words, "--stills", "1", "--budget", "0.01"]) == 0
    assert "Stopped early" in capsys.readouterr().out
    assert main([*words, "--stills", "1", "--budget", "0.01"]) == 130  # there are no rows


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (BenchError("No such cine: give another."), 2, "No such cine: give another."),
        (MemoryError("much of it"), 1, "An internal error occurred (MemoryError)"),
    ],
)
def test_a_late_error_is_reported_with_the_rows_so_far(
    error: Exception,
    code: int,
    message: str,
    camus: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def none(_: int) -> None:
        raise error

    monkeypatch.setattr("vjepa_core.bench.scored_cines.phantom_cines", none)
    words = ["bench", "fewshot", "--cines", "--rows", "flow", "ours-blind"]
    assert main(words) == code  # there are no rows
    capsys.readouterr()
    result = tmp_path / "fewshot.json"
    words += ["--data", str(camus), "--patients", "1", "--seeds", "1", "--stills", "1", "--budget", "0.01"]
    assert main([*words, "--json", str(result)]) == code
    output = capsys.readouterr()
    assert "Stopped early by an error" in output.out
    assert "CAMUS stills" in output.out
    assert message in output.err
    assert "Traceback" not in output.err
    found = json.loads(result.read_text())
    assert len(found["rows"]) == 1
    assert message in found["error"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "no data to measure"),
        (["--data", "none.npz"], "is not a CAMUS file"),
        (["--data", "none.npz", "--patients", "1,x"], "not a list of positive numbers"),
        (["--data", "none.npz", "--patients", "0"], "not a list of positive numbers"),
        (["--data", "none.npz", "--rows", "magic"], "no row magic"),
        (["--data", "none.npz", "--encoder", "nobody"], "nobody"),
        (["--data", "none.npz", "--budget", "0"], "--budget"),
        (["--data", "none.npz", "--budget", "nan"], "--budget"),
        (["--data", "none.npz", "--converged", "-1"], "--converged"),
        (["--data", "none.npz", "--seeds", "0"], "--seeds"),
        (["--data", "none.npz", "--stills", "0"], "--stills"),
        (["--cines", "--phantom", "0"], "--phantom"),
        (["--cines", "none.apical", "--rows", "flow"], "none.apical"),
        (["--data", "none.npz", "--plot", "nowhere/a.png"], "cannot be written"),
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
    assert main(["bench", "fewshot", *words]) == 2
    output = capsys.readouterr().err
    assert message in output
    assert "Traceback" not in output


def test_more_patients_than_available(camus: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["bench", "fewshot", "--data", str(camus), "--patients", "3", "--rows", "forest-filters"]
    assert main(words) == 2
    assert "has 2 training patients: choose 1 to 2" in capsys.readouterr().err
    assert main([*words[:-1], "unet", "--patients", "1"]) == 2
    assert "time of ours" in capsys.readouterr().err


def test_fits_on_stills_use_no_carried_labels() -> None:
    config = for_stills()
    assert (config.carried_share, config.prior_dropout, config.prior_dropout_many) == (0.0, 1.0, 1.0)


def test_a_table_without_rows_can_be_printed() -> None:
    empty = {"summary": [], "differences": [], "ratios": {}, "stopped": True}
    output = text({**empty, "machine": {"cores": 2, "cpu": "x", "threads": 2, "gpu": "none"}})
    assert "Stopped early" in output
    assert "Ratios" not in output

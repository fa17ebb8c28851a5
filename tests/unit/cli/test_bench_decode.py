"""`apical bench decode` on a small cine."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from app import cli
from app.bench.synthetic import write_cine
from app.readers.open import open_cine


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_cine(tmp_path_factory.mktemp("bench") / "small.dcm", frames=4, rows=64, columns=80)


def test_the_synthetic_cine_is_a_regular_dicom_cine(small: Path) -> None:
    cine = open_cine(small)
    assert (cine.n_frames, cine.height, cine.width) == (4, 64, 80)
    assert cine.timing.fps == pytest.approx(20)
    assert "JPEG Baseline" in cine.pixel_format
    assert cine.frame(0).std() > 10
    assert (cine.frame(0) != cine.frame(1)).any()


def test_table_file_and_ratios(small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "decode.json"
    assert cli.main(["bench", "decode", str(small), "--repeats", "1", "--json", str(file)]) == 0
    output = capsys.readouterr().out
    assert "times as fast as pydicom" in output
    result = json.loads(file.read_text())
    assert set(result) == {"name", "machine", "rows", "ratios"}
    assert {(row["side"], row["state"]) for row in result["rows"]} == {
        (side, state) for side in ("ours", "pydicom", "pydicom-raw") for state in ("cold", "warm")
    }
    assert all(row["frames"] == 4 and row["median_s"] > 0 for row in result["rows"])
    pairs = {(row["side"], row["state"]): row["median_s"] for row in result["rows"]}
    ratio = pairs["pydicom", "cold"] / pairs["ours", "cold"]
    assert result["ratios"]["pydicom, cold, small.dcm"] == pytest.approx(ratio)
    assert result["machine"]["cores"] > 0


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["no-such.dcm"], "no-such.dcm"),
        (["--repeats", "0"], "--repeats"),
        (["--repeats", "x"], "--repeats"),
        (["--json", "no/such/folder/x.json"], "cannot be written"),
    ],
)
def test_bad_input(arguments: list[str], word: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["bench", "decode", *arguments]) == 2
    assert word in capsys.readouterr().err


def test_a_cine_that_pydicom_cannot_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from PIL import Image

    Image.new("L", (64, 48), 9).save(tmp_path / "still.png")
    assert cli.main(["bench", "decode", str(tmp_path / "still.png"), "--repeats", "1"]) == 2
    assert "still.png" in capsys.readouterr().err

"""`apical bench uncertainty` with synthetic predictions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from app.cli import main
from tests.unit.fewshot.beating import beating
from vjepa_core.bench import uncertainty
from vjepa_core.errors import Cancelled
from vjepa_core.fewshot.head import GRID_SIZE
from vjepa_core.fewshot.motion import Motion
from vjepa_core.fewshot.prepared_cine import PreparedCine, frame_label
from vjepa_core.letterbox import Letterbox

N = 5  # frames of a cine


def carried(
    frames: NDArray[np.uint8],
    labels: dict[int, NDArray[np.uint8]],
    classes: tuple[int, ...],
    *,
    on_prediction: Any,
    **_: Any,
) -> None:
    """Replace a fit by labels carried by motion."""
    box = Letterbox.for_image(*frames.shape[1:])
    boxed = box.apply(frames)
    prepared = PreparedCine(0, box, boxed, None, Motion(boxed, grid_size=GRID_SIZE))
    prepared.labels = {frame: frame_label(label, box, classes) for frame, label in labels.items()}
    for frame in range(len(frames)):
        on_prediction(prepared, [frame], prepared.prior([frame], 1 + len(classes)))


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(1)
    frames, masks = (part[:N] for part in beating())

    def cines(n: int, **_: Any) -> list[uncertainty.ScoredCine]:
        one = uncertainty.ScoredCine(frames, 30.0, dict(enumerate(masks)), "phantom")
        return [one] * n

    monkeypatch.setattr(uncertainty, "segment", carried)
    monkeypatch.setattr("vjepa_core.bench.scored_cines.phantom_cines", cines)
    monkeypatch.setattr("vjepa_core.encoder.load.load_encoder", lambda **_: (None, None))
    monkeypatch.setattr("vjepa_core.fewshot.starter.load_starter", lambda _: None)


def test_a_table_and_its_ratios(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "u.json"
    asked = ["bench", "uncertainty", "--phantom", "1", "--frames", "0", "1", "2", "--json", str(out)]
    assert main(asked) == 0
    captured = capsys.readouterr().out
    assert "SPEARMAN" in captured
    assert "over 1 in our favour" in captured
    output = json.loads(out.read_text())
    # There are no drafts, because there is no head for them.
    assert [(r["annotated"], r["what"]) for r in output["rows"]] == [
        (1, "ours"),
        (1, "softmax"),
        (2, "ours"),
        (2, "softmax"),
    ]
    assert [r["frames"] for r in output["rows"]] == [N - 1] * 2 + [N - 2] * 2
    assert all(0.5 < r["dice"] <= 1 and 0 <= r["pixel_ece"] < 0.2 for r in output["rows"])


def test_ctrl_c_ends_with_the_results_so_far(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    calls: list[int] = []

    def interrupted(*args: Any, **more: Any) -> None:
        calls.append(1)
        if len(calls) > 1:
            raise KeyboardInterrupt
        carried(*args, **more)

    monkeypatch.setattr(uncertainty, "segment", interrupted)
    assert main(["bench", "uncertainty", "--phantom", "2", "--frames", "1"]) == 0
    assert "Stopped early" in capsys.readouterr().out


def test_a_cancelled_fit_ends_without_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def cancelled(*_: Any, **__: Any) -> None:
        raise Cancelled

    monkeypatch.setattr(uncertainty, "segment", cancelled)
    frames, masks = beating()
    cine = uncertainty.ScoredCine(frames, 30.0, dict(enumerate(masks)), "phantom")
    assert list(uncertainty.observe_cines([cine], (None, None), start=None)) == []  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "words",
    [["--phantom", "0"], ["--frames", "-1"], ["--length", "1"], ["--data", "nowhere.npz"]],
)
def test_bad_input_is_one_line(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "uncertainty", *words]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "Traceback" not in line

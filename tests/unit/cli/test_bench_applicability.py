"""`apical bench applicability`."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import pytest
import torch

from app.cli import main
from vjepa_core.bench.applicability import DRAFT, Decision, rows
from vjepa_core.bench.representation import phantom_stills
from vjepa_core.bench.synthetic_images import imitate_other_scanners, other_views, textures


def test_masks_on_a_phantom_and_none_on_a_texture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.set_num_threads(1)
    cv2.imwrite(str(tmp_path / "page.png"), textures(5, seed=8)[0][4])
    asked = ["bench", "applicability", "--phantom", "1", "--textures", "1", "--other", str(tmp_path)]
    out = tmp_path / "found.json"
    assert main([*asked, "--draft-only", "--json", str(out)]) == 0
    found = json.loads(out.read_text(encoding="utf-8"))
    assert set(found) >= {"name", "machine", "rows", "ratios"}
    wanted = {(one["wanted"], one["n"], one["drawn"], one["right"]) for one in found["rows"]}
    assert wanted == {("masks", 1, 1, 1.0), ("none", 1, 0, 1.0)}
    assert {one["head"] for one in found["rows"]} == {DRAFT}
    text = capsys.readouterr().out
    assert "phantoms" in text
    assert "Wrong" not in text


def test_a_wrong_decision_is_named() -> None:
    decisions = [Decision("lung", name, False, {DRAFT: name == "b"}, 0.0, {}) for name in "abc"]
    (row,) = rows(decisions)
    assert (row["n"], row["drawn"], row["wrong"]) == (3, 1, ["b"])
    assert row["right"] == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    "asked",
    [["--every", "0"], ["--phantom", "-1"], ["--other", "/nowhere/at/all"], ["--data", "/nowhere.npz"]],
)
def test_invalid_options_are_rejected(asked: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "applicability", "--phantom", "0", "--textures", "0", "--draft-only", *asked]) == 2
    assert capsys.readouterr().err.count("\n") <= 2


def test_textures_are_reproducible_and_of_every_kind() -> None:
    one, kinds = textures(22, seed=5)
    again, _ = textures(22, seed=5)
    assert (one == again).all()
    assert len(set(kinds)) == 11
    assert one.std((1, 2)).min() > 0
    stills = phantom_stills(3, 224, seed=3)
    turned, names = other_views(stills.images, stills.masks, seed=0)
    assert turned.shape == stills.images.shape
    assert set(names) == {"turned", "ring", "upside down"}
    varied = imitate_other_scanners(stills.images, seed=0)
    assert varied.shape == stills.images.shape
    assert (varied != stills.images).any()

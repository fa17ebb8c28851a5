"""The structures of label images come from a label set, which defaults to the left heart."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from app.domain.labels import LEFT_HEART, LabelSet, Structure
from app.storage.label_set_json import label_set_to_json
from tests.unit.cli.test_segment_command import LABELS, _segment, calls

__all__ = ["calls"]

RIGHT_HEART = LabelSet("Right heart", (Structure(1, "RV cavity", (0, 0, 255)), Structure(3, "RA", (9, 9, 9))))


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    """The demo's labels in a separate folder, without the myocardium."""
    from PIL import Image

    folder = tmp_path / "labels"
    shutil.copytree(LABELS, folder)
    for file in folder.glob("*.png"):
        with Image.open(file) as image:
            image.point(lambda value: 0 if value == 2 else value).save(file)
    return folder


def test_a_label_set_in_the_folder_of_labels_is_used(
    demo_cine_path: Path, labels: Path, tmp_path: Path, calls: list[dict[str, Any]]
) -> None:
    (labels / "label_set.json").write_text(label_set_to_json(RIGHT_HEART), encoding="utf-8")
    assert _segment(demo_cine_path, labels, tmp_path / "out") == 0
    assert calls[0]["classes"] == (1, 3)
    assert calls[0]["start"] is None  # the starter head predicts other structures
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["classes"] == {"1": "RV cavity", "3": "RA"}
    assert summary["started_from"] is None


def test_the_option_takes_precedence_and_the_left_heart_starts_from_the_starter_head(
    demo_cine_path: Path, labels: Path, tmp_path: Path, calls: list[dict[str, Any]]
) -> None:
    (labels / "label_set.json").write_text(label_set_to_json(RIGHT_HEART), encoding="utf-8")
    given = tmp_path / "given.json"
    given.write_text(label_set_to_json(LEFT_HEART), encoding="utf-8")
    assert _segment(demo_cine_path, labels, tmp_path / "out", "--label-set", str(given)) == 0
    assert calls[0]["classes"] == LEFT_HEART.values
    assert calls[0]["start"] is not None


def test_labels_outside_the_label_set_are_refused(
    demo_cine_path: Path, tmp_path: Path, calls: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    given = tmp_path / "given.json"
    given.write_text(label_set_to_json(RIGHT_HEART), encoding="utf-8")
    assert _segment(demo_cine_path, LABELS, tmp_path / "out", "--label-set", str(given)) == 2
    assert "1 RV cavity, 3 RA" in capsys.readouterr().err
    assert calls == []


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("no json", "is not a label set"),
        ("[1, 2]", "is not a label set"),
        ('{"name": "A"}', "is not a label set"),
        ('{"name": "A", "classes": []}', "the label values none"),
        (label_set_to_json(LabelSet("A", (Structure(255, "B", (1, 2, 3)),))), "the label values 255"),
        (
            label_set_to_json(LabelSet("A", (Structure(4, "B", (1, 2, 3)), Structure(4, "C", (1, 2, 3))))),
            "the label values 4, 4",
        ),
        (None, "cannot be read"),
    ],
)
def test_a_bad_label_set_is_one_sentence_with_a_remedy(
    content: str | None,
    reason: str,
    demo_cine_path: Path,
    tmp_path: Path,
    calls: list[dict[str, Any]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    given = tmp_path / "given.json"
    if content is not None:
        given.write_text(content, encoding="utf-8")
    assert _segment(demo_cine_path, LABELS, tmp_path / "out", "--label-set", str(given)) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert reason in line
    assert "give" in line
    assert calls == []

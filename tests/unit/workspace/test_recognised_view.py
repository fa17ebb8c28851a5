"""The view that the engine recognises reaches the open cine."""

from __future__ import annotations

from pathlib import Path

from app.domain.views import View
from app.workspace.opened_cine import OpenedCine
from tests.unit.readers.dicom_oracle import grey_cine
from tests.unit.workspace.conftest import Harness
from vjepa_core.service.messages import ViewRecognised


def test_a_recognised_view_is_known_to_the_open_cine(harness: Harness, tmp_path: Path) -> None:
    harness.open(grey_cine(tmp_path / "heart.dcm", n=4))
    opened, reported = harness.visible_cine, list[OpenedCine]()
    harness.workspace.learner.view_recognised.connect(reported.append)
    assert opened.recognised_view is None
    for view in ("A2C", None):
        harness.session.on_event(ViewRecognised(opened.id, view, 0.8))
        harness.dispatcher.run_until(lambda: len(reported) > 0)
        assert reported.pop() is opened
        assert opened.recognised_view == (None if view is None else View.A2C)


def test_a_view_of_a_closed_cine_is_ignored(harness: Harness, tmp_path: Path) -> None:
    harness.open(grey_cine(tmp_path / "heart.dcm", n=4))
    opened, reported = harness.visible_cine, list[OpenedCine]()
    harness.workspace.learner.view_recognised.connect(reported.append)
    harness.session.on_event(ViewRecognised(opened.id + 1, "A4C", 0.97))
    harness.session.on_event(ViewRecognised(opened.id, "A2C", 0.97))
    harness.dispatcher.run_until(lambda: len(reported) > 0)
    assert opened.recognised_view is View.A2C
    assert reported == [opened]

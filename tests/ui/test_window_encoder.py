"""Choosing an encoder, and engine errors in the window."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from PySide6.QtWidgets import QLabel

from app.encoders import registry
from app.engine.events import EngineDied, EngineNotStarted, Event, LearningFailure
from app.workspace.notice import ProjectFailed
from tests.ui.conftest import WindowDriver, square
from tests.unit.encoder.test_user_encoders import write_encoder
from tests.unit.readers.dicom_oracle import grey_cine
from vjepa_core.encoder.catalogue import DEFAULT_ENCODER
from vjepa_core.errors import EncoderError
from vjepa_core.service.messages import Ready


@pytest.fixture
def own_encoder(tmp_path: Path) -> str:
    """Return the name of an imported encoder."""
    return registry.keep(write_encoder(tmp_path / "run"), "mine").name


def test_a_session_starts_with_the_chosen_encoder(
    own_encoder: str, open_driver: Callable[[], WindowDriver], cine_file: Path
) -> None:
    registry.choose(own_encoder)
    driver = open_driver()
    driver.open(cine_file, cines=1)
    assert driver.session.encoder == "mine"


def test_another_encoder_starts_a_new_session_with_all_cines_and_labels(
    own_encoder: str, driver: WindowDriver, tmp_path: Path
) -> None:
    driver.open(grey_cine(tmp_path / "other.dcm", n=5, seed=3), cines=2)
    driver.user.click(50, 50)
    driver.predict({3: square(1)})
    before = driver.session
    assert before.encoder == DEFAULT_ENCODER
    driver.workspace.change_encoder(own_encoder)
    assert "close" in before.calls
    after = driver.session
    assert after is not before
    assert (after.encoder, registry.chosen()) == ("mine", "mine")
    assert after.looks[0] == (driver.opened.id, driver.opened.frame)
    assert after.has_cine(driver.opened.id)
    assert [(cine, revision) for cine, revision, *_ in after.labels] == [(driver.opened.id, 1)]
    assert driver.opened.outdated == {3}  # shown as outdated until there are newer ones
    driver.workspace.change_encoder(DEFAULT_ENCODER)
    assert driver.session.encoder == DEFAULT_ENCODER


def test_an_unknown_encoder_changes_nothing(driver: WindowDriver) -> None:
    before = driver.session
    with pytest.raises(EncoderError, match="There is no encoder called nobody"):
        driver.workspace.change_encoder("nobody")
    assert driver.session is before
    assert registry.chosen() == DEFAULT_ENCODER


def test_the_panel_describes_the_training_of_the_encoder(own_encoder: str, driver: WindowDriver) -> None:
    driver.emit(Ready("cpu", "mine", "abc", True))
    texts = [label.text() for label in driver.window.learning.findChildren(QLabel)]
    (text,) = [text for text in texts if "mine" in text]
    assert "mine, V-JEPA 2.1, on CPU" in text
    assert "Trained for 20 steps." in text
    driver.emit(Ready("cpu", DEFAULT_ENCODER, "abc", False))
    texts = [label.text() for label in driver.window.learning.findChildren(QLabel)]
    assert any("Untrained encoder" in text for text in texts)


ERRORS = [
    EngineNotStarted("The encoder is too big."),
    EngineDied(-9, False),
    LearningFailure("The engine ran out of memory: close something."),
]


@pytest.mark.parametrize("event", ERRORS)
def test_engine_errors_are_removed_when_learning_resumes(driver: WindowDriver, event: Event) -> None:
    for resume in (
        lambda: driver.user.keys("Ctrl+R"),
        lambda: driver.emit(Ready("cpu", "an encoder", "checksum", True)),
        lambda: driver.workspace.change_encoder(DEFAULT_ENCODER),
        driver.workspace.close_project,
    ):
        driver.emit(event)
        assert len(driver.messages) == 1
        resume()
        assert driver.messages == []
        assert driver.workspace.learner.obstacle is None


def test_other_messages_stay_when_learning_resumes(driver: WindowDriver) -> None:
    driver.workspace.notice_raised.emit(ProjectFailed("The disk is full."))
    driver.emit(EngineNotStarted("The encoder is too big."))
    driver.user.keys("Ctrl+R")
    assert driver.messages == ["The disk is full."]
    driver.emit(EngineNotStarted("The encoder is too big."))
    assert driver.messages == ["The encoder is too big.", "The disk is full."]

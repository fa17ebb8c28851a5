"""The window learns over the chosen encoder, and over another one as soon as that is chosen or works."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from PySide6.QtWidgets import QLabel

from app.encoders import registry
from app.engine.events import EngineDied, EngineNotStarted, Event, LearningFailure
from app.workspace.notice import ProjectFailed
from tests.ui.conftest import Desk, square
from tests.unit.encoder.test_user_encoders import write_encoder
from tests.unit.readers.dicom_oracle import grey_cine
from vjepa_core.encoder.catalogue import DEFAULT_ENCODER
from vjepa_core.errors import EncoderError
from vjepa_core.service.messages import Ready


@pytest.fixture
def mine(tmp_path: Path) -> str:
    """An encoder of the user's own."""
    return registry.keep(write_encoder(tmp_path / "run"), "mine").name


def test_the_chosen_encoder_is_the_one_that_is_started(
    mine: str, open_desk: Callable[[], Desk], cine_file: Path
) -> None:
    registry.choose(mine)
    desk = open_desk()
    desk.open(cine_file, cines=1)
    assert desk.session.encoder == "mine"


def test_another_encoder_starts_a_new_session_that_is_told_everything(
    mine: str, heart: Desk, tmp_path: Path
) -> None:
    heart.open(grey_cine(tmp_path / "other.dcm", n=5, seed=3), cines=2)
    heart.hand.click(50, 50)
    heart.predict({3: square(1)})
    before = heart.session
    assert before.encoder == DEFAULT_ENCODER
    heart.workspace.change_encoder(mine)
    assert "close" in before.calls
    after = heart.session
    assert after is not before
    assert (after.encoder, registry.chosen()) == ("mine", "mine")
    assert after.looks[0] == (heart.opened.id, heart.opened.frame)
    assert after.has_cine(heart.opened.id)
    assert [(cine, revision) for cine, revision, *_ in after.labels] == [(heart.opened.id, 1)]
    assert heart.opened.stale == {3}  # shown as outdated until there are better ones
    heart.workspace.change_encoder(DEFAULT_ENCODER)
    assert heart.session.encoder == DEFAULT_ENCODER


def test_an_unknown_encoder_changes_nothing(heart: Desk) -> None:
    before = heart.session
    with pytest.raises(EncoderError, match="There is no encoder called nobody"):
        heart.workspace.change_encoder("nobody")
    assert heart.session is before
    assert registry.chosen() == DEFAULT_ENCODER


def test_the_window_says_how_the_encoder_was_trained(mine: str, heart: Desk) -> None:
    heart.tell(Ready("cpu", "mine", "abc", True))
    texts = [label.text() for label in heart.window.learning.findChildren(QLabel)]
    (text,) = [text for text in texts if "mine" in text]
    assert "mine, V-JEPA 2.1, on CPU" in text
    assert "Trained for 20 steps." in text
    heart.tell(Ready("cpu", DEFAULT_ENCODER, "abc", False))
    texts = [label.text() for label in heart.window.learning.findChildren(QLabel)]
    assert any("Untrained encoder" in text for text in texts)


TROUBLE = [
    EngineNotStarted("The encoder is too big."),
    EngineDied(-9, False),
    LearningFailure("The engine ran out of memory: close something."),
]


@pytest.mark.parametrize("event", TROUBLE)
def test_trouble_is_taken_back_when_learning_goes_on(heart: Desk, event: Event) -> None:
    for again in (
        lambda: heart.hand.keys("Ctrl+R"),
        lambda: heart.tell(Ready("cpu", "an encoder", "checksum", True)),
        lambda: heart.workspace.change_encoder(DEFAULT_ENCODER),
        heart.workspace.close_project,
    ):
        heart.tell(event)
        assert len(heart.messages) == 1
        again()
        assert heart.messages == []
        assert heart.workspace.learner.obstacle is None


def test_other_messages_stay_when_learning_goes_on(heart: Desk) -> None:
    heart.workspace.notice_raised.emit(ProjectFailed("The disk is full."))
    heart.tell(EngineNotStarted("The encoder is too big."))
    heart.hand.keys("Ctrl+R")
    assert heart.messages == ["The disk is full."]
    heart.tell(EngineNotStarted("The encoder is too big."))
    assert heart.messages == ["The encoder is too big.", "The disk is full."]

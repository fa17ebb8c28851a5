"""Banner, structure list, loss curve, theme and icons."""

from __future__ import annotations

import math

import pytest
from PySide6.QtWidgets import QApplication, QLabel, QPushButton, QToolButton
from pytestqt.qtbot import QtBot

from app.domain.labels import LEFT_HEART
from app.ui import theme
from app.ui.banner import Banner
from app.ui.learning_panel import LearningPanel
from app.ui.loss_curve import LossCurve
from app.ui.structure_list import StructureList
from app.workspace.notice import Level
from vjepa_core.resources import resource_path
from vjepa_core.service.messages import Progress, Stage


@pytest.fixture
def banner(qtbot: QtBot) -> Banner:
    banner = Banner()
    qtbot.addWidget(banner)
    return banner


def test_the_banner_is_visible_only_while_it_has_messages(banner: Banner) -> None:
    assert banner.isHidden()
    banner.show_message("Saved.", Level.INFO)
    assert not banner.isHidden()
    banner.dismiss("Saved.")
    assert banner.isHidden()


def test_the_banner_shows_three_messages_newest_first_without_duplicates(banner: Banner) -> None:
    banner.show_message("a", Level.ERROR)
    banner.show_message("b")
    banner.show_message("c")
    banner.show_message("a", Level.ERROR)
    assert [text for _, text in banner.messages()] == ["a", "c", "b"]
    banner.show_message("d")
    assert [text for _, text in banner.messages()] == ["d", "a", "c"]
    banner.show_message("e")
    assert [text for _, text in banner.messages()] == ["e", "d", "a"]  # the error stays
    banner.clear()
    assert banner.messages() == []


def test_messages_wait_for_space_so_that_no_error_is_lost(banner: Banner) -> None:
    for name in "abcd":
        banner.show_message(name, Level.ERROR)
    banner.show_message("e", Level.WARNING)
    assert [text for _, text in banner.messages()] == ["e", "d", "c"]
    assert banner.waiting() == 2
    banner.dismiss("e")
    banner.dismiss("d")
    assert [text for _, text in banner.messages()] == ["c", "b", "a"]
    assert banner.waiting() == 0
    banner.show_message("f", Level.ERROR)
    more = banner.findChild(QToolButton, "more")
    assert more is not None
    assert "1 more message" in more.text()
    more.click()
    assert banner.messages() == []
    assert banner.waiting() == 0
    assert banner.isHidden()


def test_a_message_can_have_an_action_and_can_be_dismissed(banner: Banner) -> None:
    done: list[str] = []
    banner.show_message("Moved.", Level.WARNING, ("Find it", lambda: done.append("found")))
    button = banner.findChild(QPushButton)
    assert isinstance(button, QPushButton)
    button.click()
    assert done == ["found"]
    close = banner.findChild(QToolButton, "dismiss")
    assert isinstance(close, QToolButton)
    close.click()
    assert banner.messages() == []


def test_the_banner_shows_markup_in_a_file_name_literally(banner: Banner, qtbot: QtBot) -> None:
    banner.show_message("<b>x</b>.dcm is empty.")
    banner.show()
    label = next(w for w in banner.findChildren(QLabel) if w.text())
    plain = QLabel("x.dcm is empty.")
    assert label.sizeHint().width() > plain.sizeHint().width()


def test_the_structure_list_selects_and_hides_structures(qtbot: QtBot) -> None:
    structures = StructureList()
    qtbot.addWidget(structures)
    assert structures.active() == -1
    structures.set_label_set(LEFT_HEART)
    assert structures.active() == 1
    assert (structures.value_at(3), structures.value_at(4)) == (3, None)
    chosen: list[int] = []
    visible: list[set[int]] = []
    structures.structure_selected.connect(chosen.append)
    structures.visibility_changed.connect(visible.append)
    buttons = {b.text() or b.accessibleName(): b for b in structures.findChildren(QToolButton)}
    buttons["LV myocardium"].click()
    assert chosen == [2]
    structures.set_active(3)
    assert (structures.active(), chosen) == (3, [2])
    buttons["Hide Left atrium"].click()
    assert visible == [{1, 2}]
    assert structures.hidden_structures() == {3}
    structures.set_label_set(LEFT_HEART)
    assert structures.hidden_structures() == set()
    assert structures.active() == 1


def test_the_loss_curve_appears_with_its_first_point(qtbot: QtBot) -> None:
    panel = LearningPanel()
    qtbot.addWidget(panel)
    curve = panel.findChild(LossCurve)
    assert isinstance(curve, LossCurve)
    panel.show_progress(Progress(1, 1, Stage.FITTING, 0, 80))
    assert curve.isHidden()
    panel.show_progress(Progress(1, 1, Stage.FITTING, 1, 80, 1.5))
    assert not curve.isHidden()
    assert curve.points() == [(1, 1.5)]


def test_the_loss_curve_keeps_only_positive_finite_losses(qtbot: QtBot) -> None:
    curve = LossCurve()
    qtbot.addWidget(curve)
    curve.resize(220, 130)
    curve.show()
    curve.clear()
    for step, loss in enumerate((1.0, 0.5, 0.0, -1.0, math.nan, math.inf, 0.02)):
        curve.add(step, loss)
    assert curve.points() == [(0, 1.0), (1, 0.5), (6, 0.02)]
    qtbot.wait(150)
    curve.grab()
    curve.clear()
    assert curve.points() == []
    curve.add(0, 0.3)
    qtbot.wait(150)
    curve.grab()


def test_the_theme_is_dark_and_every_icon_can_be_drawn(qapp: QApplication) -> None:
    style = qapp.style().objectName()
    palette, sheet = qapp.palette(), qapp.styleSheet()
    try:
        theme.apply_theme(qapp)
        assert qapp.palette().window().color().lightness() < 40
        assert qapp.palette().windowText().color().lightness() > 180
        names = [p.stem for p in resource_path("icons").glob("*.svg")]
        assert "play" in names
        for name in names:
            image = theme.icon(name).pixmap(24, 24).toImage()
            assert any(image.pixelColor(x, y).alpha() for x in range(24) for y in range(24)), name
    finally:
        qapp.setStyle(style)
        qapp.setPalette(palette)
        qapp.setStyleSheet(sheet)
    with pytest.raises(FileNotFoundError):
        theme.icon("no-such-icon")

"""The measure panel: numbers, warnings with links, and plain words where something is missing."""

from __future__ import annotations

import re

import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QLabel
from pytestqt.qtbot import QtBot

from app.ui.measure.panel import UPDATING, MeasurePanel
from app.workspace.measuring.contents import Contents, Line, Link, Row, frame_link, frame_of

CONTENTS = Contents(
    headline=Row("EF, biplane", "57 %", "52 to 61", "drawn"),
    rows=(Row("EDV", "104 ml", "97 to 112", "drawn"), Row("GLS", "−19.1 %", "", "not speckle tracking")),
    minor=(Row("FAC", "41 %"),),
    warnings=(("A2C is a draft. ", frame_link("Go to A2C", 2, 31)),),
    facts=(("Pixel 0.441 mm, from the file · ", Link("calibrate by hand", "calibrate")),),
)


@pytest.fixture
def panel(qtbot: QtBot) -> MeasurePanel:
    panel = MeasurePanel()
    qtbot.addWidget(panel)
    panel.resize(312, 800)
    panel.show()
    return panel


def text(label: QLabel) -> str:
    return re.sub("<[^>]+>", "", label.text())


def test_numbers_are_shown_with_interval_origin_and_notice(panel: MeasurePanel) -> None:
    panel.show_contents(CONTENTS)
    assert panel.headline_value.text() == "57 %"
    assert panel.headline_detail.text() == "52 to 61 · drawn"
    assert panel.rows.texts()[0] == ("EDV", "104 ml", "97 to 112 · drawn")
    assert panel.notice.isVisible()
    assert "Research use only" in panel.notice.text()
    assert panel.copy.isVisible()


def test_minor_numbers_appear_on_request(panel: MeasurePanel) -> None:
    panel.show_contents(CONTENTS)
    assert not panel.minor.isVisible()
    panel.more.click()
    assert panel.minor.isVisible()
    assert panel.minor.texts() == [("FAC", "41 %", "")]
    panel.more.click()
    assert not panel.minor.isVisible()


def test_without_numbers_the_panel_says_what_is_missing(panel: MeasurePanel) -> None:
    panel.show_contents(CONTENTS)
    panel.show_contents(Contents(missing=(("Open a cine to measure it.",),)))
    assert text(panel.missing) == "Open a cine to measure it."
    assert not panel.headline_value.isVisible()
    assert not panel.copy.isVisible()
    assert not panel.more.isVisible()
    assert panel.rows.texts() == []


def test_links_are_reported(panel: MeasurePanel) -> None:
    seen: list[str] = []
    panel.link_clicked.connect(seen.append)
    panel.show_contents(CONTENTS)
    panel.warnings.linkActivated.emit("frame:2:31")
    panel.facts.linkActivated.emit("calibrate")
    assert seen == ["frame:2:31", "calibrate"]
    assert frame_of("frame:2:31") == (2, 31)
    assert frame_of("calibrate") is None


def test_a_click_on_a_warning_goes_to_its_frame(panel: MeasurePanel) -> None:
    seen: list[str] = []
    panel.link_clicked.connect(seen.append)
    panel.show_contents(Contents(warnings=((frame_link("Go to frame 31", 2, 31),),)))
    QTest.qWait(20)
    label = panel.warnings
    for x in range(8, 120, 6):
        QTest.mouseClick(label, Qt.MouseButton.LeftButton, pos=QPoint(x, label.height() // 2))
        if seen:
            break
    assert seen == ["frame:2:31"]


def test_many_warnings_are_folded(panel: MeasurePanel) -> None:
    warnings: tuple[Line, ...] = tuple((f"Warning {i}.",) for i in range(6))
    panel.show_contents(Contents(warnings=warnings))
    assert "Warning 2" in text(panel.warnings)
    assert "Warning 3" not in text(panel.warnings)
    assert "3 more" in text(panel.warnings)
    panel.warnings.linkActivated.emit("warnings")
    assert "Warning 5" in text(panel.warnings)


def test_the_panel_says_that_numbers_still_change(panel: MeasurePanel) -> None:
    panel.show_contents(Contents(headline=CONTENTS.headline, is_updating=True))
    assert panel.state.text() == UPDATING
    panel.show_contents(CONTENTS)
    assert panel.state.text() != UPDATING


def test_text_of_files_is_not_interpreted_as_markup(panel: MeasurePanel) -> None:
    panel.show_contents(Contents(facts=(("Pair: <b>a</b>.dcm",),)))
    assert "&lt;b&gt;a" in panel.facts.text()


def test_nothing_is_wider_than_the_panel(panel: MeasurePanel) -> None:
    panel.show_contents(CONTENTS)
    QTest.qWait(20)
    for label in panel.findChildren(QLabel):
        if label.isVisible():
            right = label.mapTo(panel, QPoint(label.width(), 0)).x()
            assert right <= panel.width(), label.text()
            assert label.wordWrap() or label.sizeHint().width() <= label.width() + 1, label.text()


def test_body_size_needs_both_numbers(panel: MeasurePanel) -> None:
    seen: list[tuple[float, float, bool]] = []
    panel.body.chosen.connect(lambda *size: seen.append(size))
    panel.facts.linkActivated.emit("body")
    assert panel.body.isVisible()
    assert not panel.body.use.isEnabled()
    panel.body.height_cm.setValue(172)
    assert not panel.body.use.isEnabled()
    panel.body.weight_kg.setValue(65)
    panel.body.use.click()
    assert seen == [(172.0, 65.0, False)]
    assert not panel.body.isVisible()
    panel.body.show_size(None, None)
    assert not panel.body.use.isEnabled()

"""Panel with the measurements of the left heart."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from PySide6.QtCore import Qt, QTimer, Signal
from PySide6.QtWidgets import (
    QFrame,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QScrollArea,
    QSizePolicy,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from app.ui import theme
from app.ui.measure.body_size import BodySizeFields
from app.ui.measure.phase_pictures import PhasePicture, PhasePictures
from app.ui.measure.rows import RowTable
from app.workspace.measuring.contents import Contents, Line, Row

NOTICE = "Research use only. Not for diagnosis."
INTERVALS = "90 % intervals in grey"
UPDATING = "Updating…"
COPY, COPIED, COPIED_MS = "Copy as text", "Copied", 1500
MAX_WARNINGS = 3
"""Warnings that are displayed before 'more'."""


class MeasurePanel(QWidget):
    """Displays numbers with intervals and origin, warnings, both phases, and the facts they depend on.

    Attributes
    ----------
    state, headline_label, headline_value, headline_detail : QLabel
        Note while the masks change; ejection fraction.
    rows, minor : RowTable
        Main numbers; further ones behind `more`.
    more, copy : QToolButton, QPushButton
        Show further numbers; copy everything as text.
    missing, warnings, facts : QLabel
        Sentences with links.
    pictures : PhasePictures
        End-diastole and end-systole.
    body : BodySizeFields
        Height and weight.
    """

    link_clicked = Signal(str)
    copy_wanted = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._contents: Contents | None = None
        self._copied = QTimer(self)
        self._copied.setSingleShot(True)
        self._copied.setInterval(COPIED_MS)
        self._copied.timeout.connect(self._restore_copy)
        self._all_warnings = False
        self.state = _label(theme.MUTED)
        self.notice = _label(theme.WARNING)
        self.notice.setText("Research use only")
        self.headline_label = _label(theme.TEXT)
        self.headline_value = QLabel()
        font = self.headline_value.font()
        font.setPointSizeF(font.pointSizeF() * 2.2)
        font.setBold(True)
        self.headline_value.setFont(font)
        self.headline_detail = _label(theme.MUTED, small=True)
        self.rows, self.minor = RowTable(), RowTable()
        self.more = QToolButton()
        self.more.setCheckable(True)
        self.more.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self.more.setArrowType(Qt.ArrowType.RightArrow)
        self.more.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.more.toggled.connect(self._show_minor)
        self.missing = self._linked()
        self.warnings = self._linked()
        self.warnings.setObjectName("warnings")
        self.warnings.setStyleSheet(
            f"#warnings {{ background: #2c2615; border-left: 3px solid {theme.WARNING}; padding: 6px 8px; }}"
        )
        self.facts = self._linked()
        self.pictures = PhasePictures()
        self.body = BodySizeFields()
        self.copy: QPushButton = QPushButton(COPY)
        self.copy.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.copy.clicked.connect(self.copy_wanted)
        self._arrange()
        self.show_contents(Contents())

    def _linked(self) -> QLabel:
        label = _label(theme.TEXT)
        label.setTextFormat(Qt.TextFormat.RichText)
        label.linkActivated.connect(self._follow)
        return label

    def _arrange(self) -> None:
        content = QWidget()
        column = QVBoxLayout(content)
        column.setContentsMargins(10, 8, 10, 8)
        column.setSpacing(8)
        top = QHBoxLayout()
        top.addWidget(self.state, 1)
        top.addWidget(self.notice, 0, Qt.AlignmentFlag.AlignRight)
        column.addLayout(top)
        self._headline = QWidget()
        head = QHBoxLayout(self._headline)
        head.setContentsMargins(0, 0, 0, 0)
        head.setSpacing(8)
        names = QVBoxLayout()
        names.setSpacing(1)
        names.addWidget(self.headline_label)
        names.addWidget(self.headline_detail)
        head.addLayout(names, 1)
        head.addWidget(self.headline_value, 0, Qt.AlignmentFlag.AlignRight)
        column.addWidget(self._headline)
        column.addWidget(self.missing)
        column.addWidget(self.rows)
        column.addWidget(self.more)
        column.addWidget(self.minor)
        column.addWidget(self.warnings)
        column.addWidget(self.pictures)
        column.addWidget(self.facts)
        column.addWidget(self.body)
        column.addWidget(self.copy)
        column.addStretch(1)
        area = QScrollArea()
        area.setWidgetResizable(True)
        area.setFrameShape(QFrame.Shape.NoFrame)
        area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        area.setWidget(content)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.addWidget(area)
        self.minor.hide()

    def show_contents(self, contents: Contents) -> None:
        """Display numbers and sentences; only what has changed is updated."""
        if contents == self._contents:
            return
        self._contents = contents
        self.state.setText(
            UPDATING if contents.is_updating else INTERVALS if contents.headline is not None else ""
        )
        self._show_headline(contents.headline)
        self.rows.show_rows(contents.rows)
        self.minor.show_rows(contents.minor)
        self.more.setVisible(bool(contents.minor))
        self._show_minor(self.more.isChecked())
        _set_html(self.missing, contents.missing)
        self._show_warnings()
        _set_html(self.facts, contents.facts, colour=theme.MUTED)
        self.copy.setVisible(contents.has_numbers)

    @property
    def contents(self) -> Contents:
        """What is displayed."""
        return self._contents or Contents()

    def show_copied(self) -> None:
        """Confirm for a moment that the numbers were copied."""
        self.copy.setText(COPIED)
        self._copied.start()

    def _restore_copy(self) -> None:
        self.copy.setText(COPY)

    def show_pictures(self, pictures: Sequence[PhasePicture]) -> None:
        """Display both phases of each view."""
        self.pictures.show_pictures(pictures)

    def _show_headline(self, row: Row | None) -> None:
        self._headline.setVisible(row is not None)
        if row is not None:
            self.headline_label.setText(row.label)
            self.headline_value.setText(row.value)
            self.headline_detail.setText(row.note)
            self._headline.setToolTip(f"<qt>{escape(row.help)}</qt>" if row.help else "")

    def _show_minor(self, visible: bool) -> None:
        has_rows = self._contents is not None and bool(self._contents.minor)
        self.minor.setVisible(visible and has_rows)
        self.more.setArrowType(Qt.ArrowType.DownArrow if visible else Qt.ArrowType.RightArrow)
        self.more.setText("Fewer numbers" if visible else "More numbers")

    def _show_warnings(self) -> None:
        warnings = () if self._contents is None else self._contents.warnings
        shown = warnings if self._all_warnings else warnings[:MAX_WARNINGS]
        html = "".join(f"<p style='margin: 0 0 4px 0'>{_html(line)}</p>" for line in shown)
        if len(warnings) > MAX_WARNINGS:
            hidden = len(warnings) - MAX_WARNINGS
            text = "Show fewer" if self._all_warnings else f"{hidden} more"
            html += f"<p style='margin: 0'>{_anchor(text, 'warnings')}</p>"
        if self.warnings.text() != html:
            self.warnings.setText(html)
        self.warnings.setVisible(bool(html))

    def _follow(self, target: str) -> None:
        if target == "warnings":
            self._all_warnings = not self._all_warnings
            self._show_warnings()
        elif target == "body":
            self.body.open()
        else:
            self.link_clicked.emit(target)


def _label(colour: str, *, small: bool = False) -> QLabel:
    label = QLabel()
    label.setWordWrap(True)
    label.setStyleSheet(f"color: {colour};")
    label.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Minimum)
    if small:
        font = label.font()
        font.setPointSizeF(max(8.0, font.pointSizeF() * 0.88))
        label.setFont(font)
    return label


def _set_html(label: QLabel, lines: Sequence[Line], *, colour: str = theme.TEXT) -> None:
    html = "".join(f"<p style='margin: 0 0 4px 0; color: {colour}'>{_html(line)}</p>" for line in lines)
    if label.text() != html:
        label.setText(html)
    label.setVisible(bool(html))


def _html(line: Line) -> str:
    return "".join(escape(p) if isinstance(p, str) else _anchor(p.text, p.target) for p in line)


def _anchor(text: str, target: str) -> str:
    return (
        f"<a href='{escape(target)}' style='color:{theme.ACCENT}; text-decoration: none'>{escape(text)}</a>"
    )

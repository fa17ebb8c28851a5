"""Dark colour theme, and icons tinted to it. Colours of structures belong to the label set."""

from __future__ import annotations

from functools import cache

from PySide6.QtCore import QByteArray, QRectF, Qt
from PySide6.QtGui import QColor, QIcon, QPainter, QPalette, QPixmap
from PySide6.QtSvg import QSvgRenderer
from PySide6.QtWidgets import QApplication

from vjepa_core.resources import resource_path

CANVAS = "#050608"
"""Around the picture: nearly black, to keep the eye dark-adapted."""
WINDOW = "#15181c"
RAISED = "#20252b"
LINE = "#333a42"
TEXT = "#d5dae0"
MUTED = "#9aa3ad"
FAINT = "#5b6570"
ACCENT = "#5aa9c7"
WARNING = "#d9a441"
ERROR = "#e0705f"
BETTER = "#7fc28a"  # a value that is better than the one it is compared with

_STYLESHEET = f"""
QToolTip {{ color: {TEXT}; background: {RAISED}; border: 1px solid {LINE}; padding: 3px; }}
QToolButton {{ border: 1px solid transparent; border-radius: 4px; padding: 3px; }}
QToolButton:hover {{ background: {RAISED}; }}
QToolButton:pressed, QToolButton:checked {{ background: #2b3a43; border-color: #3f5a68; }}
QToolButton:focus {{ border-color: {ACCENT}; }}
QToolBar {{ border: 0; border-bottom: 1px solid {LINE}; spacing: 2px; padding: 2px; }}
QStatusBar {{ border-top: 1px solid {LINE}; color: {MUTED}; }}
QStatusBar::item {{ border: 0; }}
QMainWindow::separator {{ background: {LINE}; width: 1px; height: 1px; }}
"""


def apply_theme(app: QApplication) -> None:
    """Set style, colour scheme, palette and stylesheet of the application."""
    app.setStyle("Fusion")
    app.styleHints().setColorScheme(Qt.ColorScheme.Dark)
    app.setPalette(_palette())
    app.setStyleSheet(_STYLESHEET)


def _palette() -> QPalette:
    role = QPalette.ColorRole
    palette = QPalette()
    for which, colour in {
        role.Window: WINDOW,
        role.WindowText: TEXT,
        role.Base: "#101317",
        role.AlternateBase: RAISED,
        role.Text: TEXT,
        role.Button: RAISED,
        role.ButtonText: TEXT,
        role.BrightText: "#ffffff",
        role.ToolTipBase: RAISED,
        role.ToolTipText: TEXT,
        role.PlaceholderText: MUTED,
        role.Highlight: "#2f6f8a",
        role.HighlightedText: "#ffffff",
        role.Link: ACCENT,
        role.Light: "#2b3138",
        role.Midlight: "#262c32",
        role.Mid: "#1b1f24",
        role.Dark: "#0d0f12",
        role.Shadow: "#000000",
    }.items():
        palette.setColor(which, QColor(colour))
    for which in (role.WindowText, role.Text, role.ButtonText, role.HighlightedText):
        palette.setColor(QPalette.ColorGroup.Disabled, which, QColor(FAINT))
    return palette


@cache
def icon(name: str) -> QIcon:
    """Return the icon `resources/icons/<name>.svg` in the text colour, fainter while disabled.

    Raises
    ------
    FileNotFoundError
        If there is no such icon.
    """
    svg = resource_path("icons", f"{name}.svg").read_text(encoding="utf-8")
    result = QIcon()
    for mode, colour in ((QIcon.Mode.Normal, TEXT), (QIcon.Mode.Disabled, FAINT)):
        for side in (16, 20, 24, 32, 48):
            result.addPixmap(_render(svg.replace("currentColor", colour), side), mode)
    return result


def tinted(name: str, colour: str, side: int) -> QPixmap:
    """Return an icon as a pixmap in one colour, `side` logical pixels wide, with double resolution."""
    svg = resource_path("icons", f"{name}.svg").read_text(encoding="utf-8")
    pixmap = _render(svg.replace("currentColor", colour), side * 2)
    pixmap.setDevicePixelRatio(2)
    return pixmap


def swatch(rgb: tuple[int, int, int], side: int = 14) -> QIcon:
    """Return a square in the colour of a structure, `side` wide, with a margin of 4 on the right."""
    pixmap = QPixmap((side + 4) * 2, side * 2)
    pixmap.setDevicePixelRatio(2)
    pixmap.fill(Qt.GlobalColor.transparent)
    painter = QPainter(pixmap)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(QColor(*rgb))
    painter.drawRoundedRect(QRectF(0, 0, side, side), 3, 3)
    painter.end()
    return QIcon(pixmap)


def _render(svg: str, side: int) -> QPixmap:
    pixmap = QPixmap(side, side)
    pixmap.fill(Qt.GlobalColor.transparent)
    painter = QPainter(pixmap)
    QSvgRenderer(QByteArray(svg.encode())).render(painter, QRectF(0, 0, side, side))
    painter.end()
    return pixmap

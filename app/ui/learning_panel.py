"""What the engine is doing, said in words, with its loss, its encoder and the way to stop it."""

from __future__ import annotations

from collections.abc import Callable
from html import escape

from PySide6.QtCore import Qt, Signal, SignalInstance
from PySide6.QtWidgets import (
    QCheckBox,
    QHBoxLayout,
    QLabel,
    QProgressBar,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from app.ui import theme
from app.ui.loss_curve import LossCurve
from app.ui.review_line import ReviewLine
from app.ui.suggestion_line import SuggestionLine
from vjepa_core.encoder.catalogue import EncoderCard
from vjepa_core.service.messages import RESTING, Progress, Ready, Stage


def describe(progress: Progress) -> str:
    """One line for the status bar: 'features 12/38 clips', 'fitting 40/160, loss 0.312'."""
    match progress.stage:
        case Stage.FEATURES:
            return f"features {progress.done}/{progress.total} clips"
        case Stage.MOTION:
            return f"motion {progress.done}/{progress.total} frames"
        case Stage.FITTING:
            loss = "" if progress.loss is None else f", loss {progress.loss:.3f}"
            return f"fitting {progress.done}/{progress.total} steps{loss}"
        case Stage.PREDICTING:
            return f"predicting {progress.done}/{progress.total} frames"
        case Stage.WAITING:
            return "waiting: outline a structure on two or three frames"
        case Stage.DRAFT:
            return "draft from other patients' hearts: correct it on two or three frames"
        case Stage.NOT_RECOGNISED:
            return "this picture is not recognised: outline a frame to teach it"
        case Stage.UP_TO_DATE:
            return "up to date"
        case Stage.CANCELLED:
            return "learning stopped"
    return "starting the engine"


def describe_stopping(progress: Progress) -> str:
    """One line while the engine finishes what it was stopped in."""
    steps = {
        Stage.MOTION: "frame",
        Stage.FEATURES: "clip",
        Stage.FITTING: "step",
        Stage.PREDICTING: "frames",
    }
    return f"stopping after the present {steps.get(progress.stage, 'step')} ..."


DICE = (
    "Expected Dice: how far the prediction is likely to overlap with what you would draw here, from 0 "
    "(not at all) to 1 (exactly). Measured on other hearts; on one unlike them it can be off."
)
DOUBT_HELP = (
    "Green haze: the label may be wrong, and the border may lie anywhere in it; wide places are hatched. "
    "Borders without haze are likely to be right."
)


class LearningPanel(QWidget):
    """State, progress, loss, encoder; stop or resume; accept the prediction."""

    cancelled = Signal()
    resumed = Signal()
    accepted = Signal()
    islands_removed = Signal()
    encoders_wanted = Signal()
    uncertainty_wanted = Signal(bool)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        column = QVBoxLayout(self)
        column.setContentsMargins(10, 8, 10, 8)
        column.setSpacing(6)
        self._state = QLabel()
        self._state.setWordWrap(True)
        self._state.setMinimumHeight(3 * self._state.fontMetrics().lineSpacing())  # nothing jumps
        self._state.setAlignment(Qt.AlignmentFlag.AlignTop)
        self._bar = QProgressBar()
        self._bar.setTextVisible(False)
        self._bar.setFixedHeight(6)
        self._curve = LossCurve()
        self._curve.setFixedHeight(120)
        keep = self._curve.sizePolicy()
        keep.setRetainSizeWhenHidden(True)
        self._curve.setSizePolicy(keep)
        self._curve.hide()  # empty axes say nothing
        self._button = _quiet_button(self._pressed, "Stop")
        self._confidence = QLabel("")
        self._confidence.setStyleSheet(f"color: {theme.MUTED};")
        self._confidence.setWordWrap(True)
        self._confidence.setToolTip(f"<qt>{DICE}</qt>")
        self.uncertainty = QCheckBox("Show where it may be wrong")
        self.uncertainty.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.uncertainty.clicked.connect(self.uncertainty_wanted)
        self.suggestion = SuggestionLine()
        self.review = ReviewLine()
        self.accept = _quiet_button(self.accepted, "Accept this frame")
        self.accept.setIcon(theme.icon("accept"))
        self._islands = _quiet_button(self.islands_removed)
        self._encoder = QLabel("")
        self._encoder.setWordWrap(True)
        self._encoder.setTextFormat(Qt.TextFormat.RichText)
        self._encoder.linkActivated.connect(lambda _link: self.encoders_wanted.emit())
        row = QHBoxLayout()
        row.addWidget(self._button)
        row.addWidget(self.accept, 1)
        for widget in (self._state, self._bar, self._curve):
            column.addWidget(widget)
        column.addLayout(row)
        column.addWidget(self._confidence)
        column.addWidget(self._islands)
        column.addWidget(self.suggestion)
        column.addWidget(self.review)
        column.addWidget(self.uncertainty)
        column.addWidget(self._encoder)
        column.addStretch(1)
        self._stage = Stage.STARTING
        self.show_nothing()

    def show_nothing(self) -> None:
        """No cine is open."""
        self._state.setText("Open a cine to begin")
        self._bar.setRange(0, 1)
        self._bar.setValue(0)
        self._button.setEnabled(False)
        self._curve.hide()
        self.show_confidence("", False)
        self.show_islands(0)
        self.suggestion.show_html("")
        self.review.show_findings({})

    def show_progress(self, progress: Progress, other: str = "") -> None:
        """Follow the engine; `other` names the cine that it works on if that is not the visible one."""
        said = describe(progress).capitalize()
        self._state.setText(f"{other}: {said[:1].lower()}{said[1:]}" if other else said)
        if progress.stage is Stage.FITTING:
            if self._stage is not Stage.FITTING or progress.done <= 1:
                self._curve.start()
            if progress.loss is not None:
                self._curve.show()
                self._curve.add(progress.done, progress.loss)
        if progress.stage in (Stage.WAITING, Stage.DRAFT, Stage.NOT_RECOGNISED):
            self._curve.hide()  # of a fit that no longer counts
        self._stage = progress.stage
        resting = progress.stage in RESTING
        if progress.total:
            self._bar.setRange(0, progress.total)
            self._bar.setValue(progress.done)
        else:
            self._bar.setRange(0, 1 if resting else 0)
            self._bar.setValue(progress.stage in (Stage.UP_TO_DATE, Stage.DRAFT))
        if progress.stage is Stage.CANCELLED:
            self._button.setText("Resume")
        else:
            self._button.setText("Stop")
        can_press = progress.stage is Stage.CANCELLED or progress.stage not in (*RESTING, Stage.STARTING)
        self._button.setEnabled(can_press)

    def show_stopping(self, progress: Progress) -> None:
        """Say that the engine has heard and finishes what it is at."""
        self._state.setText(describe_stopping(progress).capitalize())
        self._button.setEnabled(False)

    def show_encoder(self, ready: Ready, card: EncoderCard | None) -> None:
        """Name the encoder and its training, and say plainly where it is untrained."""
        colour, training = theme.MUTED, ""
        if not ready.encoder_trained:
            colour = theme.WARNING
            training = "Untrained encoder: masks rest on the image and on motion alone."
        elif card is not None:
            training = f"{card.description.split('. ')[0].rstrip('.')}."  # the rest is in the tooltip
        device = "GPU" if ready.device.startswith("cuda") else ready.device.upper()
        name = ready.encoder if card is None else f"{card.name}, {card.family}"
        self._encoder.setText(
            f"<span style='color:{theme.MUTED}'>{escape(name)}, on {device}</span>"
            f"<br><span style='color:{colour}'>{escape(training)}</span>"
            f"<br><a href='encoders' style='color:{theme.ACCENT}; text-decoration: none'>Encoders...</a>"
        )
        if card is not None:
            self._encoder.setToolTip(card.description)

    def show_islands(self, count: int) -> None:
        """Offer to remove the small islands on the visible frame, where there are any."""
        self._islands.setText(f"Remove {count} small island{'' if count == 1 else 's'}")
        self._islands.setVisible(count > 0)

    def show_confidence(self, text: str, can_accept: bool) -> None:
        """Say who stated what on the visible frame, and how far its prediction can be trusted."""
        self._confidence.setText(text)
        self.accept.setEnabled(can_accept)

    def has_frame_text(self) -> bool:
        """True where something is said about the visible frame."""
        return bool(self._confidence.text())

    def show_uncertainty(self, shown: bool) -> None:
        """Say whether the picture shows where the prediction may be wrong."""
        self.uncertainty.setChecked(shown)

    def _pressed(self) -> None:
        (self.resumed if self._stage is Stage.CANCELLED else self.cancelled).emit()


def _quiet_button(pressed: Callable[[], object] | SignalInstance, text: str = "") -> QPushButton:
    """A button that leaves the keyboard to the picture."""
    button = QPushButton(text)
    button.setFocusPolicy(Qt.FocusPolicy.NoFocus)
    button.clicked.connect(pressed)
    return button

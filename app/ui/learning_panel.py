"""State of learning, with loss curve and encoder; commands for the visible frame."""

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

WORKING = {
    Stage.FEATURES: ("Analysing the cine", "clip"),
    Stage.MOTION: ("Analysing the motion", "frame"),
    Stage.FITTING: ("Learning", "step"),
    Stage.PREDICTING: ("Segmenting", "frame"),
}
"""State and unit of work of each stage that makes progress."""
RESTING_TEXTS = {
    Stage.WAITING: "Waiting for outlines: outline a structure on two or three frames",
    Stage.DRAFT: "Draft ready: correct it on two or three frames",
    Stage.NOT_RECOGNISED: "View not recognised: outline a frame to start learning",
    Stage.UP_TO_DATE: "Ready",
    Stage.CANCELLED: "Learning stopped",
}
DICE_HELP = (
    "Expected Dice: estimated overlap of the prediction with your own outline, from 0 (none) to 1 "
    "(identical). Calibrated on other hearts; it can be wrong for a heart that differs from them."
)
DOUBT_HELP = (
    "Green shading: the prediction may be wrong here, and the border may lie anywhere within the shaded "
    "area; wide areas are also hatched. Borders without shading are likely to be correct."
)


def describe(progress: Progress, seconds_left: float | None = None) -> str:
    """Return the state of learning, such as 'Learning, 8 s left', 'Learning, 25 %' or 'Ready'."""
    if progress.stage in RESTING_TEXTS:
        return RESTING_TEXTS[progress.stage]
    if progress.stage not in WORKING:
        return "Starting"
    state, _ = WORKING[progress.stage]
    if seconds_left is not None:
        return f"{state}, {_duration(seconds_left)} left"
    return f"{state}, {100 * progress.done // max(progress.total, 1)} %"


def describe_details(progress: Progress) -> str:
    """Return the progress in units of work and the loss, such as 'Step 40 of 160, loss 0.312'; or ''."""
    if progress.stage not in WORKING:
        return ""
    _, unit = WORKING[progress.stage]
    loss = "" if progress.loss is None else f", loss {progress.loss:.3f}"
    return f"{unit.capitalize()} {progress.done} of {progress.total}{loss}"


def describe_stopping(progress: Progress) -> str:
    """Return the state while the engine finishes its current step before it stops."""
    _, unit = WORKING.get(progress.stage, ("", "step"))
    return f"Stopping after the current {unit}"


def _duration(seconds: float) -> str:
    return f"{max(1, round(seconds))} s" if seconds < 90 else f"{round(seconds / 60)} min"


class LearningPanel(QWidget):
    """Displays the state of learning, and offers to stop it and to accept predictions.

    Attributes
    ----------
    state, frame_text : QLabel
        State of learning; content of the visible frame.
    stop, accept, remove_islands : QPushButton
        Stop or resume learning; accept the prediction; remove small islands.
    doubt : QCheckBox
        Show doubt, where the prediction may be wrong.
    suggestion, review : QLabel
        Suggestion of what to outline next; frames with findings.
    """

    cancelled = Signal()
    resumed = Signal()
    accepted = Signal()
    islands_removed = Signal()
    encoders_wanted = Signal()
    doubt_toggled = Signal(bool)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.state = QLabel()
        self.state.setWordWrap(True)
        self.state.setMinimumHeight(3 * self.state.fontMetrics().lineSpacing())  # a fixed layout
        self.state.setAlignment(Qt.AlignmentFlag.AlignTop)
        self._bar = QProgressBar()
        self._bar.setTextVisible(False)
        self._bar.setFixedHeight(6)
        self._curve = LossCurve()
        self._curve.setFixedHeight(120)
        policy = self._curve.sizePolicy()
        policy.setRetainSizeWhenHidden(True)
        self._curve.setSizePolicy(policy)
        self._curve.hide()
        self.stop = _button("Stop", self._stop_or_resume)
        self.frame_text = QLabel("")
        self.frame_text.setStyleSheet(f"color: {theme.MUTED};")
        self.frame_text.setWordWrap(True)
        self.frame_text.setToolTip(f"<qt>{DICE_HELP}</qt>")
        self.doubt = QCheckBox("Show uncertain areas")
        self.doubt.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.doubt.clicked.connect(self.doubt_toggled)
        self.suggestion = SuggestionLine()
        self.review = ReviewLine()
        self.accept = _button("Accept this frame", self.accepted)
        self.accept.setIcon(theme.icon("accept"))
        self.remove_islands = _button("", self.islands_removed)
        self._encoder = QLabel("")
        self._encoder.setWordWrap(True)
        self._encoder.setTextFormat(Qt.TextFormat.RichText)
        self._encoder.linkActivated.connect(lambda _link: self.encoders_wanted.emit())
        self._stage = Stage.STARTING
        self._arrange()
        self.show_nothing()

    def _arrange(self) -> None:
        column = QVBoxLayout(self)
        column.setContentsMargins(10, 8, 10, 8)
        column.setSpacing(6)
        row = QHBoxLayout()
        row.addWidget(self.stop)
        row.addWidget(self.accept, 1)
        column.addWidget(self.state)
        column.addWidget(self._bar)
        column.addWidget(self._curve)
        column.addLayout(row)
        column.addWidget(self.frame_text)
        column.addWidget(self.remove_islands)
        column.addWidget(self.suggestion)
        column.addWidget(self.review)
        column.addWidget(self.doubt)
        column.addWidget(self._encoder)
        column.addStretch(1)

    def show_nothing(self) -> None:
        """Show that no cine is open."""
        self.state.setText("Open a cine to begin")
        self.state.setToolTip("")
        self._bar.setRange(0, 1)
        self._bar.setValue(0)
        self.stop.setEnabled(False)
        self._curve.hide()
        self.show_frame_text("", can_accept=False)
        self.show_islands(0)
        self.suggestion.show_html("")
        self.review.show_findings({})

    def show_progress(
        self, progress: Progress, other_cine: str = "", seconds_left: float | None = None
    ) -> None:
        """Show the progress of the engine.

        Parameters
        ----------
        progress : Progress
            Latest report.
        other_cine : str
            File name of the cine that the engine works on, if it is not the visible one.
        seconds_left : float, optional
            Remaining time of the stage.
        """
        text = describe(progress, seconds_left)
        self.state.setText(f"{other_cine}: {text}" if other_cine else text)
        self.state.setToolTip(describe_details(progress))
        if progress.stage is Stage.FITTING:
            if self._stage is not Stage.FITTING or progress.done <= 1:
                self._curve.clear()
            if progress.loss is not None:
                self._curve.show()
                self._curve.add(progress.done, progress.loss)
        if progress.stage in (Stage.WAITING, Stage.DRAFT, Stage.NOT_RECOGNISED):
            self._curve.hide()  # the previous fit no longer applies
        self._stage = progress.stage
        is_resting = progress.stage in RESTING
        if progress.total:
            self._bar.setRange(0, progress.total)
            self._bar.setValue(progress.done)
        else:
            self._bar.setRange(0, 1 if is_resting else 0)
            self._bar.setValue(progress.stage in (Stage.UP_TO_DATE, Stage.DRAFT))
        is_stopped = progress.stage is Stage.CANCELLED
        self.stop.setText("Resume" if is_stopped else "Stop")
        self.stop.setEnabled(is_stopped or not (is_resting or progress.stage is Stage.STARTING))

    def show_stopping(self, progress: Progress) -> None:
        """Show that the engine stops after its current step."""
        self.state.setText(describe_stopping(progress))
        self.stop.setEnabled(False)

    def show_encoder(self, ready: Ready, card: EncoderCard | None) -> None:
        """Show name, device and training of the encoder."""
        colour, training = theme.MUTED, ""
        if not ready.encoder_trained:
            colour = theme.WARNING
            training = "Untrained encoder: masks are based on grey values and motion only."
        elif card is not None:
            training = f"{card.description.split('. ')[0].rstrip('.')}."  # the tooltip has the rest
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
        """Offer to remove the small islands of the visible frame, if there are any."""
        self.remove_islands.setText(f"Remove {count} small island{'' if count == 1 else 's'}")
        self.remove_islands.setVisible(count > 0)

    def show_frame_text(self, text: str, *, can_accept: bool) -> None:
        """Show the content of the visible frame, and enable accepting its prediction."""
        self.frame_text.setText(text)
        self.accept.setEnabled(can_accept)

    def _stop_or_resume(self) -> None:
        (self.resumed if self._stage is Stage.CANCELLED else self.cancelled).emit()


def _button(text: str, on_click: Callable[[], object] | SignalInstance) -> QPushButton:
    """Return a button that leaves the keyboard focus on the picture."""
    button = QPushButton(text)
    button.setFocusPolicy(Qt.FocusPolicy.NoFocus)
    button.clicked.connect(on_click)
    return button

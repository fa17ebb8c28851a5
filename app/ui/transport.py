"""Playback of a cine at its own frame times, and its buttons."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QObject, QSize, Qt, QTimer, Signal
from PySide6.QtWidgets import QComboBox, QHBoxLayout, QLabel, QToolButton, QWidget

from app.ui import theme

SPEEDS = (("¼×", 0.25), ("½×", 0.5), ("1×", 1.0), ("2×", 2.0))


def cine_duration(times_ms: NDArray[np.float64]) -> float:
    """Return the duration of a cine in milliseconds; the last frame lasts as long as the median frame."""
    if len(times_ms) < 2:
        return 0.0
    return float(times_ms[-1] - times_ms[0] + np.median(np.diff(times_ms)))


def frame_at(times_ms: NDArray[np.float64], position_ms: float, *, loop: bool) -> tuple[int, bool]:
    """Return the frame to display at a time, and True if playback has reached the end.

    Parameters
    ----------
    times_ms : numpy.ndarray
        Time of every frame in milliseconds, ascending.
    position_ms : float
        Time since the first frame.
    loop : bool
        True to continue from the start after the end.
    """
    duration = cine_duration(times_ms)
    if duration <= 0:
        return 0, True
    over = position_ms >= duration
    if over and not loop:
        return len(times_ms) - 1, True
    at = times_ms[0] + position_ms % duration
    return max(int(np.searchsorted(times_ms, at + 1e-6, side="right")) - 1, 0), False


class Player(QObject):
    """Emits the frame to display; if drawing is slow, frames are skipped to keep real time."""

    frame_changed = Signal(int)
    playing_changed = Signal(bool)

    def __init__(self, parent: QObject | None = None, clock: Callable[[], float] = time.perf_counter) -> None:
        super().__init__(parent)
        self._clock = clock  # seconds
        self._times: NDArray[np.float64] = np.zeros(0)
        self._loop, self._speed = True, 1.0
        self._current = 0
        self._from_clock, self._from_ms = 0.0, 0.0
        self._timer = QTimer(self)
        self._timer.setTimerType(Qt.TimerType.PreciseTimer)
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self._tick)
        self._playing = False

    def set_times(self, times_ms: Sequence[float] | NDArray[np.float64]) -> None:
        """Pause, and set the frame times of another cine in milliseconds."""
        self.pause()
        # A damaged time vector may run backwards: such frames are skipped.
        self._times = np.maximum.accumulate(np.asarray(times_ms, np.float64))
        self._current = 0

    def set_current(self, index: int) -> None:
        """Continue from this frame, without a signal."""
        if index != self._current and 0 <= index < len(self._times):
            self._current = index
            self._anchor()

    def set_loop(self, loop: bool) -> None:
        """Set whether playback continues from the start after the end, or stops there."""
        self._anchor()
        self._loop = loop

    def set_speed(self, speed: float) -> None:
        """Set the speed relative to real time."""
        self._speed = speed
        self._anchor()

    def loop(self) -> bool:
        """Return True if playback continues from the start at the end."""
        return self._loop

    def is_playing(self) -> bool:
        """Return True during playback."""
        return self._playing

    def play(self) -> None:
        """Start playback at the visible frame, or at the first frame if the end was reached."""
        if self._playing or cine_duration(self._times) <= 0:
            return
        if not self._loop and self._current == len(self._times) - 1:
            self._current = 0
            self.frame_changed.emit(0)
        self._playing = True
        self._anchor()
        self.playing_changed.emit(True)
        self._timer.start(0)

    def pause(self) -> None:
        """Stop playback at the visible frame."""
        if self._playing:
            self._playing = False
            self._timer.stop()
            self.playing_changed.emit(False)

    def toggle(self) -> None:
        """Play or pause."""
        if self._playing:
            self.pause()
        else:
            self.play()

    def _anchor(self) -> None:
        self._from_clock = self._clock()
        if len(self._times):
            self._from_ms = float(self._times[self._current] - self._times[0])

    def _position(self) -> float:
        return self._from_ms + (self._clock() - self._from_clock) * 1000.0 * self._speed

    def _tick(self) -> None:
        if not self._playing:
            return
        index, over = frame_at(self._times, self._position(), loop=self._loop)
        if index != self._current:
            self._current = index
            self.frame_changed.emit(index)  # this draws the frame
        if over:
            self.pause()
        elif self._playing:
            self._timer.start(self._until_next())

    def _until_next(self) -> int:
        duration = cine_duration(self._times)
        index = self._current
        end = float(self._times[index + 1] - self._times[0]) if index + 1 < len(self._times) else duration
        wait = (end - self._position() % duration) / self._speed
        # Wait at least one millisecond, so that other events are processed in between.
        return max(1, int(np.ceil(wait)))


class Transport(QWidget):
    """Buttons of a player, and the position, such as 'frame 12/74 · 0.240 s · 50.0 fps'."""

    step = Signal(int)
    first = Signal()
    last = Signal()

    def __init__(self, player: Player, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._player = player
        row = QHBoxLayout(self)
        row.setContentsMargins(8, 2, 8, 4)
        row.setSpacing(2)
        for name, text, signal in (
            ("frame_first", "First frame", self.first.emit),
            ("frame_prev", "Previous frame", lambda: self.step.emit(-1)),
            ("play", "Play", player.toggle),
            ("frame_next", "Next frame", lambda: self.step.emit(1)),
            ("frame_last", "Last frame", self.last.emit),
            ("loop", "Loop", None),
        ):
            button = QToolButton()
            button.setIcon(theme.icon(name))
            button.setIconSize(QSize(20, 20))
            button.setToolTip(text)
            button.setAccessibleName(text)
            button.setObjectName(name)
            button.setFocusPolicy(Qt.FocusPolicy.NoFocus)
            if signal is not None:
                button.clicked.connect(signal)
            row.addWidget(button)
            if name == "play":
                self._play = button
            elif name == "loop":
                button.setCheckable(True)
                button.setChecked(player.loop())
                button.toggled.connect(player.set_loop)
        self._speed = QComboBox()
        self._speed.setToolTip("Speed")
        self._speed.setAccessibleName("Speed")
        self._speed.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        for text, value in SPEEDS:
            self._speed.addItem(text, value)
        self._speed.setCurrentIndex(2)
        self._speed.currentIndexChanged.connect(lambda _: player.set_speed(self._speed.currentData()))
        row.addSpacing(6)
        row.addWidget(self._speed)
        self._label = QLabel()
        self._label.setAccessibleName("Position")
        row.addSpacing(12)
        row.addWidget(self._label)
        row.addStretch(1)
        player.playing_changed.connect(self._show_playing)
        self.set_position(0, 0, 0.0, 0.0, False)

    def set_position(self, index: int, n_frames: int, time_ms: float, fps: float, assumed: bool) -> None:
        """Display the position.

        Parameters
        ----------
        index, n_frames : int
            Current frame and number of frames; 0 frames without a cine.
        time_ms, fps : float
            Time of the frame, and frame rate.
        assumed : bool
            True if the file does not contain the frame rate.
        """
        self.setEnabled(n_frames > 0)
        # Frames count from zero, as in files and labels: the last of 75 is 74/74.
        parts = [f"frame {index}/{n_frames - 1}"] if n_frames else ["no cine"]
        if n_frames > 1:
            parts += [f"{time_ms / 1000:.3f} s", f"{fps:.1f} fps" + (" (assumed)" if assumed else "")]
        self._label.setText(" · ".join(parts))

    def text(self) -> str:
        """Return the displayed position."""
        return self._label.text()

    def _show_playing(self, playing: bool) -> None:
        name, text = ("pause", "Pause") if playing else ("play", "Play")
        self._play.setIcon(theme.icon(name))
        self._play.setToolTip(text)
        self._play.setAccessibleName(text)

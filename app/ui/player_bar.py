"""Volume curve, timeline and playback buttons of a cine."""

from __future__ import annotations

import numpy as np
from PySide6.QtCore import QTimer, Signal
from PySide6.QtWidgets import QVBoxLayout, QWidget

from app.domain.cine import Cine, TimingSource
from app.ui.timeline import Timeline
from app.ui.transport import Player, Transport
from app.ui.volume_curve import VolumeCurve

DECODING_INTERVAL_MS = 150


class PlayerBar(QWidget):
    """Requests frames: by mouse, buttons or playback."""

    frame_wanted = Signal(int)
    step_wanted = Signal(int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        self.player = Player(self)
        self.timeline = Timeline()
        self.transport = Transport(self.player)
        self.curve = VolumeCurve()
        column.addWidget(self.curve)
        column.addWidget(self.timeline)
        column.addWidget(self.transport)
        self._cine: Cine | None = None
        self._decoding_timer = QTimer(self)
        self._decoding_timer.setInterval(DECODING_INTERVAL_MS)
        self._decoding_timer.timeout.connect(self._show_decoded)
        self.player.frame_changed.connect(self.frame_wanted)
        self.timeline.seek.connect(self._seek)
        self.curve.seek.connect(self._seek)
        self.transport.step.connect(self.step_wanted)
        self.transport.first.connect(lambda: self._seek(0))
        self.transport.last.connect(lambda: self._seek(max(0, self._n_frames - 1)))

    @property
    def _n_frames(self) -> int:
        return 0 if self._cine is None else self._cine.n_frames

    def set_cine(self, cine: Cine | None) -> None:
        """Display the frames of a cine, or None."""
        self._cine = cine
        self._decoding_timer.stop()
        times = np.zeros(0) if cine is None else cine.timing.times_ms
        self.player.pause()
        self.player.set_times(times)
        self.timeline.set_cine(self._n_frames, times)
        self.curve.set_curve(None)
        self.set_current(0)

    def set_current(self, frame: int) -> None:
        """Display the visible frame."""
        self.timeline.set_current(frame)
        self.curve.set_current(frame)
        self.player.set_current(frame)
        cine = self._cine
        if cine is None:
            self.transport.set_position(0, 0, 0.0, 0.0, False)
            return
        timing = cine.timing
        self.transport.set_position(
            frame,
            cine.n_frames,
            float(timing.times_ms[frame]),
            timing.fps,
            timing.source is TimingSource.ASSUMED,
        )

    def watch_decoding(self, cine: Cine) -> None:
        """Display the decoded frames until all are decoded."""
        self._cine = cine
        self._show_decoded()
        self._decoding_timer.start()

    def _seek(self, frame: int) -> None:
        self.player.pause()
        self.frame_wanted.emit(frame)

    def _show_decoded(self) -> None:
        if self._cine is None:
            return
        decoded = [i for i in range(self._cine.n_frames) if self._cine.source.is_decoded(i)]
        self.timeline.set_decoded(decoded)
        if len(decoded) == self._cine.n_frames:
            self._decoding_timer.stop()

"""Playback and its buttons."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray
from PySide6.QtWidgets import QToolButton
from pytestqt.qtbot import QtBot

from app.ui.transport import Player, Transport, frame_at

UNEVEN = np.array([0.0, 10.0, 50.0, 60.0])  # the last frame lasts the median, 10 ms


def frame_times(n: int, step_ms: float) -> NDArray[np.float64]:
    return np.arange(n, dtype=np.float64) * step_ms


class Clock:
    """A clock in seconds that only the test advances."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("position", "index"), [(0, 0), (9.9, 0), (10, 1), (49, 1), (50, 2), (65, 3), (70, 0), (85, 1)]
)
def test_the_frame_at_a_position_follows_the_frame_times(position: float, index: int) -> None:
    assert frame_at(UNEVEN, position, loop=True) == (index, False)


def test_playback_without_a_loop_ends_on_the_last_frame() -> None:
    assert frame_at(UNEVEN, 1000.0, loop=False) == (3, True)


@pytest.mark.parametrize("times", [[], [3.0]])
def test_a_still_ends_at_once(times: list[float]) -> None:
    assert frame_at(np.array(times), 5.0, loop=True) == (0, True)


def test_playback_skips_frames_when_drawing_is_slow(qtbot: QtBot) -> None:
    clock, seen = Clock(), []
    player = Player(clock=clock)
    player.set_times(frame_times(50, 20.0))

    def draw(index: int) -> None:
        seen.append(index)
        clock.now += 0.1  # the duration of five frames
        if index >= 30:
            player.pause()

    player.frame_changed.connect(draw)
    player.play()
    clock.now = 0.021
    qtbot.waitUntil(lambda: not player.is_playing(), timeout=3000)
    assert seen[0] == 1
    assert all(5 <= b - a <= 6 for a, b in pairwise(seen))


def test_playback_shows_frames_in_order_and_stops_at_the_end(qtbot: QtBot) -> None:
    player = Player()
    player.set_times(frame_times(6, 30.0))
    player.set_loop(False)
    seen: list[int] = []
    player.frame_changed.connect(seen.append)
    with qtbot.waitSignal(player.playing_changed, timeout=3000):
        player.play()
    qtbot.waitUntil(lambda: not player.is_playing(), timeout=5000)
    assert seen == sorted(seen)
    assert seen[-1] == 5
    player.play()  # from the start again
    assert seen[-1] == 0
    player.pause()


def test_playback_follows_the_speed_and_starts_at_the_current_frame(qtbot: QtBot) -> None:
    clock = Clock()
    player = Player(clock=clock)
    player.set_times(frame_times(100, 10.0))
    player.set_current(50)
    player.set_speed(0.5)
    with qtbot.waitSignal(player.frame_changed, timeout=2000) as changed:
        player.play()
        clock.now = 0.201  # 100 ms of the cine
    assert changed.args == [60]
    player.pause()


def test_a_still_does_not_play_but_a_cine_with_decreasing_times_does(qtbot: QtBot) -> None:
    player = Player()
    player.play()
    assert not player.is_playing()
    player.set_times([0.0])
    player.play()
    assert not player.is_playing()
    player.set_times([0.0, 20.0, 10.0, 30.0])
    player.set_current(9)  # there is no such frame
    player.play()
    assert player.is_playing()
    player.pause()


def test_buttons_emit_signals_and_the_label_shows_the_position(qtbot: QtBot) -> None:
    player = Player()
    player.set_times(frame_times(75, 20.0))
    transport = Transport(player)
    qtbot.addWidget(transport)
    assert not transport.isEnabled()
    transport.set_position(12, 75, 240.0, 50.0, False)
    assert transport.text() == "frame 12/74 · 0.240 s · 50.0 fps"
    transport.set_position(12, 75, 240.0, 30.0, True)
    assert transport.text().endswith("30.0 fps (assumed)")
    emitted: list[object] = []
    transport.step.connect(emitted.append)
    transport.first.connect(lambda: emitted.append("first"))
    transport.last.connect(lambda: emitted.append("last"))

    def press(name: str) -> None:
        button = transport.findChild(QToolButton, name)
        assert isinstance(button, QToolButton)
        button.click()

    for name in ("frame_prev", "frame_next", "frame_first", "frame_last"):
        press(name)
    assert emitted == [-1, 1, "first", "last"]
    press("play")
    assert player.is_playing()
    press("play")
    assert not player.is_playing()
    press("loop")
    assert not player.loop()

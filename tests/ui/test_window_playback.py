"""Strokes and outlines during playback and frame steps."""

from __future__ import annotations

from tests.ui.conftest import WindowDriver


def test_a_stroke_stops_playback_and_stays_on_its_frame(driver: WindowDriver) -> None:
    driver.user.keys("Space")
    driver.qtbot.waitUntil(lambda: driver.opened.frame > 2)
    driver.user.press(40, 40)
    frame = driver.opened.frame
    assert not driver.window.player_bar.player.is_playing()
    driver.qtbot.wait(120)
    driver.user.move(70, 40)
    driver.user.release(70, 40)
    assert driver.annotated == (frame,)
    assert driver.drawn(frame)[40, 40:70].all()


def test_playback_does_not_lose_an_unfinished_stroke(driver: WindowDriver) -> None:
    driver.user.press(40, 40)
    driver.user.move(70, 40)
    driver.user.keys("Space")
    driver.qtbot.waitUntil(lambda: driver.opened.frame > 2)
    driver.user.release(70, 40)
    assert driver.annotated == (0,)
    assert driver.drawn(0)[40, 40:70].all()


def test_a_step_neither_loses_nor_closes_an_unfinished_outline(driver: WindowDriver) -> None:
    driver.user.keys("P")
    for x, y in ((40, 30), (70, 30), (70, 60)):
        driver.user.click(x, y)
    driver.user.keys("Right", "Left", "Right", "Right")
    assert driver.annotated == ()
    driver.user.keys("Return")
    assert driver.annotated == (0,)
    assert driver.opened.frame == 0  # the frame of the outline is shown
    assert driver.drawn(0)[35, 65] == 1

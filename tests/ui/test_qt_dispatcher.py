"""The dispatcher over Qt's event loop."""

from __future__ import annotations

import threading

from pytestqt.qtbot import QtBot

from app.ui.qt_dispatcher import QtDispatcher


def test_callbacks_from_another_thread_run_in_the_thread_of_the_event_loop(qtbot: QtBot) -> None:
    dispatcher = QtDispatcher()
    threads: list[threading.Thread] = []
    worker = threading.Thread(
        target=lambda: dispatcher.post(lambda: threads.append(threading.current_thread()))
    )
    worker.start()
    worker.join()
    assert threads == []
    qtbot.waitUntil(lambda: bool(threads))
    assert threads == [threading.current_thread()]


def test_timers_fire_and_can_be_cancelled_at_any_time(qtbot: QtBot) -> None:
    dispatcher = QtDispatcher()
    ran: list[str] = []
    once = dispatcher.call_later(1, lambda: ran.append("later"))
    dispatcher.call_later(1, lambda: ran.append("never")).cancel()
    repeated = dispatcher.call_repeatedly(1, lambda: ran.append("again"))
    qtbot.waitUntil(lambda: ran.count("again") >= 3)
    for _ in range(2):
        repeated.cancel()
        once.cancel()
    count = len(ran)
    qtbot.wait(20)
    assert len(ran) == count
    assert ran.count("later") == 1
    assert "never" not in ran

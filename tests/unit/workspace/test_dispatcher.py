"""The dispatcher without an event loop."""

from __future__ import annotations

import threading

import pytest

from app.workspace.dispatcher import QueueDispatcher


def test_posted_callbacks_run_in_order_in_the_thread_of_the_owner() -> None:
    dispatcher = QueueDispatcher()
    ran: list[tuple[int, threading.Thread]] = []

    def post_all() -> None:
        for number in range(5):
            dispatcher.post(lambda number=number: ran.append((number, threading.current_thread())))  # type: ignore[misc]

    worker = threading.Thread(target=post_all)
    worker.start()
    worker.join()
    assert ran == []
    dispatcher.run_pending()
    assert ran == [(number, threading.current_thread()) for number in range(5)]


def test_a_callback_may_post_another_one() -> None:
    dispatcher = QueueDispatcher()
    ran: list[str] = []
    dispatcher.post(lambda: dispatcher.post(lambda: ran.append("inner")))
    dispatcher.run_pending()
    assert ran == ["inner"]


def test_a_delayed_callback_runs_once_and_a_repeated_one_until_it_is_cancelled() -> None:
    dispatcher = QueueDispatcher()
    ran: list[str] = []
    dispatcher.call_later(1, lambda: ran.append("later"))
    dispatcher.call_later(1, lambda: ran.append("never")).cancel()
    timer = dispatcher.call_repeatedly(1, lambda: ran.append("again"))
    dispatcher.run_until(lambda: ran.count("again") >= 3, timeout_s=10)
    timer.cancel()
    count = len(ran)
    with pytest.raises(TimeoutError):
        dispatcher.run_until(lambda: len(ran) > count, timeout_s=0.05)
    assert ran.count("later") == 1
    assert "never" not in ran

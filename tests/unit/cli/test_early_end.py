"""Early end of a benchmark with the results so far."""

from __future__ import annotations

import os
import signal

import pytest

from app.commands.benches.early_end import early_end_note, keep_results
from app.domain.errors import ApicalError


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_run_with_its_rows(number: signal.Signals) -> None:
    before = signal.getsignal(signal.SIGTERM)
    with keep_results(rows := [1]) as ending:
        os.kill(os.getpid(), number)
        rows.append(2)
    assert rows == [1]
    assert ending.fields == {"stopped": True, "error": None, "exit_code": 0}
    assert early_end_note(ending.fields) == ["Stopped early: not everything was measured."]
    assert signal.getsignal(signal.SIGTERM) is before


def test_without_rows_signals_and_errors_are_raised_again() -> None:
    with pytest.raises(KeyboardInterrupt), keep_results([]):
        os.kill(os.getpid(), signal.SIGTERM)
    with pytest.raises(ApicalError, match="give another"), keep_results([]):
        raise ApicalError("No such cine: give another.")


def test_an_error_is_reported_with_the_rows_so_far(caplog: pytest.LogCaptureFixture) -> None:
    with keep_results([1]) as ending:
        raise ApicalError("No such cine: give another.")
    assert ending.fields == {"stopped": True, "error": "No such cine: give another.", "exit_code": 2}
    assert early_end_note(ending.fields) == ["Stopped early by an error: not everything was measured."]
    assert "No such cine: give another. The results so far are kept." in caplog.text


def test_a_complete_run_has_no_note() -> None:
    with keep_results([]) as ending:
        pass
    assert ending.fields == {"stopped": False, "error": None, "exit_code": 0}
    assert early_end_note(ending.fields) == []

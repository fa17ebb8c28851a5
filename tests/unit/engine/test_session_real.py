"""A session with a real engine process, on a small cine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from app.engine.events import EngineDied, EngineNotStarted, HeadFitted, LearningFailure, PredictedMasks
from app.engine.session import LearningSession
from tests.unit.engine.conftest import FRAMES, EventLog, disk, make_cine
from vjepa_core.encoder.catalogue import DEFAULT_ENCODER
from vjepa_core.service.messages import Ready, Stage

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[3]
Start = Callable[..., EventLog]


def overlap(masks: PredictedMasks, frame: int) -> float:
    a, b = masks.masks[frame] == 1, disk(frame) == 1
    return float(2 * (a & b).sum() / (a.sum() + b.sum()))


def fitted_at(log: EventLog, revision: int) -> Callable[[], bool]:
    """Return a check that every frame has its final mask of a revision and the engine is idle."""

    def check() -> bool:
        final = {f for m in log.of(PredictedMasks) if m.final and m.revision == revision for f in m.masks}
        return len(final) == FRAMES and any(p.revision == revision for p in log.at(Stage.UP_TO_DATE))

    return check


def test_fit_crash_replay_cancel_and_resume(start: Start) -> None:
    log = start()
    session = log.session
    session.open_cine(1, make_cine(), (1, 2, 3))
    session.set_labels(1, 1, {0: disk(0)})
    # The engine dies during the first fit; a new one fits the same labels again.
    log.wait(lambda: log.at(Stage.FITTING))
    first = session.engine_pid
    session.kill_engine()
    log.wait(lambda: log.of(EngineDied))
    log.wait(fitted_at(log, 1))
    assert log.of(EngineDied) == [EngineDied(-signal.SIGKILL, True)]
    assert session.engine_pid != first
    (head,) = log.of(HeadFitted)
    assert (head.revisions, head.encoder) == ({1: 1}, DEFAULT_ENCODER)
    last = [m for m in log.of(PredictedMasks) if m.final]
    assert np.mean([overlap(m, f) for m in last for f in m.masks]) > 0.7
    whole = log.at(Stage.FITTING)[0].total

    # If the next fit is cancelled, the head is kept, and the fit after that continues from it.
    before = len(log.events)
    session.set_labels(1, 2, {0: disk(0), 5: disk(5)})
    log.wait(lambda: log.at(Stage.FITTING, before))
    session.cancel()
    log.wait(lambda: log.at(Stage.CANCELLED, before))
    assert log.of(HeadFitted) == [head]
    session.resume()
    log.wait(fitted_at(log, 2))
    assert max(p.total for p in log.at(Stage.FITTING, before)) < whole
    assert log.of(HeadFitted)[-1].revisions == {1: 2}
    assert not [m for m in log.events[before:] if isinstance(m, PredictedMasks) and m.revision != 2]
    assert log.of(LearningFailure) == []
    # Only the files of masks and doubts and the head remain in the exchange folder.
    remaining = sorted(p.suffix for p in session._exchange.folder.iterdir() if p.suffix != ".lock")
    assert remaining == [".safetensors", ".u8", ".u8"]


def test_a_cine_opened_after_cancel_is_prepared(start: Start) -> None:
    log = start()
    log.session.open_cine(1, make_cine(), (1, 2, 3))
    log.wait(lambda: log.at(Stage.MOTION) or log.at(Stage.FEATURES))
    log.session.cancel()
    log.wait(lambda: log.at(Stage.CANCELLED))
    before = len(log.events)
    log.session.open_cine(2, make_cine(), (1, 2, 3))
    log.session.set_visible_frame(2, 0)
    log.wait(lambda: [p for p in log.at(Stage.WAITING, before) if p.cine_id == 2])


def test_loading_an_encoder_is_tried_again_on_resume(start: Start) -> None:
    log = start("nobody")
    log.wait(lambda: log.of(EngineNotStarted))
    first = log.session.engine_pid
    log.session.resume()
    log.wait(lambda: len(log.of(EngineNotStarted)) == 2)
    assert log.session.engine_pid != first
    assert "nobody" in log.of(EngineNotStarted)[0].text
    assert log.of(EngineDied) == []


def test_three_quick_deaths_then_resume(start: Start) -> None:
    log = start()
    log.session.open_cine(1, make_cine(), (1, 2, 3))
    for n in range(1, 4):
        log.session.kill_engine()
        log.wait(lambda n=n: len(log.of(EngineDied)) == n)  # type: ignore[misc]
    assert [e.restarted for e in log.of(EngineDied)] == [True, True, False]
    assert log.session.engine_pid is None
    log.session.resume()
    log.wait(lambda: log.of(Ready))
    assert log.session.engine_pid is not None


def test_requests_do_not_block_while_the_engine_starts(start: Start) -> None:
    log = start()
    for n in range(5000):  # far more than fit into a pipe
        log.session.set_visible_frame(1, n)
    assert log.of(Ready) == []
    log.wait(lambda: log.of(Ready))


def test_close_during_feature_extraction_leaves_no_files(start: Start) -> None:
    log = start()
    log.session.open_cine(1, make_cine(), (1, 2, 3))
    log.wait(lambda: log.at(Stage.FEATURES) or log.at(Stage.MOTION))
    log.session.close_cine(1)
    log.session.close()
    assert log.of(LearningFailure) == []


OWNER = """
import sys, time
from pathlib import Path
from app.engine.session import LearningSession
from tests.unit.engine.conftest import make_cine

if __name__ == "__main__":
    session = LearningSession(
        cache_folder=Path(sys.argv[1]), encoder=sys.argv[2], on_event=lambda event: None
    )
    session.open_cine(1, make_cine(), (1,))
    print(session.engine_pid, flush=True)
    time.sleep(600)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="asks /proc or signals")
def test_the_engine_ends_with_a_killed_program_and_the_next_one_cleans_up(tmp_path: Path) -> None:
    script = tmp_path / "owner.py"
    script.write_text(OWNER)
    owner = subprocess.Popen(
        [sys.executable, str(script), str(tmp_path / "cache"), DEFAULT_ENCODER],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    try:
        assert owner.stdout is not None
        engine = int(owner.stdout.readline())
    finally:
        owner.kill()
        owner.communicate()
    until = time.monotonic() + 60
    while runs(engine) and time.monotonic() < until:
        time.sleep(0.05)
    assert not runs(engine)
    exchange = tmp_path / "cache" / "exchange"
    (left,) = exchange.iterdir()
    session = LearningSession(
        cache_folder=tmp_path / "cache", encoder=DEFAULT_ENCODER, on_event=lambda _: None
    )
    assert not left.exists()
    session.close()
    assert list(exchange.iterdir()) == []


def runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{pid}/stat")
    return not (status.exists() and status.read_text().rpartition(")")[2].split()[0] == "Z")

"""A session over a real engine process, on a small cine."""

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
from tests.unit.engine.conftest import FRAMES, Heard, disk, make_cine
from vjepa_core.encoder.catalogue import DEFAULT_ENCODER
from vjepa_core.service.messages import Ready, Stage

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[3]
Start = Callable[..., Heard]


def overlap(masks: PredictedMasks, frame: int) -> float:
    a, b = masks.masks[frame] == 1, disk(frame) == 1
    return float(2 * (a & b).sum() / (a.sum() + b.sum()))


def fitted_at(ears: Heard, revision: int) -> Callable[[], bool]:
    """True once every frame has its last mask of a revision and the engine rests."""

    def check() -> bool:
        final = {f for m in ears.of(PredictedMasks) if m.final and m.revision == revision for f in m.masks}
        return len(final) == FRAMES and any(p.revision == revision for p in ears.at(Stage.UP_TO_DATE))

    return check


def test_fit_stop_go_on_crash_and_replay(start: Start) -> None:
    ears = start()
    session = ears.session
    session.open_cine(1, make_cine(), (1, 2, 3))
    session.set_labels(1, 1, {0: disk(0)})
    # The engine dies in the middle of the first fit: a new one does it all again, from the same labels.
    ears.wait(lambda: ears.at(Stage.FITTING))
    first = session.engine_pid
    session.kill_engine()
    ears.wait(lambda: ears.of(EngineDied))
    ears.wait(fitted_at(ears, 1))
    assert ears.of(EngineDied) == [EngineDied(-signal.SIGKILL, True)]
    assert session.engine_pid != first
    (head,) = ears.of(HeadFitted)
    assert (head.revisions, head.encoder) == ({1: 1}, DEFAULT_ENCODER)
    last = [m for m in ears.of(PredictedMasks) if m.final]
    assert np.mean([overlap(m, f) for m in last for f in m.masks]) > 0.7
    whole = ears.at(Stage.FITTING)[0].total

    # Stopped in the next fit, it keeps the head that it had, and goes on from there.
    before = len(ears.events)
    session.set_labels(1, 2, {0: disk(0), 5: disk(5)})
    ears.wait(lambda: ears.at(Stage.FITTING, before))
    session.cancel()
    ears.wait(lambda: ears.at(Stage.CANCELLED, before))
    assert ears.of(HeadFitted) == [head]
    session.resume()
    ears.wait(fitted_at(ears, 2))
    assert max(p.total for p in ears.at(Stage.FITTING, before)) < whole
    assert ears.of(HeadFitted)[-1].revisions == {1: 2}
    assert not [m for m in ears.events[before:] if isinstance(m, PredictedMasks) and m.revision != 2]
    assert ears.of(LearningFailure) == []
    # What was passed through the exchange is gone; the room of masks and doubts, and the head, stay.
    left = sorted(p.suffix for p in session._exchange.folder.iterdir() if p.suffix != ".lock")
    assert left == [".safetensors", ".u8", ".u8"]


def test_a_cine_opened_after_a_stop_gets_its_features(start: Start) -> None:
    ears = start()
    ears.session.open_cine(1, make_cine(), (1, 2, 3))
    ears.wait(lambda: ears.at(Stage.MOTION) or ears.at(Stage.FEATURES))
    ears.session.cancel()
    ears.wait(lambda: ears.at(Stage.CANCELLED))
    before = len(ears.events)
    ears.session.open_cine(2, make_cine(), (1, 2, 3))
    ears.session.set_visible_frame(2, 0)
    ears.wait(lambda: [p for p in ears.at(Stage.WAITING, before) if p.cine_id == 2])


def test_an_encoder_that_cannot_be_loaded_is_tried_again_on_resume(start: Start) -> None:
    ears = start("nobody")
    ears.wait(lambda: ears.of(EngineNotStarted))
    first = ears.session.engine_pid
    ears.session.resume()
    ears.wait(lambda: len(ears.of(EngineNotStarted)) == 2)
    assert ears.session.engine_pid != first
    assert "nobody" in ears.of(EngineNotStarted)[0].text
    assert ears.of(EngineDied) == []


def test_three_quick_deaths_then_resume(start: Start) -> None:
    ears = start()
    ears.session.open_cine(1, make_cine(), (1, 2, 3))
    for n in range(1, 4):
        ears.session.kill_engine()
        ears.wait(lambda n=n: len(ears.of(EngineDied)) == n)  # type: ignore[misc]
    assert [e.restarted for e in ears.of(EngineDied)] == [True, True, False]
    assert ears.session.engine_pid is None
    ears.session.resume()
    ears.wait(lambda: ears.of(Ready))
    assert ears.session.engine_pid is not None


def test_nobody_waits_for_an_engine_that_is_still_starting(start: Start) -> None:
    ears = start()
    for n in range(5000):  # far more than a pipe holds
        ears.session.set_visible_frame(1, n)
    assert ears.of(Ready) == []
    ears.wait(lambda: ears.of(Ready))


def test_closing_while_features_are_computed_leaves_nothing(start: Start) -> None:
    ears = start()
    ears.session.open_cine(1, make_cine(), (1, 2, 3))
    ears.wait(lambda: ears.at(Stage.FEATURES) or ears.at(Stage.MOTION))
    ears.session.close_cine(1)
    ears.session.close()
    assert ears.of(LearningFailure) == []


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
def test_a_killed_program_takes_its_engine_along_and_the_next_one_cleans_up(tmp_path: Path) -> None:
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

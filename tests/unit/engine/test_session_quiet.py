"""What a session tells its engine, with an engine that only listens: no process, no torch."""

from __future__ import annotations

import dataclasses
import multiprocessing
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.domain.cine import Calibration
from app.domain.errors import ProjectError
from app.engine.events import EngineDied, EngineNotStarted, LearningFailure, PredictedMasks
from app.engine.exchange import Exchange
from app.engine.process import _wait_for_shutdown
from app.engine.session import LearningSession
from tests.unit.engine.conftest import FRAMES, HEIGHT, WIDTH, Pictures, disk, make_cine
from vjepa_core.service.messages import (
    DOUBT_SIZE,
    Cancel,
    CancelReceived,
    CineReceived,
    CloseCine,
    Failed,
    FailureKind,
    HeadReady,
    LabelsReceived,
    OpenCine,
    Predicted,
    Progress,
    Ready,
    Request,
    RestoreHead,
    Resume,
    SetLabels,
    SetVisibleFrame,
    Shutdown,
    Stage,
    Suggested,
)


class Listener:
    """Stands for an engine process."""

    made: list[Listener] = []  # noqa: RUF012 - emptied by the fixture

    def __init__(self, *, on_report: Any, on_death: Any, **_: Any) -> None:
        self.requests: list[Request] = []
        self.report, self._on_death = on_report, on_death
        self.alive, self.pid = True, len(self.made) + 1
        self.made.append(self)

    def send(self, request: Request) -> None:
        self.requests.append(request)

    def stop(self) -> None:
        self.alive = False

    def kill(self) -> None:
        self.alive = False
        self._on_death(self, -9)

    def of(self, *kinds: type) -> list[Any]:
        return [r for r in self.requests if isinstance(r, kinds)]


class Bench:
    def __init__(self, folder: Path) -> None:
        self.events: list[Any] = []
        self.session = LearningSession(cache_folder=folder, encoder="any", on_event=self.events.append)

    @property
    def engine(self) -> Listener:
        return Listener.made[-1]

    def settle(self) -> None:
        """Wait until the session's own thread has done what it was asked."""
        done = threading.Event()
        self.session._sender.submit(done.set)
        assert done.wait(10)

    def teach(self, revision: int = 1) -> None:
        self.session.open_cine(7, make_cine(), (1, 2, 3))
        self.session.set_labels(7, revision, {2: disk(2)})
        self.settle()


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.setattr("app.engine.session.EngineProcess", Listener)
    Listener.made.clear()
    bench = Bench(tmp_path)
    yield bench
    bench.session.close()


def test_pixels_and_labels_of_the_region_are_passed(bench: Bench) -> None:
    bench.teach()
    opened, told = bench.engine.of(OpenCine, SetLabels)
    assert opened.frames.shape == (FRAMES, 224, 224)
    assert (opened.region_height, opened.region_width) == (80, 100)
    assert opened.fps == pytest.approx(25.0)
    assert (told.revision, told.frames, told.is_fitted) == (1, (2,), False)
    assert np.array_equal(told.labels.open()[0], disk(2)[5:85, 10:110])


def test_pixels_that_are_not_square_reach_the_engine_in_their_true_proportions(bench: Bench) -> None:
    tall = dataclasses.replace(make_cine(), calibration=Calibration(0.2, 0.3, "test"))
    bench.session.open_cine(7, tall, (1, 2, 3))
    bench.settle()
    (opened,) = bench.engine.of(OpenCine)
    assert opened.pixel_aspect == pytest.approx(1.5)
    frames = opened.frames.open()
    lit = frames.max(0) > 20
    assert (lit.any(1).sum(), lit.any(0).sum()) == (224, 187)  # 80 rows of 0.3 mm, 100 columns of 0.2 mm


def test_masks_come_back_at_full_size(bench: Bench) -> None:
    bench.teach()
    (opened,) = bench.engine.of(OpenCine)
    opened.masks.open(writable=True)[4] = 2
    opened.doubts.open(writable=True)[4] = 77
    bench.engine.report(Predicted(7, 1, (4,), (0.5,), True))
    (masks,) = bench.events
    assert isinstance(masks, PredictedMasks)
    assert masks.masks[4].shape == (HEIGHT, WIDTH)
    assert masks.masks[4][5:85, 10:110].min() == 2
    assert masks.masks[4].sum() == 2 * 80 * 100
    assert (masks.confidence, masks.final) == ({4: 0.5}, True)
    assert masks.doubts[4].shape == (DOUBT_SIZE, DOUBT_SIZE)
    assert (masks.doubts[4] == 77).all()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the list of mappings is Linux's")
def test_what_the_engine_wrote_is_mapped_only_while_it_is_read(bench: Bench) -> None:
    bench.teach()
    (opened,) = bench.engine.of(OpenCine)
    bench.engine.report(Predicted(7, 1, (4,), (0.5,), True))
    assert len(bench.events) == 1
    mapped = Path("/proc/self/maps").read_text()
    assert opened.masks.path not in mapped
    assert opened.doubts.path not in mapped


@pytest.mark.parametrize(("cine", "revision"), [(7, 1), (7, 3), (8, 2)])
def test_a_stale_or_foreign_result_is_dropped(bench: Bench, cine: int, revision: int) -> None:
    bench.teach(revision=2)
    bench.engine.report(Predicted(cine, revision, (4,), (0.5,), True))
    bench.engine.report(Suggested(cine, revision, 4, None))
    assert bench.events == []


def test_a_suggestion_for_the_present_labels_comes_through(bench: Bench) -> None:
    bench.teach(revision=2)
    told = Suggested(7, 2, 4, 9)
    bench.engine.report(told)
    assert bench.events == [told]


def test_labels_that_are_old_before_they_are_sent_are_passed_over(bench: Bench) -> None:
    gate = threading.Event()
    bench.session.open_cine(7, make_cine(gate=gate), (1,))
    for revision in range(1, 6):
        bench.session.set_labels(7, revision, {0: disk(0)})
    gate.set()
    bench.settle()
    assert [told.revision for told in bench.engine.of(SetLabels)] == [5]


def test_files_go_when_they_were_received(bench: Bench) -> None:
    bench.teach()
    opened, told = bench.engine.of(OpenCine, SetLabels)
    bench.engine.report(CineReceived(7))
    bench.engine.report(LabelsReceived(told.labels))
    assert not Path(opened.frames.path).exists()
    assert not Path(told.labels.path).exists()
    assert Path(opened.masks.path).exists()


def test_a_new_engine_is_told_everything_again_and_in_order(bench: Bench) -> None:
    bench.session.restore_head(b"weights")
    bench.session.set_visible_frame(7, 3)
    bench.teach(revision=4)
    first = bench.engine
    (lost,) = first.of(OpenCine)
    first.kill()
    bench.settle()
    assert bench.engine is not first
    assert bench.events == [EngineDied(-9, True)]
    told = bench.engine.of(RestoreHead, OpenCine, SetLabels)
    assert [type(t) for t in told] == [RestoreHead, OpenCine, SetLabels]
    assert Path(told[0].path).read_bytes() == b"weights"
    assert told[2].revision == 4
    assert bench.engine.of(SetVisibleFrame)[-1] == SetVisibleFrame(7, 3)
    assert not Path(lost.frames.path).exists()  # nobody will take it any more
    assert Path(told[1].frames.path).exists()


def test_an_engine_that_dies_while_a_cine_is_decoded_gets_it_once(bench: Bench) -> None:
    gate = threading.Event()
    cine = make_cine(gate=gate)
    bench.session.open_cine(7, cine, (1,))
    bench.session.set_labels(7, 1, {0: disk(0)})
    assert isinstance(cine.source, Pictures)
    assert cine.source.started.wait(10)
    bench.engine.kill()
    gate.set()
    bench.settle()
    assert len(bench.engine.of(OpenCine)) == 1
    assert bench.engine.of(SetLabels)


def test_three_quick_deaths_are_enough_until_resume(bench: Bench) -> None:
    bench.teach()
    for _ in range(3):
        bench.engine.kill()
        bench.settle()
    assert [e.restarted for e in bench.events] == [True, True, False]
    assert len(Listener.made) == 3
    assert bench.session.engine_pid is None
    bench.session.set_labels(7, 2, {2: disk(2), 3: disk(3)})  # drawing goes on
    bench.session.set_visible_frame(7, 1)
    bench.session.cancel()
    bench.session.resume()
    bench.settle()
    assert len(Listener.made) == 4
    assert bench.engine.of(SetLabels)[-1].revision == 2
    assert bench.engine.of(Resume)
    assert not bench.engine.of(Cancel)
    bench.engine.kill()
    assert bench.events[-1].restarted


def test_deaths_far_apart_are_forgiven(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(0, 1000, 60))
    monkeypatch.setattr("app.engine.session.time.monotonic", lambda: float(next(clock)))
    for _ in range(6):
        bench.engine.report(Ready("cpu", "any", "checksum", True))
        bench.engine.kill()
    assert [e.restarted for e in bench.events if isinstance(e, EngineDied)] == [True] * 6


def test_an_engine_that_dies_of_starting_is_given_up_however_long_that_takes(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter(range(0, 1000, 60))
    monkeypatch.setattr("app.engine.session.time.monotonic", lambda: float(next(clock)))
    for _ in range(3):
        bench.engine.kill()
    assert [e.restarted for e in bench.events] == [True, True, False]


def test_an_engine_that_cannot_start_is_told_and_replaced_when_learning_is_resumed(bench: Bench) -> None:
    bench.teach()
    first = bench.engine
    first.report(Failed(FailureKind.ENGINE, "The encoder is too big: choose a smaller one."))
    assert bench.events == [EngineNotStarted("The encoder is too big: choose a smaller one.")]
    bench.session.resume()
    bench.settle()
    assert not first.alive
    assert len(Listener.made) == 2
    assert [type(told) for told in bench.engine.of(OpenCine, SetLabels)] == [OpenCine, SetLabels]
    bench.engine.report(Ready("cpu", "any", "checksum", True))
    bench.engine.report(Failed(FailureKind.LEARNING, "ValueError: wrong"))
    assert isinstance(bench.events[-1], LearningFailure)
    assert "ValueError: wrong" in bench.events[-1].text
    bench.session.resume()
    assert len(Listener.made) == 2


def test_resuming_in_the_moment_of_a_death_starts_one_engine(bench: Bench) -> None:
    first = bench.engine
    first.alive = False  # dead, and its reader has not noticed yet
    bench.session.resume()
    first._on_death(first, -9)
    assert len(Listener.made) == 2
    assert bench.events == []


def test_a_death_while_closing_starts_nothing(bench: Bench) -> None:
    bench.session.close()
    bench.engine.kill()
    assert len(Listener.made) == 1
    assert bench.events == []


def test_a_stop_outlives_a_crash(bench: Bench) -> None:
    bench.teach()
    bench.session.cancel()
    bench.engine.kill()
    bench.settle()
    assert isinstance(bench.engine.requests[-1], Cancel)
    bench.session.set_labels(7, 2, {})  # a stroke goes on
    bench.engine.kill()
    bench.settle()
    assert not bench.engine.of(Cancel)


def test_a_cine_opened_after_a_stop_is_worked_on(bench: Bench) -> None:
    bench.teach()
    bench.session.cancel()
    bench.session.open_cine(8, make_cine(), (1, 2, 3))
    bench.settle()
    told = bench.engine.of(OpenCine, Cancel, Resume)[-3:]
    assert [type(one) for one in told] == [Cancel, OpenCine, Resume]
    bench.engine.kill()
    bench.settle()
    assert not bench.engine.of(Cancel)


def test_a_stop_while_a_cine_is_decoded_holds_for_it(bench: Bench) -> None:
    gate = threading.Event()
    bench.session.open_cine(7, make_cine(gate=gate), (1,))
    bench.session.cancel()
    gate.set()
    bench.settle()
    assert bench.engine.of(OpenCine)
    assert not bench.engine.of(Resume)


def test_a_stop_in_the_moment_of_going_on_is_not_lost(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    stop = threading.Thread(target=bench.session.cancel)
    listen = bench.engine.send

    def send(request: Request) -> None:
        if isinstance(request, Resume):
            stop.start()
            stop.join(0.3)
        listen(request)

    monkeypatch.setattr(bench.engine, "send", send)
    bench.session.open_cine(7, make_cine(), (1,))
    bench.settle()
    stop.join(10)
    assert [type(one) for one in bench.engine.of(Cancel, Resume)] == [Resume, Cancel]


def test_a_head_that_cannot_be_read_is_told_without_its_bytes(bench: Bench, tmp_path: Path) -> None:
    kept = tmp_path / "head.safetensors"
    kept.write_bytes(b"weights")
    for path in (kept, tmp_path / "gone.safetensors"):
        bench.engine.report(HeadReady(str(path), "any", "checksum", ((7, 1),), 80, 0.1))
    assert [event.blob for event in bench.events] == [b"weights", None]
    bench.engine.kill()
    bench.settle()
    assert bench.engine.of(RestoreHead) == [RestoreHead(str(kept))]


def test_damaged_frames_do_not_stop_the_learning(bench: Bench) -> None:
    bench.session.open_cine(7, make_cine(damaged=(0, 3)), (1,))
    bench.session.set_labels(7, 1, {2: disk(2)})
    bench.settle()
    opened, _ = bench.engine.of(OpenCine, SetLabels)
    frames = opened.frames.open()
    assert np.array_equal(frames[0], frames[1])
    assert opened.damaged == (0, 3)
    assert np.array_equal(frames[3], frames[2])
    assert bench.events == []


def test_a_full_cache_disk_is_said_and_tried_again(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise ProjectError("The cache folder is full: free some space there.")

    with monkeypatch.context() as patch:
        patch.setattr(Exchange, "allocate", full)
        bench.teach()
        assert all(isinstance(e, LearningFailure) and "free some space" in e.text for e in bench.events)
        assert bench.events
        assert bench.engine.of(OpenCine, SetLabels) == []
    bench.session.set_labels(7, 2, {2: disk(2)})
    bench.settle()
    assert [type(r) for r in bench.engine.of(OpenCine, SetLabels)] == [OpenCine, SetLabels]
    assert bench.engine.of(SetLabels)[0].revision == 2


def test_a_cine_forgotten_while_it_is_decoded_is_not_sent(bench: Bench) -> None:
    gate = threading.Event()
    cine = make_cine(gate=gate)
    bench.session.open_cine(7, cine, (1,))
    assert isinstance(cine.source, Pictures)
    assert cine.source.started.wait(10)
    bench.session.close_cine(7)
    gate.set()
    bench.settle()
    assert bench.engine.of(OpenCine) == []
    assert bench.engine.of(CloseCine) == [CloseCine(7)]
    assert not list(bench.session._exchange.folder.glob("*.u8"))


def test_a_cine_forgotten_and_opened_again_keeps_its_new_pixels(bench: Bench) -> None:
    bench.teach()
    bench.session.close_cine(7)
    bench.teach(revision=2)
    first, second = bench.engine.of(OpenCine)
    bench.engine.report(CineReceived(7))
    assert not Path(first.frames.path).exists()
    assert Path(second.frames.path).exists()
    bench.engine.report(CineReceived(7))
    assert not Path(second.frames.path).exists()


def test_forgetting_removes_the_masks(bench: Bench) -> None:
    bench.teach()
    (opened,) = bench.engine.of(OpenCine)
    bench.session.close_cine(7)
    assert not Path(opened.masks.path).exists()
    bench.engine.report(Predicted(7, 1, (4,), (0.5,), True))
    assert bench.events == []


def test_after_the_end_nothing_is_said(bench: Bench) -> None:
    bench.teach()
    bench.session.close()
    bench.engine.report(Progress(7, 1, Stage.FITTING))
    assert bench.events == []


def test_the_exchange_removes_what_a_kill_left_and_spares_the_living(tmp_path: Path) -> None:
    living = Exchange(tmp_path)
    (tmp_path / "exchange-dead").mkdir()
    (tmp_path / "exchange-dead" / "0.u8").write_bytes(bytes(10))
    (tmp_path / "mine").mkdir()
    other = Exchange(tmp_path)
    assert not (tmp_path / "exchange-dead").exists()
    assert (tmp_path / "mine").exists()
    assert living.folder.exists()
    shared = living.put(np.full((3, 4), 9, np.uint8))
    assert np.array_equal(shared.open(), np.full((3, 4), 9))
    for exchange in (living, other):
        exchange.close()
    assert [p.name for p in tmp_path.iterdir()] == ["mine"]


def test_an_exchange_that_cannot_be_made_says_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ProjectError, match="APICAL_HOME"):
        Exchange(tmp_path / "file" / "exchange")


def test_scribbles_that_name_no_structure_are_not_passed_on(bench: Bench) -> None:
    bench.teach()
    nothing = np.full((HEIGHT, WIDTH), 255, np.uint8)
    nothing[20:30, 20:30] = 0
    bench.session.set_labels(7, 2, {2: nothing})
    bench.session.set_labels(7, 3, {2: nothing, 3: disk(3)})
    bench.settle()
    told = bench.engine.of(SetLabels)
    assert told[-1].frames == (2, 3)
    assert all(one.labels is None and one.frames == () for one in told if one.revision == 2)


def test_an_engine_that_is_replaced_on_purpose_did_not_crash(bench: Bench) -> None:
    bench.teach()
    for count in range(2, 7):  # more often than an engine may crash
        bench.session.cancel()
        bench.session.replace_engine()
        bench.settle()
        assert len(Listener.made) == count
        assert [type(told) for told in bench.engine.of(OpenCine, SetLabels, Cancel)] == [
            OpenCine,
            SetLabels,
            Cancel,
        ]
    assert bench.events == []
    bench.engine.kill()
    assert bench.events == [EngineDied(-9, True)]


def test_the_engine_answers_a_stop(bench: Bench) -> None:
    bench.engine.report(CancelReceived())
    assert bench.events == [CancelReceived()]


def test_what_the_engine_could_not_take_is_sent_again_on_resume(bench: Bench) -> None:
    bench.engine.report(Ready("cpu", "any", "checksum", True))
    bench.teach()
    (lost,) = bench.engine.of(OpenCine)
    bench.session.resume()
    bench.settle()
    assert len(bench.engine.of(OpenCine, SetLabels)) == 2  # it has them
    bench.engine.report(Failed(FailureKind.OPEN_CINE, "cause", cine_id=7))
    assert not Path(lost.frames.path).exists()
    bench.session.resume()
    bench.settle()
    again = bench.engine.of(OpenCine, SetLabels)[2:]
    assert [type(told) for told in again] == [OpenCine, SetLabels]
    assert Path(again[0].frames.path).exists()
    assert Path(again[1].labels.path).exists()


def test_any_error_on_the_way_to_the_engine_is_told_and_tried_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fault(*_: object) -> None:
        raise TypeError("unsupported operand")

    with monkeypatch.context() as patch:
        patch.setattr("app.engine.region.Letterbox.apply", fault)
        bench.session.open_cine(7, make_cine(), (1,))
        bench.settle()
    (failed,) = bench.events
    assert isinstance(failed, LearningFailure)
    assert "TypeError: unsupported operand" in failed.text
    assert not list(bench.session._exchange.folder.glob("*.u8"))
    bench.session.resume()
    bench.settle()
    assert len(bench.engine.of(OpenCine)) == 1


def test_the_cine_that_is_looked_at_is_sent_before_those_that_wait(bench: Bench) -> None:
    gate = threading.Event()
    behind = make_cine(gate=gate)
    bench.session.open_cine(7, behind, (1,))
    bench.session.set_labels(7, 1, {0: disk(0)})
    bench.session.open_cine(8, make_cine(), (1,))
    assert isinstance(behind.source, Pictures)
    assert behind.source.started.wait(10)
    bench.session.open_cine(9, make_cine(), (1,))
    bench.session.set_labels(9, 4, {2: disk(2)})
    bench.session.set_visible_frame(9, 0)
    gate.set()
    bench.settle()
    told = [(type(one), one.cine_id) for one in bench.engine.of(OpenCine, SetLabels)]
    assert told == [(OpenCine, 9), (SetLabels, 9), (OpenCine, 7), (SetLabels, 7), (OpenCine, 8)]


def test_a_new_engine_hears_what_the_head_was_fitted_to(bench: Bench, tmp_path: Path) -> None:
    kept = tmp_path / "head.safetensors"
    kept.write_bytes(b"weights")
    bench.session.restore_head(b"older", {7: 3})
    bench.settle()
    assert bench.engine.of(RestoreHead)[0].revisions == ((7, 3),)
    bench.engine.report(HeadReady(str(kept), "any", "checksum", ((7, 4), (8, 1)), 80, 0.1))
    bench.engine.kill()
    bench.settle()
    (restored,) = bench.engine.of(RestoreHead)
    assert (restored.path, restored.revisions) == (str(kept), ((7, 4), (8, 1)))


def test_an_engine_that_cannot_run_says_why_and_stays_until_it_is_told() -> None:
    """One that ended would be taken for a crash and started twice more."""
    ours, theirs = multiprocessing.Pipe()
    why = (
        "The learning engine cannot run (ImportError: no torch); what is known is in a log, please report it."
    )
    thread = threading.Thread(target=_wait_for_shutdown, args=(theirs, why))
    thread.start()
    assert ours.recv() == Failed(FailureKind.ENGINE, why)
    ours.send(SetVisibleFrame(1, 2))
    thread.join(0.2)
    assert thread.is_alive()
    ours.send(Shutdown())
    thread.join(10)
    assert not thread.is_alive()
    ours.close()
    theirs.close()


def test_a_new_cine_lets_a_stopped_engine_go_on_but_does_not_repeat_what_failed(bench: Bench) -> None:
    bench.teach()
    bench.session.resume()
    assert [told.retry_failed for told in bench.engine.of(Resume)] == [False, True]


def test_a_full_cache_disk_leaves_no_pixels_behind(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    allocate, calls = Exchange.allocate, []

    def full_at_last(exchange: Exchange, shape: tuple[int, ...]) -> Any:
        calls.append(shape)
        if len(calls) == 3:
            raise ProjectError("The cache folder is full: free some space there.")
        return allocate(exchange, shape)

    monkeypatch.setattr(Exchange, "allocate", full_at_last)
    bench.session.open_cine(7, make_cine(), (1,))
    bench.settle()
    assert [type(event) for event in bench.events] == [LearningFailure]
    assert not list(bench.session._exchange.folder.glob("*.u8"))

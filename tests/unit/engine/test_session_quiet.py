"""Requests that a session sends, with a fake engine, without a process or torch."""

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
from tests.unit.engine.conftest import FRAMES, HEIGHT, WIDTH, DiskFrames, disk, make_cine
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
    ViewRecognised,
)


class FakeEngine:
    """Records requests in place of an engine process."""

    instances: list[FakeEngine] = []  # noqa: RUF012 - emptied by the fixture

    def __init__(self, *, on_report: Any, on_death: Any, **_: Any) -> None:
        self.requests: list[Request] = []
        self.report, self._on_death = on_report, on_death
        self.alive, self.pid = True, len(self.instances) + 1
        self.instances.append(self)

    def send(self, request: Request) -> None:
        self.requests.append(request)

    def stop(self) -> None:
        self.alive = False

    def kill(self) -> None:
        self.alive = False
        self._on_death(self, -9)

    def of(self, *kinds: type) -> list[Any]:
        return [r for r in self.requests if isinstance(r, kinds)]


class Harness:
    def __init__(self, folder: Path) -> None:
        self.events: list[Any] = []
        self.session = LearningSession(cache_folder=folder, encoder="any", on_event=self.events.append)

    @property
    def engine(self) -> FakeEngine:
        return FakeEngine.instances[-1]

    def settle(self) -> None:
        """Wait until the thread of the sender is idle."""
        done = threading.Event()
        self.session._sender.submit(done.set)
        assert done.wait(10)

    def annotate(self, revision: int = 1) -> None:
        self.session.open_cine(7, make_cine(), (1, 2, 3))
        self.session.set_labels(7, revision, {2: disk(2)})
        self.settle()


@pytest.fixture
def harness(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Harness]:
    monkeypatch.setattr("app.engine.session.EngineProcess", FakeEngine)
    FakeEngine.instances.clear()
    harness = Harness(tmp_path)
    yield harness
    harness.session.close()


def test_pixels_and_labels_of_the_region_are_sent(harness: Harness) -> None:
    harness.annotate()
    opened, sent = harness.engine.of(OpenCine, SetLabels)
    assert opened.frames.shape == (FRAMES, 224, 224)
    assert (opened.region_height, opened.region_width) == (80, 100)
    assert opened.fps == pytest.approx(25.0)
    assert (sent.revision, sent.frames, sent.is_fitted) == (1, (2,), False)
    assert np.array_equal(sent.labels.open()[0], disk(2)[5:85, 10:110])


def test_non_square_pixels_are_sent_in_true_proportions(harness: Harness) -> None:
    tall = dataclasses.replace(make_cine(), calibration=Calibration(0.2, 0.3, "test"))
    harness.session.open_cine(7, tall, (1, 2, 3))
    harness.settle()
    (opened,) = harness.engine.of(OpenCine)
    assert opened.pixel_aspect == pytest.approx(1.5)
    frames = opened.frames.open()
    lit = frames.max(0) > 20
    assert (lit.any(1).sum(), lit.any(0).sum()) == (224, 187)  # 80 rows of 0.3 mm, 100 columns of 0.2 mm


def test_masks_are_returned_at_the_size_of_the_frame(harness: Harness) -> None:
    harness.annotate()
    (opened,) = harness.engine.of(OpenCine)
    opened.masks.open(writable=True)[4] = 2
    opened.doubts.open(writable=True)[4] = 77
    harness.engine.report(Predicted(7, 1, (4,), (0.5,), True))
    (masks,) = harness.events
    assert isinstance(masks, PredictedMasks)
    assert masks.masks[4].shape == (HEIGHT, WIDTH)
    assert masks.masks[4][5:85, 10:110].min() == 2
    assert masks.masks[4].sum() == 2 * 80 * 100
    assert (masks.expected_dice, masks.final) == ({4: 0.5}, True)
    assert masks.doubts[4].shape == (DOUBT_SIZE, DOUBT_SIZE)
    assert (masks.doubts[4] == 77).all()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the list of mappings is Linux's")
def test_masks_are_mapped_only_while_they_are_read(harness: Harness) -> None:
    harness.annotate()
    (opened,) = harness.engine.of(OpenCine)
    harness.engine.report(Predicted(7, 1, (4,), (0.5,), True))
    assert len(harness.events) == 1
    mapped = Path("/proc/self/maps").read_text()
    assert opened.masks.path not in mapped
    assert opened.doubts.path not in mapped


@pytest.mark.parametrize(("cine", "revision"), [(7, 1), (7, 3), (8, 2)])
def test_an_outdated_or_unknown_result_is_dropped(harness: Harness, cine: int, revision: int) -> None:
    harness.annotate(revision=2)
    harness.engine.report(Predicted(cine, revision, (4,), (0.5,), True))
    harness.engine.report(Suggested(cine, revision, 4, None))
    assert harness.events == []


def test_a_suggestion_for_the_latest_labels_is_reported(harness: Harness) -> None:
    harness.annotate(revision=2)
    sent = Suggested(7, 2, 4, 9)
    harness.engine.report(sent)
    assert harness.events == [sent]


def test_a_recognised_view_is_reported(harness: Harness) -> None:
    harness.annotate()
    sent = ViewRecognised(7, "A4C", 0.97)
    harness.engine.report(sent)
    assert harness.events == [sent]


def test_labels_that_are_outdated_before_they_are_sent_are_skipped(harness: Harness) -> None:
    gate = threading.Event()
    harness.session.open_cine(7, make_cine(gate=gate), (1,))
    for revision in range(1, 6):
        harness.session.set_labels(7, revision, {0: disk(0)})
    gate.set()
    harness.settle()
    assert [sent.revision for sent in harness.engine.of(SetLabels)] == [5]


def test_files_are_deleted_once_received(harness: Harness) -> None:
    harness.annotate()
    opened, sent = harness.engine.of(OpenCine, SetLabels)
    harness.engine.report(CineReceived(7))
    harness.engine.report(LabelsReceived(sent.labels))
    assert not Path(opened.frames.path).exists()
    assert not Path(sent.labels.path).exists()
    assert Path(opened.masks.path).exists()


def test_everything_is_sent_to_a_new_engine_in_order(harness: Harness) -> None:
    harness.session.restore_head(b"weights")
    harness.session.set_visible_frame(7, 3)
    harness.annotate(revision=4)
    first = harness.engine
    (lost,) = first.of(OpenCine)
    first.kill()
    harness.settle()
    assert harness.engine is not first
    assert harness.events == [EngineDied(-9, True)]
    sent = harness.engine.of(RestoreHead, OpenCine, SetLabels)
    assert [type(t) for t in sent] == [RestoreHead, OpenCine, SetLabels]
    assert Path(sent[0].path).read_bytes() == b"weights"
    assert sent[2].revision == 4
    assert harness.engine.of(SetVisibleFrame)[-1] == SetVisibleFrame(7, 3)
    assert not Path(lost.frames.path).exists()  # no engine will read it
    assert Path(sent[1].frames.path).exists()


def test_a_cine_is_sent_once_if_the_engine_dies_during_decoding(harness: Harness) -> None:
    gate = threading.Event()
    cine = make_cine(gate=gate)
    harness.session.open_cine(7, cine, (1,))
    harness.session.set_labels(7, 1, {0: disk(0)})
    assert isinstance(cine.source, DiskFrames)
    assert cine.source.started.wait(10)
    harness.engine.kill()
    gate.set()
    harness.settle()
    assert len(harness.engine.of(OpenCine)) == 1
    assert harness.engine.of(SetLabels)


def test_no_engine_is_started_after_three_quick_deaths_until_resume(harness: Harness) -> None:
    harness.annotate()
    for _ in range(3):
        harness.engine.kill()
        harness.settle()
    assert [e.restarted for e in harness.events] == [True, True, False]
    assert len(FakeEngine.instances) == 3
    assert harness.session.engine_pid is None
    harness.session.set_labels(7, 2, {2: disk(2), 3: disk(3)})  # the user keeps drawing
    harness.session.set_visible_frame(7, 1)
    harness.session.cancel()
    harness.session.resume()
    harness.settle()
    assert len(FakeEngine.instances) == 4
    assert harness.engine.of(SetLabels)[-1].revision == 2
    assert harness.engine.of(Resume)
    assert not harness.engine.of(Cancel)
    harness.engine.kill()
    assert harness.events[-1].restarted


def test_deaths_far_apart_do_not_count_together(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(0, 1000, 60))
    monkeypatch.setattr("app.engine.session.time.monotonic", lambda: float(next(clock)))
    for _ in range(6):
        harness.engine.report(Ready("cpu", "any", "checksum", True))
        harness.engine.kill()
    assert [e.restarted for e in harness.events if isinstance(e, EngineDied)] == [True] * 6


def test_deaths_during_the_start_count_together_regardless_of_time(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter(range(0, 1000, 60))
    monkeypatch.setattr("app.engine.session.time.monotonic", lambda: float(next(clock)))
    for _ in range(3):
        harness.engine.kill()
    assert [e.restarted for e in harness.events] == [True, True, False]


def test_an_engine_that_cannot_start_is_reported_and_replaced_on_resume(harness: Harness) -> None:
    harness.annotate()
    first = harness.engine
    first.report(Failed(FailureKind.ENGINE, "The encoder is too big: choose a smaller one."))
    assert harness.events == [EngineNotStarted("The encoder is too big: choose a smaller one.")]
    harness.session.resume()
    harness.settle()
    assert not first.alive
    assert len(FakeEngine.instances) == 2
    assert [type(sent) for sent in harness.engine.of(OpenCine, SetLabels)] == [OpenCine, SetLabels]
    harness.engine.report(Ready("cpu", "any", "checksum", True))
    harness.engine.report(Failed(FailureKind.LEARNING, "ValueError: wrong"))
    assert isinstance(harness.events[-1], LearningFailure)
    assert "ValueError: wrong" in harness.events[-1].text
    harness.session.resume()
    assert len(FakeEngine.instances) == 2


def test_resume_during_a_death_starts_one_engine(harness: Harness) -> None:
    first = harness.engine
    first.alive = False  # dead, but its reader has not noticed yet
    harness.session.resume()
    first._on_death(first, -9)
    assert len(FakeEngine.instances) == 2
    assert harness.events == []


def test_a_death_during_close_starts_no_engine(harness: Harness) -> None:
    harness.session.close()
    harness.engine.kill()
    assert len(FakeEngine.instances) == 1
    assert harness.events == []


def test_cancel_persists_after_a_crash(harness: Harness) -> None:
    harness.annotate()
    harness.session.cancel()
    harness.engine.kill()
    harness.settle()
    assert isinstance(harness.engine.requests[-1], Cancel)
    harness.session.set_labels(7, 2, {})  # a change of labels resumes
    harness.engine.kill()
    harness.settle()
    assert not harness.engine.of(Cancel)


def test_opening_a_cine_resumes_after_cancel(harness: Harness) -> None:
    harness.annotate()
    harness.session.cancel()
    harness.session.open_cine(8, make_cine(), (1, 2, 3))
    harness.settle()
    sent = harness.engine.of(OpenCine, Cancel, Resume)[-3:]
    assert [type(one) for one in sent] == [Cancel, OpenCine, Resume]
    harness.engine.kill()
    harness.settle()
    assert not harness.engine.of(Cancel)


def test_cancel_during_decoding_applies_to_the_cine(harness: Harness) -> None:
    gate = threading.Event()
    harness.session.open_cine(7, make_cine(gate=gate), (1,))
    harness.session.cancel()
    gate.set()
    harness.settle()
    assert harness.engine.of(OpenCine)
    assert not harness.engine.of(Resume)


def test_cancel_is_not_overtaken_by_a_resume(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    stop = threading.Thread(target=harness.session.cancel)
    listen = harness.engine.send

    def send(request: Request) -> None:
        if isinstance(request, Resume):
            stop.start()
            stop.join(0.3)
        listen(request)

    monkeypatch.setattr(harness.engine, "send", send)
    harness.session.open_cine(7, make_cine(), (1,))
    harness.settle()
    stop.join(10)
    assert [type(one) for one in harness.engine.of(Cancel, Resume)] == [Resume, Cancel]


def test_a_head_that_cannot_be_read_is_reported_without_its_bytes(harness: Harness, tmp_path: Path) -> None:
    kept = tmp_path / "head.safetensors"
    kept.write_bytes(b"weights")
    for path in (kept, tmp_path / "gone.safetensors"):
        harness.engine.report(HeadReady(str(path), "any", "checksum", ((7, 1),), 80, 0.1))
    assert [event.blob for event in harness.events] == [b"weights", None]
    harness.engine.kill()
    harness.settle()
    assert harness.engine.of(RestoreHead) == [RestoreHead(str(kept))]


def test_damaged_frames_are_replaced_and_reported_to_the_engine(harness: Harness) -> None:
    harness.session.open_cine(7, make_cine(damaged=(0, 3)), (1,))
    harness.session.set_labels(7, 1, {2: disk(2)})
    harness.settle()
    opened, _ = harness.engine.of(OpenCine, SetLabels)
    frames = opened.frames.open()
    assert np.array_equal(frames[0], frames[1])
    assert opened.damaged == (0, 3)
    assert np.array_equal(frames[3], frames[2])
    assert harness.events == []


def test_a_full_disk_is_reported_and_sending_is_tried_again(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise ProjectError("The cache folder is full: free some space there.")

    with monkeypatch.context() as patch:
        patch.setattr(Exchange, "allocate", full)
        harness.annotate()
        assert all(isinstance(e, LearningFailure) and "free some space" in e.text for e in harness.events)
        assert harness.events
        assert harness.engine.of(OpenCine, SetLabels) == []
    harness.session.set_labels(7, 2, {2: disk(2)})
    harness.settle()
    assert [type(r) for r in harness.engine.of(OpenCine, SetLabels)] == [OpenCine, SetLabels]
    assert harness.engine.of(SetLabels)[0].revision == 2


def test_a_cine_closed_during_decoding_is_not_sent(harness: Harness) -> None:
    gate = threading.Event()
    cine = make_cine(gate=gate)
    harness.session.open_cine(7, cine, (1,))
    assert isinstance(cine.source, DiskFrames)
    assert cine.source.started.wait(10)
    harness.session.close_cine(7)
    gate.set()
    harness.settle()
    assert harness.engine.of(OpenCine) == []
    assert harness.engine.of(CloseCine) == [CloseCine(7)]
    assert not list(harness.session._exchange.folder.glob("*.u8"))


def test_a_cine_closed_and_opened_again_keeps_its_new_pixels(harness: Harness) -> None:
    harness.annotate()
    harness.session.close_cine(7)
    harness.annotate(revision=2)
    first, second = harness.engine.of(OpenCine)
    harness.engine.report(CineReceived(7))
    assert not Path(first.frames.path).exists()
    assert Path(second.frames.path).exists()
    harness.engine.report(CineReceived(7))
    assert not Path(second.frames.path).exists()


def test_closing_a_cine_deletes_its_masks(harness: Harness) -> None:
    harness.annotate()
    (opened,) = harness.engine.of(OpenCine)
    harness.session.close_cine(7)
    assert not Path(opened.masks.path).exists()
    harness.engine.report(Predicted(7, 1, (4,), (0.5,), True))
    assert harness.events == []


def test_there_are_no_events_after_close(harness: Harness) -> None:
    harness.annotate()
    harness.session.close()
    harness.engine.report(Progress(7, 1, Stage.FITTING))
    assert harness.events == []


def test_the_exchange_deletes_abandoned_folders_only(tmp_path: Path) -> None:
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


def test_an_exchange_that_cannot_be_created_is_reported_with_a_remedy(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ProjectError, match="APICAL_HOME"):
        Exchange(tmp_path / "file" / "exchange")


def test_scribbles_without_a_structure_are_not_sent(harness: Harness) -> None:
    harness.annotate()
    nothing = np.full((HEIGHT, WIDTH), 255, np.uint8)
    nothing[20:30, 20:30] = 0
    harness.session.set_labels(7, 2, {2: nothing})
    harness.session.set_labels(7, 3, {2: nothing, 3: disk(3)})
    harness.settle()
    sent = harness.engine.of(SetLabels)
    assert sent[-1].frames == (2, 3)
    assert all(one.labels is None and one.frames == () for one in sent if one.revision == 2)


def test_replacing_the_engine_is_not_reported_as_a_crash(harness: Harness) -> None:
    harness.annotate()
    for count in range(2, 7):  # more often than an engine may crash
        harness.session.cancel()
        harness.session.replace_engine()
        harness.settle()
        assert len(FakeEngine.instances) == count
        assert [type(sent) for sent in harness.engine.of(OpenCine, SetLabels, Cancel)] == [
            OpenCine,
            SetLabels,
            Cancel,
        ]
    assert harness.events == []
    harness.engine.kill()
    assert harness.events == [EngineDied(-9, True)]


def test_the_acknowledgement_of_cancel_is_reported(harness: Harness) -> None:
    harness.engine.report(CancelReceived())
    assert harness.events == [CancelReceived()]


def test_a_lost_request_is_sent_again_on_resume(harness: Harness) -> None:
    harness.engine.report(Ready("cpu", "any", "checksum", True))
    harness.annotate()
    (lost,) = harness.engine.of(OpenCine)
    harness.session.resume()
    harness.settle()
    assert len(harness.engine.of(OpenCine, SetLabels)) == 2  # the engine has received them
    harness.engine.report(Failed(FailureKind.OPEN_CINE, "cause", cine_id=7))
    assert not Path(lost.frames.path).exists()
    harness.session.resume()
    harness.settle()
    again = harness.engine.of(OpenCine, SetLabels)[2:]
    assert [type(sent) for sent in again] == [OpenCine, SetLabels]
    assert Path(again[0].frames.path).exists()
    assert Path(again[1].labels.path).exists()


def test_an_error_while_sending_is_reported_and_sending_is_tried_again(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fault(*_: object) -> None:
        raise TypeError("unsupported operand")

    with monkeypatch.context() as patch:
        patch.setattr("app.engine.region_geometry.Letterbox.apply", fault)
        harness.session.open_cine(7, make_cine(), (1,))
        harness.settle()
    (failed,) = harness.events
    assert isinstance(failed, LearningFailure)
    assert "TypeError: unsupported operand" in failed.text
    assert not list(harness.session._exchange.folder.glob("*.u8"))
    harness.session.resume()
    harness.settle()
    assert len(harness.engine.of(OpenCine)) == 1


def test_the_visible_cine_is_sent_before_others(harness: Harness) -> None:
    gate = threading.Event()
    waiting = make_cine(gate=gate)
    harness.session.open_cine(7, waiting, (1,))
    harness.session.set_labels(7, 1, {0: disk(0)})
    harness.session.open_cine(8, make_cine(), (1,))
    assert isinstance(waiting.source, DiskFrames)
    assert waiting.source.started.wait(10)
    harness.session.open_cine(9, make_cine(), (1,))
    harness.session.set_labels(9, 4, {2: disk(2)})
    harness.session.set_visible_frame(9, 0)
    gate.set()
    harness.settle()
    sent = [(type(one), one.cine_id) for one in harness.engine.of(OpenCine, SetLabels)]
    assert sent == [(OpenCine, 9), (SetLabels, 9), (OpenCine, 7), (SetLabels, 7), (OpenCine, 8)]


def test_the_revisions_of_the_head_are_sent_to_a_new_engine(harness: Harness, tmp_path: Path) -> None:
    kept = tmp_path / "head.safetensors"
    kept.write_bytes(b"weights")
    harness.session.restore_head(b"older", {7: 3})
    harness.settle()
    assert harness.engine.of(RestoreHead)[0].revisions == ((7, 3),)
    harness.engine.report(HeadReady(str(kept), "any", "checksum", ((7, 4), (8, 1)), 80, 0.1))
    harness.engine.kill()
    harness.settle()
    (restored,) = harness.engine.of(RestoreHead)
    assert (restored.path, restored.revisions) == (str(kept), ((7, 4), (8, 1)))


def test_a_process_that_cannot_work_reports_the_reason_and_waits_for_shutdown() -> None:
    """If it exited, that would be treated as a crash."""
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


def test_a_new_cine_resumes_without_failed_cines(harness: Harness) -> None:
    harness.annotate()
    harness.session.resume()
    assert [sent.retry_failed for sent in harness.engine.of(Resume)] == [False, True]


def test_no_files_are_left_on_a_full_disk(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    allocate, calls = Exchange.allocate, []

    def full_at_third_file(exchange: Exchange, shape: tuple[int, ...]) -> Any:
        calls.append(shape)
        if len(calls) == 3:
            raise ProjectError("The cache folder is full: free some space there.")
        return allocate(exchange, shape)

    monkeypatch.setattr(Exchange, "allocate", full_at_third_file)
    harness.session.open_cine(7, make_cine(), (1,))
    harness.settle()
    assert [type(event) for event in harness.events] == [LearningFailure]
    assert not list(harness.session._exchange.folder.glob("*.u8"))

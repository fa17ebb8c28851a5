"""Learning as the window sees it: cines and strokes go in, masks come out, and a crash is survived.

The session remembers all that the engine was told, so that a new engine can be told again. Its own thread
decodes and writes pixels: the caller never waits.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import threading
import time
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from app.domain.cine import Cine, Frame
from app.domain.errors import ApicalError, CineError
from app.engine.exchange import Exchange
from app.engine.process import EngineProcess
from vjepa_core.errors import one_line
from vjepa_core.label_image import structure_mask
from vjepa_core.memory import is_lack_of_memory
from vjepa_core.preprocessing import INPUT_SIZE, Letterbox
from vjepa_core.service.messages import (
    DOUBT_SIZE,
    Cancel,
    CancelReceived,
    CineReceived,
    CloseCine,
    Failed,
    HeadReady,
    LabelsReceived,
    Look,
    OpenCine,
    Predicted,
    Progress,
    Ready,
    Redraw,
    Report,
    Request,
    RestoreHead,
    Resume,
    SetLabels,
    SharedArray,
    Suggested,
)

logger = logging.getLogger(__name__)

QUICK_DEATH_S = 20.0
MAX_QUICK_DEATHS = 3


@dataclass(frozen=True, eq=False)
class Masks:
    """Predicted label images (height, width) of a cine's frames, with the revision that they belong to.

    `confidence` is the mean Dice to expect. `doubts` are the probabilities that a label is wrong, times 255,
    (112, 112) uint8 over the letterboxed region. `findings` are reasons to look at a frame, in words.
    """

    cine_id: int
    revision: int
    masks: Mapping[int, Frame]
    confidence: Mapping[int, float]
    final: bool
    draft: bool = False
    doubts: Mapping[int, Frame] = field(default_factory=dict)
    findings: Mapping[int, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Learnt:
    """A head that was fitted to the end, as bytes to keep; None where they were lost on their way."""

    blob: bytes | None
    encoder: str
    encoder_checksum: str
    revisions: Mapping[int, int]


@dataclass(frozen=True)
class EngineDied:
    """The engine ended unasked; `restarted` tells whether a new one is starting."""

    exit_code: int | None
    restarted: bool


@dataclass(frozen=True)
class NotStarted:
    """The engine cannot load its encoder, and why in a sentence; it does nothing until `resume`."""

    text: str


Event = Masks | Learnt | EngineDied | NotStarted | Ready | CancelReceived | Progress | Suggested | Failed


@dataclass(eq=False)
class _Told:
    """What the engine knows, or should know, about one cine."""

    cine: Cine
    classes: tuple[int, ...]
    left_heart: bool = False
    revision: int = 0
    labels: dict[int, Frame] | None = None
    stated: dict[int, tuple[int, ...]] | None = None
    learnt: bool = False
    sent: bool = False
    sending: bool = False
    preferred: bool = False  # it was sent, or at least tried, before others because it is looked at
    labels_sent: dict[int, Frame] | None = None  # which of `labels` the engine was told last
    masks: SharedArray | None = None
    doubts: SharedArray | None = None

    def delete(self) -> None:
        """Remove what the engine writes for this cine."""
        for array in (self.masks, self.doubts):
            if array is not None:
                array.delete()


class LearningSession:
    """Supervises one engine process and translates between full frames and the region that it works on.

    Parameters
    ----------
    cache_folder
        For features and for pixels on their way.
    encoder
        Name of the encoder.
    on_event
        Called from threads of the session.
    """

    def __init__(self, *, cache_folder: Path, encoder: str, on_event: Callable[[Event], None]) -> None:
        self._cache_folder = cache_folder
        self._encoder = encoder
        self._on_event = on_event
        self._exchange = Exchange(cache_folder / "exchange")
        self._told: dict[int, _Told] = {}
        self._frames_under_way: dict[int, list[SharedArray]] = {}  # oldest first
        self._looking = Look(0, 0)
        self._head: Path | None = None
        self._fitted_to: tuple[tuple[int, int], ...] = ()  # (cine, revision) pairs that the head has learnt
        self._cancelled = False
        self._closed = False
        self._ready = False  # the engine has said that it can work
        self._unable = False  # it has said that it cannot
        self._deaths: list[float] = []
        self._lock = threading.RLock()
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="learning-session")
        self._engine: EngineProcess | None = None
        self._start_engine()

    # What the window asks for

    @property
    def engine_pid(self) -> int | None:
        """Process id of the engine, None while there is none."""
        return self._engine.pid if self._engine is not None else None

    def open(self, cine_id: int, cine: Cine, classes: tuple[int, ...], *, left_heart: bool = False) -> None:
        """Let the engine get to know a cine; it is decoded and passed on in the background.

        With `left_heart`, the classes are cavity, myocardium and atrium, and the engine may make a draft.
        What `cancel` stopped goes on with it.
        """
        with self._lock:
            self._told[cine_id] = _Told(cine, classes, left_heart)
            self._cancelled = False
        self._later(lambda: self._send_cine(cine_id))

    def knows(self, cine_id: int) -> bool:
        """True where `open` was called for this cine."""
        return cine_id in self._told

    def set_labels(
        self,
        cine_id: int,
        revision: int,
        labels: Mapping[int, Frame],
        *,
        stated: Mapping[int, Collection[int]] | None = None,
        learnt: bool = False,
    ) -> None:
        """Tell all label images (height, width) of a cine at a revision.

        `stated` holds, for each frame, the label values that were outlined on it or stated to be absent; by
        default those that have a pixel. `learnt` says that the head restored before was fitted to exactly
        these and predicted the masks that are shown; whether labels have to be learnt again is the engine's
        decision.
        """
        with self._lock:
            told = self._told[cine_id]
            told.revision, told.labels, told.learnt = revision, dict(labels), learnt
            told.stated = None if stated is None else {f: tuple(stated[f]) for f in labels}
            self._cancelled = False
        self._later(lambda: self._send_labels(cine_id, revision))

    def look(self, cine_id: int, frame: int) -> None:
        """Tell which frame is visible."""
        self._looking = Look(cine_id, frame)
        self._send(self._looking)

    def redraw(self, cine_id: int) -> None:
        """Have every frame of a cine predicted once more, for the doubts that no project keeps."""
        told = self._told.get(cine_id)
        if told is not None and told.sent:
            self._send(Redraw(cine_id))

    def restore_head(self, blob: bytes, revisions: Mapping[int, int] | None = None) -> None:
        """Take up a head kept in a project, fitted to the labels of these cines at these revisions."""

        def restore() -> None:
            path = self._exchange.folder / "restored.safetensors"
            path.write_bytes(blob)
            self._head, self._fitted_to = path, tuple((revisions or {}).items())
            self._send(RestoreHead(str(path), self._fitted_to))

        self._later(restore)

    def cancel(self) -> None:
        """Stop what is under way, until `resume`, new labels or a new cine; the previous head stays."""
        with self._lock:  # else a Resume that was decided on before could follow
            self._cancelled = True
            self._send(Cancel())

    def resume(self) -> None:
        """Go on after a cancel, or start a new engine where one gave up; what was lost is sent again."""
        self._cancelled = False
        with self._lock:
            gone = self._unable or self._engine is None or not self._engine.alive
            if gone:
                self._deaths.clear()
                old, self._engine = self._engine, None
                if old is not None:
                    old.kill()
                self._start_engine()
        if gone:
            self._replay()
        else:
            self._send_known()
        self._send(Resume())

    def kill_engine(self, intended: bool = False) -> None:
        """End the engine the hard way, and start a new one.

        Where this is `intended`, because the engine does not answer to `cancel`, it neither counts as a crash
        nor is told as one.
        """
        if not intended:
            if self._engine is not None:
                self._engine.kill()
            return
        with self._lock:
            old, self._engine = self._engine, None
            if old is None:
                return
            old.kill()
            self._start_engine()
        self._replay()

    def close(self) -> None:
        """End the engine and delete what was exchanged."""
        with self._lock:
            self._closed = True
        self._worker.shutdown(wait=True, cancel_futures=True)
        if self._engine is not None:
            self._engine.stop()
        self._told.clear()
        self._exchange.close()

    # Towards the engine, in the session's thread

    def _later(self, job: Callable[[], None]) -> None:
        if not self._closed:
            with contextlib.suppress(RuntimeError):  # closed in this very moment
                self._worker.submit(self._guarded, job)

    def _guarded(self, job: Callable[[], None]) -> None:
        """Do a job; tell what goes wrong with it."""
        try:
            job()
        except ApicalError as error:
            self._on_event(Failed(str(error)))
        except OSError as error:
            logger.exception("pixels could not be passed to the engine")
            self._on_event(Failed(f"The cache folder cannot be written ({error.strerror}): free some space."))
        except Exception as error:
            logger.exception("pixels could not be passed to the engine")
            if is_lack_of_memory(error):
                text = "There is too little memory to learn from a cine: close other cines or programs."
            else:
                text = f"A cine could not be passed to the learning engine ({one_line(error)})."
            self._on_event(Failed(text))

    def _send(self, request: Request) -> None:
        if self._engine is not None:
            self._engine.send(request)

    def _send_cine(self, cine_id: int) -> None:
        told = self._told.get(cine_id)
        if told is None or told.sent or told.sending or self._closed:
            return
        told.sending = True
        try:
            self._send_visible_first()
            self._decode_and_send(cine_id, told)
        finally:
            told.sending = False

    def _send_visible_first(self) -> None:
        """The cine that is looked at goes before those that are only learnt from."""
        cine_id = self._looking.cine_id
        told = self._told.get(cine_id)
        if told is not None and not (told.sent or told.sending or told.preferred):
            told.preferred = True
            self._guarded(lambda: self._send_cine(cine_id))
            self._guarded(lambda: self._send_labels(cine_id, told.revision))

    def _decode_and_send(self, cine_id: int, told: _Told) -> None:
        region, fps = told.cine.region, told.cine.timing.fps
        frames = self._put_frames(told, lambda: self._told.get(cine_id) is told and not self._closed)
        if frames is None:
            return
        n = told.cine.n_frames
        masks = told.masks
        try:
            masks = masks or self._exchange.allocate((n, region.height, region.width))
            doubts = told.doubts or self._exchange.allocate((n, DOUBT_SIZE, DOUBT_SIZE))
        except Exception:  # most likely the disk is full: leave nothing behind
            for array in (frames, None if told.masks else masks):
                if array is not None:
                    array.delete()
            raise
        with self._lock:
            if self._told.get(cine_id) is not told:  # forgotten meanwhile
                for array in (frames, masks, doubts):
                    array.delete()
                return
            if told.masks is None:
                told.masks, told.doubts = masks, doubts
            self._frames_under_way.setdefault(cine_id, []).append(frames)
            size = (region.height, region.width)
            aspect = told.cine.pixel_aspect
            self._send(
                OpenCine(cine_id, frames, masks, *size, fps, told.classes, told.left_heart, doubts, aspect)
            )
            told.sent, told.labels_sent = True, None
            if not self._cancelled:  # an engine that was stopped, or stopped at a failure, starts on it
                self._send(Resume(failed_too=False))
        self._send(self._looking)

    def _put_frames(self, told: _Told, wanted: Callable[[], bool]) -> SharedArray | None:
        """Decode and letterbox a cine; None where it is no longer wanted."""
        cine, crop = told.cine, told.cine.region.slices
        box = Letterbox.fit(cine.region.height, cine.region.width, pixel_aspect=cine.pixel_aspect)
        frames = self._exchange.allocate((cine.n_frames, INPUT_SIZE, INPUT_SIZE))
        damaged = 0
        try:
            mapped = frames.open(writable=True)
            for index in range(cine.n_frames):
                if not wanted():
                    frames.delete()
                    return None
                self._send_visible_first()
                try:
                    mapped[index] = box.apply(cine.frame(index)[crop][None])[0]
                except CineError:
                    damaged += 1  # the window says so where it is shown; learning goes on with its neighbour
                    mapped[index] = mapped[index - 1] if index else 0
        except Exception:
            frames.delete()
            raise
        if damaged:
            logger.warning("%d of %d frames are damaged", damaged, cine.n_frames)
        return frames

    def _send_labels(self, cine_id: int, revision: int) -> None:
        with self._lock:
            told = self._told.get(cine_id)
            if told is None or told.labels is None or told.revision != revision:
                return  # a newer revision follows
            if told.sent and told.labels_sent is told.labels:
                return  # sent already, before other cines
            drawn, stated, learnt, sent = told.labels, told.stated, told.learnt, told.sent
        labels = drawn
        if not any(structure_mask(label).any() for label in labels.values()):
            labels = {}  # scribbles that name no structure yet: nothing to learn from
        if not sent:  # the disk refused its pixels: try once more
            self._send_cine(cine_id)
            if not told.sent:
                return
        frames = tuple(sorted(labels))
        pixels = None
        if frames:
            crop = told.cine.region.slices
            pixels = self._exchange.put(np.stack([labels[f][crop] for f in frames]))
        said = None if stated is None else tuple(stated[f] for f in frames)
        told.labels_sent = drawn
        self._send(SetLabels(cine_id, revision, frames, pixels, learnt, said))

    def forget(self, cine_id: int) -> None:
        """Let the engine forget a cine."""
        with self._lock:
            told = self._told.pop(cine_id, None)
            self._send(CloseCine(cine_id))
        if told is not None:
            told.delete()

    # From the engine, in its reader's thread

    def _on_report(self, report: Report) -> None:
        if self._closed:
            return
        match report:
            case CineReceived():
                with self._lock:
                    under_way = self._frames_under_way.get(report.cine_id)
                    if under_way:  # a cine may be on its way twice: forgotten and opened again
                        under_way.pop(0).delete()
            case LabelsReceived():
                report.labels.delete()
            case Predicted():
                masks = self._full_size(report)
                if masks is not None:
                    self._on_event(masks)
            case HeadReady():
                blob = self._take_head(Path(report.path), report.revisions)
                self._on_event(Learnt(blob, report.encoder, report.encoder_checksum, dict(report.revisions)))
            case Suggested():
                with self._lock:
                    told = self._told.get(report.cine_id)
                    stale = told is None or report.revision != told.revision
                if not stale:
                    self._on_event(report)
            case Ready():
                self._ready = True
                self._on_event(report)
            case Failed():
                self._take_failure(report)
            case Progress() | CancelReceived():
                self._on_event(report)

    def _take_failure(self, report: Failed) -> None:
        if not self._ready:
            self._unable = True
            self._on_event(NotStarted(report.text))
            return
        if report.lost and report.cine_id is not None:
            with self._lock:  # `resume` sends it again
                told = self._told.get(report.cine_id)
                if told is not None:
                    told.sent, told.labels_sent = False, None
                for frames in self._frames_under_way.pop(report.cine_id, ()):
                    frames.delete()
        self._on_event(report)

    def _take_head(self, path: Path, revisions: tuple[tuple[int, int], ...]) -> bytes | None:
        try:
            blob = path.read_bytes()
        except OSError:
            logger.exception("a head was lost on its way")
            return None
        self._head, self._fitted_to = path, revisions
        return blob

    def _full_size(self, report: Predicted) -> Masks | None:
        with self._lock:
            told = self._told.get(report.cine_id)
            if told is None or told.masks is None or told.doubts is None:
                return None  # forgotten
            if report.revision != told.revision:
                return None  # stale: drawn for labels that have changed since
            # Mapped for this report alone: what is read of a mapping counts as memory of the window.
            drawn, doubted = told.masks.open(), told.doubts.open()
        full: dict[int, Frame] = {}
        for frame in report.frames:
            mask = np.zeros((told.cine.height, told.cine.width), np.uint8)
            mask[told.cine.region.slices] = drawn[frame]
            full[frame] = mask
        doubts = {frame: np.array(doubted[frame]) for frame in report.frames}
        confidence = dict(zip(report.frames, report.confidence, strict=True))
        findings = dict(zip(report.frames, report.findings, strict=False))
        final, draft = report.final, report.draft
        return Masks(report.cine_id, report.revision, full, confidence, final, draft, doubts, findings)

    # Supervision

    def _start_engine(self) -> None:
        with self._lock:
            if self._closed:
                return
            self._ready = self._unable = False
            for told in self._told.values():
                told.sent, told.labels_sent, told.preferred = False, None, False
            for frames in itertools.chain.from_iterable(self._frames_under_way.values()):
                frames.delete()
            self._frames_under_way.clear()
            self._engine = EngineProcess(
                cache_folder=self._cache_folder / "features",
                scratch_folder=self._exchange.folder,
                encoder=self._encoder,
                on_report=self._on_report,
                on_death=self._on_death,
            )

    def _on_death(self, engine: EngineProcess, exit_code: int | None) -> None:
        with self._lock:
            if self._closed or engine is not self._engine:
                return  # asked for, or replaced already
            now = time.monotonic()
            if self._ready:  # else it died of starting, however long that took
                self._deaths = [t for t in self._deaths if now - t < QUICK_DEATH_S]
            self._deaths.append(now)
            restart = len(self._deaths) < MAX_QUICK_DEATHS
            self._engine = None
            logger.warning("the engine ended with %s", exit_code)
            if restart:
                self._start_engine()
        if restart:
            self._replay()
        self._on_event(EngineDied(exit_code, restart))

    def _replay(self) -> None:
        """Tell a new engine all that the old one knew."""
        if self._head is not None:
            self._send(RestoreHead(str(self._head), self._fitted_to))
        self._send_known()
        if self._cancelled:
            self._later(lambda: self._send(Cancel()))

    def _send_known(self) -> None:
        """Send the cines and labels that the engine does not have."""
        with self._lock:
            known = [(i, told.revision, told.labels is not None) for i, told in self._told.items()]
        for cine_id, revision, labelled in known:
            self._later(lambda i=cine_id: self._send_cine(i))  # type: ignore[misc]
            if labelled:
                self._later(lambda i=cine_id, r=revision: self._send_labels(i, r))  # type: ignore[misc]

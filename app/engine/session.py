"""A learning session: sends cines and labels to an engine process, receives masks, and survives a crash."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

import numpy as np

from app.domain.cine import Cine, Frame
from app.engine.cine_sender import CineSender, SentCine
from app.engine.events import (
    EngineDied,
    EngineNotStarted,
    Event,
    HeadFitted,
    LearningFailure,
    PredictedMasks,
)
from app.engine.exchange import Exchange
from app.engine.process import EngineProcess
from app.engine.region_geometry import RegionGeometry
from app.engine.texts import failure_text, finding_text
from vjepa_core.service.messages import (
    Cancel,
    CancelReceived,
    CineReceived,
    Failed,
    HeadReady,
    LabelsReceived,
    PredictAgain,
    Predicted,
    Progress,
    Ready,
    Report,
    Request,
    RestoreHead,
    Resume,
    SetVisibleFrame,
    Suggested,
    ViewRecognised,
)

logger = logging.getLogger(__name__)

QUICK_DEATH_S = 20.0
"""Deaths of engines within this time, in seconds, are counted together."""

MAX_QUICK_DEATHS = 3
"""Number of such deaths after which no new engine is started."""


class LearningSession:
    """Supervises one engine process and converts between full frames and their ultrasound region.

    Cines, labels and the head are kept, so that a new engine can continue after a crash. Pixels are decoded
    and written in another thread, so that no method blocks.

    Parameters
    ----------
    cache_folder : Path
        Folder for features, and for pixels in transit.
    encoder : str
        Name of the encoder.
    on_event : callable
        Called with each event, in threads of the session.
    """

    def __init__(self, *, cache_folder: Path, encoder: str, on_event: Callable[[Event], None]) -> None:
        self._cache_folder = cache_folder
        self._encoder = encoder
        self._on_event = on_event
        self._exchange = Exchange(cache_folder / "exchange")
        self._sender = CineSender(
            self._exchange, self._send, lambda text: self._on_event(LearningFailure(text))
        )
        self._lock = self._sender.lock
        self._head: Path | None = None
        self._head_revisions: tuple[tuple[int, int], ...] = ()  # (cine, revision) pairs it was fitted to
        self._is_closed = False
        self._is_ready = False  # the engine has reported `Ready`
        self._failed_to_start = False  # the engine has reported that it cannot work
        self._deaths: list[float] = []
        self._engine: EngineProcess | None = None
        self._start_engine()

    @property
    def engine_pid(self) -> int | None:
        """Process id of the engine; None while there is none."""
        return self._engine.pid if self._engine is not None else None

    # Cines and labels

    def open_cine(
        self, cine_id: int, cine: Cine, label_values: tuple[int, ...], *, left_heart: bool = False
    ) -> None:
        """Open a cine in the engine, in the background; learning is resumed.

        Parameters
        ----------
        cine_id : int
        cine : Cine
        label_values : tuple of int
            Label values of the structures.
        left_heart : bool
            True if these are LV cavity, LV myocardium and left atrium, for which the engine can predict a
            draft.
        """
        self._sender.is_cancelled = False
        self._sender.add(cine_id, SentCine(cine, label_values, left_heart))

    def has_cine(self, cine_id: int) -> bool:
        """Return True if a cine is open."""
        return self._sender.get(cine_id) is not None

    def close_cine(self, cine_id: int) -> None:
        """Close a cine in the engine."""
        self._sender.remove(cine_id)

    def set_labels(
        self,
        cine_id: int,
        revision: int,
        labels: Mapping[int, Frame],
        *,
        stated: Mapping[int, Collection[int]] | None = None,
        is_fitted: bool = False,
    ) -> None:
        """Replace all labels of a cine; learning is resumed.

        Parameters
        ----------
        cine_id, revision : int
        labels : mapping
            Label image (height, width) by frame.
        stated : mapping, optional
            Structures that are stated on each frame, drawn or absent; by default those that have a pixel.
        is_fitted : bool
            True if the restored head was fitted to exactly these labels and made the shown predictions. The
            engine then decides whether a fit is needed.
        """
        with self._lock:
            cine = self._sender.get(cine_id)
            if cine is None:
                raise KeyError(cine_id)
            cine.revision, cine.labels, cine.is_fitted = revision, dict(labels), is_fitted
            cine.stated = None if stated is None else {frame: tuple(stated[frame]) for frame in labels}
            self._sender.is_cancelled = False
        self._sender.send_labels(cine_id, revision)

    def set_visible_frame(self, cine_id: int, frame: int) -> None:
        """Set the visible frame, which the engine works on first."""
        self._sender.visible = SetVisibleFrame(cine_id, frame)
        self._send(self._sender.visible)

    def predict_again(self, cine_id: int) -> None:
        """Predict all frames of a cine again, to restore doubts and findings, which projects do not store."""
        cine = self._sender.get(cine_id)
        if cine is not None and cine.is_sent:
            self._send(PredictAgain(cine_id))

    def restore_head(self, blob: bytes, revisions: Mapping[int, int] | None = None) -> None:
        """Use a head stored in a project, fitted to the labels of these cines at these revisions."""

        def restore() -> None:
            path = self._exchange.folder / "restored.safetensors"
            path.write_bytes(blob)
            self._head, self._head_revisions = path, tuple((revisions or {}).items())
            self._send(RestoreHead(str(path), self._head_revisions))

        self._sender.submit(restore)

    # Control

    def cancel(self) -> None:
        """Stop all work until `resume`, new labels or a new cine; the previous head stays."""
        with self._lock:  # a cine that is being sent must not resume afterwards
            self._sender.is_cancelled = True
            self._send(Cancel())

    def resume(self) -> None:
        """Continue after `cancel` or a failure, with a new engine if there is none; send what was lost."""
        self._sender.is_cancelled = False
        with self._lock:
            needs_engine = self._failed_to_start or self._engine is None or not self._engine.alive
            if needs_engine:
                self._deaths.clear()
                self._discard_engine()
                self._start_engine()
        if needs_engine:
            self._replay()
        else:
            self._sender.send_missing()
        self._send(Resume())

    def kill_engine(self) -> None:
        """Kill the engine; the session handles it as a crash. For tests."""
        if self._engine is not None:
            self._engine.kill()

    def replace_engine(self) -> None:
        """Kill an engine that does not respond and start a new one; this is not reported as a crash."""
        with self._lock:
            if self._engine is None:
                return
            self._discard_engine()
            self._start_engine()
        self._replay()

    def close(self) -> None:
        """End the engine and delete all exchanged files."""
        with self._lock:
            self._is_closed = True
        self._sender.close()
        if self._engine is not None:
            self._engine.stop()
        self._exchange.close()

    # Reports, in the thread of the engine's reader

    def _on_report(self, report: Report) -> None:
        if self._is_closed:
            return
        match report:
            case CineReceived():
                self._sender.on_received(report.cine_id)
            case LabelsReceived():
                report.labels.delete()
            case Predicted():
                masks = self._masks_on_frames(report)
                if masks is not None:
                    self._on_event(masks)
            case HeadReady():
                blob = self._read_head(Path(report.path), report.revisions)
                revisions = dict(report.revisions)
                self._on_event(HeadFitted(blob, report.encoder, report.encoder_checksum, revisions))
            case Suggested():
                with self._lock:
                    cine = self._sender.get(report.cine_id)
                    is_current = cine is not None and report.revision == cine.revision
                if is_current:
                    self._on_event(report)
            case Ready():
                self._is_ready = True
                self._on_event(report)
            case Failed():
                self._on_failed(report)
            case Progress() | CancelReceived() | ViewRecognised():
                self._on_event(report)

    def _on_failed(self, report: Failed) -> None:
        text = failure_text(report, self._encoder)
        if not self._is_ready:
            self._failed_to_start = True
            self._on_event(EngineNotStarted(text))
            return
        if report.is_request_lost and report.cine_id is not None:
            self._sender.on_lost(report.cine_id)
        self._on_event(LearningFailure(text, report.cine_id))

    def _read_head(self, path: Path, revisions: tuple[tuple[int, int], ...]) -> bytes | None:
        try:
            blob = path.read_bytes()
        except OSError:
            logger.exception("the file of a head cannot be read")
            return None
        self._head, self._head_revisions = path, revisions
        return blob

    def _masks_on_frames(self, report: Predicted) -> PredictedMasks | None:
        """Return masks at full frame size; None if they belong to other labels or the cine was closed."""
        with self._lock:
            cine = self._sender.get(report.cine_id)
            if cine is None or cine.masks is None or cine.doubts is None:
                return None
            if report.revision != cine.revision:
                return None
            # Map the arrays only for this report: pages that are read count as memory of this process.
            masks, doubts = cine.masks.open(), cine.doubts.open()
        geometry = RegionGeometry.of(cine.cine)
        findings = zip(report.frames, report.findings, strict=False)
        return PredictedMasks(
            report.cine_id,
            report.revision,
            {frame: geometry.on_frame(masks[frame]) for frame in report.frames},
            dict(zip(report.frames, report.expected_dice, strict=True)),
            report.final,
            report.draft,
            {frame: np.array(doubts[frame]) for frame in report.frames},
            {frame: tuple(map(finding_text, found)) for frame, found in findings},
            dict(zip(report.frames, report.structure_dice, strict=False)),
        )

    # Supervision

    def _send(self, request: Request) -> None:
        if self._engine is not None:
            self._engine.send(request)

    def _discard_engine(self) -> None:
        engine, self._engine = self._engine, None
        if engine is not None:
            engine.kill()

    def _start_engine(self) -> None:
        with self._lock:
            if self._is_closed:
                return
            self._is_ready = self._failed_to_start = False
            self._sender.reset()
            self._engine = EngineProcess(
                cache_folder=self._cache_folder / "features",
                scratch_folder=self._exchange.folder,
                encoder=self._encoder,
                on_report=self._on_report,
                on_death=self._on_death,
            )

    def _on_death(self, engine: EngineProcess, exit_code: int | None) -> None:
        with self._lock:
            if self._is_closed or engine is not self._engine:
                return  # the session was closed, or the engine was already replaced
            now = time.monotonic()
            # After a death during the start, earlier deaths count however long ago they were.
            if self._is_ready:
                self._deaths = [death for death in self._deaths if now - death < QUICK_DEATH_S]
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
        """Send the head, all cines and all labels to a new engine."""
        if self._head is not None:
            self._send(RestoreHead(str(self._head), self._head_revisions))
        self._sender.send_missing()
        if self._sender.is_cancelled:
            self._sender.submit(lambda: self._send(Cancel()))

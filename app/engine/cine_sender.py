"""Sending of cines and labels to the engine, in a thread that decodes and writes pixels."""

from __future__ import annotations

import contextlib
import itertools
import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from app.domain.cine import Cine, Frame
from app.domain.errors import ApicalError
from app.engine.exchange import Exchange
from app.engine.region_geometry import RegionGeometry, decode_frames
from app.engine.texts import sending_failure_text
from vjepa_core.errors import Cancelled
from vjepa_core.label_image import structure_mask
from vjepa_core.letterbox import INPUT_SIZE
from vjepa_core.service.messages import (
    DOUBT_SIZE,
    CloseCine,
    OpenCine,
    Request,
    Resume,
    SetLabels,
    SetVisibleFrame,
    SharedArray,
)

logger = logging.getLogger(__name__)


@dataclass(eq=False)
class SentCine:
    """A cine that the engine has, or should have.

    Attributes
    ----------
    cine : Cine
    label_values : tuple of int
        Label values of the structures.
    left_heart : bool
        True if they are the structures of the starter head.
    revision : int
        Revision of the labels.
    labels : dict of int to ndarray of uint8, shape (height, width), or None
        Label images by frame; None if they were never set.
    stated : dict of int to tuple of int, or None
        Values of the stated structures by frame.
    is_fitted : bool
        See `SetLabels`.
    is_sent, is_sending : bool
        True if the frames were sent, or are being sent.
    was_preferred : bool
        True if it was sent before other cines, or that was tried, because it is visible.
    sent_labels : dict or None
        Value of `labels` when they were last sent.
    masks, doubts : SharedArray or None
        Arrays that the engine writes.
    """

    cine: Cine
    label_values: tuple[int, ...]
    left_heart: bool = False
    revision: int = 0
    labels: dict[int, Frame] | None = None
    stated: dict[int, tuple[int, ...]] | None = None
    is_fitted: bool = False
    is_sent: bool = False
    is_sending: bool = False
    was_preferred: bool = False
    sent_labels: dict[int, Frame] | None = None
    masks: SharedArray | None = None
    doubts: SharedArray | None = None

    def delete(self) -> None:
        """Delete the arrays that the engine writes."""
        for array in (self.masks, self.doubts):
            if array is not None:
                array.delete()


class CineSender:
    """Sends cines and labels to the engine, and sends them again to a new one.

    Parameters
    ----------
    exchange : Exchange
        Folder of mapped arrays.
    send : callable
        Sends a request to the present engine.
    on_failure : callable
        Called with a sentence for the user, in the thread of the sender.

    Attributes
    ----------
    lock : RLock
        Protects the state.
    visible : SetVisibleFrame
        Visible cine and frame; this cine is sent before others.
    is_cancelled : bool
        True while learning is stopped; the session resets it when a cine is opened, when labels change and on
        `resume`.
    """

    def __init__(
        self, exchange: Exchange, send: Callable[[Request], None], on_failure: Callable[[str], None]
    ) -> None:
        self.lock = threading.RLock()
        self.visible = SetVisibleFrame(0, 0)
        self.is_cancelled = False
        self._exchange, self._send, self._on_failure = exchange, send, on_failure
        self._cines: dict[int, SentCine] = {}
        self._frames_in_transit: dict[int, list[SharedArray]] = {}  # oldest first
        self._is_closed = False
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="cine-sender")

    def submit(self, task: Callable[[], None]) -> None:
        """Run a task in the thread of the sender."""
        if not self._is_closed:
            with contextlib.suppress(RuntimeError):  # closed at this moment
                self._worker.submit(self._run, task)

    def close(self) -> None:
        """Stop sending."""
        with self.lock:
            self._is_closed = True
        self._worker.shutdown(wait=True, cancel_futures=True)
        self._cines.clear()

    # Cines and labels

    def get(self, cine_id: int) -> SentCine | None:
        """Return a cine by id; None if it is not open."""
        return self._cines.get(cine_id)

    def add(self, cine_id: int, cine: SentCine) -> None:
        """Add a cine and send it."""
        with self.lock:
            self._cines[cine_id] = cine
        self.submit(lambda: self._send_cine(cine_id))

    def remove(self, cine_id: int) -> None:
        """Close a cine in the engine."""
        with self.lock:
            cine = self._cines.pop(cine_id, None)
            self._send(CloseCine(cine_id))
        if cine is not None:
            cine.delete()

    def send_labels(self, cine_id: int, revision: int) -> None:
        """Send the labels of a cine, unless a newer revision follows."""
        self.submit(lambda: self._send_labels(cine_id, revision))

    def send_missing(self) -> None:
        """Send the cines and labels that the engine does not have."""
        with self.lock:
            cines = [(i, cine.revision, cine.labels is not None) for i, cine in self._cines.items()]
        for cine_id, revision, is_labelled in cines:
            self.submit(lambda i=cine_id: self._send_cine(i))  # type: ignore[misc]
            if is_labelled:
                self.send_labels(cine_id, revision)

    def reset(self) -> None:
        """Mark everything as not sent, for a new engine."""
        with self.lock:
            for cine in self._cines.values():
                cine.is_sent, cine.sent_labels, cine.was_preferred = False, None, False
            for frames in itertools.chain.from_iterable(self._frames_in_transit.values()):
                frames.delete()
            self._frames_in_transit.clear()

    def on_received(self, cine_id: int) -> None:
        """Delete the frames of a cine that the engine has copied."""
        with self.lock:
            in_transit = self._frames_in_transit.get(cine_id)
            if in_transit:  # a cine that was closed and opened again can be in transit twice
                in_transit.pop(0).delete()

    def on_lost(self, cine_id: int) -> None:
        """Mark a cine that the engine could not receive as not sent."""
        with self.lock:
            cine = self._cines.get(cine_id)
            if cine is not None:
                cine.is_sent, cine.sent_labels = False, None
            for frames in self._frames_in_transit.pop(cine_id, ()):
                frames.delete()

    # In the thread of the sender

    def _run(self, task: Callable[[], None]) -> None:
        """Run a task and report its errors."""
        try:
            task()
        except ApicalError as error:
            self._on_failure(str(error))
        except Exception as error:
            logger.exception("pixels could not be passed to the engine")
            self._on_failure(sending_failure_text(error))

    def _send_cine(self, cine_id: int) -> None:
        cine = self._cines.get(cine_id)
        if cine is None or cine.is_sent or cine.is_sending or self._is_closed:
            return
        cine.is_sending = True
        try:
            self._send_visible_first()
            self._decode_and_send(cine_id, cine)
        finally:
            cine.is_sending = False

    def _send_visible_first(self) -> None:
        cine_id = self.visible.cine_id
        cine = self._cines.get(cine_id)
        if cine is not None and not (cine.is_sent or cine.is_sending or cine.was_preferred):
            cine.was_preferred = True
            self._run(lambda: self._send_cine(cine_id))
            self._run(lambda: self._send_labels(cine_id, cine.revision))

    def _decode_and_send(self, cine_id: int, sent: SentCine) -> None:
        cine = sent.cine
        region, n = cine.region, cine.n_frames
        frames, damaged = self._write_frames(cine_id, sent)
        if frames is None:
            return
        masks = sent.masks
        try:
            masks = masks or self._exchange.allocate((n, region.height, region.width))
            doubts = sent.doubts or self._exchange.allocate((n, DOUBT_SIZE, DOUBT_SIZE))
        except Exception:  # most likely the disk is full
            for array in (frames, None if sent.masks else masks):
                if array is not None:
                    array.delete()
            raise
        with self.lock:
            if self._cines.get(cine_id) is not sent:  # closed in the meantime
                for array in (frames, masks, doubts):
                    array.delete()
                return
            if sent.masks is None:
                sent.masks, sent.doubts = masks, doubts
            self._frames_in_transit.setdefault(cine_id, []).append(frames)
            self._send(
                OpenCine(
                    cine_id,
                    frames,
                    masks,
                    region.height,
                    region.width,
                    cine.timing.fps,
                    sent.label_values,
                    sent.left_heart,
                    doubts,
                    cine.pixel_aspect,
                    damaged,
                )
            )
            sent.is_sent, sent.sent_labels = True, None
            if not self.is_cancelled:  # an engine that stopped after a failure starts again
                self._send(Resume(retry_failed=False))
        self._send(self.visible)

    def _write_frames(self, cine_id: int, sent: SentCine) -> tuple[SharedArray | None, tuple[int, ...]]:
        """Decode and letterbox a cine; return its frames (None if it was closed) and its damaged frames."""
        cine, geometry = sent.cine, RegionGeometry.of(sent.cine)
        frames = self._exchange.allocate((cine.n_frames, INPUT_SIZE, INPUT_SIZE))

        def before_frame(_: int) -> None:
            if self._cines.get(cine_id) is not sent or self._is_closed:
                raise Cancelled
            self._send_visible_first()

        try:
            damaged = decode_frames(
                cine, frames.open(writable=True), geometry.letterbox, before_frame=before_frame
            )
        except Cancelled:
            frames.delete()
            return None, ()
        except Exception:
            frames.delete()
            raise
        if damaged:
            logger.warning("%d of %d frames are damaged", len(damaged), cine.n_frames)
        return frames, damaged

    def _send_labels(self, cine_id: int, revision: int) -> None:
        with self.lock:
            cine = self._cines.get(cine_id)
            if cine is None or cine.labels is None or cine.revision != revision:
                return  # a newer revision follows
            if cine.is_sent and cine.sent_labels is cine.labels:
                return  # already sent, before other cines
            all_labels, stated, is_fitted, is_sent = cine.labels, cine.stated, cine.is_fitted, cine.is_sent
        labels = all_labels
        if not any(structure_mask(label).any() for label in labels.values()):
            labels = {}  # scribbles without a structure cannot be fitted
        if not is_sent:  # an earlier attempt to send its frames failed
            self._send_cine(cine_id)
            if not cine.is_sent:
                return
        frames = tuple(sorted(labels))
        pixels = None
        if frames:
            region = cine.cine.region.slices
            pixels = self._exchange.put(np.stack([labels[f][region] for f in frames]))
        stated_values = None if stated is None else tuple(stated[f] for f in frames)
        cine.sent_labels = all_labels
        self._send(SetLabels(cine_id, revision, frames, pixels, is_fitted, stated_values))

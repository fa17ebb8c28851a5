"""Small cines in memory, and sessions that must not leave a thread or file behind."""

from __future__ import annotations

import multiprocessing
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from app.domain.cine import Box, Cine, Frame, Timing, TimingSource
from app.domain.errors import CineError
from app.engine.events import Event
from app.engine.session import LearningSession
from vjepa_core.encoder.catalogue import DEFAULT_ENCODER
from vjepa_core.service.messages import Progress, Stage

FRAMES, HEIGHT, WIDTH = 8, 90, 120
WAIT_S = 240.0  # generous, because the machine may be busy


class DiskFrames:
    """Frames with a beating disk; some may be damaged, and decoding may wait for an event."""

    def __init__(self, damaged: tuple[int, ...] = (), gate: threading.Event | None = None) -> None:
        self.damaged, self.gate = damaged, gate
        self.started = threading.Event()

    def frame(self, index: int) -> Frame:
        self.started.set()
        if self.gate is not None:
            self.gate.wait(10)
        if index in self.damaged:
            raise CineError(f"heart.dcm: frame {index + 1} is damaged; go on with the others.")
        image = np.full((HEIGHT, WIDTH), 40, np.uint8)
        cv2.circle(image, (60, 45), radius(index), (200,), -1)
        return image

    def is_decoded(self, index: int) -> bool:
        return True

    def prefetch(self, order: Any, on_frame: Any = None) -> None: ...

    def close(self) -> None: ...


def radius(index: int) -> int:
    return 18 + index % 4


def make_cine(**options: Any) -> Cine:
    return Cine(
        path=Path("heart.dcm"),
        uid="1.2.3",
        content_hash="hash",
        n_frames=FRAMES,
        height=HEIGHT,
        width=WIDTH,
        timing=Timing(np.arange(FRAMES).astype(np.float64) * 40, TimingSource.FRAME_TIME),
        calibration=None,
        regions=(),
        region=Box(10, 5, 110, 85),
        region_source="found from motion",
        colour_doppler=False,
        burned_in_annotation=None,
        view=None,
        pixel_format="grey",
        warnings=(),
        source=DiskFrames(**options),
    )


def disk(index: int) -> Frame:
    """Label image of the disk on a frame."""
    label = np.zeros((HEIGHT, WIDTH), np.uint8)
    cv2.circle(label, (60, 45), radius(index), (1,), -1)
    return label


class EventLog:
    """The events of a session."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.session: LearningSession

    def of(self, kind: type) -> list[Any]:
        return [event for event in list(self.events) if isinstance(event, kind)]

    def at(self, stage: Stage, since: int = 0) -> list[Progress]:
        return [e for e in self.events[since:] if isinstance(e, Progress) and e.stage is stage]

    def wait(self, condition: Callable[[], object]) -> None:
        until = time.monotonic() + WAIT_S
        while not condition():
            assert time.monotonic() < until, f"timeout; the last events are {self.events[-3:]}"
            time.sleep(0.01)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., EventLog]]:
    """Return a function that starts a session with a new engine and returns its events."""
    logs: list[EventLog] = []

    def start_session(encoder: str = DEFAULT_ENCODER) -> EventLog:
        log = EventLog()
        logs.append(log)
        log.session = LearningSession(
            cache_folder=tmp_path / "cache", encoder=encoder, on_event=log.events.append
        )
        return log

    yield start_session
    for log in logs:
        log.session.close()
    assert list((tmp_path / "cache" / "exchange").iterdir()) == []
    until = time.monotonic() + 5
    while alive() and time.monotonic() < until:
        time.sleep(0.02)
    assert alive() == []


def alive() -> list[str]:
    names = ("cine-sender", "engine-")
    threads = [t.name for t in threading.enumerate() if t.name.startswith(names)]
    return threads + [p.name for p in multiprocessing.active_children()]

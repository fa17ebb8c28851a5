"""A small cine without pixels, and a project that refers to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.domain.cine import Box, Cine, Timing, TimingSource
from app.storage.project import Project
from app.storage.recorder import Recorder

FRAMES, HEIGHT, WIDTH = 12, 120, 160


class _NoPixels:
    def frame(self, index: int) -> Any:
        raise AssertionError("storage never decodes")

    def is_decoded(self, index: int) -> bool:
        return False

    def prefetch(self, order: Any, on_frame: Any = None) -> None:
        raise AssertionError("storage never decodes")

    def close(self) -> None:
        pass


@pytest.fixture
def make_cine(tmp_path: Path) -> Callable[..., Cine]:
    def make(content_hash: str = "hash-1", path: Path | None = None) -> Cine:
        return Cine(
            path=path or tmp_path / "cines" / "IM_0001.dcm",
            uid="1.2.3",
            content_hash=content_hash,
            n_frames=FRAMES,
            height=HEIGHT,
            width=WIDTH,
            timing=Timing(np.arange(FRAMES).astype(np.float64), TimingSource.FRAME_TIME),
            calibration=None,
            regions=(),
            region=Box(0, 0, WIDTH, HEIGHT),
            region_source="whole image",
            colour_doppler=False,
            burned_in_annotation=None,
            view=None,
            pixel_format="grey",
            warnings=(),
            source=_NoPixels(),
        )

    return make


@pytest.fixture
def cine(make_cine: Callable[..., Cine]) -> Cine:
    return make_cine()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "heart.apical"


@pytest.fixture
def project(path: Path) -> Iterator[Project]:
    with Project.create(path) as project:
        yield project


@pytest.fixture
def recorder(project: Project, cine: Cine) -> Recorder:
    return Recorder(project, project.add_cine(cine).id)


@pytest.fixture
def paint() -> Callable[..., None]:
    """Function that draws a square; its position and label depend on the step."""

    def paint(recorder: Recorder, frame: int, step: int = 0) -> None:
        before = recorder.layer.label(frame)
        after = np.zeros((HEIGHT, WIDTH), np.uint8) if before is None else before.copy()
        after[2 + step % 30 : 12 + step % 30, 3 + step % 40 : 20 + step % 40] = 1 + step % 3
        assert recorder.draw(frame, after, "brush", "A") is not None

    return paint

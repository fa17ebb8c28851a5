"""An open cine: pixels, annotations, predictions."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace

import numpy as np

from app.domain.cine import Cine, Frame
from app.domain.shown_mask import FrameMasks
from app.storage.project import Project
from app.storage.recorder import Recorder
from app.storage.records import CineRecord, Prediction
from vjepa_core.label_image import UNLABELLED
from vjepa_core.preprocessing import Letterbox

MAX_REMEMBERED = 30
"""Strokes for which what was visible before is kept; packed predictions of 500 frames take about 1 MB."""


OUTDATED = -1
"""Revision of a prediction that belongs to no annotation any more."""


@dataclass(frozen=True, eq=False)
class _Shown:
    """Predictions at one revision of the annotations."""

    revision: int
    predictions: dict[int, Prediction]


@dataclass(eq=False)
class OpenedCine:
    """One cine of the open project.

    Attributes
    ----------
    cine, record, recorder
        Pixels, row in the project, annotations.
    predictions
        Newest prediction of each frame, whatever annotations it was learnt from.
    doubts
        How likely each label of a prediction is wrong, as the engine sends it; not kept in the project.
    findings
        What is implausible about a prediction, in words, as the engine sends it; not kept either.
    frame
        The visible frame.
    shown, warned
        Whether the cine was on the screen, and its warnings were shown, since it was opened.
    walls
        (wall, cavity) values of the label set.
    """

    cine: Cine
    record: CineRecord
    recorder: Recorder
    predictions: dict[int, Prediction] = field(default_factory=dict)
    doubts: dict[int, Frame] = field(default_factory=dict)
    findings: dict[int, tuple[str, ...]] = field(default_factory=dict)
    frame: int = 0
    shown: bool = False
    warned: bool = False
    walls: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        self._found = self.cine  # with the region as the file has it, or as it was found
        self._past: deque[_Shown] = deque(maxlen=MAX_REMEMBERED)  # before each stroke in force
        self._future: deque[_Shown] = deque(maxlen=MAX_REMEMBERED)  # before each undo

    @property
    def id(self) -> int:
        """Row of the cine in the project."""
        return self.record.id

    @property
    def revision(self) -> int:
        """Revision of the annotations."""
        return self.recorder.layer.revision

    @property
    def stale(self) -> set[int]:
        """Frames whose prediction belongs to labels that have changed since."""
        return {f for f, p in self.predictions.items() if p.revision != self.revision}

    def masks(self, frame: int) -> FrameMasks:
        """What is on a frame now: annotation, states and prediction."""
        annotated = self.recorder.layer
        return FrameMasks(
            (self.cine.height, self.cine.width),
            annotated.label(frame),
            annotated.states(frame),
            self._prediction(frame),
            self.walls,
        )

    def shown_prediction(self, frame: int) -> Frame | None:
        """The prediction without the structures that a human has stated on this frame; None without one."""
        return self.masks(frame).predicted

    def outdate(self) -> None:
        """Mark every prediction as outdated: it stays on the screen until a better one exists."""
        self.predictions = {f: replace(p, revision=OUTDATED) for f, p in self.predictions.items()}

    def _prediction(self, frame: int) -> Frame | None:
        prediction = self.predictions.get(frame)
        if prediction is None:
            return None
        try:
            return prediction.mask
        except ValueError:  # damaged on disk: it will be predicted again
            del self.predictions[frame]
            return None

    # What was visible before a stroke comes back when the stroke is undone

    def remember(self, frame: int, seen: Prediction | None = None) -> None:
        """Note what is visible, just before a stroke is applied to a frame.

        `seen` is the prediction that was on the screen when the stroke began, if a newer one has arrived.
        """
        now = self._visible()
        if seen is not None:
            now.predictions[frame] = seen
        self._past.append(now)
        self._future.clear()

    def forget_last(self) -> None:
        """Drop what `remember` noted last: the stroke changed nothing."""
        self._past.pop()

    def step_back(self) -> None:
        """Show again what was visible before the newest stroke, which was just undone."""
        self._swap(self._past, self._future)

    def step_forward(self) -> None:
        """Show again what was visible before the undo that was just redone."""
        self._swap(self._future, self._past)

    def _visible(self) -> _Shown:
        return _Shown(self.revision, dict(self.predictions))

    def _swap(self, source: deque[_Shown], target: deque[_Shown]) -> None:
        target.append(replace(self._visible(), revision=self.revision - 1))
        if not source:  # made before the cine was opened: the newest predictions stay, as outdated ones
            return
        then = source.pop()
        self.doubts.clear()
        self.findings.clear()
        self.predictions = {
            # Predictions that belonged to the annotations of then belong to them again.
            frame: replace(p, revision=self.revision) if p.revision == then.revision else p
            for frame, p in then.predictions.items()
        }

    def doubt(self, frame: int) -> Frame | None:
        """How likely the shown prediction is wrong, (height, width) uint8, times 255; None where unknown."""
        shown = self.shown_prediction(frame)
        if shown is None or not shown.any() or frame not in self.doubts:
            return None
        region = self.cine.region
        box = Letterbox.fit(region.height, region.width, pixel_aspect=self.cine.pixel_aspect)
        full = np.zeros(shown.shape, np.uint8)
        full[region.slices] = box.invert(self.doubts[frame][None].astype(np.float32))[0].round()
        drawn = self.recorder.layer.label(frame)
        if drawn is not None:
            scribbled = drawn == UNLABELLED
            full[~scribbled if scribbled.any() else drawn > 0] = 0  # what a human drew is not in doubt
        return full

    def forget_predictions(self) -> None:
        """Show no prediction any more."""
        self.predictions.clear()
        self.doubts.clear()
        self.findings.clear()

    def fit_region(self) -> bool:
        """Make the ultrasound region hold everything that is outlined now; True if that changed it.

        The region may have been found from motion alone: who outlines something beside it knows better. It
        follows from the file and the outlines alone, so that it is the same when the project is opened again.
        """
        region = self._found.region.holding(self.recorder.layer.labels.values())
        if region == self.cine.region:
            return False
        source = "widened to what was outlined" if region != self._found.region else self._found.region_source
        self.cine = replace(self.cine, region=region, region_source=source)
        self.doubts.clear()  # they lie over the region as it was
        return True


def load_cine(cine: Cine, record: CineRecord, project: Project) -> OpenedCine:
    """Attach annotations and predictions of a project to an open file.

    Raises
    ------
    ProjectError
        If they cannot be read.
    """
    recorder, predictions = Recorder(project, record.id), project.predictions(record.id)
    opened = OpenedCine(cine, record, recorder, predictions, walls=project.label_set.walls)
    if not recorder.layer.annotated_frames:
        for frame in opened.stale:  # from annotations that were undone
            del opened.predictions[frame]
    return opened

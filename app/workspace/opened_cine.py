"""An open cine: pixels, annotations and predictions."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace

from app.domain.cine import Cine, Frame
from app.domain.prediction import Prediction
from app.domain.shown_mask import FrameMasks
from app.domain.views import View
from app.engine.region_geometry import RegionGeometry
from app.storage.project import Project
from app.storage.recorder import Recorder
from app.storage.records import CineRecord
from vjepa_core.label_image import UNLABELLED

MAX_RECORDED = 30
"""Strokes for which the previous predictions are kept; packed predictions of 500 frames take about 1 MB."""

OUTDATED = -1
"""Revision of a prediction that no longer belongs to any annotations."""


@dataclass(frozen=True, eq=False)
class _RecordedPredictions:
    """Predictions at one revision of the annotations."""

    revision: int
    predictions: dict[int, Prediction]


@dataclass(eq=False)
class OpenedCine:
    """A cine of the open project whose file is open.

    Attributes
    ----------
    cine : Cine
        Pixels.
    record : CineRecord
        Row in the project.
    recorder : Recorder
        Annotations, and the means to change and store them.
    predictions : dict of int to Prediction
        Newest prediction of each frame, for any revision of the annotations.
    doubts : dict of int to ndarray of uint8
        Doubt by frame: the probability of a wrong label, times 255, on the engine's grid. Not stored.
    findings : dict of int to tuple of str
        Findings by frame, as texts for the user. Not stored.
    recognised_view : View or None
        View that the engine recognised; None before, and if it is another view or undecided. Not stored.
    frame : int
        Visible frame.
    was_shown : bool
        True if the cine has been visible since it was opened.
    warnings_shown : bool
        True if the warnings of its file have been shown.
    walls : tuple of (int, int)
        (wall, cavity) values of the label set.
    """

    cine: Cine
    record: CineRecord
    recorder: Recorder
    predictions: dict[int, Prediction] = field(default_factory=dict)
    doubts: dict[int, Frame] = field(default_factory=dict)
    findings: dict[int, tuple[str, ...]] = field(default_factory=dict)
    recognised_view: View | None = None
    frame: int = 0
    was_shown: bool = False
    warnings_shown: bool = False
    walls: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        self._original = self.cine  # with the region that the file states or that was detected
        self._past: deque[_RecordedPredictions] = deque(maxlen=MAX_RECORDED)  # before each stroke
        self._future: deque[_RecordedPredictions] = deque(maxlen=MAX_RECORDED)  # before each undo

    @property
    def id(self) -> int:
        """Row of the cine in the project."""
        return self.record.id

    @property
    def revision(self) -> int:
        """Revision of the annotations."""
        return self.recorder.layer.revision

    @property
    def outdated(self) -> set[int]:
        """Frames with an outdated prediction."""
        return {f for f, p in self.predictions.items() if p.revision != self.revision}

    @property
    def has_masks(self) -> bool:
        """True if at least one frame is annotated or predicted."""
        return bool(self.predictions or self.recorder.layer.annotated_frames)

    def masks(self, frame: int) -> FrameMasks:
        """Return annotation, states and prediction of a frame."""
        annotated = self.recorder.layer
        return FrameMasks(
            (self.cine.height, self.cine.width),
            annotated.label(frame),
            annotated.states(frame),
            self._prediction(frame),
            self.walls,
        )

    def shown_prediction(self, frame: int) -> Frame | None:
        """Return the prediction of a frame without stated structures; None without a prediction."""
        return self.masks(frame).predicted

    def mark_outdated(self) -> None:
        """Mark all predictions as outdated; they stay visible until newer ones arrive."""
        self.predictions = {f: replace(p, revision=OUTDATED) for f, p in self.predictions.items()}

    def _prediction(self, frame: int) -> Frame | None:
        prediction = self.predictions.get(frame)
        if prediction is None:
            return None
        try:
            return prediction.mask
        except ValueError:  # damaged on disk; the frame will be predicted again
            del self.predictions[frame]
            return None

    # Predictions before each stroke, which undo restores

    def record_predictions(self, frame: int, seen: Prediction | None = None) -> None:
        """Record the visible predictions, just before a stroke on a frame.

        `seen` is the prediction of that frame when the stroke began, if a newer one has arrived.
        """
        recorded = self._present_predictions()
        if seen is not None:
            recorded.predictions[frame] = seen
        self._past.append(recorded)
        self._future.clear()

    def discard_recorded(self) -> None:
        """Discard the predictions recorded last, for a stroke that changed nothing."""
        self._past.pop()

    def undo_predictions(self) -> None:
        """Restore the predictions from before the stroke that was just undone."""
        self._swap(self._past, self._future)

    def redo_predictions(self) -> None:
        """Restore the predictions from before the undo that was just redone."""
        self._swap(self._future, self._past)

    def _present_predictions(self) -> _RecordedPredictions:
        return _RecordedPredictions(self.revision, dict(self.predictions))

    def _swap(self, source: deque[_RecordedPredictions], target: deque[_RecordedPredictions]) -> None:
        target.append(replace(self._present_predictions(), revision=self.revision - 1))
        if not source:  # an edit of an earlier session: the newest predictions stay as outdated ones
            return
        recorded = source.pop()
        self.doubts.clear()
        self.findings.clear()
        self.predictions = {
            # Predictions that were up to date then are up to date again.
            frame: replace(p, revision=self.revision) if p.revision == recorded.revision else p
            for frame, p in recorded.predictions.items()
        }

    def doubt(self, frame: int) -> Frame | None:
        """Return the probability times 255 that each shown label is wrong, (height, width) uint8, or None."""
        shown = self.shown_prediction(frame)
        if shown is None or not shown.any() or frame not in self.doubts:
            return None
        full = RegionGeometry.of(self.cine).doubt_on_frame(self.doubts[frame])
        drawn = self.recorder.layer.label(frame)
        if drawn is not None:
            scribbled = drawn == UNLABELLED
            full[~scribbled if scribbled.any() else drawn > 0] = 0  # annotations are not in doubt
        return full

    def clear_predictions(self) -> None:
        """Remove all predictions."""
        self.predictions.clear()
        self.doubts.clear()
        self.findings.clear()

    def update_region(self) -> bool:
        """Widen the ultrasound region to contain all annotations; return True if it changed.

        A region detected from motion may be too small. The widened region depends only on the file and the
        annotations, so that it is the same when the project is opened again.
        """
        region = self._original.region.extended_to(self.recorder.layer.labels.values())
        if region == self.cine.region:
            return False
        is_wider = region != self._original.region
        source = "widened to contain the annotations" if is_wider else self._original.region_source
        self.cine = replace(self.cine, region=region, region_source=source)
        self.doubts.clear()  # they refer to the previous region
        return True


def load_cine(cine: Cine, record: CineRecord, project: Project) -> OpenedCine:
    """Attach annotations and predictions of a project to an open file.

    Raises
    ------
    ProjectError
        If they cannot be read.
    """
    recorder = Recorder(project, record.id)
    predictions = project.predictions(record.id, recorder.layer.rater)
    opened = OpenedCine(cine, record, recorder, predictions, walls=project.label_set.walls)
    if not recorder.layer.annotated_frames:
        for frame in opened.outdated:  # from annotations that were undone
            del opened.predictions[frame]
    return opened

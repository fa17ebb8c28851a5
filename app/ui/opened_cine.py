"""A cine on the table: pixels, annotations, predictions."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from app.domain.cine import Cine, Frame
from app.domain.labels import UNLABELLED
from app.storage.recorder import Recorder
from app.storage.records import CineRecord, Prediction
from vjepa_core.preprocessing import Letterbox


@dataclass(eq=False)
class OpenedCine:
    """One cine of the open project; `frame` is the visible one, `warned` once its
    warnings were said."""

    cine: Cine
    record: CineRecord
    recorder: Recorder
    predictions: dict[int, Prediction] = field(default_factory=dict)
    doubts: dict[int, Frame] = field(default_factory=dict)  # as the engine tells them; no project keeps them
    findings: dict[int, tuple[str, ...]] = field(default_factory=dict)  # likewise: reasons to look at a frame
    frame: int = 0
    warned: bool = False
    _values_of: dict[int, tuple[Frame, frozenset[int]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._found = self.cine  # with the region as the file has it, or as it was found

    @property
    def id(self) -> int:
        """Row of the cine in the project."""
        return self.record.id

    @property
    def revision(self) -> int:
        """Revision of the annotations."""
        return self.recorder.annotated.revision

    @property
    def stale(self) -> set[int]:
        """Frames whose prediction belongs to labels that have changed since."""
        return {f for f, p in self.predictions.items() if p.revision != self.revision}

    def shown_prediction(self, frame: int) -> Frame | None:
        """The prediction as far as the human has not spoken: without the classes drawn on this frame."""
        prediction = self.predictions.get(frame)
        if prediction is None:
            return None
        try:
            mask = prediction.mask
        except ValueError:  # damaged on disk: it will be predicted again
            del self.predictions[frame]
            return None
        drawn = self.recorder.annotated.label(frame)
        if drawn is None:
            return mask
        scribbled = drawn == UNLABELLED
        if scribbled.any():
            keep = scribbled | (drawn == mask)
        else:  # what is not drawn is left to the prediction class by class
            keep = ~np.isin(mask, np.unique(drawn)) & (drawn == 0)
        return np.where(keep, mask, 0).astype(np.uint8)

    def doubt(self, frame: int) -> Frame | None:
        """How likely the shown prediction is wrong, (height, width) uint8, times 255; None where unknown."""
        shown = self.shown_prediction(frame)
        if shown is None or not shown.any() or frame not in self.doubts:
            return None
        region = self.cine.region
        box = Letterbox.fit(region.height, region.width)
        full = np.zeros(shown.shape, np.uint8)
        full[region.slices] = box.invert(self.doubts[frame][None].astype(np.float32))[0].round()
        drawn = self.recorder.annotated.label(frame)
        if drawn is not None:
            scribbled = drawn == UNLABELLED
            full[~scribbled if scribbled.any() else drawn > 0] = 0  # nobody doubts what a human drew
        return full

    @property
    def hand_drawn(self) -> set[int]:
        """Frames on which a human outlined every structure of this cine: no prediction counts there.

        A frame that is scribbled on is drawn in part.
        """
        drawn = {frame: self._values(frame) for frame in self.recorder.annotated.labels}
        everything = frozenset().union(*drawn.values()) - {0, UNLABELLED}
        return {f for f, here in drawn.items() if UNLABELLED not in here and everything <= here}

    def _values(self, frame: int) -> frozenset[int]:
        """Label values on an annotated frame, counted once for each label."""
        label = self.recorder.annotated.labels[frame]
        known = self._values_of.get(frame)
        if known is None or known[0] is not label:
            counts = np.bincount(label.ravel(), minlength=256)
            known = self._values_of[frame] = label, frozenset(np.flatnonzero(counts).tolist())
        return known[1]

    def forget_predictions(self) -> None:
        """Show no prediction any more."""
        self.predictions.clear()
        self.doubts.clear()
        self.findings.clear()

    def can_correct(self, frame: int) -> bool:
        """True where a stroke may start from the prediction: there is one, for the labels as they are."""
        prediction = self.predictions.get(frame)
        return prediction is not None and prediction.revision == self.revision

    def fit_region(self) -> bool:
        """Make the ultrasound region hold everything that is outlined now; True if that changed it.

        The region may have been found from motion alone: who outlines something beside it knows better. It
        follows from the file and the outlines alone, so that it is the same when the project is opened again.
        """
        region = self._found.region.holding(self.recorder.annotated.labels.values())
        if region == self.cine.region:
            return False
        source = "widened to what was outlined" if region != self._found.region else self._found.region_source
        self.cine = replace(self.cine, region=region, region_source=source)
        self.doubts.clear()  # they lie over the region as it was
        return True

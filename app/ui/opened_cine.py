"""A cine on the table: pixels, annotations, predictions."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from app.domain.cine import Cine, Frame
from app.storage.recorder import Recorder
from app.storage.records import CineRecord, Prediction


@dataclass(eq=False)
class OpenedCine:
    """One cine of the open project; `frame` is the visible one, `warned` once its
    warnings were said."""

    cine: Cine
    record: CineRecord
    recorder: Recorder
    predictions: dict[int, Prediction] = field(default_factory=dict)
    frame: int = 0
    warned: bool = False

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
        keep = ~np.isin(mask, np.unique(drawn)) & (drawn == 0)
        return np.where(keep, mask, 0).astype(np.uint8)

    def can_correct(self, frame: int) -> bool:
        """True where a stroke may start from the prediction: there is one, for the labels as they are."""
        prediction = self.predictions.get(frame)
        return prediction is not None and prediction.revision == self.revision

    def widen_region(self) -> bool:
        """Make the ultrasound region hold everything that was outlined; True if it had to grow.

        The region may have been found from motion alone: who outlines something beside it knows better.
        """
        labels = self.recorder.annotated.labels.values()
        region = self.cine.region.holding(labels)
        if region == self.cine.region:
            return False
        self.cine = replace(self.cine, region=region, region_source="widened to what was outlined")
        return True

"""State of one cine in the engine: pipeline, mapped output, and frames to predict."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from vjepa_core.encoder.loaded import LoadedEncoder
from vjepa_core.fewshot.assessment import PredictedFrames
from vjepa_core.fewshot.bounded_cache import BoundedCache
from vjepa_core.fewshot.feature_cache import FeatureCache
from vjepa_core.fewshot.findings import Finding
from vjepa_core.fewshot.head import Head
from vjepa_core.fewshot.pipeline import PREDICT_FRAMES, CinePipeline
from vjepa_core.fewshot.suggest import Suggestion
from vjepa_core.letterbox import Letterbox
from vjepa_core.service.messages import OpenCine, SetLabels


class CineState:
    """A cine that is open in the engine.

    Parameters
    ----------
    request : OpenCine
        Request that opened the cine.
    frames : uint8 array (T, 224, 224)
        Letterboxed frames, which are copied.
    positions : BoundedCache, optional
        Cache of carried positions, shared between cines.

    Attributes
    ----------
    pipeline : CinePipeline
        Preparation, labels and predictions of the cine.
    revision : int
        Revision of the labels.
    visible_frame : int
        Visible frame, around which frames are predicted first.
    is_fitted : bool
        True if the current head was fitted to these labels.
    has_masks : bool
        True if the program has the masks predicted by the current head.
    has_failed : bool
        True if a job failed on this cine, which is then excluded until new labels or `Resume`.
    had_labels : bool
        True if all labels of the cine were removed.
    predicted_by : Head or None
        Head of the newest final masks.
    recognised_by : tuple or None
        The fitted head of the last decision, and True if it applies to the cine.
    embedding : array or None
        Result of `vjepa_core.fewshot.applicability.cine_embedding`; None until it is needed.
    waiting : set of int
        Frames to predict.
    shows_fit : bool
        True if masks from labels of this cine, carried or predicted, were reported.
    """

    def __init__(
        self, request: OpenCine, frames: NDArray[np.uint8], positions: BoundedCache | None = None
    ) -> None:
        self.cine_id = request.cine_id
        self.revision = 0
        self.visible_frame = 0
        self.is_fitted = False
        self.has_masks = False
        self.has_failed = False
        self.had_labels = False
        self.predicted_by: Head | None = None
        self.recognised_by: tuple[Head, bool] | None = None
        self.embedding: NDArray[np.float32] | None = None
        self.waiting: set[int] = set()
        self.shows_fit = False
        self._previewed: set[int] = set()  # by the fit in progress
        copied = np.array(frames)
        box = Letterbox.for_image(
            request.region_height,
            request.region_width,
            size=copied.shape[1],
            pixel_aspect=request.pixel_aspect,
        )
        self.pipeline = CinePipeline(
            copied,
            box,
            request.classes,
            fps=request.fps,
            cine_id=request.cine_id,
            left_heart=request.left_heart,
            damaged=request.damaged,
            positions=positions,
        )
        self._masks = request.masks.open(writable=True)
        self._doubts = None if request.doubts is None else request.doubts.open(writable=True)

    @property
    def n_frames(self) -> int:
        """Number of frames."""
        return self.pipeline.n_frames

    @property
    def classes(self) -> tuple[int, ...]:
        """Label values of the structures."""
        return self.pipeline.classes

    @property
    def left_heart(self) -> bool:
        """True if the classes are those of the starter head."""
        return self.pipeline.left_heart

    @property
    def is_labelled(self) -> bool:
        """True if a frame is annotated."""
        return bool(self.pipeline.labels)

    @property
    def is_prepared(self) -> bool:
        """True once motion and features are computed."""
        return self.pipeline.is_prepared

    @property
    def is_unlabelled_example(self) -> bool:
        """True if a fit to other cines may use this one without labels.

        False after its labels were removed, because the predictions as targets would depend on these labels.
        """
        return self.is_prepared and not self.is_labelled and not self.had_labels

    def set_labels(self, request: SetLabels, pixels: NDArray[np.uint8] | None) -> None:
        """Replace all labels by those of a new revision."""
        self.revision, self.recognised_by = request.revision, None
        images = pixels if pixels is not None else ()
        stated = None
        if request.stated is not None:
            stated = dict(zip(request.frames, request.stated, strict=True))
        self.pipeline.set_labels(
            {frame: np.array(image) for frame, image in zip(request.frames, images, strict=True)}, stated
        )
        self.is_fitted = self.has_masks = request.is_fitted
        self.has_failed = False
        self._previewed.clear()
        self.shows_fit = self.shows_fit and self.is_labelled
        if request.is_fitted:
            self.waiting.clear()

    def prepare(
        self,
        encoder: LoadedEncoder,
        cache: FeatureCache,
        *,
        on_progress: Callable[[str, int, int], None],
        should_stop: Callable[[], bool],
    ) -> None:
        """Compute motion and features, outward from the visible frame."""
        self.pipeline.prepare(
            *encoder,
            cache=cache,
            visible=self.visible_frame,
            on_progress=on_progress,
            should_stop=should_stop,
        )
        if not self.has_masks:
            self.predict_all()

    def predict_all(self) -> None:
        """Request predictions of all frames."""
        self.waiting = set(range(self.n_frames))
        self.pipeline.invalidate()

    def next_frames(self) -> list[int]:
        """Return the next frames to predict, nearest to the visible one."""
        return self._nearest(self.waiting)

    def next_preview_frames(self) -> list[int]:
        """Return the visible frame and the nearest frames without a preview, until every frame had one."""
        waiting = set(range(self.n_frames)) - self._previewed - {self.visible_frame}
        if not waiting:
            self._previewed.clear()
        frames = [self.visible_frame, *self._nearest(waiting)[: PREDICT_FRAMES - 1]]
        self._previewed.update(frames)
        return frames

    def _nearest(self, frames: set[int]) -> list[int]:
        return sorted(frames, key=lambda f: (abs(f - self.visible_frame), f))[:PREDICT_FRAMES]

    def predict(self, head: Head, frames: list[int]) -> dict[int, float]:
        """Write the masks of these frames; return the expected Dice by frame, see `PredictedFrames`."""
        predicted = self.pipeline.predict(head, frames, fill_classes=True)
        self.waiting.difference_update(frames)
        return self._write(predicted)

    def carry_labels(self) -> Iterator[dict[int, float]]:
        """Write carried labels, a few frames at a time from the visible frame; yield the expected Dice."""
        frames = sorted(range(self.n_frames), key=lambda f: abs(f - self.visible_frame))
        for start in range(0, len(frames), PREDICT_FRAMES):
            yield self._write(self.pipeline.carry(frames[start : start + PREDICT_FRAMES]))

    def structure_dice(self, frame: int) -> dict[int, float]:
        """Return the Dice of each predicted structure expected from the softmax, by label value."""
        return self.pipeline.assessment.structure_dice(frame)

    def findings(self, frame: int) -> tuple[Finding, ...]:
        """Return the reasons to distrust the prediction of a frame."""
        return self.pipeline.assessment.findings(frame)

    def suggestion(self) -> Suggestion:
        """Return the frame to outline next."""
        return self.pipeline.assessment.suggestion()

    def _write(self, predicted: PredictedFrames) -> dict[int, float]:
        self.shows_fit = True
        self._masks[predicted.frames] = predicted.masks
        if self._doubts is not None:
            self._doubts[predicted.frames] = (255 * predicted.doubt).round().byte().numpy()
        return predicted.expected_dice

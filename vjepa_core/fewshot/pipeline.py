"""Segmentation of one cine, from frames and labels to masks.

The engine process, `apical segment` and the benchmarks prepare and predict through `CinePipeline`; the engine
steps `Fit` itself.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from vjepa_core.encoder.catalogue import EncoderCard
from vjepa_core.encoder.precision import inference_device
from vjepa_core.encoder.vit import VisionTransformer3D
from vjepa_core.fewshot.assessment import Assessment, PredictedFrames, label_image
from vjepa_core.fewshot.bounded_cache import BoundedCache
from vjepa_core.fewshot.confidence import ErrorEstimate, estimate_errors, estimate_partial_draft_errors
from vjepa_core.fewshot.draft import Draft, blend_with_draft, fill_from_draft, predict_with_draft
from vjepa_core.fewshot.enclosed_atrium import relabel_enclosed_atrium
from vjepa_core.fewshot.feature_cache import FeatureCache, cached_features
from vjepa_core.fewshot.features import PartialFeatures
from vjepa_core.fewshot.fit import FitConfig
from vjepa_core.fewshot.fit_head import FittedHead, fit_head
from vjepa_core.fewshot.head import GRID_SIZE, Head
from vjepa_core.fewshot.motion import Motion
from vjepa_core.fewshot.prepared_cine import FrameLabel, PreparedCine, frame_label
from vjepa_core.fewshot.scribbles import complete_labels, is_open
from vjepa_core.fewshot.starter import Starter, new_head
from vjepa_core.letterbox import Letterbox

Progress = Callable[[str, int, int], None]
"""Called with (stage, done, total); the stages are "motion", "features", "fit" and "predict"."""

PREDICT_FRAMES = 4
"""Frames predicted at a time."""


def ignore_progress(stage: str, done: int, total: int) -> None:
    """Ignore a progress report."""


def never() -> bool:
    """Return False; default of `should_stop`."""
    return False


class CinePipeline:
    """Prepares one cine, fits a head to its labels and predicts masks.

    Parameters
    ----------
    frames : array
        (T, size, size) uint8, letterboxed; T >= 1.
    box : Letterbox
        Letterbox of the ultrasound region.
    classes : tuple of int
        Label values of the structures, 1..254, in the order of a head's outputs after background.
    fps : float
        Frame rate, Hz; 0 if unknown.
    cine_id : int
        Identifier chosen by the caller.
    left_heart : bool
        True if the classes are those of the starter head.
    damaged : collection of int
        Frames that could not be decoded; `frames` repeats a neighbour there. Their labels are ignored, their
        masks are empty with an expected Dice of 0, and they are never suggested.
    positions : BoundedCache, optional
        Cache of carried positions, which several cines may share.

    Attributes
    ----------
    cine : PreparedCine or None
        None until the motion is computed.
    labels : dict
        Label of each annotated frame, as given.
    draft : Draft or None
        Predictions of the starter head, if it applies to this cine.
    starter_applies : bool or None
        None until `check_starter`.
    """

    def __init__(
        self,
        frames: NDArray[np.uint8],
        box: Letterbox,
        classes: tuple[int, ...],
        *,
        fps: float,
        cine_id: int = 0,
        left_heart: bool = False,
        damaged: Collection[int] = (),
        positions: BoundedCache | None = None,
    ) -> None:
        self.classes, self.left_heart = classes, left_heart
        self.cine: PreparedCine | None = None
        self.labels: dict[int, FrameLabel] = {}
        self.draft: Draft | None = None
        self.starter_applies: bool | None = None
        self._frames, self._box, self._fps, self._cine_id = frames, box, fps, cine_id
        self._damaged = frozenset(damaged)
        self._positions = positions
        self._partial = PartialFeatures()
        self._has_open_labels = False
        self._assessment: Assessment | None = None

    @classmethod
    def of_region(
        cls,
        frames: NDArray[np.uint8],
        classes: tuple[int, ...],
        *,
        fps: float,
        pixel_aspect: float = 1.0,
        cine_id: int = 0,
        left_heart: bool = False,
        damaged: Collection[int] = (),
    ) -> CinePipeline:
        """Create the pipeline of frames (T, h, w) uint8 of the ultrasound region, which are letterboxed."""
        box = Letterbox.for_image(*frames.shape[1:], pixel_aspect=pixel_aspect)
        boxed = box.apply(frames)
        return cls(boxed, box, classes, fps=fps, cine_id=cine_id, left_heart=left_heart, damaged=damaged)

    # Preparation

    @property
    def n_frames(self) -> int:
        """Number of frames."""
        return len(self._frames)

    @property
    def is_prepared(self) -> bool:
        """True once motion and features are computed."""
        return self.cine is not None and self.cine.features is not None

    @property
    def prepared(self) -> PreparedCine:
        """The cine with its motion; raises ValueError before `prepare_motion`."""
        if self.cine is None:
            raise ValueError("the cine has not been prepared")
        return self.cine

    @property
    def assessment(self) -> Assessment:
        """Expected Dice, findings and suggestion; raises ValueError before `prepare_motion`."""
        if self._assessment is None:
            raise ValueError("the cine has not been prepared")
        return self._assessment

    def prepare(
        self,
        encoder: VisionTransformer3D,
        card: EncoderCard,
        *,
        cache: FeatureCache | None = None,
        visible: int | None = None,
        on_progress: Progress = ignore_progress,
        should_stop: Callable[[], bool] = never,
    ) -> None:
        """Compute motion, then features.

        Motion is fast, and labels can be carried along it while the encoder works. After `Cancelled`, a
        second call resumes with the clips that are still missing.

        Parameters
        ----------
        encoder, card
            Result of `vjepa_core.encoder.loaded.resolve_encoder`.
        cache : FeatureCache, optional
            Cache of features on disk.
        visible : int, optional
            Features are computed outward from this frame.
        on_progress : callable
            Called with (stage, done, total).
        should_stop : callable
            Called between pairs of frames and between clips.

        Raises
        ------
        Cancelled
            If `should_stop` returned True.
        """
        self.prepare_motion(on_progress=on_progress, should_stop=should_stop)
        self.prepare_features(
            encoder, card, cache=cache, visible=visible, on_progress=on_progress, should_stop=should_stop
        )

    def prepare_motion(
        self, *, on_progress: Progress = ignore_progress, should_stop: Callable[[], bool] = never
    ) -> None:
        """Compute the motion unless it was already computed; see `prepare` for the parameters."""
        if self.cine is None:
            motion = Motion(
                self._frames,
                grid_size=GRID_SIZE,
                cache=self._positions,
                on_progress=lambda done, total: on_progress("motion", done, total),
                should_stop=should_stop,
            )
            self.cine = PreparedCine(self._cine_id, self._box, self._frames, None, motion, self.labels)
            self._assessment = Assessment(
                self.cine, self.classes, fps=self._fps, left_heart=self.left_heart, damaged=self._damaged
            )

    def prepare_features(
        self,
        encoder: VisionTransformer3D,
        card: EncoderCard,
        *,
        cache: FeatureCache | None = None,
        visible: int | None = None,
        on_progress: Progress = ignore_progress,
        should_stop: Callable[[], bool] = never,
    ) -> None:
        """Compute the features and replace those of another encoder; see `prepare` for the parameters."""
        self.prepared.features = cached_features(
            self._frames,
            encoder,
            card,
            fps=self._fps,
            cache=cache,
            order_from=visible,
            partial=self._partial,
            on_progress=lambda done, total: on_progress("features", done, total),
            should_stop=should_stop,
        )
        self._partial = PartialFeatures()

    # Labels

    def set_labels(
        self,
        images: Mapping[int, NDArray[np.uint8]],
        stated: Mapping[int, Collection[int]] | None = None,
    ) -> None:
        """Replace all labels.

        Parameters
        ----------
        images : mapping
            Frame number to label image (height, width) uint8 of the region.
        stated : mapping, optional
            Label values annotated on each frame, see `frame_label`.
        """
        self.labels = {
            frame: frame_label(image, self._box, self.classes, None if stated is None else stated[frame])
            for frame, image in images.items()
            if frame not in self._damaged
        }
        self._has_open_labels = any(map(is_open, self.labels.values()))
        if self.cine is not None:
            self.cine.labels = self.labels
            self.assessment.labels_changed()

    @property
    def has_open_labels(self) -> bool:
        """True if a label has unlabelled pixels that have not been completed."""
        return self._has_open_labels

    @property
    def can_carry(self) -> bool:
        """True if the motion is known and a structure is outlined."""
        return self.cine is not None and any(label.outlined[1:].any() for label in self.labels.values())

    def complete_labels(self) -> None:
        """Estimate labels of low weight for unlabelled pixels, from the draft if available."""
        if self._has_open_labels:
            head = None if self.draft is None else self.draft.head
            self.prepared.labels = complete_labels(self.prepared, head)
            self._has_open_labels = False

    # Heads

    def check_starter(self, starter: Starter) -> bool:
        """Return True if the starter head applies, which is decided once and without labels.

        Parameters
        ----------
        starter : Starter
            Its head is on the inference device and predicts the classes of this pipeline.
        """
        if self.starter_applies is None:
            cine = self.prepared
            self.starter_applies = starter.applies(replace(cine, labels={}))
            self.draft = Draft(starter.head, cine) if self.starter_applies else None
        return self.starter_applies

    def fit(
        self,
        card: EncoderCard,
        config: FitConfig,
        starter: Starter | None = None,
        *,
        ends_at: float = math.inf,
        on_step: Callable[[int, int], None] = lambda _done, _total: None,
        should_stop: Callable[[], bool] = never,
    ) -> FittedHead:
        """Fit a head to the labels, as the engine does for the first annotation of a project.

        Parameters
        ----------
        card : EncoderCard
            Encoder of the features.
        starter : Starter, optional
            The fit starts from a copy of its head, and its draft completes the prediction where it applies.
            Without it, the fit starts from a new head.
        config, ends_at, on_step, should_stop
            See `vjepa_core.fewshot.fit_head.fit_head`.
        """
        if starter is None:
            head = new_head(card, self.classes, seed=config.seed)
        else:
            head = copy.deepcopy(starter.head)
            self.check_starter(replace(starter, head=copy.deepcopy(head).to(inference_device())))
        self.complete_labels()
        return fit_head(
            head, self.prepared, config, ends_at=ends_at, on_step=on_step, should_stop=should_stop
        )

    # Prediction

    def invalidate(self) -> None:
        """Mark all predictions as outdated, see `Assessment.invalidate`."""
        if self._assessment is not None:
            self._assessment.invalidate()

    def probabilities(self, head: Head, frames: Sequence[int]) -> Tensor:
        """Return probabilities (B, K, grid, grid) of a head, blended with the draft if there is one."""
        probabilities = predict_with_draft(head, self.prepared, frames, self.draft)
        return relabel_enclosed_atrium(probabilities) if self.left_heart else probabilities

    def predict(self, head: Head, frames: list[int], *, fill_classes: bool = False) -> PredictedFrames:
        """Predict frames.

        Parameters
        ----------
        head : Head
        frames : list of int
        fill_classes : bool
            Use the draft for structures that are not outlined on this cine or that the head was not fitted
            to.
        """
        probabilities = self.probabilities(head, frames)
        known = head.active.cpu()
        if self.prepared.labels:
            known = known & self.prepared.outlined_classes
        if not fill_classes or self.draft is None or head is self.draft.head or known.all():
            return self._finish(frames, probabilities, estimate_errors(self.prepared, frames, probabilities))
        drafted = self.draft(frames)
        probabilities = fill_from_draft(probabilities, drafted, known)
        errors = estimate_partial_draft_errors(self.prepared, frames, probabilities, drafted, known)
        return self._finish(frames, probabilities, errors)

    def carry(self, frames: list[int]) -> PredictedFrames:
        """Predict frames from the labels and the motion alone, without a head."""
        probabilities = self.prepared.prior(frames, 1 + len(self.classes))
        if self.draft is not None and self.draft.has(frames):
            probabilities = blend_with_draft(probabilities, self.prepared, frames, self.draft)
        return self._finish(
            frames, probabilities, estimate_errors(self.prepared, frames, probabilities, carried=True)
        )

    def _finish(self, frames: list[int], probabilities: Tensor, errors: ErrorEstimate) -> PredictedFrames:
        inside = self.prepared.inside
        masks = np.stack([label_image(maps, self._box, self.classes, inside) for maps in probabilities])
        doubt = errors.doubt
        damaged = [frame in self._damaged for frame in frames]
        masks[damaged], doubt[damaged] = 0, 0
        expected = self.assessment.update(frames, probabilities, errors.dice)
        return PredictedFrames(frames, probabilities, masks, doubt, expected)


def prepare_cine(
    cine_id: int,
    frames: NDArray[np.uint8],
    encoder: VisionTransformer3D,
    card: EncoderCard,
    *,
    fps: float,
    pixel_aspect: float = 1.0,
    cache: FeatureCache | None = None,
    on_progress: Progress = ignore_progress,
    should_stop: Callable[[], bool] = never,
) -> PreparedCine:
    """Compute motion and features of frames (T, h, w) uint8 of a region; see `CinePipeline.prepare`."""
    pipeline = CinePipeline.of_region(frames, (), fps=fps, pixel_aspect=pixel_aspect, cine_id=cine_id)
    pipeline.prepare(encoder, card, cache=cache, on_progress=on_progress, should_stop=should_stop)
    return pipeline.prepared

"""One cine inside the engine: its pixels, what was drawn on it, and which frames still want a prediction."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from vjepa_core.encoder.catalogue import EncoderCard
from vjepa_core.encoder.vit import VisionTransformer3D
from vjepa_core.fewshot.bounded_cache import BoundedCache
from vjepa_core.fewshot.confidence import Trust, trust
from vjepa_core.fewshot.draft import Draft, answer, blended, with_unlearnt
from vjepa_core.fewshot.feature_cache import FeatureCache, cached_features
from vjepa_core.fewshot.features import Unfinished
from vjepa_core.fewshot.findings import Finding, Review, allowed_pieces, capped
from vjepa_core.fewshot.head import GRID_SIZE, Head
from vjepa_core.fewshot.motion import Motion
from vjepa_core.fewshot.prepared_cine import FrameLabel, PreparedCine, frame_label
from vjepa_core.fewshot.scribbles import completed, is_open
from vjepa_core.fewshot.segmenter import label_image
from vjepa_core.fewshot.suggest import Suggestion, likeness, moments, next_frame
from vjepa_core.preprocessing import Letterbox
from vjepa_core.service.messages import OpenCine, SetLabels

PREDICT_FRAMES = 4

USUAL_DOUBT = 0.05
"""1 - Dice of a frame that was predicted from labels of its cine, where nobody knows better."""


class CineWork:
    """A cine that the engine knows, from `OpenCine` on.

    Parameters
    ----------
    request : OpenCine
    frames : uint8 array (T, 224, 224)
        Copied.
    positions : BoundedCache, optional
        Where the motion keeps what it has computed; cines may share one.
    """

    def __init__(
        self, request: OpenCine, frames: NDArray[np.uint8], positions: BoundedCache | None = None
    ) -> None:
        self.cine_id = request.cine_id
        self.revision = 0
        self.visible = 0
        self.learnt = False  # the present head was fitted to the labels
        self.masks_hold = False  # and it predicted the masks that the window had when the cine was opened
        self.failed = False  # work on it raised an error: it is left out until told otherwise
        self.labels: dict[int, FrameLabel] = {}
        self.withdrawn = False  # it had labels, and has none any more
        self.classes = request.classes
        self.left_heart = request.left_heart
        self.drawn_by: Head | None = None  # the head of the newest final masks
        self.drafts: bool | None = None  # whether the starter head applies; None until it was asked
        self.draft: Draft | None = None  # where it does
        self.known_by: tuple[Head, bool] | None = None  # whether a fitted head knows it
        self.seen: NDArray[np.float32] | None = None  # its embedding, see `applicability.embedding`
        self.to_predict: set[int] = set()
        self.previewed: set[int] = set()  # by the fit under way
        self.shown = False  # the user has seen masks learnt from the present labels or earlier ones
        self.study: PreparedCine | None = None
        self._sure: dict[int, float] = {}
        self._uncapped: dict[int, float] = {}  # the same, whatever is implausible about the frame
        self._review: Review | None = None
        self._since: set[int] = set()  # frames written since all of them were last asked for
        self._alike: NDArray[np.float32] | None = None
        self._suggestion: Suggestion | None = None  # until labels or confidences change
        self._positions = positions
        self._unfinished = Unfinished()
        self._fps = request.fps
        self._frames = np.array(frames)
        self._box = Letterbox.fit(
            request.region_height,
            request.region_width,
            size=self._frames.shape[1],
            pixel_aspect=request.pixel_aspect,
        )
        self._masks = request.masks.open(writable=True)
        self._doubts = None if request.doubts is None else request.doubts.open(writable=True)

    @property
    def n_frames(self) -> int:
        return len(self._frames)

    @property
    def prepared(self) -> bool:
        """Motion and features are there."""
        return self.study is not None and self.study.features is not None

    @property
    def may_teach(self) -> bool:
        """Nobody outlined it: a fit to other cines may learn from what the head sees here.

        Not where labels were taken back: the head would be taught what it had learnt of them.
        """
        return self.prepared and not self.labels and not self.withdrawn

    @property
    def can_carry(self) -> bool:
        """The motion is there, and labels to carry along it."""
        return self.study is not None and any(label.outlined[1:].any() for label in self.labels.values())

    def set_labels(self, request: SetLabels, pixels: NDArray[np.uint8] | None) -> None:
        """Take over all labels of a revision."""
        self.revision, self.known_by = request.revision, None
        images = pixels if pixels is not None else ()
        stated = request.stated or [None] * len(images)
        self.labels = {
            frame: frame_label(np.array(image), self._box, self.classes, values)
            for frame, image, values in zip(request.frames, images, stated, strict=True)
        }
        self.learnt = self.masks_hold = request.learnt
        self.failed, self._suggestion = False, None
        self.previewed.clear()
        self.shown = self.shown and bool(self.labels)
        self._since.clear()
        if not self.labels:
            self._sure.clear()
        if self.study is not None:
            self.study.labels = self.labels
        if request.learnt:
            self.to_predict.clear()

    def prepare(
        self,
        encoder: VisionTransformer3D,
        card: EncoderCard,
        cache: FeatureCache,
        *,
        on_progress: Callable[[str, int, int], None],
        should_stop: Callable[[], bool],
    ) -> None:
        """Motion first: it is quick, and labels can be carried while the encoder is at work.

        Features that were stopped go on from the clips that are done.
        """
        if self.study is None:
            motion = Motion(
                self._frames,
                grid_size=GRID_SIZE,
                kept=self._positions,
                on_progress=lambda done, total: on_progress("motion", done, total),
                should_stop=should_stop,
            )
            self.study = PreparedCine(self.cine_id, self._box, self._frames, None, motion, self.labels)
        self.study.features = cached_features(
            self._frames,
            encoder,
            card,
            fps=self._fps,
            cache=cache,
            order_from=self.visible,
            unfinished=self._unfinished,
            on_progress=lambda done, total: on_progress("features", done, total),
            should_stop=should_stop,
        )
        self._unfinished = Unfinished()
        if not self.masks_hold:
            self.predict_all()

    @property
    def has_open_labels(self) -> bool:
        """Some pixels of labels say nothing: they are scribbles."""
        return self.study is not None and any(map(is_open, self.study.labels.values()))

    def complete_labels(self, teacher: Head | None) -> None:
        """Let pixels that nobody labelled carry a guess, by a head that draws these classes or by none."""
        if self.study is not None and self.study.labels:
            self.study.labels = completed(self.study, teacher)

    def predict_all(self) -> None:
        """Every frame wants a prediction."""
        self.to_predict = set(range(self.n_frames))
        self._since.clear()

    def next_to_predict(self) -> list[int]:
        """The frames nearest to the visible one that still want a prediction."""
        return self._nearest(self.to_predict)

    def next_to_preview(self) -> list[int]:
        """The visible frame, and the nearest ones that have waited longest, so that all get their turn."""
        waiting = set(range(self.n_frames)) - self.previewed - {self.visible}
        if not waiting:
            self.previewed.clear()
        frames = [self.visible, *self._nearest(waiting)[: PREDICT_FRAMES - 1]]
        self.previewed.update(frames)
        return frames

    def _nearest(self, frames: set[int]) -> list[int]:
        return sorted(frames, key=lambda f: (abs(f - self.visible), f))[:PREDICT_FRAMES]

    def predict(self, head: Head, frames: list[int]) -> dict[int, float]:
        """Write the head's masks of these frames; returns their expected Dice by frame."""
        assert self.study is not None  # noqa: S101 - only prepared cines are predicted
        probabilities = answer(head, self.study, frames, self.draft)
        probabilities = self._with_draft(head, frames, probabilities)
        self.to_predict.difference_update(frames)
        return self._write(frames, probabilities, trust(self.study, frames, probabilities))

    def _with_draft(self, head: Head, frames: list[int], probabilities: torch.Tensor) -> torch.Tensor:
        """Let the draft draw what was not outlined on this cine, whatever the head learnt from others.

        Where some structures of a cine are carried along its motion, a head takes the rest for background.
        """
        if self.draft is None or head is self.draft.head or self.study is None:
            return probabilities
        learnt = head.active.cpu()
        if self.study.labels:
            learnt = learnt & self.study.outlined_classes
        return probabilities if learnt.all() else with_unlearnt(probabilities, self.draft(frames), learnt)

    def carry_labels(self) -> Iterator[dict[int, float]]:
        """Write labels as motion alone carries them, a few frames at a time: a first answer, at once."""
        assert self.study is not None  # noqa: S101 - asked for only once the motion is known
        frames = sorted(range(self.n_frames), key=lambda f: abs(f - self.visible))
        for start in range(0, len(frames), PREDICT_FRAMES):
            chosen = frames[start : start + PREDICT_FRAMES]
            probabilities = self.study.prior(chosen, 1 + len(self.classes))
            if self.draft is not None and self.draft.knows(chosen):
                probabilities = blended(probabilities, self.study, chosen, self.draft)
            yield self._write(chosen, probabilities, trust(self.study, chosen, probabilities, carried=True))

    def suggestion(self) -> Suggestion:
        """The frame to outline next, by the newest confidence of every frame."""
        assert self.study is not None  # noqa: S101 - only prepared cines are asked
        assert self.study.features is not None  # noqa: S101 - the same
        if self._alike is None:
            self._alike = likeness(moments(self.study.features, self.n_frames))
        if self._suggestion is None:
            unknown = 1.0 - USUAL_DOUBT if self.labels else 0.0
            doubt = [1.0 - self._sure.get(frame, unknown) for frame in range(self.n_frames)]
            self._suggestion = next_frame(self._alike, doubt, self.labels)
        return self._suggestion

    def findings(self, frame: int) -> tuple[Finding, ...]:
        """What is implausible about the prediction of a frame; nothing where a human drew on it."""
        return () if self._review is None or frame in self.labels else self._review.of(frame)

    def _write(self, frames: list[int], probabilities: torch.Tensor, found: Trust) -> dict[int, float]:
        """Write masks; returns the expected Dice of these frames and of neighbours whose findings change."""
        assert self.study is not None  # noqa: S101 - only prepared cines are drawn
        self.shown, self._suggestion = True, None
        inside = self.study.inside
        for frame, maps, wrong in zip(frames, probabilities, found.wrong, strict=True):
            self._masks[frame] = label_image(maps, self._box, self.classes, inside)
            if self._doubts is not None:
                self._doubts[frame] = (255 * wrong).round().byte().numpy()
        self._uncapped.update(zip(frames, found.dice.tolist(), strict=True))
        if self._review is None:
            self._review = Review(self.study.sector, fps=self._fps, left_heart=self.left_heart)
        # Without labels nobody has shown what structures other than the left heart's look like.
        known = bool(self.labels) or self.left_heart
        allowed = allowed_pieces(self.labels.values(), self.classes) if known else None
        values = np.array([0, *self.classes], np.uint8)
        drawn = values[probabilities.max(1).indices.numpy()]
        self._since.update(frames)
        changed = self._review.take(frames, drawn, allowed) & self._since
        told = {
            f: capped(self._uncapped[f], self.findings(f)) for f in (*frames, *sorted(changed - set(frames)))
        }
        self._sure.update(told)
        return told

"""The whole way from frames and a few labels to a mask for every frame, and its steps one by one."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vjepa_core.encoder import catalogue
from vjepa_core.encoder.architecture import Architecture
from vjepa_core.encoder.catalogue import DEFAULT_ENCODER, EncoderCard
from vjepa_core.encoder.load import load_card
from vjepa_core.encoder.precision import inference_device, inference_dtype
from vjepa_core.encoder.vit import VisionTransformer3D
from vjepa_core.errors import Cancelled, CoreError
from vjepa_core.fewshot.confidence import confidence
from vjepa_core.fewshot.draft import Draft, answer
from vjepa_core.fewshot.feature_cache import FeatureCache, cached_features
from vjepa_core.fewshot.findings import Finding, Review, allowed_pieces, capped
from vjepa_core.fewshot.fit import Fit, FitConfig
from vjepa_core.fewshot.head import GRID_SIZE, Head, HeadConfig
from vjepa_core.fewshot.motion import Motion
from vjepa_core.fewshot.prepared_cine import PreparedCine, frame_label
from vjepa_core.fewshot.scribbles import completed
from vjepa_core.fewshot.starter import LEFT_HEART, Starter
from vjepa_core.preprocessing import Letterbox

Progress = Callable[[str, int, int], None]
"""Told (stage, done, total); stages are "features", "motion", "fit" and "predict"."""

Watch = Callable[[PreparedCine, list[int], Tensor], None]
"""Told (cine with its labels, frames, their probabilities) of every group of predicted frames."""

LoadedEncoder = tuple[VisionTransformer3D, EncoderCard]
PREDICT_FRAMES = 4


def _no_progress(stage: str, done: int, total: int) -> None:
    """Nobody wants to know."""


def _never() -> bool:
    return False


@dataclass(frozen=True, eq=False)
class Segmentation:
    """Masks of a cine and how they came about.

    Attributes
    ----------
    masks : array
        (T, h, w) uint8 label values.
    confidence : array
        (T,) float32 in 0..1, the mean Dice to expect: see `vjepa_core.fewshot.confidence.confidence`, capped
        where a frame has findings.
    losses : list of float
        One a step.
    steps : int
        Steps done.
    stopped_by : str
        "steps", or "budget" if time ran out first: such a run is not repeatable.
    seconds : dict
        Wall clock of "features", "motion", "fit" and "predict".
    encoder_name, encoder_checksum, encoder_trained
        From the encoder's card.
    findings : list of tuple of Finding
        What is implausible about each frame; nothing about annotated ones.
    """

    masks: NDArray[np.uint8]
    confidence: NDArray[np.float32]
    losses: list[float]
    steps: int
    stopped_by: str
    seconds: dict[str, float]
    encoder_name: str
    encoder_checksum: str
    encoder_trained: bool
    findings: list[tuple[Finding, ...]] = field(default_factory=list)


def prepare_cine(
    cine_id: int,
    frames: NDArray[np.uint8],
    encoder: VisionTransformer3D,
    card: EncoderCard,
    *,
    fps: float,
    pixel_aspect: float = 1.0,
    cache: FeatureCache | None = None,
    on_progress: Progress = _no_progress,
    should_stop: Callable[[], bool] = _never,
) -> PreparedCine:
    """Everything about a cine that does not depend on what is drawn on it.

    Parameters
    ----------
    cine_id : int
        Name of the cine for the caller.
    frames : array
        (T, h, w) uint8, the ultrasound region alone; T >= 1.
    encoder, card
        As `load_encoder` gives them.
    fps : float
        Frame rate of the cine, Hz; 0 if unknown.
    pixel_aspect : float
        Height of a pixel divided by its width.
    cache : FeatureCache, optional
        Where features are looked up and left.

    Raises
    ------
    Cancelled
        If `should_stop` said yes.
    """
    box = Letterbox.fit(*frames.shape[1:], pixel_aspect=pixel_aspect)
    boxed = box.apply(frames)

    features = cached_features(
        boxed,
        encoder,
        card,
        fps=fps,
        cache=cache,
        on_progress=lambda done, total: on_progress("features", done, total),
        should_stop=should_stop,
    )
    motion = Motion(
        boxed,
        grid_size=GRID_SIZE,
        on_progress=lambda done, total: on_progress("motion", done, total),
        should_stop=should_stop,
    )
    return PreparedCine(cine_id, box, boxed, features, motion)


def new_head(card: EncoderCard, classes: tuple[int, ...], *, seed: int = 0) -> Head:
    """An untrained head for this encoder's features; it answers with the carried label.

    Parameters
    ----------
    classes : tuple of int
        Label values, 1..254, in the order of the head's outputs after background.
    """
    feature_dim = Architecture.parse(card.architecture).embed_dim
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Head(HeadConfig(classes, card.name, card.checksum, feature_dim, len(card.depths)))


def label_image(
    probabilities: Tensor,
    box: Letterbox,
    classes: tuple[int, ...],
    inside: NDArray[np.bool_] | None = None,
) -> NDArray[np.uint8]:
    """Label values on the region's own pixels; 0 outside the ultrasound sector.

    Probabilities are interpolated bilinearly before the largest is taken, so borders are finer than the grid.

    Parameters
    ----------
    probabilities : (K, grid, grid) float
        Background and classes.
    inside : (h, w) bool, optional
        The sector, as `PreparedCine.inside` has it; default everywhere.

    Returns
    -------
    (h, w) uint8
    """
    fine = box.invert(probabilities.float().numpy())
    drawn = np.array([0, *classes], np.uint8)[fine.argmax(0)]
    if inside is not None:
        drawn[~inside] = 0
    return drawn


def segment(
    frames: NDArray[np.uint8],
    labels: Mapping[int, NDArray[np.uint8]],
    classes: tuple[int, ...],
    *,
    fps: float,
    pixel_aspect: float = 1.0,
    encoder: str | EncoderCard | LoadedEncoder | None = None,
    start: Starter | None = None,
    cache: FeatureCache | None = None,
    seed: int = 0,
    budget_s: float | None = None,
    config: FitConfig | None = None,
    on_progress: Progress | None = None,
    watch: Watch | None = None,
    should_stop: Callable[[], bool] = _never,
) -> Segmentation:
    """Fit a head to a few labelled frames of a cine and draw all the others.

    Parameters
    ----------
    frames : array
        (T, h, w) uint8, the ultrasound region alone.
    labels : mapping
        Frame number to label image (h, w) uint8: 0 is background, 255 not labelled.
    classes : tuple of int
        Label values to learn.
    fps : float
        Frame rate, Hz; 0 if unknown.
    pixel_aspect : float
        Height of a pixel divided by its width.
    encoder : str, EncoderCard or (module, card), optional
        Name of one that ships, a card, or an encoder in memory; default the one that ships.
    start : Starter, optional
        The fit starts from a copy of its head, which also guesses at what scribbles leave open, where it
        applies; default a new head. It must read this encoder's features and draw these classes, as
        `vjepa_core.fewshot.starter.load_starter` of the encoder's card makes sure.
    seed : int
        The same seed gives the same masks on the same machine.
    budget_s : float, optional
        The fit is cut when this many seconds have passed since the call; at least one step is done.
    config : FitConfig, optional
        Length and strength of the fit; `seed` overrides its own.
    on_progress : callable, optional
        Told (stage, done, total).
    watch : callable, optional
        Told (cine, frames, probabilities) of every group of frames, for whoever measures.
    should_stop : callable
        Asked between clips, flows, steps and groups of frames.

    Raises
    ------
    CoreError
        For frames or labels that do not fit.
    Cancelled
        If `should_stop` said yes.
    """
    started = time.monotonic()
    report = on_progress or _no_progress
    _check(frames, labels, classes)
    seconds: dict[str, float] = {}
    module, card = loaded_encoder(DEFAULT_ENCODER if encoder is None else encoder)
    _check_start(start, card, classes)
    reached: list[float] = []

    def prepared(stage: str, done: int, total: int) -> None:
        if stage == "motion" and not reached:
            reached.append(time.monotonic())
        report(stage, done, total)

    cine = prepare_cine(
        0,
        frames,
        module,
        card,
        fps=fps,
        pixel_aspect=pixel_aspect,
        cache=cache,
        on_progress=prepared,
        should_stop=should_stop,
    )
    now = time.monotonic()
    halfway = reached[0] if reached else now
    seconds["features"], seconds["motion"] = halfway - started, now - halfway
    cine.labels = {frame: frame_label(label, cine.box, classes) for frame, label in labels.items()}
    fit_started = time.monotonic()
    found = fitted(
        cine,
        card,
        classes,
        replace(config or FitConfig(), seed=seed),
        start=start,
        ends_at=math.inf if budget_s is None else started + budget_s,
        on_step=lambda done, total: report("fit", done, total),
        should_stop=should_stop,
    )
    seconds["fit"] = time.monotonic() - fit_started

    predict_started = time.monotonic()
    masks, inside = np.empty(frames.shape, np.uint8), cine.inside
    trust = np.empty(len(frames), np.float32)
    left_heart = start is not None and classes == LEFT_HEART
    review = Review(cine.sector, fps=fps, left_heart=left_heart)
    allowed = allowed_pieces(cine.labels.values(), classes)
    values = np.array([0, *classes], np.uint8)
    for first in range(0, len(frames), PREDICT_FRAMES):
        if should_stop():
            raise Cancelled
        report("predict", first, len(frames))
        chosen = list(range(first, min(first + PREDICT_FRAMES, len(frames))))
        probabilities = found.predict(cine, chosen)
        trust[chosen] = confidence(cine, chosen, probabilities).numpy()
        review.take(chosen, values[probabilities.max(1).indices.numpy()], allowed)
        if watch is not None:
            watch(cine, chosen, probabilities)
        for frame, maps in zip(chosen, probabilities, strict=True):
            masks[frame] = label_image(maps, cine.box, classes, inside)
    findings = [() if frame in labels else review.of(frame) for frame in range(len(frames))]
    trust = np.array(
        [capped(float(dice), reasons) for dice, reasons in zip(trust, findings, strict=True)], np.float32
    )
    report("predict", len(frames), len(frames))
    seconds["predict"] = time.monotonic() - predict_started
    return Segmentation(
        masks,
        trust,
        found.losses,
        len(found.losses),
        "steps" if found.whole else "budget",
        seconds,
        card.name,
        card.checksum,
        card.trained,
        findings,
    )


@dataclass(frozen=True, eq=False)
class Fitted:
    """A head to predict with, the loss of every step, and whether no step was cut off.

    Attributes
    ----------
    head : Head
    losses : list of float
    whole : bool
    draft : Draft, optional
        Of the cine that it was fitted to, where the starter head applies to it.
    """

    head: Head
    losses: list[float]
    whole: bool
    draft: Draft | None = None

    def predict(self, cine: PreparedCine, frames: Sequence[int]) -> Tensor:
        """Probabilities of background and classes on frames of this cine, (B, K, grid, grid)."""
        return answer(self.head, cine, frames, self.draft)


def fitted(
    cine: PreparedCine,
    card: EncoderCard,
    classes: tuple[int, ...],
    config: FitConfig,
    *,
    start: Starter | None = None,
    ends_at: float = math.inf,
    on_step: Callable[[int, int], None] = lambda _done, _total: None,
    should_stop: Callable[[], bool] = _never,
) -> Fitted:
    """Fit a head to the labels of one cine as the window does on a first annotation.

    Parameters
    ----------
    cine : PreparedCine
        With its features and labels. What its labels leave open carries a guess from now on.
    card : EncoderCard
        Of the encoder of these features.
    classes : tuple of int
    config : FitConfig
        For up to four labels; more take more steps.
    start : Starter, optional
        See `segment`.
    ends_at : float
        Of `time.monotonic`: the fit is cut then; at least one step is done.
    on_step : callable
        Told (done, total) before the first step and after each.
    should_stop : callable
        Asked before each step.

    Raises
    ------
    Cancelled
        If `should_stop` said yes.
    """
    draft = _draft(cine, start)
    cine.labels = completed(cine, None if draft is None else draft.head)
    head = new_head(card, classes, seed=config.seed) if start is None else copy.deepcopy(start.head)
    losses: list[float] = []
    with torch.random.fork_rng(devices=[]):
        fit = Fit(head.to(inference_device()), [cine], config.for_labels(len(cine.labels)), warm=False)
        on_step(0, fit.total)
        while not fit.done and not (losses and time.monotonic() > ends_at):
            if should_stop():
                raise Cancelled
            losses.append(fit.step())
            on_step(fit.done_steps, fit.total)
    return Fitted(fit.averaged, losses, fit.done, draft)


def loaded_encoder(encoder: str | EncoderCard | LoadedEncoder) -> LoadedEncoder:
    """Encoder and card, from the name of one that ships, from a card, or as given: as fast as can be."""
    if isinstance(encoder, tuple):
        return encoder
    found = catalogue.card(encoder) if isinstance(encoder, str) else encoder
    device = inference_device()
    return load_card(found, device, matrices=inference_dtype(device)), found


def _draft(cine: PreparedCine, start: Starter | None) -> Draft | None:
    """What the starter's head draws, where it applies: it also guesses at what scribbles leave open."""
    if start is None:
        return None
    start = replace(start, head=copy.deepcopy(start.head).to(inference_device()))
    return Draft(start.head, cine) if start.applies(replace(cine, labels={})) else None


def _check_start(start: Starter | None, card: EncoderCard, classes: tuple[int, ...]) -> None:
    if start is None:
        return
    config = start.head.config
    if (config.encoder_checksum, config.classes) != (card.checksum, classes):
        raise CoreError(
            f"The head to start from reads {config.encoder} and draws the classes {config.classes}: "
            f"start from another one, or from none, over {card.name} with the classes {classes}."
        )


def _check(
    frames: NDArray[np.uint8], labels: Mapping[int, NDArray[np.uint8]], classes: tuple[int, ...]
) -> None:
    if frames.dtype != np.uint8 or frames.ndim != 3 or 0 in frames.shape:
        raise CoreError(f"Frames must be grey and 8 bits deep, not {frames.dtype} of shape {frames.shape}.")
    if not labels:
        raise CoreError("There is no labelled frame to learn from: outline at least one.")
    if not classes or len(set(classes)) < len(classes) or not all(0 < value < 255 for value in classes):
        raise CoreError(f"Label values must be different numbers from 1 to 254, not {classes}.")
    for frame, label in labels.items():
        if not 0 <= frame < len(frames):
            raise CoreError(
                f"There is a label for frame {frame}, but the cine has frames 0 to {len(frames) - 1}."
            )
        if label.shape != frames.shape[1:]:
            raise CoreError(
                f"The label of frame {frame} is {label.shape[1]}x{label.shape[0]} pixels, "
                f"the picture {frames.shape[2]}x{frames.shape[1]}."
            )
    if not any(np.isin(label, classes).any() for label in labels.values()):
        raise CoreError("No structure is outlined on the labelled frames: outline at least one.")

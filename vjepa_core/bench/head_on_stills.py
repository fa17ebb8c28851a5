"""The program's head on still images, with the interface of the baselines."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray

from vjepa_core.bench.baselines.base import Stopwatch
from vjepa_core.bench.camus import CLASSES
from vjepa_core.bench.encoded_stills import EncodedStills
from vjepa_core.bench.frozen_features import as_prepared_cines, predict_head
from vjepa_core.encoder.precision import inference_device
from vjepa_core.errors import Cancelled
from vjepa_core.fewshot.fit import Fit, FitConfig
from vjepa_core.fewshot.head import Head
from vjepa_core.fewshot.prepared_cine import PreparedCine
from vjepa_core.fewshot.starter import PHANTOM_ONLY, load_starter, new_head
from vjepa_core.resources import resource_path

_BATCH = 64  # images, in prediction
_TRIAL_STEPS = 2  # for the number of steps within a budget


def for_stills() -> FitConfig:
    """Return the program's configuration of fits, without carried labels for still images."""
    return replace(FitConfig(), carried_share=0.0, prior_dropout=1.0, prior_dropout_many=1.0)


@dataclass(frozen=True)
class HeadOnStills:
    """The head of the program on features of an encoder; its time does not include the features.

    Attributes
    ----------
    name : str
        Name for the rows.
    tokens : EncodedStills
        Features of the images.
    config : FitConfig
        Configuration; with a budget, the number of steps is adapted to the time.
    unlabelled : ndarray of uint8, optional
        Unlabelled images of other patients for the fit, shape (N, H, W).
    """

    name: str
    tokens: EncodedStills
    config: FitConfig = field(default_factory=for_stills)
    unlabelled: NDArray[np.uint8] | None = None

    def with_unlabelled(self, unlabelled: NDArray[np.uint8], labels: int) -> HeadOnStills:
        """Return a copy with unlabelled images if a fit to the given number of labels uses them."""
        useful = self.config.unlabelled_places(labels) > 0 and labels >= self.config.both_from
        return replace(self, unlabelled=unlabelled if useful and len(unlabelled) else None)

    def fit(
        self,
        images: NDArray[np.uint8],
        masks: NDArray[np.uint8],
        *,
        seed: int,
        budget_s: float | None = None,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> FittedHead:
        """Fit to square images; see `vjepa_core.bench.baselines.base.Baseline`."""
        tokens = self.tokens(images)
        others = self.unlabelled
        of_others = None if others is None else self.tokens(others)
        watch = Stopwatch(budget_s)
        prepared_cines = as_prepared_cines(images, tokens, masks)
        unlabelled = [] if others is None or of_others is None else as_prepared_cines(others, of_others)
        config = replace(self.config.for_labels(len(images), len(images)), seed=seed)
        with torch.random.fork_rng(devices=[]):
            head = initial_head(self.tokens, seed=seed).to(inference_device())
            if budget_s is not None:
                each = _seconds_per_step(head, prepared_cines, unlabelled, config)
                config = replace(config, steps=max(1, int((budget_s - watch.seconds) / each)))
            fit = Fit(head, prepared_cines, config, warm=False, unlabelled=unlabelled)
            while not fit.done and (not fit.done_steps or watch.share < 1):
                if should_stop():
                    raise Cancelled
                fit.step()
        planned = "all steps" if budget_s is None else "steps adapted to the time"
        ended = planned if fit.done else "stopped by time"
        if not fit.averaged.in_use[0]:
            ended = f"many labels, so image network only; {ended}"
        return FittedHead(fit.averaged, self.tokens, fit.done_steps, watch.seconds, ended)


def phantom_head(tokens: EncodedStills) -> Head | None:
    """Return the head fitted to phantoms only for these features, or None."""
    if tokens.name is None:
        return None
    starter = load_starter(tokens.card, resource_path("heads", PHANTOM_ONLY))
    return None if starter is None else starter.head


def initial_head(tokens: EncodedStills, *, seed: int) -> Head:
    """Return the initial head of a fit, which was not fitted to labels of patients."""
    head = phantom_head(tokens)
    return new_head(tokens.card, tuple(CLASSES), seed=seed) if head is None else head


def _seconds_per_step(
    head: Head, prepared_cines: list[PreparedCine], unlabelled: list[PreparedCine], config: FitConfig
) -> float:
    """Measure the seconds per step, so that the learning rate schedule ends within the budget."""
    shortest = replace(config, steps=_TRIAL_STEPS + 1)
    trial = Fit(copy.deepcopy(head), prepared_cines, shortest, warm=False, unlabelled=unlabelled)
    trial.step()  # the first step is slower than the others
    start = time.perf_counter()
    for _ in range(_TRIAL_STEPS):
        trial.step()
    return (time.perf_counter() - start) / _TRIAL_STEPS


@dataclass
class FittedHead:
    """A fitted head."""

    head: Head
    tokens: EncodedStills
    steps: int
    seconds: float
    note: str

    def predict(self, images: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Predict label images (N, H, W)."""
        parts = [images[start : start + _BATCH] for start in range(0, len(images), _BATCH)]
        return np.concatenate([predict_head(self.head, part, self.tokens(part)) for part in parts])

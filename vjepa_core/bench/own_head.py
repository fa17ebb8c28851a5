"""The program's own head on stills, measured as its rivals are."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray

from vjepa_core.bench.camus import CLASSES
from vjepa_core.bench.encoded_stills import EncodedStills
from vjepa_core.bench.frozen import as_studies, predict_default
from vjepa_core.bench.rivals.base import Stopwatch
from vjepa_core.encoder.precision import inference_device
from vjepa_core.errors import Cancelled
from vjepa_core.fewshot.fit import Fit, FitConfig
from vjepa_core.fewshot.head import Head
from vjepa_core.fewshot.prepared_cine import PreparedCine
from vjepa_core.fewshot.starter import PHANTOM_ONLY, load_starter, new_head
from vjepa_core.resources import resource_path

_AT_ONCE = 64  # pictures, in prediction
_TRIED = 2  # steps that tell how many a budget is good for


def for_stills() -> FitConfig:
    """The program's own fit, but for stills: nothing moves, so that no label can be carried to them."""
    return replace(FitConfig(), carried_share=0.0, prior_dropout=1.0, prior_dropout_many=1.0)


@dataclass(frozen=True)
class OwnHead:
    """The head of the program over an encoder; its seconds are those of the fit, once the features are there.

    Attributes
    ----------
    name : str
    tokens : EncodedStills
    config : FitConfig
        Without a budget the fit takes its steps; with one, as many as the time is good for.
    unlabelled : array, optional
        (N, H, W) uint8: stills of others, without labels, that the fit may learn from.
    """

    name: str
    tokens: EncodedStills
    config: FitConfig = field(default_factory=for_stills)
    unlabelled: NDArray[np.uint8] | None = None

    def among(self, unlabelled: NDArray[np.uint8], labels: int) -> OwnHead:
        """The same with stills that have no label, if its fit to so many labels makes use of them."""
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
    ) -> OwnModel:
        """Fit to stills whose sides are equal; see `vjepa_core.bench.rivals.base.Rival`."""
        tokens = self.tokens(images)
        others = self.unlabelled
        of_others = None if others is None else self.tokens(others)
        watch = Stopwatch(budget_s)
        studies = as_studies(images, tokens, masks)
        unlabelled = [] if others is None or of_others is None else as_studies(others, of_others)
        config = replace(self.config.for_labels(len(images), len(images)), seed=seed)
        with torch.random.fork_rng(devices=[]):
            head = first_head(self.tokens, seed=seed).to(inference_device())
            if budget_s is not None:
                each = _seconds_a_step(head, studies, unlabelled, config)
                config = replace(config, steps=max(1, int((budget_s - watch.seconds) / each)))
            fit = Fit(head, studies, config, warm=False, unlabelled=unlabelled)
            while not fit.done and (not fit.done_steps or watch.share < 1):
                if should_stop():
                    raise Cancelled
                fit.step()
        planned = "all its steps" if budget_s is None else "as many steps as the time is good for"
        ended = planned if fit.done else "stopped by time"
        if not fit.averaged.heard[0]:
            ended = f"many labels, so by the net of the picture alone; {ended}"
        return OwnModel(fit.averaged, self.tokens, fit.done_steps, watch.seconds, ended)


def phantom_head(tokens: EncodedStills) -> Head | None:
    """The head that was fitted to phantoms alone over these features; None where there is none."""
    if tokens.name is None:
        return None
    starter = load_starter(tokens.card, resource_path("heads", PHANTOM_ONLY))
    return None if starter is None else starter.head


def first_head(tokens: EncodedStills, *, seed: int) -> Head:
    """What a fit starts from: it has seen no label of a patient."""
    found = phantom_head(tokens)
    return new_head(tokens.card, tuple(CLASSES), seed=seed) if found is None else found


def _seconds_a_step(
    head: Head, studies: list[PreparedCine], unlabelled: list[PreparedCine], config: FitConfig
) -> float:
    """Of a short trial, so that with a budget the rate falls to its end in time."""
    shortest = replace(config, steps=_TRIED + 1)
    trial = Fit(copy.deepcopy(head), studies, shortest, warm=False, unlabelled=unlabelled)
    trial.step()  # the first is slower than the others
    began = time.perf_counter()
    for _ in range(_TRIED):
        trial.step()
    return (time.perf_counter() - began) / _TRIED


@dataclass
class OwnModel:
    """A fitted head."""

    head: Head
    tokens: EncodedStills
    steps: int
    seconds: float
    note: str

    def predict(self, images: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Label images (N, H, W)."""
        parts = [images[start : start + _AT_ONCE] for start in range(0, len(images), _AT_ONCE)]
        return np.concatenate([predict_default(self.head, part, self.tokens(part)) for part in parts])

"""Complete fit of one head, optionally limited in time."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from vjepa_core.encoder.precision import inference_device
from vjepa_core.errors import Cancelled
from vjepa_core.fewshot.fit import Fit, FitConfig
from vjepa_core.fewshot.head import Head
from vjepa_core.fewshot.prepared_cine import PreparedCine


@dataclass(frozen=True, eq=False)
class FittedHead:
    """Result of a fit.

    Attributes
    ----------
    head : Head
        Head with the averaged weights, for predictions.
    losses : list of float
        Loss of each step.
    is_complete : bool
        False if the time limit ended the fit before its last step.
    """

    head: Head
    losses: list[float]
    is_complete: bool


def fit_head(
    head: Head,
    cine: PreparedCine,
    config: FitConfig,
    *,
    ends_at: float = math.inf,
    on_step: Callable[[int, int], None] = lambda _done, _total: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> FittedHead:
    """Fit a head to the labels of one cine.

    Parameters
    ----------
    head : Head
        Initial head; its weights are changed.
    cine : PreparedCine
        Cine with features and labels.
    config : FitConfig
        Settings for up to four labels; more labels take more steps.
    ends_at : float
        Time of `time.monotonic` in seconds after which no step is started, except the first.
    on_step : callable
        Called with (completed steps, total) before the first step and after each.
    should_stop : callable
        Called before each step.

    Returns
    -------
    FittedHead

    Raises
    ------
    Cancelled
        If `should_stop` returned True.
    """
    losses: list[float] = []
    with torch.random.fork_rng(devices=[]):
        fit = Fit(head.to(inference_device()), [cine], config.for_labels(len(cine.labels)), warm=False)
        on_step(0, fit.total)
        while not fit.done and not (losses and time.monotonic() > ends_at):
            if should_stop():
                raise Cancelled
            losses.append(fit.step())
            on_step(fit.done_steps, fit.total)
    return FittedHead(fit.averaged, losses, fit.done)

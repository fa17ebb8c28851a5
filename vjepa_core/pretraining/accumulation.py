"""Gradients of one step's clips, in as many passes as the memory asks for."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from vjepa_core.pretraining.config import PATCH, TUBELET
from vjepa_core.pretraining.encode import patchify
from vjepa_core.pretraining.errors import PretrainingError
from vjepa_core.pretraining.monitors import feature_health, probe_places, probe_tokens
from vjepa_core.pretraining.objective import Draw, Objective, weighted
from vjepa_core.pretraining.parallel import Reader

log = logging.getLogger(__name__)


class Passes:
    """Runs forward and backward.

    Parameters
    ----------
    objective : Objective
    model : Module
        The objective, or DDP around it.
    reader : Reader
        Of the teacher.
    micro : int
        Most clips in one pass; halved for good when the memory does not hold them.
    bf16 : bool
        Autocast to bfloat16.
    alone : bool
        No other process waits for this one.
    """

    def __init__(
        self,
        objective: Objective,
        model: nn.Module,
        reader: Reader,
        *,
        micro: int,
        bf16: bool,
        alone: bool = True,
    ) -> None:
        self.objective, self.model, self.reader = objective, model, reader
        self.micro, self.bf16, self.alone = micro, bf16, alone

    def gradients(self, draw: Draw, weights: Mapping[str, float]) -> dict[str, Tensor]:
        """Leave the mean gradient in the parameters; return loss, terms and feature numbers as scalars.

        Raises
        ------
        PretrainingError
            If a single clip does not fit, or there are other processes: those already wait for this one.
        """
        while True:
            try:
                return self._accumulate(draw, weights)
            except torch.OutOfMemoryError:
                smaller = self.micro // 2
                if not self.alone or not smaller:
                    hint = f"micro_batch = {smaller}" if smaller else "a smaller size or architecture"
                    raise PretrainingError(
                        f"{self.micro} clips at once do not fit the memory of a device: set {hint}."
                    ) from None
            # Only out here is the exception gone, and with it the tensors that it held.
            log.warning(
                "%d clips at once do not fit the memory: going on with %d at a time.", self.micro, smaller
            )
            self.micro = smaller
            if draw.clips.is_cuda:
                torch.cuda.empty_cache()

    def _accumulate(self, draw: Draw, weights: Mapping[str, float]) -> dict[str, Tensor]:
        self.objective.zero_grad(set_to_none=True)
        n = len(draw.clips)
        sums: dict[str, Tensor] = {}
        features = []
        places = probe_places(patchify(draw.clips, TUBELET, PATCH)[0])
        for start in range(0, n, self.micro):
            part = draw.part(start, min(start + self.micro, n))
            share = len(part.clips) / n
            with self._unsynced(last=start + self.micro >= n):
                with torch.autocast(part.clips.device.type, torch.bfloat16, enabled=self.bf16):
                    targets, tokens = self.reader(self.objective.targets, part.clips)
                    features.append(probe_tokens(tokens, places))
                    terms: dict[str, Tensor] = self.model(part, targets)
                    loss = weighted(terms, weights)
                (loss * share).backward()
            for name, value in {"loss": loss, **{f"loss_{k}": v for k, v in terms.items()}}.items():
                sums[name] = sums.get(name, 0) + value.detach() * share
        return {**sums, **feature_health(torch.cat(features))}

    def _unsynced(self, *, last: bool) -> AbstractContextManager[Any]:
        """Under DDP gradients meet once a step, in the last pass; shards have no room for whole ones."""
        if isinstance(self.model, DistributedDataParallel) and not last:
            return self.model.no_sync()
        return contextlib.nullcontext()

"""Is the representation alive? Numbers of the teacher's tokens at each step, and words when they turn bad."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from statistics import median
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import layer_norm

_PLACES = 32
_LIT = 16  # grey level that the brightest pixel of a tubelet has to reach
_MEMORY = 50  # steps that "before" looks back
_LOWEST_STD = 0.1
_LOWEST_RANK = 5.0  # a choice; an untrained ViT-Ti has about 70 on clips of 8 frames of 112 pixels
_FALL = 0.5
_OVER = 1.5  # a warning is over when its number is this much above the limit, so that it does not flicker


def probe_places(tubelets: Tensor) -> Tensor:
    """Token numbers, at most 32, of places that show something in most clips, in a fixed random order.

    A random order, since places at even steps fall into a few columns of the plane. Where fewer than 32
    places are lit, dark ones fill up.

    Parameters
    ----------
    tubelets : Tensor
        (B, N, P) uint8, see `encode.patchify`.
    """
    n = tubelets.shape[1]
    lit = (tubelets.amax(-1) >= _LIT).float().mean(0) >= 0.5
    order = torch.randperm(n, generator=torch.Generator().manual_seed(0)).to(tubelets.device)
    # Sorting instead of selecting: the device need not tell how many are lit.
    rank = torch.arange(n, device=tubelets.device) + n * (~lit[order])
    return order[rank.argsort()[:_PLACES]]


def probe_tokens(tokens: Tensor, places: Tensor) -> Tensor:
    """Some places of each clip, the same in all: (B, N, D) to (B, P, D) float32, layer-normed."""
    chosen = tokens[:, places].float()
    return layer_norm(chosen, chosen.shape[-1:])


def feature_health(tokens: Tensor) -> dict[str, Tensor]:
    """Four scalars on the device.

    Parameters
    ----------
    tokens : Tensor
        (B, P, D) from `probe_tokens`.

    Returns
    -------
    dict
        `feature_std`: standard deviation over all tokens, mean over channels; 0 is collapse.
        `effective_rank`: RankMe (Garrido et al., 2023), the exponential of the entropy of the singular values
        of the centred features; between 1 and D.
        `top_share`: share of the variance along the first principal direction.
        `position_share`: share of the variance that a token's place alone explains; 1 means that clips are
        not told apart. 0 for a single clip.
    """
    tokens = tokens.double()
    rows = tokens.flatten(0, 1)
    centred = rows - rows.mean(0)
    freedom = max(len(rows) - 1, 1)
    # Double: rounding would add small directions to collapsed features, and RankMe counts those.
    covariance = centred.T @ centred / freedom
    trace = covariance.diagonal().sum()
    values = torch.linalg.eigvalsh(covariance).clamp(min=0)
    values = values * (values > 1e-12 * values[-1])
    shares = values.sqrt() / values.sqrt().sum().clamp(min=1e-20)
    rank = torch.special.entr(shares).sum().exp()
    top = values[-1] / trace.clamp(min=1e-20)
    if len(tokens) > 1:
        within = tokens.var(0).sum(-1).mean()  # over clips, at one place
        share = (1 - within / trace.clamp(min=1e-20)).clamp(0, 1)
    else:
        share = trace.new_zeros(())
    std = covariance.diagonal().sqrt().mean()
    found = {"feature_std": std, "effective_rank": rank, "top_share": top, "position_share": share}
    return {name: value.float() for name, value in found.items()}


class CollapseMonitor:
    """Watches the numbers of the last steps and says so in words; each warning once until it is over."""

    def __init__(self) -> None:
        self._past: dict[str, deque[float]] = {
            name: deque(maxlen=_MEMORY) for name in ("loss_jepa", "feature_std", "effective_rank")
        }
        self._said: set[str] = set()

    def update(self, numbers: Mapping[str, float]) -> list[str]:
        """Sentences that are new at this step."""
        before = {name: median(past) if len(past) >= 10 else None for name, past in self._past.items()}
        std, rank = numbers["feature_std"], numbers["effective_rank"]
        loss = numbers["loss_jepa"]
        old_rank, old_loss, old_std = (before[k] for k in ("effective_rank", "loss_jepa", "feature_std"))

        def low(name: str, value: float, limit: float) -> bool:
            return value < limit * (_OVER if name in self._said else 1.0)

        found = {
            "std": (
                low("std", std, _LOWEST_STD),
                f"All features are becoming the same (deviation {std:.3f}): the encoder is collapsing. "
                "Raise the EMA momentum or lower the learning rate.",
            ),
            "rank": (
                # Not at once: an untrained encoder may start there.
                old_rank is not None and low("rank", rank, _LOWEST_RANK),
                f"The features use {rank:.1f} directions only: the encoder is collapsing. "
                "Lower the learning rate, or start again with another seed.",
            ),
            "rank-fall": (
                old_rank is not None and rank < _FALL * old_rank,
                f"The features have fallen from {old_rank or 0:.1f} to {rank:.1f} directions within "
                f"{_MEMORY} steps: a sign of partial collapse.",
            ),
            "loss-fall": (
                old_loss is not None and loss < _FALL * old_loss and old_std is not None and std < old_std,
                f"The loss fell suddenly, from {old_loss or 0:.3f} to {loss:.3f}, while the features became "
                "more alike: a sign of partial collapse, not of learning.",
            ),
        }
        for name, past in self._past.items():
            past.append(numbers[name])
        now = {name for name, (wrong, _) in found.items() if wrong}
        fresh = [found[name][1] for name in found if name in now - self._said]
        self._said = now
        return fresh

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {"past": {k: list(v) for k, v in self._past.items()}, "said": sorted(self._said)}

    def restore(self, state: Mapping[str, Any]) -> None:
        """From `state`."""
        for name, past in state["past"].items():
            self._past[name] = deque(past, maxlen=_MEMORY)
        self._said = set(state["said"])

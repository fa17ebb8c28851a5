"""Is the representation alive? Numbers of the teacher's tokens at each step, and words when they turn bad."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from statistics import median
from typing import Any

from torch import Tensor
from torch.nn.functional import layer_norm

_PLACES = 32
_MEMORY = 50  # steps that "before" looks back
_LOWEST_STD = 0.1
_LOWEST_RANK = 2.0
_FALL = 0.5
_OVER = 1.5  # a warning is over when its number is this much above the limit, so that it does not flicker


def probe_tokens(tokens: Tensor) -> Tensor:
    """A few places of each clip, the same in all: (B, N, D) to (B, at most 32, D) float32, layer-normed."""
    step = max(1, tokens.shape[1] // _PLACES)
    chosen = tokens[:, ::step][:, :_PLACES].float()
    return layer_norm(chosen, chosen.shape[-1:])


def feature_health(tokens: Tensor) -> dict[str, Tensor]:
    """Three scalars on the device.

    Parameters
    ----------
    tokens : Tensor
        (B, P, D) from `probe_tokens`.

    Returns
    -------
    dict
        `feature_std`: standard deviation over all tokens, mean over channels; 0 is collapse.
        `effective_rank`: participation ratio (sum of eigenvalues)^2 / (sum of their squares) of the
        covariance; between 1 and D, and unlike the entropy form it needs no eigenvalues.
        `position_share`: share of the variance that a token's place alone explains; 1 means that clips are
        not told apart. 0 for a single clip.
    """
    rows = tokens.flatten(0, 1)
    centred = rows - rows.mean(0)
    freedom = max(len(rows) - 1, 1)
    covariance = centred.T @ centred / freedom
    trace = covariance.diagonal().sum()
    rank = trace.square() / covariance.square().sum().clamp(min=1e-20)
    if len(tokens) > 1:
        within = tokens.var(0).sum(-1).mean()  # over clips, at one place
        share = (1 - within / trace.clamp(min=1e-20)).clamp(0, 1)
    else:
        share = trace.new_zeros(())
    std = covariance.diagonal().sqrt().mean()
    return {"feature_std": std, "effective_rank": rank, "position_share": share}


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

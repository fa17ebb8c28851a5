"""The slow copy of the student that makes the targets."""

from __future__ import annotations

import copy
from typing import TypeVar

import torch
from torch import nn

M = TypeVar("M", bound=nn.Module)


def teacher_of(student: M) -> M:
    """A copy in evaluation mode that no gradient reaches."""
    return copy.deepcopy(student).eval().requires_grad_(False)


@torch.no_grad()
def follow(teacher: nn.Module, student: nn.Module, momentum: float) -> None:
    """teacher <- momentum * teacher + (1 - momentum) * student, all weights in a few kernels."""
    # A frozen weight is the same in both, and the sum of two products would let it drift by rounding.
    pairs = [
        (slow, fast)
        for slow, fast in zip(teacher.parameters(), student.parameters(), strict=True)
        if fast.requires_grad
    ]
    slow, fast = zip(*pairs, strict=True)
    torch._foreach_lerp_(list(slow), list(fast), 1 - momentum)

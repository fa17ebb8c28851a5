"""Teacher: exponential moving average of the student."""

from __future__ import annotations

import copy
from typing import TypeVar

import torch
from torch import nn

M = TypeVar("M", bound=nn.Module)


def create_teacher(student: M) -> M:
    """Return a frozen copy of the student in evaluation mode."""
    return copy.deepcopy(student).eval().requires_grad_(False)


@torch.no_grad()
def update_teacher(teacher: nn.Module, student: nn.Module, momentum: float) -> None:
    """Update the teacher in place: teacher <- momentum * teacher + (1 - momentum) * student."""
    # Frozen weights are equal in both and are skipped, because rounding would let them drift.
    pairs = [
        (slow, fast)
        for slow, fast in zip(teacher.parameters(), student.parameters(), strict=True)
        if fast.requires_grad
    ]
    slow, fast = zip(*pairs, strict=True)
    torch._foreach_lerp_(list(slow), list(fast), 1 - momentum)

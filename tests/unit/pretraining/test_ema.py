"""The teacher is an exponential moving average of the student."""

from __future__ import annotations

import torch
from torch import nn

from vjepa_core.pretraining.ema import create_teacher, update_teacher


def test_the_teacher_is_updated_except_frozen_weights() -> None:
    student = nn.Linear(2, 2)
    teacher = create_teacher(student)
    student.bias.requires_grad_(False)
    old_weight, old_bias = teacher.weight.clone(), teacher.bias.clone()
    with torch.no_grad():
        student.weight.add_(1.0)
    update_teacher(teacher, student, 0.9)
    torch.testing.assert_close(teacher.weight, old_weight + 0.1)
    assert torch.equal(teacher.bias, old_bias)
    assert not teacher.weight.requires_grad


def test_with_momentum_one_the_teacher_does_not_change() -> None:
    student = nn.Linear(3, 3)
    teacher = create_teacher(student)
    before = teacher.weight.clone()
    with torch.no_grad():
        student.weight.mul_(2)
    update_teacher(teacher, student, 1.0)
    assert torch.equal(teacher.weight, before)

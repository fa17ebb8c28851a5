"""The teacher follows the student."""

from __future__ import annotations

import torch
from torch import nn

from vjepa_core.pretraining.ema import follow, teacher_of


def test_the_teacher_moves_by_the_momentum_and_frozen_weights_stay() -> None:
    student = nn.Linear(2, 2)
    teacher = teacher_of(student)
    student.bias.requires_grad_(False)
    old_weight, old_bias = teacher.weight.clone(), teacher.bias.clone()
    with torch.no_grad():
        student.weight.add_(1.0)
    follow(teacher, student, 0.9)
    torch.testing.assert_close(teacher.weight, old_weight + 0.1)
    assert torch.equal(teacher.bias, old_bias)
    assert not teacher.weight.requires_grad


def test_momentum_one_leaves_the_teacher_as_it_is() -> None:
    student = nn.Linear(3, 3)
    teacher = teacher_of(student)
    before = teacher.weight.clone()
    with torch.no_grad():
        student.weight.mul_(2)
    follow(teacher, student, 1.0)
    assert torch.equal(teacher.weight, before)

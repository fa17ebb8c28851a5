"""Pseudo-labels of cines without labels: where and when they are used."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from vjepa_core.encoder.loaded import LoadedEncoder
from vjepa_core.fewshot.fit import Fit, FitConfig
from vjepa_core.fewshot.head import Head
from vjepa_core.fewshot.prepared_cine import PreparedCine
from vjepa_core.fewshot.starter import new_head
from vjepa_core.fewshot.unlabelled import pseudo_labels

pytestmark = pytest.mark.slow

BOTH = FitConfig(steps=6, warm_steps=3, both_from=1)


def square(left: int, sure: float = 6.0) -> Tensor:
    """Return logits (1, 2, 16, 16) of a square of 8 pixels."""
    drawn = torch.full((16, 16), -sure)
    drawn[4:12, left : left + 8] = sure
    return torch.stack([-drawn, drawn])[None] / 2


@pytest.fixture(name="head")
def _head(small_encoder: LoadedEncoder) -> Head:
    return new_head(small_encoder[1], (1, 2))


def test_pseudo_labels_are_used_where_the_nets_agree_with_confidence() -> None:
    target, weight = pseudo_labels([square(4), square(5)], 0.8)
    assert target.shape == (1, 2, 16, 16)
    assert (target.sum(1) == 1).all()
    apart = torch.zeros(16, 16, dtype=torch.bool)
    apart[4:12, [4, 12]] = True
    assert torch.equal(weight[0] == 0, apart)
    _, unsure = pseudo_labels([square(4, 1.0), square(4, 1.0)], 0.8)  # 0.73 everywhere
    assert not unsure.any()


def test_frames_on_which_the_nets_disagree_are_not_used() -> None:
    nothing = torch.tensor([3.0, -3.0]).view(1, 2, 1, 1).expand(1, 2, 16, 16)
    for one, other in ((square(0), square(8)), (nothing, nothing), (square(4), nothing)):
        assert not pseudo_labels([one, other], 0.8)[1].any()


def test_pseudo_labels_are_used_after_a_third_of_the_steps(
    head: Head, prepared: PreparedCine, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []

    def spy(self: Fit, frames: list[tuple[PreparedCine, int]]) -> list[tuple[Tensor, Tensor]]:
        calls.append(len(frames))
        return real(self, frames)

    real = Fit._pseudo_labels
    monkeypatch.setattr(Fit, "_pseudo_labels", spy)
    unlabelled = replace(prepared, labels={})
    fit = Fit(head, [prepared], BOTH, warm=False, unlabelled=[unlabelled])
    while not fit.done:
        assert np.isfinite(fit.step())
    assert calls == [0, 0, 1, 1, 1, 1]  # of four samples: two labels, a carried one, and this
    calls.clear()
    warm = Fit(fit.averaged, [prepared], BOTH, warm=True, unlabelled=[unlabelled])
    warm.step()
    few = Fit(head, [prepared], replace(BOTH, both_from=4), warm=True, unlabelled=[unlabelled])
    few.step()
    assert calls == [1, 0, 0]  # without pseudo-labels the next batch is assembled during the step


def test_the_fraction_of_pseudo_labels_decreases_with_the_number_of_labels() -> None:
    stills = FitConfig(carried_share=0.0)
    assert [stills.unlabelled_places(n) for n in (1, 4, 20, 40, 160)] == [2, 2, 2, 1, 0]
    cines = FitConfig()  # with carried labels in half of the samples
    assert [cines.unlabelled_places(n) for n in (1, 4, 20, 40, 160)] == [1, 1, 1, 0, 0]


def test_a_structure_without_predictions_does_not_count_as_background(
    head: Head, prepared: PreparedCine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def only_first(predictions: list[Tensor], _sure: float) -> tuple[Tensor, Tensor]:
        target = torch.zeros_like(predictions[0])
        target[:, 1, :40], target[:, 0, 40:] = 1.0, 1.0
        return target, torch.ones_like(target[:, 0])

    monkeypatch.setattr("vjepa_core.fewshot.fit.pseudo_labels", only_first)
    unlabelled = replace(prepared, labels={})
    fit = Fit(head, [prepared], BOTH, warm=True, unlabelled=[unlabelled])
    batch = fit._assemble([(unlabelled, 0)])
    assert batch.stated.tolist() == [[True, True, False]]


def test_pseudo_labels_change_the_fit(
    head: Head, prepared: PreparedCine, small_encoder: LoadedEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def everything(predictions: list[Tensor], _sure: float) -> tuple[Tensor, Tensor]:
        target = torch.zeros_like(predictions[0])
        target[:, 1] = 1.0
        return target, torch.ones_like(target[:, 0])

    monkeypatch.setattr("vjepa_core.fewshot.fit.pseudo_labels", everything)
    config = replace(BOTH, steps=10, carried_share=0.0)
    drawn = []
    for unlabelled in ([], [replace(prepared, labels={})]):
        fit = Fit(new_head(small_encoder[1], (1, 2)), [prepared], config, warm=False, unlabelled=unlabelled)
        while not fit.done:
            fit.step()
        nothing = torch.zeros(1, 3, 112, 112)
        logits = fit.averaged(prepared.image([4]), prepared.tokens([4]).float(), nothing)
        drawn.append(logits.softmax(1)[:, 1].mean().item())
    assert drawn[1] > drawn[0] + 0.01

"""The two networks of a head: which are used, and what each learns."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from vjepa_core.encoder.loaded import LoadedEncoder
from vjepa_core.fewshot.fit import Fit, FitConfig, predict
from vjepa_core.fewshot.head import Head, with_new_classes
from vjepa_core.fewshot.prepared_cine import PreparedCine
from vjepa_core.fewshot.starter import new_head

QUICK = FitConfig(steps=6, warm_steps=3)
BOTH = replace(QUICK, both_from=1)
ALONE = replace(BOTH, alone_from=1)


def fitted(head: Head, study: PreparedCine, config: FitConfig) -> Head:
    fit = Fit(head, [study], config, warm=False)
    while not fit.done:
        fit.step()
    return fit.averaged


@pytest.fixture(name="head")
def _head(small_encoder: LoadedEncoder) -> Head:
    return new_head(small_encoder[1], (1, 2))


def test_with_few_annotated_cines_the_image_network_is_not_fitted(head: Head, study: PreparedCine) -> None:
    before = [p.clone() for p in head.image_net.parameters()]
    after = fitted(head, study, QUICK)
    assert after.in_use.tolist() == [True, False]
    for one, two in zip(before, after.image_net.parameters(), strict=True):
        assert torch.equal(one, two)


def test_the_image_network_has_twice_the_weight(head: Head, study: PreparedCine) -> None:
    after = fitted(head, study, BOTH)
    assert after.in_use.all()
    together = predict(after, study, [4])
    alone = []
    for in_use in ([True, False], [False, True]):
        after.in_use.copy_(torch.tensor(in_use))
        alone.append(predict(after, study, [4]))
    assert not torch.equal(*alone)
    torch.testing.assert_close(together, (alone[0] + 2 * alone[1]) / 3)


def test_with_many_labels_the_feature_network_is_not_fitted(head: Head, study: PreparedCine) -> None:
    before = [p.clone() for p in head.feature_net.parameters()]
    after = fitted(head, study, ALONE)
    assert after.in_use.tolist() == [False, True]
    for one, two in zip(before, after.feature_net.parameters(), strict=True):
        assert torch.equal(one, two)
    image, prior = study.image([4]), study.prior([4], 3)
    one, two = (after(image, tokens, prior) for tokens in (study.tokens([4]), torch.zeros(1, 1, 14, 14, 1)))
    assert torch.equal(one, two)


def test_the_networks_are_fitted_independently(
    head: Head, study: PreparedCine, small_encoder: LoadedEncoder
) -> None:
    both = fitted(head, study, BOTH)
    one = fitted(new_head(small_encoder[1], (1, 2)), study, QUICK)
    for a, b in zip(both.feature_net.parameters(), one.feature_net.parameters(), strict=True):
        torch.testing.assert_close(a, b)


def test_a_network_that_is_not_in_use_is_not_fitted(head: Head, study: PreparedCine) -> None:
    assert Fit(head, [study], QUICK, warm=True).total == QUICK.warm_steps
    assert Fit(head, [study], BOTH, warm=True).total == BOTH.steps
    both = fitted(head, study, BOTH)
    assert Fit(both, [study], BOTH, warm=True).total == BOTH.warm_steps
    alone = Fit(both, [study], ALONE, warm=True)
    assert alone.total == ALONE.warm_steps
    assert Fit(alone.averaged, [study], BOTH, warm=True).total == BOTH.steps


def test_with_new_classes_both_networks_keep_their_class_independent_weights(
    head: Head, study: PreparedCine
) -> None:
    before = fitted(head, study, BOTH)
    other = with_new_classes(before, (7,))
    assert torch.equal(
        other.image_net.state_dict()["down4.0.0.weight"],
        before.image_net.state_dict()["down4.0.0.weight"],
    )
    nothing = torch.zeros(1, 2, 112, 112)
    logits = other.eval()(torch.randn(1, 3, 224, 224), study.tokens([0]), nothing)
    torch.testing.assert_close(logits.softmax(1), torch.full_like(logits, 0.5))

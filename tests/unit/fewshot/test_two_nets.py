"""The two nets of a head: which are in use, and which are fitted."""

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


def fitted(head: Head, prepared: PreparedCine, config: FitConfig) -> Head:
    fit = Fit(head, [prepared], config, warm=False)
    while not fit.done:
        fit.step()
    return fit.averaged


@pytest.fixture(name="head")
def _head(small_encoder: LoadedEncoder) -> Head:
    return new_head(small_encoder[1], (1, 2))


def test_with_few_annotated_cines_the_image_net_is_not_fitted(head: Head, prepared: PreparedCine) -> None:
    before = [p.clone() for p in head.image_net.parameters()]
    after = fitted(head, prepared, QUICK)
    assert after.in_use.tolist() == [True, False]
    for one, two in zip(before, after.image_net.parameters(), strict=True):
        assert torch.equal(one, two)


def test_the_image_net_has_twice_the_weight(head: Head, prepared: PreparedCine) -> None:
    after = fitted(head, prepared, BOTH)
    assert after.in_use.all()
    together = predict(after, prepared, [4])
    alone = []
    for in_use in ([True, False], [False, True]):
        after.in_use.copy_(torch.tensor(in_use))
        alone.append(predict(after, prepared, [4]))
    assert not torch.equal(*alone)
    torch.testing.assert_close(together, (alone[0] + 2 * alone[1]) / 3)


def test_with_many_labels_the_feature_net_is_not_fitted(head: Head, prepared: PreparedCine) -> None:
    before = [p.clone() for p in head.feature_net.parameters()]
    after = fitted(head, prepared, ALONE)
    assert after.in_use.tolist() == [False, True]
    for one, two in zip(before, after.feature_net.parameters(), strict=True):
        assert torch.equal(one, two)
    image, prior = prepared.image([4]), prepared.prior([4], 3)
    one, two = (
        after(image, tokens, prior) for tokens in (prepared.tokens([4]), torch.zeros(1, 1, 14, 14, 1))
    )
    assert torch.equal(one, two)


def test_the_nets_are_fitted_independently(
    head: Head, prepared: PreparedCine, small_encoder: LoadedEncoder
) -> None:
    both = fitted(head, prepared, BOTH)
    one = fitted(new_head(small_encoder[1], (1, 2)), prepared, QUICK)
    for a, b in zip(both.feature_net.parameters(), one.feature_net.parameters(), strict=True):
        torch.testing.assert_close(a, b)


def test_a_net_that_is_not_in_use_is_not_fitted(head: Head, prepared: PreparedCine) -> None:
    assert Fit(head, [prepared], QUICK, warm=True).total == QUICK.warm_steps
    assert Fit(head, [prepared], BOTH, warm=True).total == BOTH.steps
    both = fitted(head, prepared, BOTH)
    assert Fit(both, [prepared], BOTH, warm=True).total == BOTH.warm_steps
    alone = Fit(both, [prepared], ALONE, warm=True)
    assert alone.total == ALONE.warm_steps
    assert Fit(alone.averaged, [prepared], BOTH, warm=True).total == BOTH.steps


def test_with_new_classes_both_nets_keep_their_class_independent_weights(
    head: Head, prepared: PreparedCine
) -> None:
    before = fitted(head, prepared, BOTH)
    other = with_new_classes(before, (7,))
    assert torch.equal(
        other.image_net.state_dict()["down4.0.0.weight"],
        before.image_net.state_dict()["down4.0.0.weight"],
    )
    nothing = torch.zeros(1, 2, 112, 112)
    logits = other.eval()(torch.randn(1, 3, 224, 224), prepared.tokens([0]), nothing)
    torch.testing.assert_close(logits.softmax(1), torch.full_like(logits, 0.5))

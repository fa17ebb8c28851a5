"""Loss terms and their gradients."""

from __future__ import annotations

import pytest
import torch

from tests.unit.pretraining.runs import clips, tiny
from vjepa_core.pretraining.build import build_objective, build_optimiser, build_student
from vjepa_core.pretraining.ema import create_teacher
from vjepa_core.pretraining.objective import Objective, weighted_sum


def _objective(**values: object) -> Objective:
    config = tiny(**values)
    return build_objective(build_student(config), config)


def _terms(objective: Objective) -> dict[str, torch.Tensor]:
    draw = objective.draw(clips(2), torch.Generator().manual_seed(0))
    targets, _ = objective.targets(create_teacher(objective.student), draw.clips)
    terms: dict[str, torch.Tensor] = objective(draw, targets)
    return terms


@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize("where", ["inside", "unplaced", "windows"])
def test_every_trained_weight_gets_a_gradient(deep: bool, where: str) -> None:
    objective = _objective(deep=deep, ctx={"peak": 0.5}, localisation={"where": where})
    terms = _terms(objective)
    assert set(terms) == {"jepa", "loc", "ctx"}
    weighted_sum(terms, {"jepa": 1.0, "loc": 0.1, "ctx": 0.5}).backward()
    without = [n for n, p in objective.named_parameters() if p.requires_grad and p.grad is None]
    assert without == []


def test_a_term_without_weight_is_not_computed() -> None:
    objective = _objective(loc={"peak": 0.0})
    assert objective.localiser is None
    assert set(_terms(objective)) == {"jepa"}


def test_targets_are_layer_normed_level_by_level_and_carry_no_gradient() -> None:
    objective = _objective(deep=True)
    targets, _ = objective.targets(create_teacher(objective.student), clips(2))
    assert targets.shape == (2, 32, 4 * 192)
    assert not targets.requires_grad
    levels = targets.view(2, 32, 4, 192)
    torch.testing.assert_close(levels.mean(-1), torch.zeros(2, 32, 4), atol=1e-4, rtol=0)
    torch.testing.assert_close(levels.var(-1, unbiased=False), torch.ones(2, 32, 4), atol=1e-2, rtol=0)


def test_losses_of_parts_average_to_the_loss_of_the_batch() -> None:
    objective = _objective(ctx={"peak": 0.5})
    draw = objective.draw(clips(4), torch.Generator().manual_seed(0))
    targets, _ = objective.targets(create_teacher(objective.student), draw.clips)
    whole = objective(draw, targets)
    parts = [objective(draw.part(i, i + 2), targets[i : i + 2]) for i in (0, 2)]
    for name, value in whole.items():
        torch.testing.assert_close(value, (parts[0][name] + parts[1][name]) / 2)


def test_a_perfect_prediction_has_zero_loss() -> None:
    objective = _objective(loc={"peak": 0.0})
    draw = objective.draw(clips(2), torch.Generator().manual_seed(0))
    torch.nn.init.zeros_(objective.predictor.proj.weight)
    torch.nn.init.constant_(objective.predictor.proj.bias, 0.5)
    terms = objective(draw, torch.full((2, 32, 192), 0.5))
    assert terms["jepa"].item() == pytest.approx(0.0)


def test_initial_weights_depend_on_the_seed_only() -> None:
    torch.manual_seed(1)
    first = _objective(seed=4).state_dict()
    torch.manual_seed(2)
    again, other = _objective(seed=4).state_dict(), _objective(seed=5).state_dict()
    assert all(torch.equal(first[k], again[k]) for k in first)
    assert not torch.equal(first["predictor.embed.weight"], other["predictor.embed.weight"])


def test_one_dimensional_weights_do_not_decay() -> None:
    objective = _objective()
    decaying, others = build_optimiser(objective, tiny(), fused=False).param_groups
    names = {id(p): n for n, p in objective.named_parameters()}
    assert all(names[id(p)].endswith("weight") for p in decaying["params"])
    kept = {names[id(p)] for p in others["params"]}
    assert {"predictor.mask_tokens.0", "student.video_mod_embed", "student.blocks.0.norm1.weight"} <= kept
    assert len(decaying["params"]) + len(others["params"]) == sum(
        p.requires_grad for p in objective.parameters()
    )


SAME = {"pairing": "same-cell", "vary_windows": True, "ask_time_of_stills": False, "visible": 1.0}


def test_runs_with_one_seed_differ_in_the_task_only() -> None:
    arms = {
        "plain": _objective(loc={"peak": 0.0}),
        "task": _objective(localisation=SAME),
        "control": _objective(localisation={**SAME, "unrelated_targets": True}),
    }
    draws = {name: arm.draw(clips(4), torch.Generator().manual_seed(0)) for name, arm in arms.items()}
    for name in ("task", "control"):
        for one, other in zip(draws["plain"].masks, draws[name].masks, strict=True):
            assert torch.equal(one.context, other.context)
            assert torch.equal(one.target, other.target)
        weights = (arms["plain"].predictor.state_dict(), arms[name].predictor.state_dict())
        assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])
    task, control = draws["task"], draws["control"]
    assert all(torch.equal(a, b) for a, b in zip(task.windows, control.windows, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(task.views, control.views, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(task.target_windows, task.windows, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(control.target_windows, control.windows, strict=True))


def test_the_two_windows_are_augmented_independently() -> None:
    objective = _objective(localisation=SAME)
    shown = clips(8)
    first, second = objective.draw(shown, torch.Generator().manual_seed(0)).views
    assert first.shape == second.shape == shown.shape
    assert not torch.equal(first, second)
    assert objective.draw(shown, torch.Generator()).part(2, 5).views[0].shape[0] == 3
    assert _objective().draw(shown, torch.Generator()).views == ()


def test_losses_of_parts_average_correctly_with_still_images() -> None:
    objective = _objective(localisation=SAME)
    moving = torch.tensor([True, False, False, True])
    draw = objective.draw(clips(4), torch.Generator().manual_seed(0), moving=moving)
    targets, _ = objective.targets(create_teacher(objective.student), draw.clips)
    whole = objective(draw, targets)["loc"]
    parts = [objective(draw.part(i, i + 2), targets[i : i + 2])["loc"] for i in (0, 2)]
    torch.testing.assert_close(whole, sum(parts) / 2)


def test_added_positions_change_the_prediction() -> None:
    plain = _objective(loc={"peak": 0.0})
    added = _objective(loc={"peak": 0.0}, predictor={"added_positions": True})
    assert plain.predictor.state_dict().keys() == added.predictor.state_dict().keys()
    assert _terms(plain)["jepa"].item() != _terms(added)["jepa"].item()

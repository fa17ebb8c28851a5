"""Anatomy and motion of the phantom: connected structures, correct volumes, constant muscle volume."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from tests.unit.phantom.phantom_hearts import MM, at_contractions, disk_volume, hearts, on_grid
from vjepa_core.phantom.beat import beat_curves, draw_beat
from vjepa_core.phantom.draw import RandomValues
from vjepa_core.phantom.geometry import A2C, A4C
from vjepa_core.phantom.motion import ATRIUM, CAVITY, MYOCARDIUM, labels


@pytest.fixture(scope="module")
def three_phases() -> tuple:
    """Return ten hearts at end-diastole, mid-systole and end-systole with positions and labels."""
    heart = hearts(10, seed=3)
    beat = at_contractions(10, [0.0, 0.5, 1.0])
    position = on_grid(heart, beat)
    return heart, beat, position, labels(heart, position)


@pytest.mark.parametrize("structure", [CAVITY, MYOCARDIUM, ATRIUM])
def test_every_structure_is_in_one_piece(three_phases, structure: int) -> None:
    for mask in three_phases[3].flatten(0, 1).numpy() == structure:
        count, _, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
        assert count >= 2, "the structure is missing"
        assert stats[1:, cv2.CC_STAT_AREA].max() >= 0.999 * mask.sum()


def test_the_wall_encloses_the_cavity_down_to_the_annulus(three_phases) -> None:
    for image in three_phases[3].flatten(0, 1).numpy():
        cavity = (image == CAVITY).astype(np.uint8)
        rim = image[(cv2.dilate(cavity, np.ones((3, 3), np.uint8)) > 0) & (cavity == 0)]
        assert np.isin(rim, (MYOCARDIUM, ATRIUM)).mean() > 0.98
        # The border with the atrium is the mitral plane, a small part of it.
        assert 0.05 < (rim == ATRIUM).mean() < 0.4


def test_volumes_and_ejection_fraction_agree_with_the_masks(three_phases) -> None:
    heart, beat, _, image = three_phases
    for i in range(len(image)):
        angles = (heart.tilt + heart.swing * beat.contraction)[i, :, 0, 0].tolist()
        measured = [disk_volume(image[i, t] == CAVITY, angles[t]) for t in (0, 2)]
        edv, esv = float(heart.edv[i]), float(heart.esv[i])
        assert measured[0] == pytest.approx(edv, rel=0.07)
        assert 1 - measured[1] / measured[0] == pytest.approx(1 - esv / edv, abs=0.03)


def test_volume_at_the_ends_of_the_beat_is_edv_and_esv(three_phases) -> None:
    heart, beat, _, _ = three_phases
    volume = heart.volume(beat.contraction)
    torch.testing.assert_close(volume[:, 0], heart.edv[:, 0])
    torch.testing.assert_close(volume[:, 2], heart.esv[:, 0])
    assert bool((volume[:, 0] > volume[:, 1]).all() and (volume[:, 1] > volume[:, 2]).all())


def test_the_wall_thickens_and_keeps_its_volume(three_phases) -> None:
    heart, beat, position, _ = three_phases
    # Rotate a slice of the wall at mid-ventricle about the axis: volume = sum of pi r dA.
    wall = (position.u.abs() > position.endo) & (position.u.abs() < position.epi)
    middle = wall & (position.s > 0.3 * heart.length) & (position.s < 0.7 * heart.length)
    volume = (middle * position.now_u.abs()).sum((-2, -1)) * torch.pi * MM * MM
    assert torch.allclose(volume, volume[:, :1].expand_as(volume), rtol=0.05)
    height = 0.4 * heart.length * (1 - heart.shortening * beat.contraction)
    thickness = middle.sum((-2, -1)) * MM * MM / height[..., 0, 0]
    assert bool((thickness[:, 2] > thickness[:, 0]).all())


def test_in_systole_the_base_moves_to_the_apex_and_the_atrium_fills(three_phases) -> None:
    image = three_phases[3]
    annulus = [(image[:, t] == CAVITY).any(-1).int().cumsum(-1).argmax(-1) for t in (0, 2)]
    assert bool((annulus[1] < annulus[0]).all())
    atrium = (image == ATRIUM).sum((-2, -1))
    assert bool((atrium[:, 2] > atrium[:, 0]).all())


def test_the_motion_is_invertible(three_phases) -> None:
    position = three_phases[2]
    du_dx, ds_dx = (torch.diff(c, dim=-1)[..., :-1, :] for c in (position.u, position.s))
    du_dz, ds_dz = (torch.diff(c, dim=-2)[..., :-1] for c in (position.u, position.s))
    area = (du_dx * ds_dz - du_dz * ds_dx) / MM**2
    assert float((area > 0).float().mean()) > 0.999


def test_at_end_diastole_the_motion_is_the_identity(three_phases) -> None:
    position = three_phases[2]
    torch.testing.assert_close(position.s[:, 0], position.now_s[:, 0], atol=1e-3, rtol=0)
    torch.testing.assert_close(position.u[:, 0], position.now_u[:, 0], atol=1e-2, rtol=0)


def test_hearts_vary_in_a_plausible_range() -> None:
    heart = hearts(400, seed=0)
    ef = (1 - heart.esv / heart.edv).flatten()
    assert float(ef.min()) < 0.25
    assert float(ef.max()) > 0.68
    assert 0.4 < float(ef.mean()) < 0.6
    assert 15 < float(heart.edv.min()) < 60
    assert 200 < float(heart.edv.max()) < 500
    assert bool((heart.esv > 3).all())
    assert 0.4 < float(heart.view.mean()) < 0.6
    assert bool((hearts(8, seed=0, view=A2C).view == A2C).all() and (hearts(8, 0, A4C).view == A4C).all())


def test_rhythms_vary_in_a_plausible_range() -> None:
    beat = draw_beat(RandomValues(200, torch.Generator().manual_seed(1), torch.device("cpu")), 64)
    assert 45 <= float(beat.heart_rate.min()) < 55
    assert 95 < float(beat.heart_rate.max()) <= 130
    assert 20 <= float(beat.fps.min()) < 25
    assert 75 < float(beat.fps.max()) <= 80
    assert float(beat.contraction.min()) >= -1e-4
    assert 0.9 < float(beat.contraction.max()) < 1.15
    assert bool(((beat.phase >= 0) & (beat.phase <= 1 + 1e-4)).all())
    # Contraction is continuous between frames, also at the end of a beat.
    steps = torch.diff(beat.contraction, dim=1).abs() * beat.fps
    assert float(steps.max()) < 16


@pytest.mark.parametrize("rate", [45.0, 70.0, 130.0])
def test_the_mitral_valve_is_open_only_while_the_ventricle_fills(rate: float) -> None:
    period = torch.tensor(60.0 / rate)
    at = torch.linspace(0, 60.0 / rate, 500)
    contraction, opening = beat_curves(at, period, torch.tensor(0.7))
    assert float(contraction[0]) == pytest.approx(0, abs=1e-3)
    assert float(contraction[-1]) == pytest.approx(0, abs=1e-3)
    assert float(contraction.max()) == pytest.approx(1, abs=1e-3)
    ejecting = torch.diff(contraction) > 1e-5
    assert float(opening[:-1][ejecting].max()) < 0.02
    assert float(opening.max()) > 0.8

"""Anatomy and motion of the phantom: whole structures, honest volumes, conserved muscle."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from tests.unit.phantom.phantom_hearts import MM, at_contractions, disk_volume, hearts, on_grid
from vjepa_core.phantom.beat import beat_curves, draw_beat
from vjepa_core.phantom.draw import Draw
from vjepa_core.phantom.geometry import A2C, A4C
from vjepa_core.phantom.motion import ATRIUM, CAVITY, MYOCARDIUM, labels


@pytest.fixture(scope="module")
def three_moments() -> tuple:
    """Ten hearts at end-diastole, half way and end-systole: the hearts, their places and labels."""
    heart = hearts(10, seed=3)
    beat = at_contractions(10, [0.0, 0.5, 1.0])
    place = on_grid(heart, beat)
    return heart, beat, place, labels(heart, place)


@pytest.mark.parametrize("structure", [CAVITY, MYOCARDIUM, ATRIUM])
def test_every_structure_is_in_one_piece(three_moments, structure: int) -> None:
    for mask in three_moments[3].flatten(0, 1).numpy() == structure:
        count, _, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
        assert count >= 2, "the structure is missing"
        assert stats[1:, cv2.CC_STAT_AREA].max() >= 0.999 * mask.sum()


def test_the_wall_encloses_the_cavity_down_to_the_annulus(three_moments) -> None:
    for image in three_moments[3].flatten(0, 1).numpy():
        cavity = (image == CAVITY).astype(np.uint8)
        rim = image[(cv2.dilate(cavity, np.ones((3, 3), np.uint8)) > 0) & (cavity == 0)]
        assert np.isin(rim, (MYOCARDIUM, ATRIUM)).mean() > 0.98
        # And what it shares with the atrium is the mitral plane, a small part of it.
        assert 0.05 < (rim == ATRIUM).mean() < 0.4


def test_volumes_and_ejection_fraction_agree_with_the_masks(three_moments) -> None:
    heart, beat, _, image = three_moments
    for i in range(len(image)):
        angles = (heart.tilt + heart.swing * beat.contraction)[i, :, 0, 0].tolist()
        seen = [disk_volume(image[i, t] == CAVITY, angles[t]) for t in (0, 2)]
        edv, esv = float(heart.edv[i]), float(heart.esv[i])
        assert seen[0] == pytest.approx(edv, rel=0.07)
        assert 1 - seen[1] / seen[0] == pytest.approx(1 - esv / edv, abs=0.03)


def test_volume_at_the_ends_of_the_beat_is_edv_and_esv(three_moments) -> None:
    heart, beat, _, _ = three_moments
    volume = heart.volume(beat.contraction)
    torch.testing.assert_close(volume[:, 0], heart.edv[:, 0])
    torch.testing.assert_close(volume[:, 2], heart.esv[:, 0])
    assert bool((volume[:, 0] > volume[:, 1]).all() and (volume[:, 1] > volume[:, 2]).all())


def test_the_wall_thickens_and_keeps_its_volume(three_moments) -> None:
    heart, beat, place, _ = three_moments
    # A slice of the wall at mid-ventricle, turned about the axis: volume = sum of pi r dA.
    wall = (place.u.abs() > place.endo) & (place.u.abs() < place.epi)
    middle = wall & (place.s > 0.3 * heart.length) & (place.s < 0.7 * heart.length)
    volume = (middle * place.now_u.abs()).sum((-2, -1)) * torch.pi * MM * MM
    assert torch.allclose(volume, volume[:, :1].expand_as(volume), rtol=0.05)
    height = 0.4 * heart.length * (1 - heart.shortening * beat.contraction)
    thickness = middle.sum((-2, -1)) * MM * MM / height[..., 0, 0]
    assert bool((thickness[:, 2] > thickness[:, 0]).all())


def test_the_base_moves_to_the_apex_and_the_atrium_fills_meanwhile(three_moments) -> None:
    image = three_moments[3]
    annulus = [(image[:, t] == CAVITY).any(-1).int().cumsum(-1).argmax(-1) for t in (0, 2)]
    assert bool((annulus[1] < annulus[0]).all())
    atrium = (image == ATRIUM).sum((-2, -1))
    assert bool((atrium[:, 2] > atrium[:, 0]).all())


def test_the_motion_never_folds(three_moments) -> None:
    place = three_moments[2]
    du_dx, ds_dx = (torch.diff(c, dim=-1)[..., :-1, :] for c in (place.u, place.s))
    du_dz, ds_dz = (torch.diff(c, dim=-2)[..., :-1] for c in (place.u, place.s))
    area = (du_dx * ds_dz - du_dz * ds_dx) / MM**2
    assert float((area > 0).float().mean()) > 0.999


def test_at_end_diastole_every_point_is_its_own_place(three_moments) -> None:
    place = three_moments[2]
    torch.testing.assert_close(place.s[:, 0], place.now_s[:, 0], atol=1e-3, rtol=0)
    torch.testing.assert_close(place.u[:, 0], place.now_u[:, 0], atol=1e-2, rtol=0)


def test_hearts_differ_and_stay_plausible() -> None:
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


def test_rhythms_range_widely_and_time_runs_on() -> None:
    beat = draw_beat(Draw(200, torch.Generator().manual_seed(1), torch.device("cpu")), 64)
    assert 45 <= float(beat.heart_rate.min()) < 55
    assert 95 < float(beat.heart_rate.max()) <= 130
    assert 20 <= float(beat.fps.min()) < 25
    assert 75 < float(beat.fps.max()) <= 80
    assert float(beat.contraction.min()) >= -1e-4
    assert 0.9 < float(beat.contraction.max()) < 1.15
    assert bool(((beat.phase >= 0) & (beat.phase <= 1 + 1e-4)).all())
    # A wall never jumps from one frame to the next, not even where a beat ends.
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

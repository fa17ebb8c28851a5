"""Findings of predicted label images, and their effect on the expected Dice."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from vjepa_core.bench.representation import phantom_stills
from vjepa_core.fewshot.findings import CAP, CineFindings, Finding, allowed_pieces, capped, findings
from vjepa_core.fewshot.prepared_cine import frame_label
from vjepa_core.letterbox import Letterbox

GRID = 112


def heart() -> NDArray[np.uint8]:
    mask = np.zeros((GRID, GRID), np.uint8)
    cv2.ellipse(mask, (56, 50), (20, 30), 0, 0, 360, (2,), -1)
    cv2.ellipse(mask, (56, 52), (13, 23), 0, 0, 360, (1,), -1)
    cv2.ellipse(mask, (56, 92), (14, 14), 0, 0, 360, (3,), -1)
    return mask


def of(mask: NDArray[np.uint8], left_heart: bool = True) -> set[Finding]:
    return findings(mask, left_heart=left_heart, allowed={})


def test_outlined_hearts_have_no_findings() -> None:
    assert of(heart()) == set()
    for mask in phantom_stills(12, GRID, seed=4).masks:
        assert of(mask) == set()


def test_pieces_holes_and_an_open_wall_are_found() -> None:
    torn = heart()
    torn[46:52, 40:73] = 0  # the ventricle in two
    assert Finding.PIECES in of(torn)
    holed = heart()
    holed[44:52, 52:60] = 0
    assert of(holed) == {Finding.HOLE}
    bare = heart()
    bare[:, 56:][bare[:, 56:] == 2] = 0
    assert of(bare) == {Finding.UNENCLOSED}


def test_pieces_of_a_few_pixels_are_ignored() -> None:
    crumbs = heart()
    crumbs[5:8, 5:8] = 1
    assert of(crumbs) == set()


def test_structures_outlined_in_pieces_may_be_predicted_in_pieces() -> None:
    leaflets = np.zeros((GRID, GRID), np.uint8)
    leaflets[40:44, 20:40] = leaflets[40:44, 60:80] = 5
    label = frame_label(leaflets, Letterbox.for_image(GRID, GRID), (5,))
    allowed = allowed_pieces([label], (5,))
    assert allowed == {5: 2}
    assert findings(leaflets, left_heart=False, allowed=allowed) == set()
    assert findings(leaflets, left_heart=False, allowed={}) == {Finding.PIECES}
    assert findings(leaflets, left_heart=False, allowed=None) == set()


@pytest.mark.parametrize("dice", [0.99, 0.94, 0.4])
def test_a_finding_caps_the_expected_dice(dice: float) -> None:
    assert capped(dice, []) == dice
    assert capped(dice, [Finding.PIECES]) == min(dice, CAP)


def whole() -> NDArray[np.bool_]:
    return np.ones((224, 224), bool)


def test_a_jump_of_an_area_is_found_on_the_deviating_frame() -> None:
    cine_findings = CineFindings(whole(), fps=30, left_heart=True)
    small = cv2.resize(heart(), (80, 80), interpolation=cv2.INTER_NEAREST)
    blob = np.zeros((GRID, GRID), np.uint8)
    blob[16:96, 16:96] = small
    masks = np.stack([heart(), heart(), blob, heart(), heart()])
    cine_findings.update([0, 1], masks[:2], {})
    cine_findings.update([2], masks[2:3], {})
    changed = cine_findings.update([3, 4], masks[3:], {})
    assert [cine_findings.of(frame) for frame in range(5)] == [(), (), (Finding.JUMP,), (), ()]
    assert {3, 4} <= changed
    assert 2 not in changed or cine_findings.of(2) == (Finding.JUMP,)
    assert 2 in cine_findings.update([2], masks[:1], {})
    assert cine_findings.of(2) == ()


def test_a_beating_ventricle_does_not_jump() -> None:
    cine_findings = CineFindings(whole(), fps=25, left_heart=True)
    for frame in range(25):
        mask, size = np.zeros((GRID, GRID), np.uint8), 20 + 4 * np.cos(2 * np.pi * frame / 25)
        cv2.ellipse(mask, (56, 50), (int(size), int(1.4 * size)), 0, 0, 360, (1,), -1)
        cine_findings.update([frame], mask[None], {})
    assert all(Finding.JUMP not in cine_findings.of(frame) for frame in range(25))


def test_structures_outside_the_sector_are_found() -> None:
    sector = np.zeros((224, 224), bool)
    sector[:, :100] = True
    cine_findings = CineFindings(sector, fps=30, left_heart=True)
    cine_findings.update([0], heart()[None], {})
    assert Finding.OUTSIDE in cine_findings.of(0)

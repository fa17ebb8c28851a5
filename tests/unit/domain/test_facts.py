"""Views, landmarks and phase marks."""

from __future__ import annotations

import pytest

from app.domain.facts import (
    AssignedView,
    Fact,
    FactChange,
    FactChanges,
    FactKind,
    Landmarks,
    ManualCalibration,
    Phase,
    PhaseMark,
    changes_from_json,
    changes_to_json,
    fact_from_json,
    fact_to_json,
)
from app.domain.study import salted_hash
from app.domain.views import FactSource, View
from app.readers.view import view_in_text

FACTS: dict[FactKind, Fact] = {
    FactKind.VIEW: AssignedView(View.PSAX_MITRAL, FactSource.FILE),
    FactKind.LANDMARKS: Landmarks(((1.5, 2.0), (3.0, 4.25)), (5.0, 6.0), FactSource.MANUAL),
    FactKind.PHASE: PhaseMark(Phase.ES, FactSource.RECOGNISED),
    FactKind.CALIBRATION: ManualCalibration(((10.0, 2.5), (10.0, 202.5)), 100.0, 0.4, 0.5),
}


@pytest.mark.parametrize(("kind", "fact"), FACTS.items())
def test_facts_as_json(kind: FactKind, fact: Fact) -> None:
    assert fact_from_json(kind, fact_to_json(fact)) == fact


@pytest.mark.parametrize("kind", FactKind)
@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"source": "manual"}',
        '{"source": "me", "view": "A4C"}',
        '{"source": "file", "view": 4}',
    ],
)
def test_damaged_facts_are_refused(kind: FactKind, text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        fact_from_json(kind, text)


@pytest.mark.parametrize("apex", ["null", "[1]", "[1, 2, 3]", "[NaN, 1]", '["a", 1]'])
def test_damaged_coordinates_are_refused(apex: str) -> None:
    text = f'{{"source": "manual", "hinge_points": [[1, 2], [3, 4]], "apex": {apex}}}'
    with pytest.raises(ValueError, match=r"."):
        fact_from_json(FactKind.LANDMARKS, text)


def test_a_change_must_fit_its_kind() -> None:
    with pytest.raises(ValueError, match="cannot belong to frame 3"):
        FactChange(FactKind.VIEW, 3, None, FACTS[FactKind.VIEW], "A")
    with pytest.raises(ValueError, match="cannot belong to frame None"):
        FactChange(FactKind.PHASE, None, None, FACTS[FactKind.PHASE], "A")
    with pytest.raises(ValueError, match="is not a phase"):
        FactChange(FactKind.PHASE, 3, None, FACTS[FactKind.LANDMARKS], "A")


def test_several_changes_are_one_step() -> None:
    es = FACTS[FactKind.PHASE]
    moved = FactChanges(
        (FactChange(FactKind.PHASE, 3, es, None, "A"), FactChange(FactKind.PHASE, 5, None, es, "A"))
    )
    assert changes_from_json(changes_to_json(moved), "A") == moved
    assert (moved.frame, moved.rater) == (5, "A")
    with pytest.raises(ValueError, match="different facts"):
        FactChanges(())
    with pytest.raises(ValueError, match="different facts"):
        FactChanges(moved.changes[:1] * 2)


@pytest.mark.parametrize("text", ["", "{", "[1]", '[["phase", 3]]', '[["phase", null, null, null]]'])
def test_damaged_changes_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        changes_from_json(text, "A")


@pytest.mark.parametrize("number", ["0", "-1", "NaN", "Infinity"])
def test_a_damaged_calibration_is_refused(number: str) -> None:
    text = f'{{"source": "manual", "points": [[1, 2], [3, 4]], "distance_mm": {number}, "mm_per_px": [1, 1]}}'
    with pytest.raises(ValueError, match=r"."):
        fact_from_json(FactKind.CALIBRATION, text)


@pytest.mark.parametrize(
    "text", ["A4C", "apical 2 chamber", "aplax", "5ch", "PLAX", "PSAX", "PSAX MV", "subcostal", "subcostal 4"]
)
def test_views_of_files_are_known(text: str) -> None:
    assert view_in_text(text) in list(View)


def test_salted_hashes() -> None:
    assert salted_hash("a", "1.2.3") == salted_hash("a", "1.2.3")
    assert len({salted_hash(salt, text) for salt in "ab" for text in ("1.2.3", "1.2.4")}) == 4

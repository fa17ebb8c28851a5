"""Lines about what the numbers depend on."""

from __future__ import annotations

from app.workspace.measuring.contents import Link
from app.workspace.measuring.fact_lines import pair_line

CHANGE, CHOOSE = Link("change", "pair"), Link("choose a pair", "pair")


def test_a_measured_pair_is_named() -> None:
    line = pair_line("a (A4C)", "b (A2C)", reason="", has_candidates=True)
    assert line == ("Pair: a (A4C) with b (A2C) · ", CHANGE)


def test_the_reason_for_missing_biplane_volumes_is_stated() -> None:
    reason = "b.dcm has no masks yet: open it, so that they are predicted."
    assert pair_line("a", "b", reason=reason, has_candidates=True) == (f"{reason} · ", CHANGE)
    assert pair_line("a", None, reason=reason, has_candidates=False) == (reason,)


def test_without_a_reason_one_view_is_measured() -> None:
    text = "No pair: volumes are from one view."
    assert pair_line("a", None, reason="", has_candidates=False) == (text,)
    assert pair_line("a", None, reason="", has_candidates=True) == (f"{text} · ", CHOOSE)

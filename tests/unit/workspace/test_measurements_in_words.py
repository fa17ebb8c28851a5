"""Measurements as text: numbers, intervals, origin of the frames, plain text without names."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from app.domain.cine import Cine
from app.domain.measure.heart import Values
from app.domain.measure.left_heart import LeftHeart, ViewInput, measure_left_heart
from app.domain.views import FactSource, View
from app.readers.open import open_cine
from app.workspace.measuring.contents import Contents, Row, frame_link
from app.workspace.measuring.describe import Describer, ViewFacts, number, warning_lines
from app.workspace.measuring.text_report import as_text
from tests.hearts import ED_FRAMES, ES_FRAME, beating, calibrated_cine, heart

VALUES = Values(1, 2, 3)
A4C = ViewFacts("A4C", 1, dict.fromkeys(range(40), "drawn"))
A2C = ViewFacts("A2C", 2, dict.fromkeys(range(40), "draft"))


@pytest.fixture
def cine(tmp_path: Path) -> Iterator[Cine]:
    cine = open_cine(calibrated_cine(tmp_path / "heart.dcm"))
    yield cine
    cine.source.close()


def measured(
    cine: Cine, *views: View, frames: tuple[int, int] | None = (ED_FRAMES[0], ES_FRAME)
) -> LeftHeart:
    return measure_left_heart(
        [ViewInput(cine, beating(), view, FactSource.MANUAL, frames) for view in views], VALUES
    )


def by_label(rows: tuple[Row, ...]) -> dict[str, Row]:
    return {row.label: row for row in rows}


def test_biplane_values_come_first_with_interval_and_the_origin_of_each_view(cine: Cine) -> None:
    result = replace(
        measured(cine, View.A4C, View.A2C),
        intervals={"biplane.ef_percent": (52.4, 61.2), "biplane.edv_ml": (48.0, 57.0)},
    )
    describer = Describer(result, [A4C, A2C])
    assert result.biplane is not None
    headline = describer.headline()
    assert headline is not None
    assert headline.label == "EF, biplane"
    assert headline.value == f"{result.biplane.ef_percent:.0f} %"
    assert (headline.interval, headline.detail) == ("52 to 61", "A4C drawn, A2C draft")
    edv = by_label(describer.rows())["EDV"]
    assert edv.value == f"{result.biplane.edv_ml:.0f} ml"
    assert (edv.interval, edv.detail) == ("48 to 57", "A4C drawn, A2C draft")
    assert by_label(describer.rows())["ESV"].interval == ""
    assert "EF, A4C" in by_label(describer.minor())


def test_one_view_is_named(cine: Cine) -> None:
    describer = Describer(measured(cine, View.A4C), [A4C])
    headline = describer.headline()
    assert headline is not None
    assert headline.label == "EF, A4C"
    assert headline.detail == "drawn"
    rows = by_label(describer.rows())
    assert rows["EDV"].detail == "drawn"
    assert rows["GLS"].value.startswith("−")
    assert "not speckle tracking" in rows["GLS"].detail
    assert "MAPSE A4C" in rows
    assert "EF, A4C" not in by_label(describer.minor())


def test_values_of_both_views_share_a_row(cine: Cine) -> None:
    rows = by_label(Describer(measured(cine, View.A4C, View.A2C), [A4C, A2C]).rows())
    length = rows["Length A4C / A2C"]
    first, second = length.value.removesuffix(" mm").split(" / ")
    assert first == second
    assert length.detail == "differ by 0 %"


def test_without_calibration_there_are_no_millilitres(cine: Cine) -> None:
    bare = replace(cine, calibration=None, regions=())
    describer = Describer(measured(bare, View.A4C), [A4C])
    assert describer.headline() is not None
    texts = [row.value for row in (*describer.rows(), *describer.minor())]
    assert texts
    assert all(text.endswith(("%", "/min")) for text in texts)


def test_without_a_ventricle_there_is_no_number(cine: Cine) -> None:
    blank = {frame: 0 * heart(20) for frame in range(40)}
    result = measure_left_heart([ViewInput(cine, blank, View.A4C, FactSource.MANUAL)], VALUES)
    describer = Describer(result, [A4C])
    assert describer.headline() is None
    assert describer.rows() == ()


def test_warnings_link_to_their_frame(cine: Cine) -> None:
    result = replace(
        measured(cine, View.A4C),
        warnings=(
            "A4C: Frame 20: check its outline.",
            "A4C: Frames 2 and 20: nobody has checked.",
            "biplane: foreshortened.",
        ),
    )
    lines = warning_lines(result, [A4C])
    link = frame_link("frame 20", 1, 20)
    assert lines[0] == ("A4C: Frame 20: check its outline. Go to ", link, ".")
    assert lines[1] == (
        "A4C: Frames 2 and 20: nobody has checked. Go to ",
        frame_link("frame 2", 1, 2),
        ", ",
        link,
        ".",
    )
    assert lines[2] == ("biplane: foreshortened.",)


def test_numbers_have_a_true_minus_sign() -> None:
    assert number(-19.06, 1) == "−19.1"
    assert number(0.4) == "0"


def test_the_text_for_the_clipboard_has_units_intervals_origin_and_notice_but_no_file(cine: Cine) -> None:
    contents = Contents(
        headline=Row("EF, biplane", "57 %", "52 to 61", "drawn, draft"),
        rows=(Row("SV", "59 ml"),),
        facts=(("Pair: Smith_John.dcm (A4C)",),),
        is_updating=True,
    )
    text = as_text(contents, ["Method of disks, ASE/EACVI 2015."], ["A2C is a draft."])
    assert "Research use only" in text
    assert "EF, biplane: 57 % (90 % interval 52 to 61; drawn, draft)" in text
    assert "SV: 59 ml\n" in text
    assert "Method of disks" in text
    assert "still changing" in text
    assert "- A2C is a draft." in text
    assert "Smith" not in text

"""Measurements of one view or a pair: beats, atrium, landmarks by hand, indexing, intervals, JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from app.domain.cine import Box, Calibration, Cine, Region, Timing, TimingSource
from app.domain.facts import Landmarks
from app.domain.measure.as_json import to_json
from app.domain.measure.as_table import to_rows
from app.domain.measure.body_size import BodySize
from app.domain.measure.frame_geometry import examine_frame
from app.domain.measure.heart import Values
from app.domain.measure.landmarks import Source
from app.domain.measure.left_heart import ViewInput, measure_left_heart
from app.domain.views import FactSource, View
from tests.unit.measure.test_geometry import half_ellipse
from vjepa_core.label_image import LabelImage

VALUES = Values(1, 2, 3)
SIZE = half_ellipse().shape


class NoFrames:
    """A source of a cine whose frames are not needed."""

    def frame(self, index: int) -> np.ndarray:
        raise AssertionError("no frame is decoded")

    def is_decoded(self, index: int) -> bool:
        return False

    def prefetch(self, order: object, on_frame: object = None) -> None: ...

    def close(self) -> None: ...


def cine(n_frames: int, *, mm: float | None = 0.4, fps: float = 25.0, waves: tuple[float, ...] = ()) -> Cine:
    """A cine of the size of `half_ellipse`, calibrated with square pixels or not at all."""
    height, width = SIZE
    box = Box(0, 0, width, height)
    size = None if mm is None else Calibration(mm, mm, "PhysicalDelta")
    times = np.arange(n_frames, dtype=np.float64) * (1000.0 / fps)
    return Cine(
        path=Path("cine.dcm"),
        uid="",
        content_hash="",
        n_frames=n_frames,
        height=height,
        width=width,
        timing=Timing(times, TimingSource.FRAME_TIME),
        calibration=size,
        regions=(Region(box, 1, 1, 3, 3, 0.04, 0.04, size),) if size else (),
        region=box,
        region_source="whole image",
        colour_doppler=False,
        burned_in_annotation=None,
        view=None,
        pixel_format="",
        warnings=(),
        source=NoFrames(),
        r_waves_ms=waves,
    )


def heart(scale: float, atrium: float = 1.0) -> LabelImage:
    """A half-ellipsoid with a wall, whose base adjoins an atrium; `scale` is that of the cavity."""
    length, radius = 80.0 * scale, 22.0 * scale
    label = 2 * half_ellipse(length=length + 9, radius=radius + 9).astype(np.uint8)
    cavity = half_ellipse(length=length, radius=radius)
    label[cavity] = 1
    bottom = int(np.flatnonzero(cavity.any(1)).max())
    columns = np.flatnonzero(cavity[bottom])
    depth = int(30 * atrium)
    label[bottom + 1 : bottom + 1 + depth, columns[0] : columns[-1] + 1] = 3
    return label


def beating(n_frames: int, period: int) -> dict[int, LabelImage]:
    """Label images of regular beats, largest on the frames 0, `period`, ..."""
    phase = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_frames) / period)
    return {i: heart(1.0 - 0.25 * p, 0.6 + 0.4 * p) for i, p in enumerate(phase)}


def view(name: View, labels: dict[int, LabelImage], of: Cine, **more: object) -> ViewInput:
    return ViewInput(of, labels, name, FactSource.FILE, **more)  # type: ignore[arg-type]


def test_every_complete_beat_is_measured_with_mean_and_deviation() -> None:
    labels = beating(61, 20)
    found = measure_left_heart([view(View.A4C, labels, cine(61))], VALUES)
    beats = found.views["A4C"].beats
    assert len(beats) == 3
    data = to_json(found)["views"]["A4C"]
    assert data["ef_percent"] == pytest.approx(100 * (1 - 0.75**3), abs=1.5)
    assert data["mean"]["ef_percent"] == pytest.approx(np.mean([beat.ef_percent for beat in beats]))
    assert data["sd"]["ef_percent"] < 1.0
    assert data["heart_rate_bpm"] == pytest.approx(75, rel=0.02)
    assert data["cardiac_output_l_min"] == pytest.approx(data["sv_ml"] * data["heart_rate_bpm"] / 1000)
    assert 0 < data["la_reservoir_percent"] < 100
    assert data["la_volume_min_ml"] < data["la_volume_es_ml"]
    assert len(data["wall_segments_ed_mm"]) == 6
    assert all(5 < thickness < 14 for thickness in data["wall_segments_ed_mm"])


def test_the_user_can_choose_the_beat() -> None:
    labels = beating(61, 20)
    first, second = (
        measure_left_heart([view(View.A4C, labels, cine(61), beat=beat)], VALUES) for beat in (0, 1)
    )
    assert first.views["A4C"].beats[1].ed_frame == second.views["A4C"].beats[0].ed_frame
    assert measure_left_heart([view(View.A4C, labels, cine(61), beat=9)], VALUES).views["A4C"].beats


def test_r_waves_limit_the_beats_and_give_the_heart_rate() -> None:
    labels = beating(61, 20)
    found = measure_left_heart([view(View.A4C, labels, cine(61, waves=(80.0, 880.0, 1680.0)))], VALUES)
    cycle = found.views["A4C"].cycle
    assert [beat.ed for beat in cycle.beats] == [2, 22]
    assert cycle.heart_rate == pytest.approx(75)
    assert to_json(found)["views"]["A4C"]["heart_rate_source"] == "R waves of the file"


def test_a_pair_is_measured_beat_by_beat() -> None:
    labels = beating(61, 20)
    found = measure_left_heart([view(View.A4C, labels, cine(61)), view(View.A2C, labels, cine(61))], VALUES)
    assert found.biplane is not None
    assert len(found.biplane_beats) == 3
    single = found.views["A4C"].beats[0]
    assert found.biplane.edv_ml == pytest.approx(single.edv_ml)
    assert found.biplane.la_volume_es_area_length_ml == pytest.approx(single.la_volume_es_area_length_ml)
    assert found.biplane.gls_endo_percent == pytest.approx(single.gls_endo_percent)
    data = to_json(found)["biplane"]
    assert data["mean"]["ef_percent"] == pytest.approx(data["ef_percent"], abs=1)


def test_landmarks_by_hand_replace_the_derived_ones_on_their_frame() -> None:
    labels = beating(21, 20)
    derived = measure_left_heart([view(View.A4C, labels, cine(21), frames=(0, 10))], VALUES)
    axis = derived.views["A4C"].ed.axis  # type: ignore[union-attr]
    left, right, apex = (tuple(point[::-1] / 0.4) for point in (axis.left, axis.right, axis.apex))
    by_hand = Landmarks((left, right), (apex[0], apex[1] + 25), FactSource.MANUAL)
    found = measure_left_heart(
        [view(View.A4C, labels, cine(21), frames=(0, 10), landmarks={0: by_hand})], VALUES
    )
    ed = found.views["A4C"].ed
    assert ed is not None
    assert ed.axis.source is Source.MANUAL
    assert ed.axis.length_mm == pytest.approx(axis.length_mm - 10, abs=0.1)
    assert found.views["A4C"].es.axis.source is not Source.MANUAL  # type: ignore[union-attr]
    degenerate = Landmarks((left, left), left, FactSource.MANUAL)
    again = measure_left_heart(
        [view(View.A4C, labels, cine(21), frames=(0, 10), landmarks={0: degenerate})], VALUES
    )
    assert again.views["A4C"].ed.axis.length_mm == pytest.approx(axis.length_mm)  # type: ignore[union-attr]


def test_volumes_are_indexed_by_body_surface_area() -> None:
    labels = beating(21, 20)
    found = measure_left_heart(
        [view(View.A4C, labels, cine(21), frames=(0, 10))], VALUES, body=BodySize(180.0, 80.0)
    )
    data = to_json(found)
    assert data["body"]["surface_m2"] == pytest.approx(2.0)
    assert data["views"]["A4C"]["edv_ml_m2"] == pytest.approx(data["views"]["A4C"]["edv_ml"] / 2)
    for height, weight in ((1.8, 80.0), (180.0, 8000.0), (math.nan, 80.0)):
        with pytest.raises(ValueError, match="not plausible"):
            BodySize(height, weight)


def test_intervals_are_wider_the_more_doubtful_the_masks_are() -> None:
    labels = beating(21, 20)

    def width(**more: object) -> float:
        one = view(View.A4C, labels, cine(21), frames=(0, 10), **more)
        found = measure_left_heart([one, replace(one, view=View.A2C)], VALUES)
        low, high = found.intervals["biplane.ef_percent"]
        assert low < found.biplane.ef_percent < high  # type: ignore[union-attr, operator]
        assert {"A4C.edv_ml", "A4C.gls_endo_percent", "biplane.edv_ml"} <= set(found.intervals)
        return high - low

    drawn = width(is_human=frozenset((0, 10)))
    good, poor = (width(structure_dice={0: dice, 10: dice}) for dice in (0.97, 0.9))
    assert good < poor
    assert drawn < poor


def test_doubtful_and_unchecked_masks_are_named() -> None:
    labels = beating(21, 20)
    found = measure_left_heart(
        [view(View.A4C, labels, cine(21), frames=(0, 10), expected_dice={0: 0.7, 10: 0.9})], VALUES
    )
    assert any("Frame 0" in text and "below 0.80" in text for text in found.warnings)
    assert any("Frame 10" in text and "nobody has checked" in text for text in found.warnings)


def test_without_pixel_size_on_one_side_there_are_no_biplane_volumes() -> None:
    labels = beating(21, 20)
    views = [
        view(View.A4C, labels, cine(21), frames=(0, 10)),
        view(View.A2C, labels, cine(21, mm=None), frames=(0, 10)),
    ]
    found = measure_left_heart(views, VALUES)
    assert found.biplane is not None
    assert found.biplane.edv_ml is found.biplane.ef_percent is None
    assert any("Only one of the two views" in text for text in found.warnings)


@pytest.mark.parametrize(
    ("labels", "of", "more", "reason"),
    [
        ({0: heart(1.0)}, cine(1), {}, "one frame only"),
        ({}, cine(21), {}, "No left ventricle"),
        ({0: heart(1.0), 10: heart(0.8)}, cine(21), {}, "Only 10 % of the frames"),
        ({0: heart(1.0), 10: heart(0.8)}, cine(21), {"frames": (0, 5)}, "Frame 5: no left ventricle"),
        ({0: heart(1.0), 10: heart(0.8)}, cine(21), {"frames": (10, 0)}, "larger at end-systole"),
        ({0: heart(1.0)}, cine(21), {"frames": (0, 0)}, "the same frame"),
        (beating(9, 20), cine(9), {}, "no complete beat"),
        (
            {0: heart(1.0), 10: np.eye(*SIZE, dtype=np.uint8)},
            cine(21),
            {"frames": (0, 10)},
            "Frame 10: no left",
        ),
    ],
)
def test_a_sentence_takes_the_place_of_a_number(
    labels: dict[int, LabelImage], of: Cine, more: dict[str, object], reason: str
) -> None:
    found = measure_left_heart([view(View.A4C, labels, of, **more)], VALUES)
    assert any(reason in text for text in found.warnings)
    assert found.views["A4C"].beats[0].ef_percent is None
    assert found.intervals.keys() <= {"A4C.edv_ml", "A4C.esv_ml", "A4C.la_volume_es_ml"}


def test_other_views_are_not_measured() -> None:
    labels = beating(21, 20)
    found = measure_left_heart([view(View.PSAX, labels, cine(21), frames=(0, 10))], VALUES)
    assert found.views["PSAX"].beats[0].edv_ml is None
    assert found.warnings == (
        "PSAX: The view is not A4C, A2C or A3C, which the method of disks needs: nothing is measured.",
    )


@pytest.mark.parametrize("second", [View.A4C, View.A3C])
def test_two_views_that_are_not_perpendicular_give_no_biplane_volume(second: View) -> None:
    labels = beating(21, 20)
    views = [view(name, labels, cine(21), frames=(0, 10)) for name in (View.A4C, second)]
    found = measure_left_heart(views, VALUES)
    assert len(found.views) == 2
    assert found.biplane is not None
    assert found.biplane.edv_ml is None
    assert any("need an A4C and an A2C view" in text for text in found.warnings)


def test_frames_in_pictures_of_different_pixel_sizes_give_ratios_only() -> None:
    of = cine(21)
    height, width = SIZE
    half, size = height // 2, Calibration(0.2, 0.2, "PhysicalDelta")
    lower = Region(Box(0, half, width, height), 1, 1, 3, 3, 0.02, 0.02, size)
    upper = replace(of.regions[0], box=Box(0, 0, width, half))
    small = heart(0.4)
    top = int(np.flatnonzero(small.any(1)).min())
    labels = {0: np.roll(small, -top, axis=0), 10: np.roll(small, half - top + 2, axis=0)}
    found = measure_left_heart(
        [view(View.A4C, labels, replace(of, regions=(upper, lower)), frames=(0, 10))], VALUES
    )
    beat = found.views["A4C"].beats[0]
    assert beat.edv_ml is None
    assert beat.ef_percent == pytest.approx(0.0, abs=1.0) or beat.ef_percent is None
    assert any("different pixel sizes" in text for text in found.warnings)


def test_pixel_sizes_that_disagree_within_a_pair_give_no_biplane_volume() -> None:
    labels = beating(21, 20)
    views = [
        view(View.A4C, labels, cine(21), frames=(0, 10)),
        view(View.A2C, labels, cine(21, mm=0.2), frames=(0, 10)),
    ]
    found = measure_left_heart(views, VALUES)
    assert found.biplane is not None
    assert found.biplane.edv_ml is None
    assert any("check the calibration of both views" in text for text in found.warnings)


def test_a_calibration_by_hand_is_named() -> None:
    of = cine(21)
    size = Calibration(0.4, 0.4, "by hand")
    by_hand = replace(of, calibration=size, regions=(replace(of.regions[0], calibration=size),))
    found = measure_left_heart([view(View.A4C, beating(21, 20), by_hand, frames=(0, 10))], VALUES)
    assert found.views["A4C"].beats[0].edv_ml is not None
    assert any("calibrated by hand" in text for text in found.warnings)
    assert to_json(found)["views"]["A4C"]["calibration_source"] == "by hand"


def test_landmarks_beside_the_cavity_are_not_used() -> None:
    far = Landmarks(((1.0, 1.0), (9.0, 1.0)), (5.0, 9.0), FactSource.MANUAL)
    labels = beating(21, 20)
    plain, ignored = (
        measure_left_heart([view(View.A4C, labels, cine(21), frames=(0, 10), landmarks=given)], VALUES)
        for given in ({}, {0: far})
    )
    assert ignored.views["A4C"].beats[0].edv_ml == plain.views["A4C"].beats[0].edv_ml
    assert any("Frame 0: the landmarks set by hand" in text for text in ignored.warnings)


def test_frames_examined_before_are_not_examined_again(monkeypatch: pytest.MonkeyPatch) -> None:
    labels, of = beating(41, 20), cine(41)
    known = {frame: examine_frame(of, label, VALUES) for frame, label in labels.items()}
    fresh = to_json(measure_left_heart([view(View.A4C, labels, of)], VALUES))
    monkeypatch.setattr("app.domain.measure.frame_geometry.heart_geometry", None)
    found = measure_left_heart([view(View.A4C, labels, of, known=known)], VALUES)
    assert to_json(found) == fresh
    volumes = to_json(found)["views"]["A4C"]["volume_curve_ml"]
    beat = found.views["A4C"].beats[0]
    assert len(volumes) == 41
    assert volumes[beat.ed_frame] == beat.edv_ml


def test_frames_with_the_same_reason_share_a_sentence() -> None:
    labels = beating(61, 20)
    pieces = {
        frame: np.where(np.arange(SIZE[0])[:, None] % 40 < 12, 0, label) for frame, label in labels.items()
    }
    found = measure_left_heart([view(View.A4C, pieces, cine(61))], VALUES)
    texts = [text for text in found.warnings if "several parts" in text]
    assert len(texts) == 1
    assert texts[0].startswith("A4C: Frames ")
    assert " and " in texts[0]


POSITIVE = ("_ml", "_mm", "_cm2", "_bpm", "_l_min", "_ml_m2")


def numbers(part: object, name: str = "") -> Iterator[tuple[str, float]]:
    """All numbers of a JSON value, with the last key that leads to them."""
    if isinstance(part, dict):
        for key, value in part.items():
            yield from numbers(value, key)
    elif isinstance(part, list):
        for value in part:
            yield from numbers(value, name)
    elif isinstance(part, float):
        yield name, part


@settings(max_examples=30, deadline=None)
@given(
    arrays(np.uint8, (12, 6, 6), elements=st.integers(0, 4)),
    st.integers(1, 20),
    st.booleans(),
    st.sampled_from((None, 0.4)),
    st.none() | st.tuples(st.integers(-1, 13), st.integers(-1, 13)),
)
def test_random_pictures_give_valid_json_without_a_zero_for_a_missing_value(
    coarse: np.ndarray, size: int, with_atrium: bool, mm: float | None, frames: tuple[int, int] | None
) -> None:
    """Blocks of pixels of random structures, some of which are large enough for a ventricle."""
    blocks = np.kron(coarse % 4, np.ones((size, size), np.uint8))
    labels = dict(enumerate(np.pad(blocks, ((0, 0), (30, 0), (30, 0)))))
    of = replace(cine(12, mm=mm), height=labels[0].shape[0], width=labels[0].shape[1])
    values = VALUES if with_atrium else Values(1)
    one = view(View.A4C, labels, of, frames=frames, expected_dice={0: 0.5}, structure_dice={1: 0.9})
    found = measure_left_heart([one, replace(one, view=View.A2C)], values, body=BodySize(170, 70))
    data = json.loads(json.dumps(to_json(found), allow_nan=False))
    for key in ("mean", "sd"):
        for part in (*data["views"].values(), data["biplane"]):
            del part[key]
    for name, value in numbers({"views": data["views"], "biplane": data["biplane"]}):
        if name.endswith(POSITIVE) and not name.startswith(("mapse", "sv_", "cardiac")):
            assert value > 0, name
    if mm is None:
        assert data["biplane"]["edv_ml"] is data["views"]["A4C"]["edv_ml"] is None
    if data["views"]["A4C"]["ef_percent"] is None:
        assert found.warnings
    rows = to_rows(to_json(found))
    assert all(math.isfinite(row[3]) for row in rows)


@settings(max_examples=30, deadline=None)
@given(arrays(np.uint8, (3, 24, 24), elements=st.integers(0, 3)), st.booleans(), st.booleans())
def test_any_label_images_give_finite_numbers_or_none(masks: np.ndarray, by_hand: bool, in_mm: bool) -> None:
    frames = np.zeros((3, *SIZE), np.uint8)
    frames[:, 40:64, 40:64] = masks
    labels = dict(enumerate(frames))
    chosen = (0, 2) if by_hand else None
    of = cine(3, mm=0.4 if in_mm else None)
    one = view(View.A4C, labels, of, frames=chosen)
    found = measure_left_heart([one, replace(one, view=View.A2C)], VALUES, body=BodySize(170, 70))
    text = json.dumps(to_json(found), allow_nan=False)
    for part in [*json.loads(text)["views"].values(), json.loads(text)["biplane"]]:
        if part["ef_percent"] is None:
            assert found.warnings
        assert part["edv_ml"] != 0
    assert all(math.isfinite(low) and low <= high for low, high in found.intervals.values())
    assert all(a != b for a, b in pairwise(sorted(found.warnings)))


def test_misplaced_landmarks_and_an_end_systole_before_end_diastole_are_named() -> None:
    labels = beating(41, 20)
    far = Landmarks(((390.0, 5.0), (220.0, 250.0)), (200.0, 60.0), FactSource.MANUAL)
    found = measure_left_heart(
        [view(View.A4C, labels, cine(41), frames=(20, 10), landmarks={20: far})], VALUES
    )
    assert found.views["A4C"].ed.axis.source is not Source.MANUAL  # type: ignore[union-attr]
    assert any("set by hand do not fit" in text for text in found.warnings)
    assert any("before end-diastole" in text for text in found.warnings)

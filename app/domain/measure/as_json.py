"""Measurements as JSON: the contract of `apical measure`, `segment` and exports."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import fields
from statistics import mean, stdev
from typing import Any

from app.domain.measure.biplane import BiplaneMeasurement
from app.domain.measure.cine_measurement import CineMeasurement
from app.domain.measure.left_heart import LeftHeart
from app.domain.measure.view_measurement import ViewMeasurement

INDEXED = ("edv_ml", "esv_ml", "sv_ml", "la_volume_es_ml")
"""Volumes that are also given by body surface area."""


def to_json(heart: LeftHeart) -> dict[str, Any]:
    """Return the measurements as a JSON object.

    A number that cannot be given is None, with the reason in "warnings". The keys of a view are those of
    `ViewMeasurement`, for the beat that is shown; "beats" lists all complete beats, "mean" and "sd" are over
    them, and are given for two or more.

    Parameters
    ----------
    heart : LeftHeart
    """
    data: dict[str, Any] = {"method": str(heart.method), "views": {}}
    for name, measured in heart.views.items():
        source = heart.view_sources.get(name)
        data["views"][name] = {
            **_numbers(measured.beats[0]),
            **_indexed(measured.beats[0], heart),
            **_over_beats(measured.beats),
            **_rate(measured),
            **_curves(measured),
            "calibration_source": None if measured.calibration is None else measured.calibration.source,
            "view_source": None if source is None else str(source),
        }
    if heart.biplane is not None:
        data["biplane"] = {
            **_numbers(heart.biplane),
            **_indexed(heart.biplane, heart),
            **_over_beats(heart.biplane_beats),
        }
    if heart.body is not None:
        data["body"] = {
            "height_cm": heart.body.height_cm,
            "weight_kg": heart.body.weight_kg,
            "surface_m2": heart.body.surface_m2,
        }
    data["intervals"] = {path: list(interval) for path, interval in heart.intervals.items()}
    data["warnings"] = list(heart.warnings)
    return data


def _numbers(measured: ViewMeasurement | BiplaneMeasurement) -> dict[str, Any]:
    return {
        field.name: _plain(getattr(measured, field.name))
        for field in fields(measured)
        if field.name != "caveats"
    }


def _plain(value: Any) -> Any:
    """Return a value for JSON; a number that is not finite is None."""
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, int):
        return value
    return float(value) if math.isfinite(value) else None


def _indexed(measured: ViewMeasurement | BiplaneMeasurement, heart: LeftHeart) -> dict[str, float]:
    """Return volumes by body surface area, such as "edv_ml_m2"."""
    if heart.body is None:
        return {}
    volumes = {key: getattr(measured, key) for key in INDEXED}
    surface = heart.body.surface_m2
    return {f"{key}_m2": value / surface for key, value in volumes.items() if value is not None}


def _over_beats(beats: Sequence[ViewMeasurement] | Sequence[BiplaneMeasurement]) -> dict[str, Any]:
    listed = [_numbers(beat) for beat in beats]
    means: dict[str, float] = {}
    deviations: dict[str, float] = {}
    for key in listed[0]:
        values = [row[key] for row in listed if isinstance(row[key], float)]
        if len(values) > 1:
            means[key], deviations[key] = mean(values), stdev(values)
    return {"beats": listed, "mean": means, "sd": deviations}


def _rate(measured: CineMeasurement) -> dict[str, Any]:
    rate = measured.cycle.heart_rate
    return {
        "heart_rate_bpm": rate,
        "heart_rate_source": None if rate is None else str(measured.cycle.rate_source),
    }


def _curves(measured: CineMeasurement) -> dict[str, Any]:
    """Return area and volume by frame; None without a pixel size."""
    areas = measured.areas if measured.in_mm else None
    return {
        key: None if curve is None else [_plain(value) for value in curve.tolist()]
        for key, curve in (("area_curve_cm2", areas), ("volume_curve_ml", measured.volumes))
    }

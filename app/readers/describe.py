"""Description of a cine for `apical info`, without any patient data."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from app.domain.cine import Box, Cine, TimingSource

_SPATIAL = {0: "none", 1: "2D", 2: "M-mode", 3: "spectral", 4: "waveform", 5: "graphics"}
_DATA = {0: "none", 1: "tissue", 2: "colour flow", 3: "PW", 4: "CW", 10: "ECG"}


def describe(cine: Cine) -> dict[str, Any]:
    """Describe a cine with JSON types.

    Parameters
    ----------
    cine : Cine

    Returns
    -------
    dict
        Keys: file, uid, content_hash, frames, rows, columns, pixel_format, fps (null for a still),
        timing_source, fps_assumed, duration_ms, calibration (mm_per_px_x, mm_per_px_y, source; or null),
        region (x0, y0, x1, y1; half-open pixels), region_source, regions, colour_doppler,
        burned_in_annotation, view, warnings.
    """
    still = cine.n_frames < 2
    return {
        "file": cine.path.name,
        "uid": cine.uid,
        "content_hash": cine.content_hash,
        "frames": cine.n_frames,
        "rows": cine.height,
        "columns": cine.width,
        "pixel_format": cine.pixel_format,
        "fps": None if still else round(cine.timing.fps, 3),
        "timing_source": None if still else str(cine.timing.source),
        "fps_assumed": not still and cine.timing.source is TimingSource.ASSUMED,
        "duration_ms": round(float(cine.timing.times_ms[-1] - cine.timing.times_ms[0]), 3),
        "calibration": None if cine.calibration is None else asdict(cine.calibration),
        "region": asdict(cine.region),
        "region_source": cine.region_source,
        "regions": [
            {
                "box": asdict(r.box),
                "spatial_format": _SPATIAL.get(r.spatial_format, str(r.spatial_format)),
                "data_type": _DATA.get(r.data_type, str(r.data_type)),
                "units": [r.units_x, r.units_y],
                "delta": [r.delta_x, r.delta_y],
            }
            for r in cine.regions
        ],
        "colour_doppler": cine.colour_doppler,
        "burned_in_annotation": cine.burned_in_annotation,
        "view": cine.view,
        "warnings": list(cine.warnings),
    }


def describe_text(cine: Cine) -> str:
    """Describe a cine as text, one property per line."""
    facts = describe(cine)
    pixel = facts["calibration"]
    rows = [
        ("file", facts["file"]),
        ("frames", f"{cine.n_frames} of {cine.width}x{cine.height} pixels, {cine.pixel_format}"),
        ("frame rate", _rate(cine)),
        (
            "pixel size",
            f"{pixel['mm_per_px_x']:.4f} x {pixel['mm_per_px_y']:.4f} mm ({pixel['source']})"
            if pixel
            else "unknown",
        ),
        ("region", f"{_span(cine.region)} ({cine.region_source})"),
        *(
            ("in the file", f"{r['spatial_format']}, {r['data_type']}: {_span(c.box)}")
            for r, c in zip(facts["regions"], cine.regions, strict=True)
        ),
        ("colour Doppler", "yes" if cine.colour_doppler else "no"),
        ("burned-in text", cine.burned_in_annotation or "not stated in the file"),
        ("view", cine.view or "not stated in the file"),
        *(("note", w) for w in cine.warnings),
    ]
    return "\n".join(f"{name:<15} {value}" for name, value in rows)


def _rate(cine: Cine) -> str:
    if cine.n_frames < 2:
        return "a still"
    if cine.timing.source is TimingSource.ASSUMED:
        return f"{cine.timing.fps:.2f} Hz, assumed: not stated in the file"
    return f"{cine.timing.fps:.2f} Hz ({cine.timing.source})"


def _span(box: Box) -> str:
    return f"columns {box.x0}..{box.x1 - 1}, rows {box.y0}..{box.y1 - 1}"

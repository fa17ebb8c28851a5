"""Lines about what the numbers depend on: view, pair, pixel size, landmarks, body size."""

from __future__ import annotations

from app.domain.calibration import BY_HAND
from app.domain.cine import Calibration
from app.domain.views import FactSource, View
from app.workspace.measuring.contents import Line, Link

SOURCES = {
    FactSource.FILE: "from the file",
    FactSource.RECOGNISED: "recognised and confirmed",
    FactSource.MANUAL: "set by hand",
}


def view_text(view: View | None, source: FactSource | None) -> str:
    """Return the view with its origin, such as 'A4C, from the file'."""
    if view is None:
        return "unknown"
    return f"{view}, {'recognised' if source is None else SOURCES[source]}"


def view_line(view: View | None, source: FactSource | None) -> Line:
    """Return the line about the view of the visible cine.

    Parameters
    ----------
    view : View or None
        None if it is unknown.
    source : FactSource or None
        None if the program proposes the view and nobody has confirmed it.
    """
    if view is None:
        return ("View unknown · ", Link("set", "view"))
    text = f"View: {view_text(view, source)} · "
    if source is None:
        return (text, Link("confirm", "confirm_view"), " · ", Link("change", "view"))
    return (text, Link("change", "view"))


def pair_line(visible: str, pair: str | None, *, reason: str, has_candidates: bool) -> Line:
    """Return the line about the pair.

    Parameters
    ----------
    visible, pair : str
        Names of the cines with their views, such as 'Image-43 (A4C)'; None without a pair.
    reason : str
        Why there are no biplane volumes, or "".
    has_candidates : bool
        True if there is a cine to choose.
    """
    link = Link("choose a pair" if pair is None else "change", "pair")
    if pair is not None and not reason:
        return (f"Pair: {visible} with {pair} · ", link)
    text = reason or "No pair: volumes are from one view."
    return (f"{text} · ", link) if pair is not None or has_candidates else (text,)


def beat_line(beat: int, n_beats: int) -> Line | None:
    """Return the line about the beat whose numbers are displayed; None with one beat."""
    if n_beats < 2:
        return None
    return (f"Beat {beat + 1} of {n_beats} · ", Link("show the next", "next_beat"))


def pixel_text(calibration: Calibration | None) -> str:
    """Return the pixel size with its origin, such as '0.441 × 0.441 mm, from the file'."""
    if calibration is None:
        return "unknown"
    source = BY_HAND if calibration.source == BY_HAND else "from the file"
    return f"{calibration.mm_per_px_x:.3f} × {calibration.mm_per_px_y:.3f} mm, {source}"


def pixel_line(calibration: Calibration | None) -> Line:
    """Return the line about the pixel size of the left ventricle."""
    if calibration is None:
        return ("Pixel size unknown: no millilitres · ", Link("calibrate by hand", "calibrate"))
    text = f"Pixel {pixel_text(calibration)} · "
    if calibration.source == BY_HAND:
        return (text, Link("calibrate again", "calibrate"), " · ", Link("remove", "remove_calibrations"))
    return (text, Link("calibrate by hand", "calibrate"))


def landmarks_line(frame: int, *, is_shown: bool, is_manual: bool) -> Line | None:
    """Return the line about the landmarks of the visible frame; None if it displays none."""
    if not is_shown:
        return None
    if is_manual:
        return (f"Axis of frame {frame} set by hand · ", Link("reset", "reset_landmarks"))
    return ("Axis from the masks: drag its points on the picture to correct it.",)


def body_line(bsa_m2: float | None) -> Line:
    """Return the line about body size."""
    if bsa_m2 is None:
        return (Link("Index by body size", "body"),)
    return (f"Body surface area {bsa_m2:.2f} m² · ", Link("change", "body"))

"""Echocardiographic view stated in a DICOM file."""

from __future__ import annotations

import re

from pydicom.dataset import Dataset

from app.readers.tags import text, value_of

# Names used by machines and laboratories: "a4c", "apical 4 chamber", "4CH", "PS LAX".
_PATTERNS = {
    "A4C": r"\ba4c\b|\b4[ -]?ch\b|\bap(ical)?[ -]?4([ -]?c(h(amber)?)?)?\b|\b(four|4)[ -]chamber\b",
    "A2C": r"\ba2c\b|\b2[ -]?ch\b|\bap(ical)?[ -]?2([ -]?c(h(amber)?)?)?\b|\b(two|2)[ -]chamber\b",
    "A3C": r"\ba3c\b|\b3[ -]?ch\b|\baplax\b|\bap(ical)?[ -]?3([ -]?c(h(amber)?)?)?\b|\bapical long[ -]axis\b"
    r"|\b(three|3)[ -]chamber\b",
    "A5C": r"\ba5c\b|\b5[ -]?ch\b|\bap(ical)?[ -]?5([ -]?c(h(amber)?)?)?\b|\b(five|5)[ -]chamber\b",
    "PLAX": r"\bplax\b|\bps[ -]?lax\b|\bparasternal long([ -]axis)?\b",
    "PSAX": r"\bpsax\b|\bps[ -]?sax\b|\bparasternal short([ -]axis)?\b",
    "subcostal": r"\bsub[ -]?costal\b|\bsubxiphoid\b",
}
_LEVELS = {
    "PSAX-AV": r"\bav\b|\baortic\b",
    "PSAX-MV": r"\bmv\b|\bmitral\b",
    "PSAX-PM": r"\bpm\b|\bpapillary\b|\bmid\b",
    "PSAX-AP": r"\bapex\b|\bapical\b",
}
# Attributes about the patient or the whole study are not read.
_FIELDS = ("ViewName", "SeriesDescription", "ProtocolName", "AcquisitionProtocolName", "ImageComments")


def view_of(ds: Dataset) -> str | None:
    """Read the view from ViewCodeSequence, else from descriptions.

    Parameters
    ----------
    ds : Dataset

    Returns
    -------
    str or None
        None if no view or several views are named.
    """
    for item in value_of(ds, "ViewCodeSequence") or []:
        if (view := view_in_text(text(item, "CodeMeaning"))) is not None:
            return view
    named = {view for field in _FIELDS if (view := view_in_text(text(ds, field))) is not None}
    return named.pop() if len(named) == 1 else None


def view_in_text(description: str) -> str | None:
    """Find the view named in a text; None if there is none or several.

    Examples
    --------
    >>> view_in_text("Apical four chamber"), view_in_text("A4C and A2C"), view_in_text("PS LAX MR")
    ('A4C', None, 'PLAX')
    """
    lower = description.lower().replace("_", " ")
    found = [name for name, pattern in _PATTERNS.items() if re.search(pattern, lower)]
    if len(found) != 1:
        return None
    if found == ["PSAX"]:
        levels = [name for name, pattern in _LEVELS.items() if re.search(pattern, lower)]
        return levels[0] if len(levels) == 1 else "PSAX"
    if found == ["subcostal"]:
        return "subcostal 4C" if re.search(r"\b4|four", lower) else "subcostal"
    return found[0]

"""Texts of the encoder commands, adapted for the window."""

from __future__ import annotations

import re

_FAMILY = re.compile(r"use --family [\w.-]*\w")
_RATE = re.compile(r"; for another rate, use --fps RATE")


def without_options(sentence: str) -> str:
    """Return a sentence of `apical encoders import` without its command-line options."""
    sentence = _RATE.sub("", _FAMILY.sub("choose that at the import", sentence))
    return sentence.replace("omit --family or choose another family", "choose another")

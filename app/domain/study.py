"""Studies: the cines of one examination, grouped without their DICOM UID."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass


@dataclass(frozen=True)
class Study:
    """Cines of one StudyInstanceUID.

    Attributes
    ----------
    hash : str or None
        Salted hash of the UID; None for cines whose files state no study.
    cine_ids : tuple of int
        Cines in the order in which they were added to the project.
    """

    hash: str | None
    cine_ids: tuple[int, ...]


def salted_hash(salt: str, text: str) -> str:
    """Return HMAC-SHA256 of a text as hexadecimal digits.

    UIDs and paths are short and guessable: a hash without a secret salt would not hide them.

    Parameters
    ----------
    salt : str
        Random text of the project.
    text : str
        For example a DICOM UID.
    """
    return hmac.new(salt.encode(), text.encode("utf-8", "surrogateescape"), hashlib.sha256).hexdigest()

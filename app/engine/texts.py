"""Texts for users about failures and findings that the engine reports."""

from __future__ import annotations

from vjepa_core.errors import one_line
from vjepa_core.memory import is_lack_of_memory
from vjepa_core.service.messages import Failed, FailureKind

_FINDINGS = {
    "pieces": "a structure is in pieces",
    "hole": "a structure has a hole",
    "jump": "an area jumps between neighbouring frames",
    "unenclosed": "the cavity is not enclosed by the wall",
    "outside": "much of the prediction lies outside the ultrasound sector",
}
_TEXTS = {
    FailureKind.ENGINE: "{cause}",  # a sentence
    FailureKind.LEARNING: (
        "Learning stopped ({cause}): your strokes are saved, and Resume learning tries again."
    ),
    FailureKind.CINE: "This cine is left out of learning ({cause}): Resume learning tries it again.",
    FailureKind.REQUEST: "The engine could not process a request ({cause}).",
}
_FREE_MEMORY = "close other cines or programs, then press Resume learning"


def finding_text(finding: str) -> str:
    """Return the reason to check a frame, for a value of `vjepa_core.fewshot.findings.Finding`."""
    return _FINDINGS[finding]


def failure_text(failed: Failed, encoder: str) -> str:
    """Return a sentence with the cause of a failure and the remedy.

    Parameters
    ----------
    failed : Failed
    encoder : str
        Name of the engine's encoder.
    """
    cause, kind = failed.detail, failed.kind
    if kind is FailureKind.ENCODER:
        cause = "it needs more memory than is available" if failed.out_of_memory else cause
        return f"The encoder {encoder} cannot be loaded ({cause}): choose a smaller one or another."
    if kind in (FailureKind.OPEN_CINE, FailureKind.SET_LABELS):
        what = "a cine" if kind is FailureKind.OPEN_CINE else "the outlines of a cine"
        if failed.out_of_memory:
            return f"The engine has too little memory for {what}: {_FREE_MEMORY}."
        return f"The engine could not receive {what} ({cause}): Resume learning sends it again."
    if kind is FailureKind.LEARNING and failed.out_of_memory:
        return f"The engine ran out of memory: {_FREE_MEMORY}."
    return _TEXTS[kind].format(cause=cause)


def engine_failure_text(error: BaseException, log_hint: str) -> str:
    """Return a sentence about an engine process that cannot run."""
    return f"The learning engine cannot run ({one_line(error)}); {log_hint}"


def sending_failure_text(error: BaseException) -> str:
    """Return a sentence about pixels that could not be passed to the engine."""
    if isinstance(error, OSError):
        return f"The cache folder cannot be written ({error.strerror}): free some space."
    if is_lack_of_memory(error):
        return "There is too little memory to learn from a cine: close other cines or programs."
    return f"A cine could not be passed to the learning engine ({one_line(error)})."

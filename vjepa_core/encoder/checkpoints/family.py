"""Identify the release of a checkpoint from its weight names, its file name or the user's choice."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

from vjepa_core.encoder.architecture import FAMILIES, Form
from vjepa_core.errors import EncoderError

ECHOJEPA = "EchoJEPA"
CHOICES: dict[str, str] = {
    "v-jepa": FAMILIES["vjepa1"],
    "v-jepa-2": FAMILIES["vjepa2"],
    "v-jepa-2.1": FAMILIES["vjepa21"],
    "echojepa": ECHOJEPA,
}
"""Families by the value of the option `--family`."""

LICENCES: dict[str, str] = {
    FAMILIES["vjepa1"]: "CC BY-NC 4.0",
    FAMILIES["vjepa2"]: "MIT",
    FAMILIES["vjepa21"]: "MIT",
    ECHOJEPA: "MIT",
}
"""Licence of each published family."""

# Frames per second in the published configurations. V-JEPA skips frames of videos with about 30 per second.
_TRAINED_AT: dict[str, str] = {
    FAMILIES["vjepa1"]: "about 7.5, every fourth frame",
    FAMILIES["vjepa2"]: "4",
    ECHOJEPA: "8 with ViT-L, at 24 with ViT-g",
}

# Patterns of published file names and of files written by the published code; the first match is used.
# Browsers add a number to the name of a repeated download.
_HINTS = (
    (r"echo[-_]?jepa|-pt\d+-an\d+", ECHOJEPA),
    (r"jepa[-_]?2[-_.]1", FAMILIES["vjepa21"]),
    (r"jepa[-_]?2|^vit[lhg](-384)?( ?\(\d+\))?\.pt$", FAMILIES["vjepa2"]),
    (r"jepa[-_]?1(?!\d)|^vit[lh]16(?!\d)|^jepa-(latest|e\d+)\.pth", FAMILIES["vjepa1"]),
)


@dataclass(frozen=True)
class PositionTable:
    """Properties of a stored position table.

    Attributes
    ----------
    tokens : int
        Number of tokens.
    fits : bool
        Its shape fits 16 frames of a square image and the width of the encoder, as in V-JEPA.
    sincos : bool
        It contains the sine-cosine position embedding of V-JEPA.
    """

    tokens: int
    fits: bool
    sincos: bool


@dataclass(frozen=True)
class Release:
    """Family and form of an encoder, with an explanation for the user.

    Attributes
    ----------
    family : str
        Name of the family, such as "V-JEPA 2" or "EchoJEPA".
    form : Form
        Structure of the encoder.
    recognised, assumed : str
        A sentence about the evidence and one about the assumptions; empty if not applicable.
    ambiguous : bool
        The weights do not determine the form and the user has not specified it.
    """

    family: str
    form: Form
    recognised: str = ""
    assumed: str = ""
    ambiguous: bool = False


def family_from_file_name(file: str) -> str | None:
    """Return the family that a file name suggests, or None."""
    return next((family for pattern, family in _HINTS if re.search(pattern, file.lower())), None)


def identify_release(
    names: Collection[str], file: str, chosen: str | None, table: PositionTable | None
) -> Release:
    """Identify the release of an encoder.

    Parameters
    ----------
    names : collection of str
        V-JEPA's names of the weights.
    file : str
        Name of the file.
    chosen : str, optional
        Family chosen by the user, one of the values of `CHOICES`.
    table : PositionTable, optional
        The stored position table, if there is one.

    Raises
    ------
    EncoderError
        If the weights do not fit the chosen family.
    """
    has_depth_norms = any(name.startswith("norms_block.") or name == "video_mod_embed" for name in names)
    if chosen is not None:
        return _chosen_release(file, chosen, has_depth_norms, table)
    suggested = family_from_file_name(file)
    if has_depth_norms:
        return _certain_form("vjepa21", "The form of V-JEPA 2.1: one norm for each output depth.", suggested)
    if table is None:
        return _certain_form("vjepa2", "The form of V-JEPA 2: one final norm, no position table.", suggested)
    if not table.fits:
        reason = f"its position table of {table.tokens:,} tokens is not that of V-JEPA and is not used"
        return _certain_form("vjepa2", f"The form of V-JEPA 2: {reason}.", suggested)
    family, source = FAMILIES["vjepa2"], "as most checkpoints of this form are"
    if suggested == FAMILIES["vjepa1"] and not table.sincos:
        source = "despite the file name, because the position table is not the sine-cosine table of V-JEPA"
    elif suggested is not None and suggested != FAMILIES["vjepa21"]:
        family, source = suggested, "from the file name"
    other = FAMILIES["vjepa2" if family == FAMILIES["vjepa1"] else "vjepa1"]
    option = next(key for key, value in CHOICES.items() if value == other)
    return Release(
        family,
        _form(family, has_depth_norms),
        assumed=f"{family}, {source}: V-JEPA and V-JEPA 2 use the same weight names; "
        f"if it is {other}, use --family {option}.",
        ambiguous=True,
    )


def describe_assumed_rate(family: str, fps: float) -> str:
    """Explain in one sentence the default frame rate of an imported encoder, in Hz."""
    trained = f" ({family} was trained at {_TRAINED_AT[family]})" if family in _TRAINED_AT else ""
    return (
        f"Used at {fps:g} frames per second, so that masks follow the heartbeat{trained}; "
        "for another rate, use --fps RATE."
    )


def _chosen_release(file: str, chosen: str, has_depth_norms: bool, table: PositionTable | None) -> Release:
    """Return the release chosen by the user, or raise EncoderError if the weights do not fit it."""
    form = _form(chosen, has_depth_norms)
    if has_depth_norms and form != "vjepa21":
        reason = "it has one norm for each output depth, which only V-JEPA 2.1 has"
    elif form == "vjepa21" and not has_depth_norms:
        reason = "it has a single norm, and V-JEPA 2.1 has one for each output depth"
    elif form == "vjepa1" and table is None:
        reason = "it has no position table"
    elif form == "vjepa1" and table is not None and not table.fits:
        reason = f"its position table has {table.tokens:,} tokens, which is not 16 frames of a square image"
    else:
        unusual = form == "vjepa1" and table is not None and not table.sincos
        note = "Its position table is not the sine-cosine table of V-JEPA; the stored table is used."
        return Release(chosen, form, f"{chosen}, as specified.", note if unusual else "")
    raise EncoderError(f"{file} is not a {chosen}: {reason}; omit --family or choose another family.")


def _certain_form(form: Form, recognised: str, suggested: str | None) -> Release:
    """Return the release for a known form; EchoJEPA has the same form and is known by the file name only."""
    if suggested == ECHOJEPA:
        return Release(ECHOJEPA, form, recognised, f"{ECHOJEPA}, from the file name.")
    return Release(FAMILIES[form], form, recognised)


def forms_of(family: str) -> tuple[Form, ...]:
    """Return the possible forms of a family; empty if the family is unknown.

    EchoJEPA was trained with the code of V-JEPA 2; a later version would have the form of 2.1.
    """
    if family == ECHOJEPA:
        return ("vjepa2", "vjepa21")
    return tuple(form for form, name in FAMILIES.items() if name == family)


def _form(family: str, has_depth_norms: bool) -> Form:
    """Return the last form of a family if there is a norm for each output depth, otherwise the first."""
    return forms_of(family)[-1 if has_depth_norms else 0]

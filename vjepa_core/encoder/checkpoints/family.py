"""Which release a checkpoint is of: by the names of its weights, else by what the user or the file says."""

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
"""What a user may say, and the family that it means."""

LICENCES: dict[str, str] = {
    FAMILIES["vjepa1"]: "CC BY-NC 4.0",
    FAMILIES["vjepa2"]: "MIT",
    FAMILIES["vjepa21"]: "MIT",
    ECHOJEPA: "MIT",
}
"""Terms under which each family was published."""

# Frames a second, after the published configurations; V-JEPA counts frames, of videos of about 30.
_TRAINED_AT: dict[str, str] = {
    FAMILIES["vjepa1"]: "about 7.5, every fourth frame",
    FAMILIES["vjepa2"]: "4",
    ECHOJEPA: "8 with ViT-L, at 24 with ViT-g",
}

# Names of published files, and of what the published code writes; the first that fits counts. A browser
# numbers what it loads twice.
_HINTS = (
    (r"echo[-_]?jepa|-pt\d+-an\d+", ECHOJEPA),
    (r"jepa[-_]?2[-_.]1", FAMILIES["vjepa21"]),
    (r"jepa[-_]?2|^vit[lhg](-384)?( ?\(\d+\))?\.pt$", FAMILIES["vjepa2"]),
    (r"jepa[-_]?1(?!\d)|^vit[lh]16(?!\d)|^jepa-(latest|e\d+)\.pth", FAMILIES["vjepa1"]),
)


@dataclass(frozen=True)
class Places:
    """A stored table of places.

    Attributes
    ----------
    tokens : int
        Its length.
    fits : bool
        It is one of 16 frames of some square picture, as wide as the encoder: V-JEPA can have it.
    sincos : bool
        It holds the sines and cosines of these very places, as V-JEPA has them.
    """

    tokens: int
    fits: bool
    sincos: bool


@dataclass(frozen=True)
class Release:
    """A family and the form that its encoder has, with the reasons.

    Attributes
    ----------
    family : str
        "V-JEPA 2", "EchoJEPA".
    form : Form
        See `Architecture`.
    recognised, assumed : str
        One sentence each; empty if there is nothing to say.
    ambiguous : bool
        The weights do not tell the form, and nobody has said it.
    """

    family: str
    form: Form
    recognised: str = ""
    assumed: str = ""
    ambiguous: bool = False


def hint(file: str) -> str | None:
    """Family that the name of a file speaks of."""
    return next((family for words, family in _HINTS if re.search(words, file.lower())), None)


def release(names: Collection[str], file: str, said: str | None, table: Places | None) -> Release:
    """Tell the release.

    Parameters
    ----------
    names : collection of str
        V-JEPA's own names of the weights.
    file : str
        Name of the file.
    said : str, optional
        Family that the user named, one of those in `CHOICES`.
    table : Places, optional
        The stored table of places, if there is one.

    Raises
    ------
    EncoderError
        If what the user said cannot be.
    """
    by_depth = any(name.startswith("norms_block.") or name == "video_mod_embed" for name in names)
    if said is not None:
        return _said(file, said, by_depth, table)
    meant = hint(file)
    if by_depth:
        return _sure("vjepa21", "The form of V-JEPA 2.1: a norm for each depth that is read.", meant)
    if table is None:
        return _sure("vjepa2", "The form of V-JEPA 2: one last norm, no stored table of places.", meant)
    if not table.fits:
        why = f"its table of {table.tokens:,} places is not V-JEPA's, and unused"
        return _sure("vjepa2", f"The form of V-JEPA 2: {why}.", meant)
    family, source = FAMILIES["vjepa2"], "because most checkpoints of this form are"
    if meant == FAMILIES["vjepa1"] and not table.sincos:
        source = "because the places in it are not V-JEPA's sines and cosines, whatever the name of the file"
    elif meant is not None and meant != FAMILIES["vjepa21"]:
        family, source = meant, "from the name of the file"
    other = FAMILIES["vjepa2" if family == FAMILIES["vjepa1"] else "vjepa1"]
    option = next(key for key, value in CHOICES.items() if value == other)
    return Release(
        family,
        _form(family, by_depth),
        assumed=f"{family}, {source}: V-JEPA and V-JEPA 2 name their weights alike; "
        f"if it is {other}, say --family {option}.",
        ambiguous=True,
    )


def on_rate(family: str, fps: float) -> str:
    """A sentence on why an encoder is used at a rate that nobody has said."""
    trained = f" ({family} was trained at {_TRAINED_AT[family]})" if family in _TRAINED_AT else ""
    return (
        f"Used at {fps:g} frames a second, because masks have to follow the beat{trained}; "
        "for another rate, say --fps RATE."
    )


def _said(file: str, said: str, by_depth: bool, table: Places | None) -> Release:
    """What the user said, if it can be."""
    form = _form(said, by_depth)
    if by_depth and form != "vjepa21":
        why = "it has a norm for each depth, which only V-JEPA 2.1 has"
    elif form == "vjepa21" and not by_depth:
        why = "it has a single norm, and V-JEPA 2.1 has one for each depth"
    elif form == "vjepa1" and table is None:
        why = "it stores no table of places"
    elif form == "vjepa1" and table is not None and not table.fits:
        why = f"its table has {table.tokens:,} places, not those of 16 frames of a square picture"
    else:
        odd = form == "vjepa1" and table is not None and not table.sincos
        note = "Its table of places is not V-JEPA's sines and cosines; it is used as it is stored."
        return Release(said, form, f"{said}, as you said.", note if odd else "")
    raise EncoderError(f"{file} is no {said}: {why}; leave --family out or name another.")


def _sure(form: Form, recognised: str, meant: str | None) -> Release:
    """The weights tell the form; whether it is EchoJEPA, which has the same, only the file's name can."""
    if meant == ECHOJEPA:
        return Release(ECHOJEPA, form, recognised, f"{ECHOJEPA}, from the name of the file.")
    return Release(FAMILIES[form], form, recognised)


def forms_of(family: str) -> tuple[Form, ...]:
    """Forms that encoders of a family have; none if it is not known here.

    EchoJEPA was trained with the code of V-JEPA 2; a later one would have the form of 2.1.
    """
    if family == ECHOJEPA:
        return ("vjepa2", "vjepa21")
    return tuple(form for form, name in FAMILIES.items() if name == family)


def _form(family: str, by_depth: bool) -> Form:
    """The last of its forms where there is a norm for each depth, else the first."""
    return forms_of(family)[-1 if by_depth else 0]

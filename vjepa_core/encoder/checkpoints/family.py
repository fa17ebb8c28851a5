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

# Names of published files, and of what the published code writes; the first that fits counts.
_HINTS = (
    (r"echo[-_]?jepa|-pt\d+-an\d+", ECHOJEPA),
    (r"jepa[-_]?2[-_.]1", FAMILIES["vjepa21"]),
    (r"jepa[-_]?2|^vit[lhg](-384)?\.pt$", FAMILIES["vjepa2"]),
    (r"jepa|^vit[lh]16|\.pth\.tar$", FAMILIES["vjepa1"]),
)


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


def release(names: Collection[str], file: str, said: str | None, table_fits: bool) -> Release:
    """Tell the release.

    Parameters
    ----------
    names : collection of str
        V-JEPA's own names of the weights.
    file : str
        Name of the file.
    said : str, optional
        Family that the user named, one of those in `CHOICES`.
    table_fits : bool
        Whether a stored table of places is one of 16 frames of a square picture, as V-JEPA 1 has it.

    Raises
    ------
    EncoderError
        If what the user said cannot be.
    """
    by_depth = any(name.startswith("norms_block.") or name == "video_mod_embed" for name in names)
    table = "pos_embed" in names
    forms: set[Form] = (
        {"vjepa21"} if by_depth else {"vjepa2", "vjepa1"} if table and table_fits else {"vjepa2"}
    )
    if said is not None:
        wanted = _form(said, by_depth)
        if wanted not in forms:
            why = (
                "it has a norm for each depth, which only V-JEPA 2.1 has"
                if by_depth
                else "it has a single norm, and V-JEPA 2.1 has one for each depth"
                if wanted == "vjepa21"
                else "it stores no table of places for 16 frames of a square picture"
            )
            raise EncoderError(f"{file} is no {said}: {why}; leave --family out or name another.")
        return Release(said, wanted, f"{said}, as you said.")
    meant = hint(file)
    if by_depth:
        why = "a norm for each depth that is read"
        return _sure("vjepa21", f"The form of V-JEPA 2.1: {why}.", meant)
    if len(forms) == 1:
        why = (
            "its table of places is not V-JEPA's, and unused"
            if table
            else "one last norm, no stored table of places"
        )
        return _sure("vjepa2", f"The form of V-JEPA 2: {why}.", meant)
    named = meant is not None and _form(meant, by_depth) in forms
    family = meant if meant is not None and named else FAMILIES["vjepa2"]
    other = FAMILIES["vjepa2" if _form(family, by_depth) == "vjepa1" else "vjepa1"]
    option = next(key for key, value in CHOICES.items() if value == other)
    source = "from the name of the file" if named else "because most checkpoints of this form are"
    return Release(
        family,
        _form(family, by_depth),
        assumed=f"{family}, {source}: V-JEPA and V-JEPA 2 name their weights alike; "
        f"if it is {other}, say --family {option}.",
        ambiguous=True,
    )


def _sure(form: Form, recognised: str, meant: str | None) -> Release:
    """The weights tell the form; whether it is EchoJEPA, which has the same, only the file's name can."""
    if meant == ECHOJEPA:
        return Release(ECHOJEPA, form, recognised, f"{ECHOJEPA}, from the name of the file.")
    return Release(FAMILIES[form], form, recognised)


def _form(family: str, by_depth: bool) -> Form:
    """EchoJEPA was trained with the code of V-JEPA 2; a later one would have the form of 2.1."""
    if family == ECHOJEPA:
        return "vjepa21" if by_depth else "vjepa2"
    return next(form for form, name in FAMILIES.items() if name == family)

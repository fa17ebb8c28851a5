"""Checkpoints of others made into encoders of the user's: looked at, converted, kept with a card."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from app import paths
from app.domain.errors import ProjectError
from app.encoders import registry
from vjepa_core.encoder.catalogue import EncoderCard
from vjepa_core.encoder.checkpoints.checksums import checksum
from vjepa_core.encoder.checkpoints.convert import file_size, write
from vjepa_core.encoder.checkpoints.family import CHOICES
from vjepa_core.encoder.checkpoints.read import Checkpoint, read
from vjepa_core.encoder.checkpoints.recognise import Recognised, recognise

Tell = Callable[[str, int, int], None]
"""Told the stage, and how many of how many bytes are done."""

_ENDINGS = (".index.json", ".safetensors", ".tar", ".pth", ".pt", ".ckpt", ".bin")
_NAMELESS = ("model", "pytorch_model")
_SPARE = 64 << 20  # what a disk should have left


@dataclass(frozen=True)
class Found:
    """A checkpoint and the encoder in it; nothing is converted yet."""

    checkpoint: Checkpoint
    encoder: Recognised

    @property
    def name(self) -> str:
        """A name for the encoder that fits and is free."""
        name, folder = self.checkpoint.name, _folder_name(self.checkpoint.files[0])
        for ending in _ENDINGS:  # in this order: .pth.tar, .safetensors.index.json
            name = name[: -len(ending)] if name.lower().endswith(ending) else name
        return registry.free_name(folder if name in _NAMELESS and folder else name)

    @property
    def bytes(self) -> int:
        """Of the file that the encoder will take."""
        return file_size(self.encoder.weights)

    def facts(self) -> dict[str, Any]:
        """For the user, as JSON types."""
        return {
            "name": self.name,
            "family": self.encoder.family,
            "architecture": self.encoder.architecture.name,
            "parameters": self.encoder.parameters,
            "bytes": self.bytes,
            "licence": self.encoder.licence,
            "fps": self.encoder.fps,
            "recognised": list(self.encoder.recognised),
            "assumed": list(self.encoder.assumed),
            "ambiguous": self.encoder.ambiguous,
            "source": self.checkpoint.name,
            "container": self.encoder.container,
            "dtype": self.encoder.dtype,
        }


def look(path: Path, family: str | None = None) -> Found:
    """Recognise a checkpoint; nothing is written.

    Parameters
    ----------
    path : Path
        The file, or the index of one in several files.
    family : str, optional
        What the user says it is: a key of `CHOICES`.

    Raises
    ------
    EncoderError
        If it is none, or not whole; one sentence.
    """
    checkpoint = read(path)
    return Found(checkpoint, recognise(checkpoint, None if family is None else CHOICES[family]))


def take(
    found: Found,
    tell: Tell,
    name: str | None = None,
    licence: str | None = None,
    fps: float | None = None,
) -> tuple[EncoderCard, dict[str, Any]]:
    """Convert an encoder into the user's folder; a failure or a stop leaves nothing there.

    Parameters
    ----------
    found : Found
        As `look` gives it.
    tell : callable
        What it raises ends the import.
    name, licence : str, optional
        Instead of the name made from the file's and the licence of the family.
    fps : float, optional
        Frames a second to use it at, instead of what `look` said.

    Returns
    -------
    card, facts
        `Found.facts`, with the name and licence that it got, checksums and the path of the card.

    Raises
    ------
    EncoderError
        If the name is unfit or taken, or the weights are damaged.
    ProjectError
        If there is no room, or the folder cannot be written.
    """
    name = found.name if name is None else name
    encoder, licence = found.encoder, " ".join((licence or "").split())
    if licence and licence != encoder.licence:
        encoder = replace(encoder, licence=licence, licence_assumed="")
    if fps is not None:
        encoder = replace(encoder, fps=fps, rate_assumed="")
    found = replace(found, encoder=encoder)
    facts = found.facts() | {"name": name}

    def convert(file: BinaryIO) -> dict[str, Any]:
        _check_room(name, found.bytes)
        source = checksum(found.checkpoint, partial(tell, "reading"))
        facts["source_checksum"] = source
        facts["checksum"] = write(
            found.checkpoint.name, found.encoder.weights, file, partial(tell, "writing")
        )
        return _content(found, facts)

    card = registry.add(name, convert)
    assert card.path is not None  # noqa: S101 - just written
    return card, facts | {"card": str(card.path.with_suffix(".json"))}


def _folder_name(file: Path) -> str:
    """What the folder of a file is called after: Hugging Face calls every file alike.

    A folder of its cache has the name of a revision, in a folder of the model's; the file in it is a link.
    """
    folder = Path(os.path.abspath(file)).parent  # noqa: PTH100 - `resolve` would follow the link
    if not re.fullmatch(r"[0-9a-f]{40}", folder.name):
        return folder.name
    model = folder.parent.parent.name
    return model.rpartition("--")[2] if model.startswith("models--") else ""


def _check_room(name: str, needed: int) -> None:
    folder = paths.encoders_dir()
    free = shutil.disk_usage(folder).free
    if needed + _SPARE > free:
        raise ProjectError(
            f"{name} takes {needed / 1e6:,.0f} MB in {folder}, where {free / 1e6:,.0f} MB are free: "
            "free some space, or set APICAL_HOME to a folder on another disk."
        )


def _content(found: Found, facts: dict[str, Any]) -> dict[str, Any]:
    """The card, but for what `registry.add` fills in."""
    return {
        "name": facts["name"],
        "family": facts["family"],
        "architecture": facts["architecture"],
        "parameters": facts["parameters"],
        "licence": facts["licence"],
        "description": f"Imported from {facts['source']}. Compare it with others on your own labels.",
        "trained": found.encoder.trained,
        "checksum": facts["checksum"],
        "fps": found.encoder.fps,
        "depths": list(found.encoder.depths),
        "source": {
            "file": facts["source"],
            "checksum": facts["source_checksum"],
            "container": facts["container"],
            "recognised": facts["recognised"],
            "assumed": facts["assumed"],
        },
    }

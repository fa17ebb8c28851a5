"""Import encoders from V-JEPA checkpoints: recognise, convert, and store with a card."""

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

ReportProgress = Callable[[str, int, int], None]
"""Called with the stage, the bytes done and the bytes in all."""

# In the order of removal: .pth.tar, .safetensors.index.json
_SUFFIXES = (".index.json", ".safetensors", ".tar", ".pth", ".pt", ".ckpt", ".bin")
_GENERIC_NAMES = ("model", "pytorch_model")
_SPARE = 64 << 20
"""Bytes that stay free on the disk."""


@dataclass(frozen=True)
class Candidate:
    """A checkpoint with the encoder that was recognised in it, not converted yet."""

    checkpoint: Checkpoint
    encoder: Recognised

    @property
    def name(self) -> str:
        """A valid and unused name for the encoder, from the name of the file or its folder."""
        name, folder = self.checkpoint.name, _folder_name(self.checkpoint.files[0])
        for suffix in _SUFFIXES:
            name = name[: -len(suffix)] if name.lower().endswith(suffix) else name
        return registry.free_name(folder if name in _GENERIC_NAMES and folder else name)

    @property
    def bytes(self) -> int:
        """Size of the encoder's weight file."""
        return file_size(self.encoder.weights)

    def facts(self) -> dict[str, Any]:
        """Return a description for the user as JSON types."""
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


def inspect_checkpoint(path: Path, family: str | None = None) -> Candidate:
    """Recognise the encoder in a checkpoint, without writing anything.

    Parameters
    ----------
    path : Path
        The file, or the index of a checkpoint in several files.
    family : str, optional
        Family chosen by the user: a key of `CHOICES`.

    Returns
    -------
    Candidate

    Raises
    ------
    EncoderError
        The file is not a V-JEPA checkpoint, or is incomplete.
    """
    checkpoint = read(path)
    return Candidate(checkpoint, recognise(checkpoint, None if family is None else CHOICES[family]))


def import_checkpoint(
    candidate: Candidate,
    report_progress: ReportProgress,
    name: str | None = None,
    licence: str | None = None,
    fps: float | None = None,
) -> tuple[EncoderCard, dict[str, Any]]:
    """Convert an encoder into the user's folder; a failed or stopped import leaves nothing there.

    Parameters
    ----------
    candidate : Candidate
        From `inspect_checkpoint`.
    report_progress : callable
        An exception that it raises ends the import.
    name : str, optional
        Default: `candidate.name`.
    licence : str, optional
        Default: the licence of the family.
    fps : float, optional
        Frame rate in Hz at which the encoder is used; default: that of the family.

    Returns
    -------
    card : EncoderCard
    facts : dict
        `Candidate.facts` with the final name and licence, checksums and the path of the card.

    Raises
    ------
    EncoderError
        The name is invalid or in use, or the weights are damaged.
    ProjectError
        The disk is too full, or the folder cannot be written.
    """
    name = candidate.name if name is None else name
    encoder, licence = candidate.encoder, " ".join((licence or "").split())
    if licence and licence != encoder.licence:
        encoder = replace(encoder, licence=licence, licence_assumed="")
    if fps is not None:
        encoder = replace(encoder, fps=fps, rate_assumed="")
    candidate = replace(candidate, encoder=encoder)
    facts = candidate.facts() | {"name": name}

    def convert(file: BinaryIO) -> dict[str, Any]:
        _check_space(name, candidate.bytes)
        checkpoint = candidate.checkpoint
        facts["source_checksum"] = checksum(checkpoint, partial(report_progress, "reading"))
        facts["checksum"] = write(
            checkpoint.name, candidate.encoder.weights, file, partial(report_progress, "writing")
        )
        return _card_content(candidate, facts)

    card = registry.add(name, convert)
    assert card.path is not None  # noqa: S101 - just written
    return card, facts | {"card": str(card.path.with_suffix(".json"))}


def _folder_name(file: Path) -> str:
    """Return the name of a file's folder; in Hugging Face's cache, that of the model.

    There, the file is a link in ``models--OWNER--MODEL/snapshots/REVISION``.
    """
    folder = Path(os.path.abspath(file)).parent  # noqa: PTH100 - `resolve` would follow the link
    if not re.fullmatch(r"[0-9a-f]{40}", folder.name):
        return folder.name
    model = folder.parent.parent.name
    return model.rpartition("--")[2] if model.startswith("models--") else ""


def _check_space(name: str, needed: int) -> None:
    folder = paths.encoders_dir()
    free = shutil.disk_usage(folder).free
    if needed + _SPARE > free:
        raise ProjectError(
            f"{name} needs {needed / 1e6:,.0f} MB in {folder}, where {free / 1e6:,.0f} MB are free: "
            "free some space, or set APICAL_HOME to a folder on another disk."
        )


def _card_content(candidate: Candidate, facts: dict[str, Any]) -> dict[str, Any]:
    """Return the card without the fields that `registry.add` fills in."""
    return {
        "name": facts["name"],
        "family": facts["family"],
        "architecture": facts["architecture"],
        "parameters": facts["parameters"],
        "licence": facts["licence"],
        "description": f"Imported from {facts['source']}. Compare it with others on your own labels.",
        "trained": candidate.encoder.trained,
        "checksum": facts["checksum"],
        "fps": candidate.encoder.fps,
        "depths": list(candidate.encoder.depths),
        "source": {
            "file": facts["source"],
            "checksum": facts["source_checksum"],
            "container": facts["container"],
            "recognised": facts["recognised"],
            "assumed": facts["assumed"],
        },
    }

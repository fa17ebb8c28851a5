"""Files to named tensors, which stay on the disk until they are used; nothing in a file is executed."""

from __future__ import annotations

import hashlib
import json
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import safe_open
from torch import Tensor

from vjepa_core.encoder.catalogue import EncoderCard, read_card
from vjepa_core.encoder.checkpoints.file_signature import HEAD, WAY_OUT, refuse_foreign
from vjepa_core.encoder.checkpoints.names import shown
from vjepa_core.encoder.checkpoints.torch_file import PICKLE, ZIP, from_torch
from vjepa_core.errors import EncoderError

_LONGEST_JSON = 64 << 20
_PART = re.compile(r"(.+)-\d{5}-of-\d{5}\.safetensors")


@dataclass(frozen=True)
class Checkpoint:
    """What a file holds.

    Attributes
    ----------
    name : str
        Of the file.
    files : tuple of Path
        All files with weights, in the order in which they are hashed.
    kind : str
        How it is stored, for the user.
    tensors : mapping of str to Tensor
        By dotted names: `target_encoder.module.backbone.norm.weight`. Mapped into memory, not read, except
        from PyTorch's format before 2020.
    config : mapping
        Hugging Face's `config.json` beside it; empty if there is none.
    card : EncoderCard or None
        This program's card beside it, if it is this very file's.
    card_aside : str
        Why a card beside it is not used, one sentence; empty if there is none, or it is used.
    """

    name: str
    files: tuple[Path, ...]
    kind: str
    tensors: Mapping[str, Tensor]
    config: Mapping[str, Any] = field(default_factory=dict)
    card: EncoderCard | None = None
    card_aside: str = ""

    @property
    def bytes(self) -> int:
        """Of all files."""
        return sum(file.stat().st_size for file in self.files)


def read(path: Path) -> Checkpoint:
    """Open a checkpoint.

    Parameters
    ----------
    path : Path
        Written by torch.save, safetensors, or the index of one in several files
        (`model.safetensors.index.json`).

    Raises
    ------
    EncoderError
        If it cannot be read, is damaged, is something else, or would run code.
    """
    if path.is_dir():
        raise EncoderError(f"{path.name or path} is a folder: choose the checkpoint in it.")
    part = _PART.fullmatch(path.name)
    if part and (index := path.with_name(f"{part[1]}.safetensors.index.json")).is_file():
        path = index  # one part of several was chosen: all are meant
    head = _head(path)
    if head.lstrip()[:1] == b"{" and not _is_safetensors(head):
        files = _shards(path)
        kind = (
            f"Hugging Face's {'file' if len(files) == 1 else f'{len(files)} files'} of weights with an index"
        )
        tensors: dict[str, Tensor] = {}
        for file in files:
            if not file.is_file():
                raise EncoderError(
                    f"{shown(file.name)}, a part of {path.name}, is not beside it: "
                    "put all parts into one folder."
                )
            tensors |= _tensors(file, _head(file))[0]
    else:
        files = (path,)
        tensors, kind = _tensors(path, head)
    config = _json(path.with_name("config.json"))
    card, aside = _card(path) if files == (path,) else (None, "")
    return Checkpoint(path.name, files, kind, tensors, config, card, aside)


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(HEAD)
    except FileNotFoundError as error:
        raise EncoderError(f"{path.name} is not there: check the path.") from error
    except OSError as error:
        raise EncoderError(f"{path.name} cannot be read ({error.strerror}): allow reading it.") from error


def _tensors(path: Path, head: bytes) -> tuple[dict[str, Tensor], str]:
    if _is_safetensors(head):
        return _from_safetensors(path, head), "A safetensors file"
    refuse_foreign(path.name, head)
    if head.startswith(ZIP):
        return from_torch(path, mapped=True), "A PyTorch file with tensors only"
    if head.startswith(PICKLE):
        return from_torch(path, mapped=False), "A PyTorch file of the format before 2020, with tensors only"
    raise EncoderError(f"{path.name} is no file of weights that is known here: {WAY_OUT}.")


def _is_safetensors(head: bytes) -> bool:
    """Eight bytes with the length of a header, which no text would have so small, and the header."""
    return head[8:9] == b"{" and head[4:8] == b"\0\0\0\0"


def _from_safetensors(path: Path, head: bytes) -> dict[str, Tensor]:
    (length,) = struct.unpack("<Q", head[:8])
    size = path.stat().st_size
    cut = length > size - 8
    if not cut and length <= _LONGEST_JSON:
        with path.open("rb") as file:
            file.seek(8)
            header = file.read(length)
        ends = [int(end) for end in re.findall(rb'"data_offsets"\s*:\s*\[\s*\d+\s*,\s*(\d{1,18})', header)]
        cut = bool(ends) and max(ends) > size - 8 - length
    if cut:
        raise EncoderError(f"{path.name} has been cut off: download or copy it again.")
    try:
        with safe_open(path, "pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a dict
    except Exception as error:  # the library has no class for all of them
        raise EncoderError(f"{path.name} is damaged: download or copy it again.") from error


def _shards(path: Path) -> tuple[Path, ...]:
    where = _json(path).get("weight_map")
    if not isinstance(where, dict) or not where:
        raise EncoderError(
            f"{path.name} holds no weights: choose the .safetensors file or the .safetensors.index.json file."
        )
    # Beside the index, whatever path a stranger wrote into it.
    names = {Path(file).name if isinstance(file, str) else "" for file in where.values()}
    if names & {"", ".", ".."}:
        raise EncoderError(f"{path.name} does not name the files of all its weights: download it again.")
    return tuple(path.with_name(name) for name in sorted(names))


def _json(path: Path) -> dict[str, Any]:
    """The object in a small file; empty if there is none."""
    try:
        if path.stat().st_size > _LONGEST_JSON:
            return {}
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _card(path: Path) -> tuple[EncoderCard | None, str]:
    """This file's card beside it, and why one that is there is left aside."""
    file = path.with_suffix(".json")
    if not file.is_file():
        return None, ""
    try:
        card = read_card(file)
        with path.open("rb") as weights:
            own = card.path == path and hashlib.file_digest(weights, "sha256").hexdigest() == card.checksum
    except (EncoderError, OSError):
        return (
            None,
            f"{file.name} beside the file cannot be read as the card of an encoder and is left aside.",
        )
    if not own:
        return None, f"{file.name} beside the file is the card of other weights and is left aside."
    return card, ""

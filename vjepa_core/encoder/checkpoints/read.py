"""Open checkpoint files as named tensors, which stay on disk until they are used; no code is executed."""

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
from vjepa_core.encoder.checkpoints.file_signature import CHOOSE_CHECKPOINT, HEAD, reject_other_files
from vjepa_core.encoder.checkpoints.names import printable_name
from vjepa_core.encoder.checkpoints.torch_file import PICKLE, ZIP, read_torch_file
from vjepa_core.errors import EncoderError

_MAX_JSON_BYTES = 64 << 20
_PART = re.compile(r"(.+)-\d{5}-of-\d{5}\.safetensors")


@dataclass(frozen=True)
class Checkpoint:
    """Contents of a checkpoint.

    Attributes
    ----------
    name : str
        Name of the file.
    files : tuple of Path
        All files with weights, in the order in which they are hashed.
    kind : str
        Description of the file format for the user.
    tensors : mapping of str to Tensor
        Tensors by dotted name, such as `target_encoder.module.backbone.norm.weight`. They are mapped into
        memory, except from PyTorch's format before 2020.
    config : mapping
        Contents of Hugging Face's `config.json` in the same folder; empty if there is none.
    card : EncoderCard or None
        The card in the same folder, if it belongs to this file.
    card_problem : str
        Reason for ignoring a card in the same folder, one sentence; empty if there is none or it is used.
    """

    name: str
    files: tuple[Path, ...]
    kind: str
    tensors: Mapping[str, Tensor]
    config: Mapping[str, Any] = field(default_factory=dict)
    card: EncoderCard | None = None
    card_problem: str = ""

    @property
    def bytes(self) -> int:
        """Total size of the files in bytes."""
        return sum(file.stat().st_size for file in self.files)


def read(path: Path) -> Checkpoint:
    """Open a checkpoint.

    Parameters
    ----------
    path : Path
        A file written by `torch.save` or safetensors, or the index of a checkpoint in several files
        (`model.safetensors.index.json`).

    Raises
    ------
    EncoderError
        If the file cannot be read, is damaged, is not a checkpoint, or would execute code.
    """
    if path.is_dir():
        raise EncoderError(f"{path.name or path} is a folder: choose the checkpoint in it.")
    part = _PART.fullmatch(path.name)
    if part and (index := path.with_name(f"{part[1]}.safetensors.index.json")).is_file():
        path = index  # one of several files was chosen: read all of them
    head = _head(path)
    if head.lstrip()[:1] == b"{" and not _is_safetensors(head):
        files = _shards(path)
        kind = (
            f"{'One weight file' if len(files) == 1 else f'{len(files)} weight files'} of Hugging Face "
            "with an index"
        )
        tensors: dict[str, Tensor] = {}
        for file in files:
            if not file.is_file():
                raise EncoderError(
                    f"{printable_name(file.name)}, a part of {path.name}, is missing: "
                    "put all parts into the same folder."
                )
            tensors |= _tensors(file, _head(file))[0]
    else:
        files = (path,)
        tensors, kind = _tensors(path, head)
    config = _json(path.with_name("config.json"))
    card, problem = _card(path) if files == (path,) else (None, "")
    return Checkpoint(path.name, files, kind, tensors, config, card, problem)


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(HEAD)
    except FileNotFoundError as error:
        raise EncoderError(f"{path.name} does not exist: check the path.") from error
    except OSError as error:
        raise EncoderError(
            f"{path.name} cannot be read ({error.strerror}): check its permissions."
        ) from error


def _tensors(path: Path, head: bytes) -> tuple[dict[str, Tensor], str]:
    if _is_safetensors(head):
        return _from_safetensors(path, head), "A safetensors file"
    reject_other_files(path.name, head)
    if head.startswith(ZIP):
        return read_torch_file(path, mapped=True), "A PyTorch file with tensors only"
    if head.startswith(PICKLE):
        return read_torch_file(
            path, mapped=False
        ), "A PyTorch file in the format before 2020, with tensors only"
    raise EncoderError(f"{path.name} is not a known type of weight file: {CHOOSE_CHECKPOINT}.")


def _is_safetensors(head: bytes) -> bool:
    """Return True for eight bytes with a plausible header length, followed by a JSON header."""
    return head[8:9] == b"{" and head[4:8] == b"\0\0\0\0"


def _from_safetensors(path: Path, head: bytes) -> dict[str, Tensor]:
    (length,) = struct.unpack("<Q", head[:8])
    size = path.stat().st_size
    truncated = length > size - 8
    if not truncated and length <= _MAX_JSON_BYTES:
        with path.open("rb") as file:
            file.seek(8)
            header = file.read(length)
        ends = [int(end) for end in re.findall(rb'"data_offsets"\s*:\s*\[\s*\d+\s*,\s*(\d{1,18})', header)]
        truncated = bool(ends) and max(ends) > size - 8 - length
    if truncated:
        raise EncoderError(f"{path.name} is truncated: download or copy it again.")
    try:
        with safe_open(path, "pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a dict
    except Exception as error:  # the library has no common base class for its errors
        raise EncoderError(f"{path.name} is damaged: download or copy it again.") from error


def _shards(path: Path) -> tuple[Path, ...]:
    weight_map = _json(path).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise EncoderError(
            f"{path.name} contains no weights: choose the .safetensors or the .safetensors.index.json file."
        )
    # Only files in the folder of the index are read, even if it contains other paths.
    names = {Path(file).name if isinstance(file, str) else "" for file in weight_map.values()}
    if names & {"", ".", ".."}:
        raise EncoderError(f"{path.name} does not list the files of all weights: download it again.")
    return tuple(path.with_name(name) for name in sorted(names))


def _json(path: Path) -> dict[str, Any]:
    """Return the JSON object in a file; empty if the file is missing, invalid or too large."""
    try:
        if path.stat().st_size > _MAX_JSON_BYTES:
            return {}
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _card(path: Path) -> tuple[EncoderCard | None, str]:
    """Return the card that belongs to this file, or the reason for ignoring an existing card."""
    file = path.with_suffix(".json")
    if not file.is_file():
        return None, ""
    try:
        card = read_card(file)
        with path.open("rb") as weights:
            matches = (
                card.path == path and hashlib.file_digest(weights, "sha256").hexdigest() == card.checksum
            )
    except (EncoderError, OSError):
        return (
            None,
            f"{file.name} in the same folder cannot be read as an encoder card and is ignored.",
        )
    if not matches:
        return None, f"{file.name} in the same folder is the card of other weights and is ignored."
    return card, ""

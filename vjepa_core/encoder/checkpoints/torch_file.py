"""Read files of `torch.save` as named tensors without executing code from them."""

from __future__ import annotations

import itertools
import pickle
import re
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.serialization import safe_globals

from vjepa_core.encoder.checkpoints.file_signature import CHOOSE_CHECKPOINT
from vjepa_core.errors import EncoderError

ZIP, PICKLE = b"PK\x03\x04", b"\x80"
"""First bytes of the files that PyTorch has written since 2020, and of those before."""

_ENCRYPTED = 1  # flag of a zip member
_MAX_DEPTH, _MAX_VALUES, _MAX_NAME_LENGTH = 8, 1 << 20, 400
_PRETRAINING_KEYS = {"objective", "teacher", "monitor", "config"}


class _Placeholder:
    """Replacement for NumPy scalars in a pickle, such as the loss, so that NumPy never parses their bytes."""

    def __init__(self, *_: object) -> None: ...

    def __setstate__(self, state: object) -> None: ...


_NUMBERS: list[Callable[..., Any] | tuple[Callable[..., Any], str]] = [
    (_Placeholder, name)
    for name in ("numpy.dtype", "numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar")
]


def read_torch_file(path: Path, *, mapped: bool) -> dict[str, Tensor]:
    """Return the tensors of a file written by `torch.save`, by dotted name.

    Parameters
    ----------
    path : Path
        A file that starts with `ZIP` or `PICKLE`.
    mapped : bool
        Map the tensors into memory instead of reading them; possible for `ZIP` only.

    Raises
    ------
    EncoderError
        If the file is damaged, contains no tensors, or would execute code.
    """
    if mapped:
        _check_zip(path)
    try:
        with safe_globals(_NUMBERS):
            root = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except pickle.UnpicklingError as error:
        blocked = re.search(r"GLOBAL ([\w.]+)|unrecognized|not allowed|blocked", str(error))
        if blocked:
            name = f" ({blocked[1][:60]})" if blocked[1] else ""
            raise EncoderError(
                f"{path.name} contains an object{name} besides its tensors, and loading it could execute "
                "code: if you trust the file, save its state dict as safetensors or without the object."
            ) from error
        raise _damaged(path) from error
    except Exception as error:  # untrusted input: any exception is possible
        raise _damaged(path) from error
    if isinstance(root, Mapping) and root.keys() >= _PRETRAINING_KEYS:
        raise EncoderError(
            f"{path.name} is the state of a pre-training run: "
            "import the .safetensors file in the folder `encoder` of that run."
        )
    return dict(_named_tensors(path.name, root, itertools.count()))


def _check_zip(path: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except zipfile.BadZipFile as error:
        raise EncoderError(f"{path.name} is truncated: download or copy it again.") from error
    except Exception as error:  # untrusted input: any exception is possible
        raise _damaged(path) from error
    names = {member.filename.rpartition("/")[2] for member in members}
    if "constants.pkl" in names:
        raise EncoderError(
            f"{path.name} is a TorchScript program, which is not supported: "
            "choose the checkpoint from which it was exported."
        )
    if "data.pkl" not in names:
        raise EncoderError(
            f"{path.name} is a zip archive without tensors: unpack it, or {CHOOSE_CHECKPOINT}."
        )
    # Memory mapping requires uncompressed, unencrypted members.
    if any(m.compress_type != zipfile.ZIP_STORED or m.flag_bits & _ENCRYPTED for m in members):
        raise EncoderError(
            f"{path.name} was compressed or encrypted, which PyTorch does not do: "
            "download or copy the original file."
        )
    if sum(member.file_size for member in members) > path.stat().st_size:
        raise _damaged(path)


def _damaged(path: Path) -> EncoderError:
    return EncoderError(f"{path.name} is damaged or was not written by PyTorch: download or copy it again.")


def _named_tensors(
    file: str, node: object, counter: Iterator[int], name: str = "", depth: int = 0
) -> Iterator[tuple[str, Tensor]]:
    """Yield tensors by dotted name.

    The number of values is limited, because a small file can contain a huge number through shared lists.
    """
    if next(counter) >= _MAX_VALUES:
        raise EncoderError(
            f"{file} contains more than {_MAX_VALUES:,} values besides its tensors: "
            "save only its state dict and import that."
        )
    if isinstance(node, Tensor):
        yield name, node.detach()
    elif depth < _MAX_DEPTH:
        for key, value in _entries(node):
            yield from _named_tensors(file, value, counter, f"{name}.{key}" if name else str(key), depth + 1)


def _entries(node: object) -> Iterable[tuple[str | int, object]]:
    """Return the entries of a mapping or list whose keys can be part of a name."""
    if isinstance(node, Mapping):
        return ((key, value) for key, value in node.items() if _is_name(key))
    return enumerate(node) if isinstance(node, list) else ()


def _is_name(key: object) -> bool:
    if isinstance(key, str):
        return len(key) <= _MAX_NAME_LENGTH
    return isinstance(key, int) and key.bit_length() < 64

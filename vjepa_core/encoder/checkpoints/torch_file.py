"""Files of torch.save to named tensors; nothing in a file is run."""

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

from vjepa_core.encoder.checkpoints.file_signature import WAY_OUT
from vjepa_core.errors import EncoderError

ZIP, PICKLE = b"PK\x03\x04", b"\x80"
"""First bytes of such files since 2020, and before."""

_ENCRYPTED = 1  # flag of a zip's member
_DEEPEST, _MOST_VALUES, _LONGEST_NAME = 8, 1 << 20, 400
_OUR_RUN = {"objective", "teacher", "monitor", "config"}


class _LeftOut:
    """Stands for NumPy's numbers in a pickle, such as the loss: nothing of NumPy is called with its bytes."""

    def __init__(self, *_: object) -> None: ...

    def __setstate__(self, state: object) -> None: ...


_NUMBERS: list[Callable[..., Any] | tuple[Callable[..., Any], str]] = [
    (_LeftOut, name)
    for name in ("numpy.dtype", "numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar")
]


def from_torch(path: Path, *, mapped: bool) -> dict[str, Tensor]:
    """Tensors of a file that torch.save wrote, by dotted names.

    Parameters
    ----------
    path : Path
        Begins with `ZIP` or `PICKLE`.
    mapped : bool
        Leave the tensors on the disk until they are used; only `ZIP` can be.

    Raises
    ------
    EncoderError
        If it is damaged, holds none, or would run code.
    """
    if mapped:
        _check_zip(path)
    try:
        with safe_globals(_NUMBERS):
            root = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except pickle.UnpicklingError as error:
        wanted = re.search(r"GLOBAL ([\w.]+)|unrecognized|not allowed|blocked", str(error))
        if wanted:
            thing = f" ({wanted[1][:60]})" if wanted[1] else ""
            raise EncoderError(
                f"{path.name} holds an object{thing} besides its tensors, and making that could run code: "
                "save its state dict as safetensors where you trust it, or without the object."
            ) from error
        raise _damaged(path) from error
    except Exception as error:  # a stranger's bytes: anything may be wrong with them
        raise _damaged(path) from error
    if isinstance(root, Mapping) and root.keys() >= _OUR_RUN:
        raise EncoderError(
            f"{path.name} is the state of a pre-training run: "
            "import the .safetensors file in the folder `encoder` beside it."
        )
    return dict(_named(path.name, root, itertools.count()))


def _check_zip(path: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except zipfile.BadZipFile as error:
        raise EncoderError(f"{path.name} has been cut off: download or copy it again.") from error
    except Exception as error:  # a stranger's bytes: anything may be wrong with them
        raise _damaged(path) from error
    names = {member.filename.rpartition("/")[2] for member in members}
    if "constants.pkl" in names:
        raise EncoderError(
            f"{path.name} is a TorchScript program, which is not run here: "
            "choose the checkpoint that it was made from."
        )
    if "data.pkl" not in names:
        raise EncoderError(f"{path.name} is a zip archive without tensors: unpack it, or {WAY_OUT}.")
    # Mapped into memory, bytes are taken as they lie in the file.
    if any(m.compress_type != zipfile.ZIP_STORED or m.flag_bits & _ENCRYPTED for m in members):
        raise EncoderError(
            f"{path.name} was packed again, compressed or encrypted, which PyTorch does not do: "
            "download or copy the file as it was published."
        )
    if sum(member.file_size for member in members) > path.stat().st_size:
        raise _damaged(path)


def _damaged(path: Path) -> EncoderError:
    return EncoderError(f"{path.name} is damaged or not written by PyTorch: download or copy it again.")


def _named(
    file: str, node: object, seen: Iterator[int], name: str = "", depth: int = 0
) -> Iterator[tuple[str, Tensor]]:
    """Tensors by dotted names. A small file can hold endless values: one list that stands in many places."""
    if next(seen) >= _MOST_VALUES:
        raise EncoderError(
            f"{file} holds more than {_MOST_VALUES:,} values beside its tensors: "
            "save its state dict alone, then import that."
        )
    if isinstance(node, Tensor):
        yield name, node.detach()
    elif depth < _DEEPEST:
        for key, value in _entries(node):
            yield from _named(file, value, seen, f"{name}.{key}" if name else str(key), depth + 1)


def _entries(node: object) -> Iterable[tuple[str | int, object]]:
    """What a mapping or a list holds, by keys that a name can be made of."""
    if isinstance(node, Mapping):
        return ((key, value) for key, value in node.items() if _is_name(key))
    return enumerate(node) if isinstance(node, list) else ()


def _is_name(key: object) -> bool:
    if isinstance(key, str):
        return len(key) <= _LONGEST_NAME
    return isinstance(key, int) and key.bit_length() < 64

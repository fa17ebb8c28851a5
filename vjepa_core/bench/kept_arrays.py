"""Arrays that a long benchmark keeps in files, so that it can be resumed and measured again."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vjepa_core.atomic import replacing
from vjepa_core.fewshot.head import Head


def kept_arrays(path: Path | None, compute: Callable[[], dict[str, NDArray[Any]]]) -> dict[str, NDArray[Any]]:
    """Read arrays from a file, or compute and write them.

    Parameters
    ----------
    path : Path, optional
        ``.npz`` file; its name must state everything on which the arrays depend. None: nothing is kept.
    compute : callable
        Called if the file does not exist or cannot be read.
    """
    if path is not None and path.exists():
        try:
            with np.load(path, allow_pickle=False) as arrays:
                return dict(arrays)
        except (OSError, ValueError, zipfile.BadZipFile):
            pass  # damaged: computed again
    computed = compute()
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path, keep_suffix=True) as file:
            np.savez_compressed(file, allow_pickle=False, **computed)
    return computed


def checksum(head: Head | None) -> str:
    """Return eight hexadecimal digits that change with the weights of a head."""
    digest = hashlib.sha256()
    for name, tensor in () if head is None else sorted(head.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:8]

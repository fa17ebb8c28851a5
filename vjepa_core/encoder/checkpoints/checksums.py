"""Whether a checkpoint's files are what was once written, and their checksum."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import IO

from vjepa_core.encoder.checkpoints.read import Checkpoint
from vjepa_core.encoder.checkpoints.torch_file import ZIP
from vjepa_core.errors import EncoderError

_BLOCK = 4 << 20


def checksum(checkpoint: Checkpoint, tell: Callable[[int, int], None]) -> str:
    """SHA-256 of a checkpoint's files, one after the other.

    PyTorch's files have a checksum for each tensor, which is compared too: mapped into memory, nobody does.

    Parameters
    ----------
    checkpoint : Checkpoint
        As `read` gives it.
    tell : callable
        Told how many bytes of how many are done; what it raises ends the reading.

    Raises
    ------
    EncoderError
        If a file is damaged or can no longer be read.
    """
    digest, done = hashlib.sha256(), 0
    try:
        total = checkpoint.bytes
        zipped = [path for path in checkpoint.files if _is_zip(path)]
        passes = 2 if zipped else 1
        for path in checkpoint.files:
            with path.open("rb") as file:
                for block in _blocks(file):
                    digest.update(block)
                    done += len(block)
                    tell(done // passes, total)
        for path in zipped:
            for size in _members(path):
                done += size
                tell(min(done // passes, total), total)
    except zipfile.BadZipFile as error:
        raise EncoderError(f"{checkpoint.name} is damaged: download or copy it again.") from error
    except OSError as error:
        raise EncoderError(
            f"{checkpoint.name} can no longer be read ({error.strerror}): try again."
        ) from error
    return digest.hexdigest()


def _is_zip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(ZIP)) == ZIP


def _blocks(file: IO[bytes]) -> Iterator[bytes]:
    while block := file.read(_BLOCK):
        yield block


def _members(path: Path) -> Iterator[int]:
    """Sizes of blocks read; BadZipFile after those of a member that is not as it was written."""
    try:
        with closing(zipfile.ZipFile(path)) as archive:
            for member in archive.infolist():
                with archive.open(member) as file:
                    yield from map(len, _blocks(file))
    except (zipfile.BadZipFile, OSError):
        raise
    except Exception as error:  # packed, encrypted, or of a length that is not its own: one class for each
        raise zipfile.BadZipFile(str(error)) from error

"""Integrity check and checksum of a checkpoint's files."""

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


def checksum(checkpoint: Checkpoint, report_progress: Callable[[int, int], None]) -> str:
    """Return the SHA-256 of a checkpoint's files, concatenated.

    The checksum of each tensor in a PyTorch file is verified too, because torch does not verify it when it
    maps a file into memory.

    Parameters
    ----------
    checkpoint : Checkpoint
        Result of `read`.
    report_progress : callable
        Called with the number of processed bytes and the total. An exception that it raises stops the
        reading.

    Returns
    -------
    str
        Hexadecimal SHA-256.

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
                    report_progress(done // passes, total)
        for path in zipped:
            for size in _verified_block_sizes(path):
                done += size
                report_progress(min(done // passes, total), total)
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


def _verified_block_sizes(path: Path) -> Iterator[int]:
    """Read all members of a zip file and yield block sizes; raise BadZipFile if a checksum does not match."""
    try:
        with closing(zipfile.ZipFile(path)) as archive:
            for member in archive.infolist():
                with archive.open(member) as file:
                    yield from map(len, _blocks(file))
    except (zipfile.BadZipFile, OSError):
        raise
    except Exception as error:  # zipfile raises various types for compressed, encrypted or truncated members
        raise zipfile.BadZipFile(str(error)) from error

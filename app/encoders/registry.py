"""The encoders of this machine: the bundled ones, the user's own, and the one that the program uses.

This module does not import torch, because the window lists and manages encoders by their cards.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import logging
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from app import paths
from app.domain.errors import ProjectError
from app.storage.filelock import FileLock
from vjepa_core.atomic import replacing, unfinished_name, write_text
from vjepa_core.encoder import catalogue
from vjepa_core.encoder.catalogue import DEFAULT_ENCODER, EncoderCard, read_card
from vjepa_core.errors import EncoderError
from vjepa_core.resources import resource_path

log = logging.getLogger(__name__)

_BLOCK = 1 << 20
_LONGEST_NAME = 60
# Names of devices on Windows, also with a suffix.
_DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)


def encoder_folders() -> list[Path]:
    """Return the folders with encoder cards: that of the program, then the user's."""
    folders = [resource_path("encoders")]
    try:
        folders.append(paths.encoders_dir())
    except ProjectError as error:  # the bundled encoders must work without it
        log.warning("%s Only the bundled encoders are used.", error)
    return folders


def cards() -> tuple[list[EncoderCard], dict[str, str]]:
    """Return the cards of all encoders, the default one first, and error messages by file name."""
    return catalogue.available(encoder_folders())


def find(name: str) -> EncoderCard:
    """Return the card of an encoder.

    Parameters
    ----------
    name : str

    Returns
    -------
    EncoderCard

    Raises
    ------
    EncoderError
        No encoder has this name; the message lists the names.
    """
    return catalogue.card(name, encoder_folders())


def is_own(found: EncoderCard) -> bool:
    """Return True for an encoder in the user's folder, which can be removed."""
    folder = resource_path("encoders")
    return found.path is not None and found.path.parent != folder


def keep(card: Path, name: str) -> EncoderCard:
    """Copy an encoder into the user's folder under a new name.

    Parameters
    ----------
    card : Path
        A card written by `apical pretrain`, with the weights in the same folder.
    name : str
        See `check_name`.

    Returns
    -------
    EncoderCard
        The card of the copy.

    Raises
    ------
    EncoderError
        The name is invalid or in use, or card and weights are unreadable or do not match.
    ProjectError
        The user's folder cannot be written; nothing is left there.
    """
    check_name(name)
    found = read_card(card)
    if found.path is None:
        raise EncoderError(f"{found.name} has no weight file: it is built into the program.")
    source = found.path
    content = catalogue.content(card)

    def copy(file: BinaryIO) -> dict[str, Any]:
        checksum = _copy(source, file)
        if checksum != found.checksum:
            raise EncoderError(
                f"{source} is damaged or not the file of {found.name}'s card: export it again."
            )
        return content

    return add(name, copy)


def check_name(name: str) -> None:
    """Check the name of a new encoder.

    Parameters
    ----------
    name : str
        Letters, digits, dots, dashes and underscores; must differ from other names in more than case.

    Raises
    ------
    EncoderError
        The name is invalid or in use.
    """
    valid = re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", name) and not _DEVICES.fullmatch(name)
    if not valid or len(name) > _LONGEST_NAME:
        raise EncoderError(
            f"{name or 'An empty text'} is not a valid name for an encoder: use up to {_LONGEST_NAME} "
            "letters, digits, dots, dashes and underscores, and begin with a letter or digit."
        )
    # Some file systems ignore case.
    if name.lower() in {known.lower() for known in _taken(paths.encoders_dir())}:
        raise EncoderError(f"An encoder named {name} exists already: choose another name.")


def free_name(suggestion: str) -> str:
    """Return a valid and unused name similar to a suggestion, such as `vitl-2` for `vitl`."""
    valid = re.sub(r"[^A-Za-z0-9_.-]+", "-", suggestion)[: _LONGEST_NAME - 4].strip("-_.") or "encoder"
    if _DEVICES.fullmatch(valid):
        valid = f"encoder-{valid}"
    taken = {known.lower() for known in _taken(paths.encoders_dir())}
    numbered = (valid if count == 1 else f"{valid}-{count}" for count in itertools.count(1))
    return next(name for name in numbered if name.lower() not in taken)


def add(name: str, write: Callable[[BinaryIO], dict[str, Any]]) -> EncoderCard:
    """Add an encoder to the user's folder, and remove files of interrupted additions.

    Parameters
    ----------
    name : str
        See `check_name`.
    write : callable
        Writes the weights to a file and returns the content of the card without name and file. If it raises
        an exception, nothing is left.

    Returns
    -------
    EncoderCard
        The new card, read from its file.

    Raises
    ------
    EncoderError
        The name is invalid or in use.
    ProjectError
        The folder cannot be written, or another encoder is being added.
    """
    check_name(name)
    folder = paths.encoders_dir()
    weights, written = folder / f"{name}.safetensors", folder / f"{name}.json"
    try:
        lock = FileLock(folder / ".adding")
    except ProjectError as error:
        raise ProjectError(
            f"Another encoder is being written to {folder}: wait until it is finished, then try again."
        ) from error
    try:
        _remove_unfinished(folder)
        check_name(name)  # another process may have taken it before the lock was free
        if weights.exists():
            raise EncoderError(
                f"{weights} exists and belongs to no encoder: move it away, or choose another name."
            )
        try:
            # The card is renamed last, because it makes the encoder visible. It is started before the weights
            # are renamed, so that weights without a card are recognised as unfinished.
            with contextlib.ExitStack() as last, _replacing(weights) as file:
                content = write(file) | {"name": name, "file": weights.name}
                card = last.enter_context(_replacing(written))
                card.write((json.dumps(content, indent=2) + "\n").encode())
        except BaseException:
            weights.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise ProjectError(
            f"The encoder cannot be stored in {folder} ({error.strerror}): "
            "free some space, or allow writing there."
        ) from error
    finally:
        lock.release()
    return read_card(written)


def remove(name: str) -> None:
    """Delete one of the user's encoders; if it was the chosen one, the default encoder is used.

    Raises
    ------
    EncoderError
        There is no such encoder, or it is a bundled one.
    ProjectError
        The files cannot be deleted.
    """
    found = find(name)
    if not is_own(found):
        raise EncoderError(f"{name} ships with the program and cannot be removed.")
    assert found.path is not None  # noqa: S101 - an own encoder has weights
    was_chosen = _read_choice() == name
    try:
        card = _card_file(found, found.path.parent)
        found.path.unlink(missing_ok=True)
        card.unlink()  # last, so that a removal that fails half way can be repeated
        if was_chosen:  # a later encoder of this name was not chosen
            _choice_file().unlink(missing_ok=True)
    except OSError as error:
        raise ProjectError(
            f"{name} cannot be removed from {found.path.parent} ({error.strerror}): allow writing there."
        ) from error


def chosen() -> str:
    """Return the name of the encoder that the program uses: the chosen one if it exists, else the default."""
    name = _read_choice()
    if name is None:
        return DEFAULT_ENCODER
    try:
        found = find(name)
    except EncoderError:
        found = None
    if found is None or (found.path is not None and not found.path.is_file()):
        log.warning("The encoder %s no longer exists; %s is used.", name, DEFAULT_ENCODER)
        return DEFAULT_ENCODER
    return name


def choose(name: str) -> None:
    """Choose the encoder that the program uses from the next start of the engine.

    Raises
    ------
    EncoderError
        No encoder has this name.
    ProjectError
        The choice cannot be saved.
    """
    find(name)
    file = _choice_file()
    try:
        write_text(file, json.dumps({"encoder": name}) + "\n")
    except OSError as error:
        raise ProjectError(
            f"The choice of encoder cannot be written to {file} ({error.strerror}): free some space."
        ) from error


@contextlib.contextmanager
def _replacing(path: Path) -> Iterator[BinaryIO]:
    """Open a temporary file that replaces `path` at the end."""
    with replacing(path) as temporary, temporary.open("wb") as file:
        yield file


def _remove_unfinished(folder: Path) -> None:
    """Remove the files of an addition that was interrupted."""
    for file in folder.iterdir():
        name, _, suffix = (unfinished_name(file) or "").rpartition(".")
        if suffix not in ("json", "safetensors"):
            continue
        if suffix == "json" and not (folder / f"{name}.json").exists():
            (folder / f"{name}.safetensors").unlink(missing_ok=True)
        file.unlink(missing_ok=True)


def _taken(folder: Path) -> Iterator[str]:
    for known in [resource_path("encoders"), folder]:
        for file in known.glob("*.json"):
            yield file.stem
            with contextlib.suppress(EncoderError):  # of an unreadable card, only the file name counts
                yield read_card(file).name


def _card_file(found: EncoderCard, folder: Path) -> Path:
    """Find the file of a card, which the user may have renamed."""
    for file in folder.glob("*.json"):
        with contextlib.suppress(EncoderError):
            if read_card(file) == found:
                return file
    raise EncoderError(f"The card of {found.name} is no longer in {folder}.")


def _copy(source: Path, target: BinaryIO) -> str:
    """Copy a file of any size and return its SHA-256."""
    digest = hashlib.sha256()
    try:
        file = source.open("rb")
    except OSError as error:
        raise EncoderError(f"The weights {source} cannot be read: export the encoder again.") from error
    with file:
        while block := file.read(_BLOCK):
            digest.update(block)
            target.write(block)
    return digest.hexdigest()


def _choice_file() -> Path:
    return paths.config_dir() / "encoder.json"


def _read_choice() -> str | None:
    """Return the chosen name; None if there is none or it cannot be read."""
    try:
        name = json.loads(_choice_file().read_text(encoding="utf-8"))["encoder"]
    except (OSError, ValueError, KeyError, TypeError, ProjectError):
        return None
    return name if isinstance(name, str) else None

"""The encoders of this machine: those that ship, the user's own, and the one that the program uses.

Torch-free: the window lists, keeps and chooses encoders by their cards.
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
from vjepa_core.encoder import catalogue
from vjepa_core.encoder.catalogue import DEFAULT_ENCODER, EncoderCard, read_card
from vjepa_core.errors import EncoderError
from vjepa_core.resources import resource_path

log = logging.getLogger(__name__)

_BLOCK = 1 << 20
_LONGEST_NAME = 60
_NEW = ".new"
# Windows has devices of these names, whatever the suffix.
_DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)


def encoder_folders() -> list[Path]:
    """Folders with encoder cards: the one that ships with the program, then the user's."""
    folders = [resource_path("encoders")]
    try:
        folders.append(paths.encoders_dir())
    except ProjectError as error:  # what ships must work without
        log.warning("%s Only the encoders that ship are used.", error)
    return folders


def cards() -> tuple[list[EncoderCard], dict[str, str]]:
    """Cards of all encoders, the default one first, and what is wrong with those that cannot be read."""
    return catalogue.available(encoder_folders())


def find(name: str) -> EncoderCard:
    """The card of an encoder by name; EncoderError, with the names that there are, if there is none."""
    return catalogue.card(name, encoder_folders())


def is_own(found: EncoderCard) -> bool:
    """Whether this encoder was kept by the user, and may be removed."""
    folder = resource_path("encoders")
    return found.path is not None and found.path.parent != folder


def keep(card: Path, name: str) -> EncoderCard:
    """Copy an encoder into the user's folder under a name of its own.

    Parameters
    ----------
    card : Path
        A card as `apical pretrain` writes it; its weights lie beside it.
    name : str
        Letters, digits, dots, dashes and underscores; not taken yet, in whatever case.

    Returns
    -------
    EncoderCard
        The copy's.

    Raises
    ------
    EncoderError
        If the name is unfit or taken, or card and weights cannot be read or do not belong together.
    ProjectError
        If the user's folder cannot be written; nothing is left there then.
    """
    check_name(name)
    found = read_card(card)
    if found.path is None:
        raise EncoderError(f"{found.name} has no weights of its own to keep: it is there already.")
    source = found.path
    content = catalogue.content(card)

    def copy(file: BinaryIO) -> dict[str, Any]:
        checksum = _copy(source, file)
        if checksum != found.checksum:
            raise EncoderError(
                f"{source} is damaged or not the file on {found.name}'s card: export it again."
            )
        return content

    return add(name, copy)


def check_name(name: str) -> None:
    """Raise EncoderError if an encoder of the user's cannot get this name."""
    fitting = re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", name) and not _DEVICES.fullmatch(name)
    if not fitting or len(name) > _LONGEST_NAME:
        raise EncoderError(
            f"{name or 'An empty word'} is no name for an encoder: use up to {_LONGEST_NAME} letters, "
            "digits, dots, dashes and underscores."
        )
    # A file system may not tell upper from lower case.
    if name.lower() in {known.lower() for known in _taken(paths.encoders_dir())}:
        raise EncoderError(f"An encoder is called {name} already: choose another name.")


def free_name(wish: str) -> str:
    """A name that is fit and not taken, as near to the wish as can be: `vitl`, `vitl-2`."""
    fit = re.sub(r"[^A-Za-z0-9_.-]+", "-", wish)[: _LONGEST_NAME - 4].strip("-_.") or "encoder"
    if _DEVICES.fullmatch(fit):
        fit = f"encoder-{fit}"
    taken = {known.lower() for known in _taken(paths.encoders_dir())}
    numbered = (fit if count == 1 else f"{fit}-{count}" for count in itertools.count(1))
    return next(name for name in numbered if name.lower() not in taken)


def add(name: str, write: Callable[[BinaryIO], dict[str, Any]]) -> EncoderCard:
    """Put an encoder into the user's folder; what a killed program left there is removed.

    Parameters
    ----------
    name : str
        As `check_name` wants it.
    write : callable
        Writes the weights to a file and returns the content of the card, in which name and file are filled
        in; whatever it raises, nothing is left.

    Returns
    -------
    EncoderCard
        As it is read back.

    Raises
    ------
    EncoderError
        If the name is unfit or taken.
    ProjectError
        If the folder cannot be written, or another encoder is being written to it.
    """
    check_name(name)
    folder = paths.encoders_dir()
    weights, written = folder / f"{name}.safetensors", folder / f"{name}.json"
    try:
        lock = FileLock(folder / ".adding")
    except ProjectError as error:
        raise ProjectError(
            f"Another encoder is just being written to {folder}: wait until it is there, then try again."
        ) from error
    try:
        _clear_up(folder)
        check_name(name)  # another one may have got it before the lock was free
        if weights.exists():
            raise EncoderError(
                f"{weights} is there already and belongs to no encoder: move it away, or choose another name."
            )
        try:
            # The card gets its name last: without it an encoder is not there. It is begun before the weights
            # get theirs, so that weights whose card a killed program could not finish are known for such.
            with contextlib.ExitStack() as last, _written_whole(weights) as file:
                content = write(file) | {"name": name, "file": weights.name}
                card = last.enter_context(_written_whole(written))
                card.write((json.dumps(content, indent=2) + "\n").encode())
        except BaseException:
            weights.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise ProjectError(
            f"The encoder cannot be kept in {folder} ({error.strerror}): "
            "free some space, or allow writing there."
        ) from error
    finally:
        lock.release()
    return read_card(written)


def remove(name: str) -> None:
    """Delete an encoder of the user's; the program goes on with the default one if it used this.

    Raises
    ------
    EncoderError
        If there is no such encoder, or it is one that ships.
    ProjectError
        If it cannot be deleted.
    """
    found = find(name)
    if not is_own(found):
        raise EncoderError(f"{name} ships with the program and cannot be removed.")
    assert found.path is not None  # noqa: S101 - an own encoder has weights
    was_chosen = _read_choice() == name
    try:
        card = _card_file(found, found.path.parent)
        found.path.unlink(missing_ok=True)
        card.unlink()  # last: what is left of a removal that fails half way can be removed again
        if was_chosen:  # another one that gets this name later was not chosen
            _choice_file().unlink(missing_ok=True)
    except OSError as error:
        raise ProjectError(
            f"{name} cannot be removed from {found.path.parent} ({error.strerror}): allow writing there."
        ) from error


def chosen() -> str:
    """Name of the encoder that the program uses: the chosen one while it is there, else the default."""
    name = _read_choice()
    if name is None:
        return DEFAULT_ENCODER
    try:
        found = find(name)
    except EncoderError:
        found = None
    if found is None or (found.path is not None and not found.path.is_file()):
        log.warning("The encoder %s is gone; %s is used.", name, DEFAULT_ENCODER)
        return DEFAULT_ENCODER
    return name


def choose(name: str) -> None:
    """Let the program use this encoder from its next start of the engine on.

    Raises
    ------
    EncoderError
        If there is none of that name.
    ProjectError
        If the choice cannot be written.
    """
    find(name)
    file = _choice_file()
    try:
        with _written_whole(file) as out:
            out.write((json.dumps({"encoder": name}) + "\n").encode())
    except OSError as error:
        raise ProjectError(
            f"The choice of encoder cannot be written to {file} ({error.strerror}): free some space."
        ) from error


def _clear_up(folder: Path) -> None:
    """Remove what a killed program left of an encoder that it was adding."""
    for left in folder.glob(f".*.*{_NEW}"):
        name, _, ending = left.name[1 : -len(_NEW)].rpartition(".")
        if ending not in ("json", "safetensors"):
            continue  # not ours
        if ending == "json" and not (folder / f"{name}.json").exists():
            (folder / f"{name}.safetensors").unlink(missing_ok=True)
        left.unlink(missing_ok=True)


def _taken(folder: Path) -> Iterator[str]:
    for known in [resource_path("encoders"), folder]:
        for file in known.glob("*.json"):
            yield file.stem
            with contextlib.suppress(EncoderError):  # an unreadable card has a file name to keep off
                yield read_card(file).name


def _card_file(found: EncoderCard, folder: Path) -> Path:
    """The file that this card was read from, which a user may have renamed."""
    for file in folder.glob("*.json"):
        with contextlib.suppress(EncoderError):
            if read_card(file) == found:
                return file
    raise EncoderError(f"The card of {found.name} is no longer in {folder}.")


def _copy(source: Path, target: BinaryIO) -> str:
    """Copy a file of any size; returns its SHA-256."""
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


@contextlib.contextmanager
def _written_whole(path: Path) -> Iterator[BinaryIO]:
    """A file that is at `path` only once it is written whole."""
    temporary = path.with_name(f".{path.name}{_NEW}")
    try:
        with temporary.open("wb") as file:
            yield file
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _choice_file() -> Path:
    return paths.config_dir() / "encoder.json"


def _read_choice() -> str | None:
    """The name last chosen, None where there is none or it cannot be read."""
    try:
        name = json.loads(_choice_file().read_text(encoding="utf-8"))["encoder"]
    except (OSError, ValueError, KeyError, TypeError, ProjectError):
        return None
    return name if isinstance(name, str) else None

"""Pre-training as the window starts it: runs in the user's folder, each worked on by a child process."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from app import paths
from app.domain.errors import ProjectError
from app.processes.child import LOCK, Child
from app.storage.filelock import FileLock

PACKED, CHECKPOINT, LOG, ENCODER = "data", "checkpoint.pt", "log.jsonl", "encoder"
_ABOUT = "run.json"
_NAME = re.compile(r"run-(\d+)")


@dataclass(frozen=True)
class Plan:
    """What a run trains.

    Attributes
    ----------
    data : tuple of str
        Cines, folders, packed sets.
    steps : int
        Length.
    encoder : str
        Name of the one to go on from; empty for an untrained start.
    config : str
        A configuration file instead; empty for none.
    kept : bool
        Its encoder was taken over: the run is over for good.
    """

    data: tuple[str, ...]
    steps: int
    encoder: str = ""
    config: str = ""
    kept: bool = False

    def words(self) -> list[str]:
        """Arguments of `apical pretrain` for data, encoder, configuration and length."""
        options = {"--encoder": self.encoder, "--config": self.config, "--steps": str(self.steps)}
        return [*self.data, *(word for name, value in options.items() if value for word in (name, value))]

    def estimate(self) -> Child:
        """Start finding out what would be used and how long it takes; its answer has the numbers."""
        return Child(["pretrain", *self.words(), "--estimate", "--json"])


class Run:
    """A folder with a run, and what is known of it without looking into its checkpoint."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            about = json.loads((folder / _ABOUT).read_text(encoding="utf-8"))
            self.plan = Plan(**{**about, "data": tuple(about["data"])})
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ProjectError(f"{folder} holds no run of this program: delete the folder.") from error
        self._read: tuple[int, int] = (0, 0)  # which file, how far

    @classmethod
    def create(cls, plan: Plan) -> Run:
        """A new folder for a run, with the next free number."""
        numbers = [int(m[1]) for path in paths.runs_dir().iterdir() if (m := _NAME.fullmatch(path.name))]
        folder = paths.runs_dir() / f"run-{max(numbers, default=0) + 1}"
        with _disk(folder):
            folder.mkdir()
            _write_plan(folder, plan)
        return cls(folder)

    @property
    def name(self) -> str:
        """Folder's name."""
        return self.folder.name

    @property
    def number(self) -> int:
        """The folder's."""
        return int(self.name.split("-")[1])

    @property
    def card(self) -> Path | None:
        """Card of the encoder as of the last stop; none once the run has gone beyond it."""
        found = next(iter(sorted((self.folder / ENCODER).glob("*.json"))), None)
        with contextlib.suppress(OSError):
            checkpoint = self.folder / CHECKPOINT
            if found and checkpoint.exists() and found.stat().st_mtime_ns < checkpoint.stat().st_mtime_ns:
                return None
        return found

    @property
    def saved(self) -> bool:
        """True where there is a checkpoint to go on from."""
        return (self.folder / CHECKPOINT).exists()

    @property
    def busy(self) -> bool:
        """True while a process works on it, whoever started that."""
        try:
            FileLock(self.folder / LOCK).release()
        except ProjectError:
            return True
        return False

    @property
    def step(self) -> int:
        """Steps in the log."""
        entries = _parse((self.folder / LOG).read_bytes()) if (self.folder / LOG).exists() else []
        return int(entries[-1]["step"]) if entries else 0

    @property
    def batch(self) -> int:
        """Clips a step, 0 before it has begun."""
        try:
            return int(json.loads((self.folder / "config.json").read_text(encoding="utf-8"))["batch"])
        except (OSError, ValueError, KeyError, TypeError):
            return 0

    @property
    def finished(self) -> bool:
        """True where the encoder of the last step is there."""
        try:
            card = json.loads(self.card.read_text(encoding="utf-8")) if self.card else {}
            return int(card["training"]["steps"]) >= self.plan.steps
        except (OSError, ValueError, KeyError, TypeError):
            return False

    def start(self) -> Child:
        """Begin, or go on from the last checkpoint."""
        words = self.plan.words()
        packed = self.folder / PACKED
        if (packed / "index.json").is_file():  # the cines may have been moved since they were read
            sets = [path for path in self.plan.data if (Path(path) / "index.json").is_file()]
            words = [*sets, str(packed), *words[len(self.plan.data) :]]
        words += [
            "--out",
            str(self.folder),
            "--name",
            f"new-{self.number}",
            *(["--resume"] if self.saved else []),
        ]
        return Child(["pretrain", *words, "--json"], self.folder)

    def news(self) -> tuple[list[dict[str, Any]], bool]:
        """Lines of the log since the last call; True where they begin anew, since the run went back."""
        file = self.folder / LOG
        try:
            with file.open("rb") as log:
                which, size = os.fstat(log.fileno()).st_ino, os.fstat(log.fileno()).st_size
                anew = which != self._read[0] or size < self._read[1]
                log.seek(0 if anew else self._read[1])
                text = log.read()
        except OSError:
            return [], False
        whole = text[: text.rfind(b"\n") + 1]  # half a line is being written
        self._read = (which, (0 if anew else self._read[1]) + len(whole))
        return _parse(whole), anew

    def keep(self) -> None:
        """Its encoder was taken over: note it, and free the disk of all but the diary."""
        self._change(replace(self.plan, kept=True, data=()))
        for name in (PACKED, ENCODER, "comparison"):
            shutil.rmtree(self.folder / name, ignore_errors=True)
        with contextlib.suppress(OSError):
            (self.folder / CHECKPOINT).unlink(missing_ok=True)

    def delete(self) -> None:
        """Throw the run away; refused while a process works on it."""
        if self.busy:
            raise ProjectError(f"{self.name} is still being worked on: wait until it has saved.")
        with _disk(self.folder):
            shutil.rmtree(self.folder)

    def _change(self, plan: Plan) -> None:
        with _disk(self.folder):
            _write_plan(self.folder, plan)
        self.plan = plan


def undecided() -> list[Run]:
    """Runs that are neither kept nor thrown away, the newest first."""
    found = []
    for folder in paths.runs_dir().iterdir():
        if _NAME.fullmatch(folder.name):
            with contextlib.suppress(ProjectError):
                found.append(Run(folder))
    found = [run for run in found if not run.plan.kept]
    return sorted(found, key=lambda run: run.number, reverse=True)


def compare(before: str, after: Path, project: Path, out: Path) -> Child:
    """Start comparing two encoders on the labels of a project file; its answer has the numbers."""
    words = [before, str(after), "--project", str(project), "--out", str(out), "--json"]
    return Child(["encoders", "compare", *words])


def _write_plan(folder: Path, plan: Plan) -> None:
    part = folder / f"{_ABOUT}.part"
    part.write_text(json.dumps(asdict(plan), indent=2), encoding="utf-8")
    part.replace(folder / _ABOUT)


@contextlib.contextmanager
def _disk(place: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ProjectError(
            f"{place} cannot be changed ({error.strerror}): free some space, or allow writing there."
        ) from error


def _parse(text: bytes) -> list[dict[str, Any]]:
    entries = []
    for line in text.splitlines():
        with contextlib.suppress(ValueError, KeyError, TypeError):
            entry = json.loads(line)
            int(entry["step"])
            entries.append(entry)
    return entries

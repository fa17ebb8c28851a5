"""Pre-training runs in the user's folder, each executed by a child process."""

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
from vjepa_core.atomic import write_text
from vjepa_core.pretraining.files import CHECKPOINT, CONFIG, INDEX, LOG

PACKED = "data"
"""Folder of a run with its packed cines."""
ENCODER = "encoder"
"""Folder of a run with its encoder and the encoder's card."""
COMPARISON = "comparison"
"""Folder of a run with the images of a comparison."""
_PLAN = "run.json"
_NAME = re.compile(r"run-(\d+)")


@dataclass(frozen=True)
class Plan:
    """Data, length and start of a run.

    Attributes
    ----------
    data : tuple of str
        Cines, folders and packed sets.
    steps : int
        Length of the run.
    encoder : str
        Name of the encoder to start from; empty for random weights.
    config : str
        Path of a configuration file; empty for the default configuration.
    kept : bool
        The run's encoder was added to the user's encoders: the run cannot be continued.
    """

    data: tuple[str, ...]
    steps: int
    encoder: str = ""
    config: str = ""
    kept: bool = False

    def arguments(self) -> list[str]:
        """Return the arguments of `apical pretrain` for data, encoder, configuration and length."""
        options = {"--encoder": self.encoder, "--config": self.config, "--steps": str(self.steps)}
        return [*self.data, *(part for name, value in options.items() if value for part in (name, value))]

    def start_estimate(self) -> Child:
        """Start estimating the data and the duration of the run; the child's result has the numbers."""
        return Child(["pretrain", *self.arguments(), "--estimate", "--json"])


class Run:
    """A run in its folder; its checkpoint is never read here, which would need torch.

    Parameters
    ----------
    folder : Path

    Raises
    ------
    ProjectError
        The folder contains no run.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            plan = json.loads((folder / _PLAN).read_text(encoding="utf-8"))
            self.plan = Plan(**{**plan, "data": tuple(plan["data"])})
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ProjectError(f"{folder} contains no run of this program: delete the folder.") from error
        self._log_position: tuple[int, int] = (0, 0)  # inode of the log, bytes read

    @classmethod
    def create(cls, plan: Plan) -> Run:
        """Create the folder of a new run, with the next free number."""
        numbers = [int(m[1]) for path in paths.runs_dir().iterdir() if (m := _NAME.fullmatch(path.name))]
        folder = paths.runs_dir() / f"run-{max(numbers, default=0) + 1}"
        with _disk_errors(folder):
            folder.mkdir()
            _write_plan(folder, plan)
        return cls(folder)

    @property
    def name(self) -> str:
        """Name of the folder."""
        return self.folder.name

    @property
    def number(self) -> int:
        """Number of the run, from the folder's name."""
        return int(self.name.split("-")[1])

    @property
    def card(self) -> Path | None:
        """Card of the encoder at the last stop; None after later steps were saved."""
        found = next(iter(sorted((self.folder / ENCODER).glob("*.json"))), None)
        with contextlib.suppress(OSError):
            checkpoint = self.folder / CHECKPOINT
            if found and checkpoint.exists() and found.stat().st_mtime_ns < checkpoint.stat().st_mtime_ns:
                return None
        return found

    @property
    def has_checkpoint(self) -> bool:
        """True if there is a checkpoint to continue from."""
        return (self.folder / CHECKPOINT).exists()

    @property
    def is_busy(self) -> bool:
        """True while any process works on the run."""
        try:
            FileLock(self.folder / LOCK).release()
        except ProjectError:
            return True
        return False

    @property
    def step(self) -> int:
        """Number of the last step in the log."""
        entries = _parse((self.folder / LOG).read_bytes()) if (self.folder / LOG).exists() else []
        return int(entries[-1]["step"]) if entries else 0

    @property
    def batch(self) -> int:
        """Clips per step; 0 before the run has started."""
        try:
            return int(json.loads((self.folder / CONFIG).read_text(encoding="utf-8"))["batch"])
        except (OSError, ValueError, KeyError, TypeError):
            return 0

    @property
    def is_finished(self) -> bool:
        """True if the encoder of the last step exists."""
        try:
            card = json.loads(self.card.read_text(encoding="utf-8")) if self.card else {}
            return int(card["training"]["steps"]) >= self.plan.steps
        except (OSError, ValueError, KeyError, TypeError):
            return False

    def start(self) -> Child:
        """Start the run, or continue it from the last checkpoint."""
        arguments = self.plan.arguments()
        packed = self.folder / PACKED
        if (packed / INDEX).is_file():  # the cines may have been moved since they were read
            sets = [path for path in self.plan.data if (Path(path) / INDEX).is_file()]
            arguments = [*sets, str(packed), *arguments[len(self.plan.data) :]]
        arguments += [
            "--out",
            str(self.folder),
            "--name",
            f"new-{self.number}",
            *(["--resume"] if self.has_checkpoint else []),
        ]
        return Child(["pretrain", *arguments, "--json"], self.folder)

    def new_entries(self) -> tuple[list[dict[str, Any]], bool]:
        """Read the entries that were added to the log since the last call.

        Returns
        -------
        entries : list of dict
        restarted : bool
            The log was rewritten, because the run continued from an earlier step: the entries are all of it.
        """
        try:
            with (self.folder / LOG).open("rb") as log:
                inode, size = os.fstat(log.fileno()).st_ino, os.fstat(log.fileno()).st_size
                restarted = inode != self._log_position[0] or size < self._log_position[1]
                start = 0 if restarted else self._log_position[1]
                log.seek(start)
                text = log.read()
        except OSError:
            return [], False
        complete = text[: text.rfind(b"\n") + 1]  # the last line may be unfinished
        self._log_position = (inode, start + len(complete))
        return _parse(complete), restarted

    def mark_kept(self) -> None:
        """Record that the encoder was kept, and delete everything but the plan and the log."""
        self._change(replace(self.plan, kept=True, data=()))
        for name in (PACKED, ENCODER, COMPARISON):
            shutil.rmtree(self.folder / name, ignore_errors=True)
        with contextlib.suppress(OSError):
            (self.folder / CHECKPOINT).unlink(missing_ok=True)

    def delete(self) -> None:
        """Delete the run.

        Raises
        ------
        ProjectError
            A process is working on it, or the folder cannot be deleted.
        """
        if self.is_busy:
            raise ProjectError(f"{self.name} is still being worked on: wait until it has saved.")
        with _disk_errors(self.folder):
            shutil.rmtree(self.folder)

    def _change(self, plan: Plan) -> None:
        with _disk_errors(self.folder):
            _write_plan(self.folder, plan)
        self.plan = plan


def pending_runs() -> list[Run]:
    """Return the runs whose encoder was not kept yet, the newest first."""
    found = []
    for folder in paths.runs_dir().iterdir():
        if _NAME.fullmatch(folder.name):
            with contextlib.suppress(ProjectError):
                found.append(Run(folder))
    found = [run for run in found if not run.plan.kept]
    return sorted(found, key=lambda run: run.number, reverse=True)


def _write_plan(folder: Path, plan: Plan) -> None:
    write_text(folder / _PLAN, json.dumps(asdict(plan), indent=2))


@contextlib.contextmanager
def _disk_errors(place: Path) -> Iterator[None]:
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

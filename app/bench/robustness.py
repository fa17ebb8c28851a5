"""Opening of damaged files in a separate process: none may cause a crash, a hang or an excess of memory."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.bench.machine import machine
from app.bench.mutations import damage
from app.bench.open_many import peak_bytes
from app.bench.samples import write_label_samples, write_samples
from app.domain.errors import ApicalError
from app.readers.open import format_of

HANG_S = 10.0
"""Time limit for opening a file, seconds."""
MEMORY = 2 << 30
"""Limit of resident memory, bytes."""
FAULTS = ("crash", "hang", "memory", "traceback")
_ROOT = Path(__file__).resolve().parents[2]
_MAX_FAULTS = 20
"""Number of faults in the result."""


@dataclass(frozen=True)
class Source:
    """An intact file, or a folder of images or labels; `labels` is the shape of the cine of a label file."""

    path: Path
    kind: str
    labels: tuple[int, int, int] | None = None


def run(
    paths: Sequence[Path],
    *,
    files: int,
    seed: int = 0,
    keep: Path | None = None,
    on_progress: Callable[[str, int, int], None] | None = None,
) -> dict[str, Any]:
    """Damage copies of files and open them.

    Parameters
    ----------
    paths : sequence of Path
        Intact files, or folders of them, in addition to small generated files.
    files : int
        Number of damaged files.
    seed : int
        The same seed and sources give the same files.
    keep : Path, optional
        Folder for the files that caused a fault.
    on_progress : callable, optional
        Called with the stage, the files done and the files in all.

    Returns
    -------
    dict
        ``{name, machine, rows, ratios, faults, exit_code}``. A row has the numbers of files of one kind
        ``n``, ``opened``, ``refused``, ``crash``, ``hang``, ``memory`` and ``traceback``, and ``slowest_s``
        and ``peak_mib``. The exit code is 1 after a fault.

    Raises
    ------
    ApicalError
        A path does not exist.
    """
    with tempfile.TemporaryDirectory(prefix="apical-robustness-") as folder:
        sources = _sources(paths, Path(folder))
        tallies = {source.kind: Counter[str]() for source in sources}
        slowest: dict[str, float] = dict.fromkeys(tallies, 0.0)
        peak: dict[str, int] = dict.fromkeys(tallies, 0)
        faults: list[dict[str, Any]] = []
        with Opener() as opener:
            for number in range(files):
                rng = random.Random(f"{seed}/{number}")  # noqa: S311 - reproducible, not secret
                source = sources[number % len(sources)]
                damaged, change = _damaged_copy(source, Path(folder) / "damaged", rng)
                answer = opener.open(damaged, source.labels)
                kind = source.kind
                tallies[kind].update((answer["outcome"], "n"))
                slowest[kind] = max(slowest[kind], answer["seconds"])
                peak[kind] = max(peak[kind], answer["peak"])
                if answer["outcome"] in FAULTS:
                    fault = {"number": number, "file": source.path.name, "damage": change}
                    faults.append(fault | {k: answer[k] for k in ("outcome", "detail")})
                    if keep is not None:
                        _copy(damaged, keep / f"{number:05d}-{source.path.name}")
                if on_progress:
                    on_progress("opening damaged files", number + 1, files)
    rows = [
        {"what": kind, "n": tally["n"], "opened": tally["opened"], "refused": tally["refused"]}
        | {fault: tally[fault] for fault in FAULTS}
        | {"slowest_s": round(slowest[kind], 3), "peak_mib": peak[kind] >> 20}
        for kind, tally in tallies.items()
    ]
    return {
        "name": "robustness",
        "machine": machine("pydicom", "opencv-python-headless", "pillow", "nibabel", "numpy"),
        "rows": rows,
        "ratios": {},
        "faults": faults[:_MAX_FAULTS],
        "exit_code": 1 if faults else 0,
    }


class Opener:
    """A process that opens files one after the other; a new one is started after a crash.

    Parameters
    ----------
    hang_s : float
        Time limit for a file, seconds.
    memory : int
        Limit of resident memory, bytes.
    """

    def __init__(self, hang_s: float = HANG_S, memory: int = MEMORY) -> None:
        self._hang_s, self._memory = hang_s, memory
        self._child: subprocess.Popen[bytes] | None = None
        self._answers: queue.Queue[bytes] = queue.Queue()

    def __enter__(self) -> Opener:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def open(self, path: Path, labels: tuple[int, int, int] | None = None) -> dict[str, Any]:
        """Open one file, and again if it took too long, because the machine may have been busy.

        Parameters
        ----------
        path : Path
        labels : tuple of int, optional
            Shape of the cine of a label file.

        Returns
        -------
        dict
            Keys: outcome, detail (unless opened), seconds, peak (bytes).
        """
        answer = self._try(path, labels)
        return self._try(path, labels) if answer["outcome"] == "hang" else answer

    def _try(self, path: Path, labels: tuple[int, int, int] | None) -> dict[str, Any]:
        child = self._running_child()
        stdin = child.stdin
        if stdin is None:
            raise ValueError("the process has no pipe")
        with contextlib.suppress(BrokenPipeError):  # the process has ended: its answer is empty
            stdin.write(json.dumps({"path": str(path), "labels": labels}).encode() + b"\n")
            stdin.flush()
        started = time.monotonic()
        line: bytes | None = None
        while line is None:
            with contextlib.suppress(queue.Empty):
                line = self._answers.get(timeout=0.05)
                break
            seconds = time.monotonic() - started
            peak = peak_bytes(str(child.pid))
            if peak > self._memory:
                self._end()
                return {"outcome": "memory", "detail": f"{peak >> 20} MiB", "seconds": seconds, "peak": peak}
            if seconds > self._hang_s:
                self._end()
                return {"outcome": "hang", "detail": f"{seconds:.0f} s", "seconds": seconds, "peak": peak}
        if not line:
            code = child.wait()
            self._end()
            crash = {"outcome": "crash", "detail": f"the process ended with {code}"}
            return crash | {"seconds": time.monotonic() - started, "peak": 0}
        answer: dict[str, Any] = json.loads(line)
        if answer["peak"] > self._memory:
            answer |= {"outcome": "memory", "detail": f"{answer['peak'] >> 20} MiB"}
        return answer

    @property
    def process(self) -> subprocess.Popen[bytes] | None:
        """The process that opens the files, if it was started."""
        return self._child

    def _running_child(self) -> subprocess.Popen[bytes]:
        if self._child is None:
            python_path = os.pathsep.join(filter(None, (str(_ROOT), os.environ.get("PYTHONPATH"))))
            self._child = subprocess.Popen(
                [sys.executable, "-m", "app.bench.open_many"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={**os.environ, "PYTHONPATH": python_path},
            )
            self._answers = queue.Queue()
            threading.Thread(target=_read_answers, args=(self._child, self._answers), daemon=True).start()
        return self._child

    def _end(self) -> None:
        if self._child is not None:
            self._child.kill()
            self._child.wait()
            for pipe in (self._child.stdin, self._child.stdout):
                with contextlib.suppress(BrokenPipeError):
                    if pipe is not None:
                        pipe.close()
            self._child = None


def _read_answers(child: subprocess.Popen[bytes], answers: queue.Queue[bytes]) -> None:
    """Put every line of the process into the queue, and an empty one at its end."""
    if child.stdout is not None:
        with contextlib.suppress(ValueError):  # closed by the other thread
            for line in child.stdout:
                answers.put(line)
    answers.put(b"")


def _sources(paths: Sequence[Path], folder: Path) -> list[Source]:
    generated, labels = folder / "generated", folder / "generated-labels"
    generated.mkdir()
    labels.mkdir()
    found = [Source(path, _kind(path)) for path in write_samples(generated)]
    label_files, shape = write_label_samples(labels)
    found += [Source(path, "labels", shape) for path in label_files]
    for path in paths:
        if not path.exists():
            raise ApicalError(f"{path} does not exist; check the path.")
        files = sorted(f for f in path.rglob("*") if f.is_file()) if path.is_dir() else [path]
        found += [Source(file, kind) for file in files if (kind := _kind(file))]
    return found


def _kind(path: Path) -> str:
    if path.is_dir():
        return "folder"
    found = format_of(path)
    return "" if found is None else found.name


def _damaged_copy(source: Source, target: Path, rng: random.Random) -> tuple[Path, str]:
    """Create a damaged copy, which replaces the previous one."""
    if target.exists():
        shutil.rmtree(target)
    target.mkdir()
    if source.path.is_dir():
        copy = Path(shutil.copytree(source.path, target / source.path.name))
        file = rng.choice(sorted(copy.iterdir()))
    else:
        copy = file = Path(shutil.copy(source.path, target / source.path.name))
    data, change = damage(file.read_bytes(), _kind(file), rng)
    file.write_bytes(data)
    return copy, change


def _copy(damaged: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if damaged.is_dir():
        shutil.copytree(damaged, target, dirs_exist_ok=True)
    else:
        shutil.copy(damaged, target)

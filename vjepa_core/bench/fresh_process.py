"""A measurement in a process of its own: a module with one JSON argument, which tells lines of JSON."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from vjepa_core.errors import CoreError

_ROOT = Path(__file__).resolve().parents[2]


def told_by(
    module: str,
    task: str,
    *,
    error: type[CoreError],
    killed: str,
    on_line: Callable[[dict[str, Any]], None] = lambda line: None,
) -> dict[str, Any]:
    """Run a module and hand back its result.

    It is ended with the caller: by Ctrl+C, or by whatever else is raised here meanwhile.

    Parameters
    ----------
    module : str
        Run with `-m`; the last of its lines on stdout is ``{"result": {...}}``, or ``{"error": sentence}``.
    task : str
        Its argument.
    error : type
        Raised with the sentence of the process.
    killed : str
        The sentence where the system ended it, most likely for lack of memory.
    on_line : callable
        Told of every line as soon as it is there.

    Raises
    ------
    CoreError
        Of the kind `error`.
    RuntimeError
        With the end of what it said on stderr, if it ended in any other way.
    """
    # A checkout that is not installed is found as well; nothing is asked of the network.
    paths = os.pathsep.join(filter(None, (str(_ROOT), os.environ.get("PYTHONPATH"))))
    last: dict[str, Any] = {}
    with tempfile.TemporaryFile() as complaints:  # a pipe that nobody reads would fill up
        child = subprocess.Popen(
            [sys.executable, "-m", module, task],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=complaints,
            env={**os.environ, "PYTHONPATH": paths, "HF_HUB_OFFLINE": "1"},
            text=True,
            encoding="utf-8",
        )
        try:
            for line in child.stdout or ():
                last = json.loads(line)
                on_line(last)
            child.wait()
        finally:
            child.kill()
            child.wait()
            if child.stdout is not None:
                child.stdout.close()
        if "error" in last:
            raise error(last["error"])
        if child.returncode < 0:
            raise error(killed)
        if "result" not in last:
            complaints.seek(0)
            raise RuntimeError(complaints.read()[-2000:].decode(errors="replace"))
    result: dict[str, Any] = last["result"]
    return result

"""Run a measurement in a separate process: a module with one JSON argument that prints lines of JSON."""

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


def run_in_process(
    module: str,
    task: str,
    *,
    error: type[CoreError],
    killed: str,
    on_line: Callable[[dict[str, Any]], None] = lambda line: None,
) -> dict[str, Any]:
    """Run a module in a new process and return its result.

    The process is killed if an exception, such as Ctrl+C, is raised here.

    Parameters
    ----------
    module : str
        Module for `python -m`. Its last line on stdout is ``{"result": {...}}`` or ``{"error": message}``.
    task : str
        Argument of the module.
    error : type
        Exception type for the error message of the process.
    killed : str
        Error message if the process was killed, probably for lack of memory.
    on_line : callable
        Called with every line.

    Returns
    -------
    dict
        The result.

    Raises
    ------
    CoreError
        Of type `error`, if the process reports an error or was killed.
    RuntimeError
        With the end of its stderr, if it failed in another way.
    """
    # The path of a checkout that is not installed is added; network access of libraries is disabled.
    paths = os.pathsep.join(filter(None, (str(_ROOT), os.environ.get("PYTHONPATH"))))
    last: dict[str, Any] = {}
    with tempfile.TemporaryFile() as stderr:  # a pipe that is not read could fill up
        child = subprocess.Popen(
            [sys.executable, "-m", module, task],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
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
            stderr.seek(0)
            raise RuntimeError(stderr.read()[-2000:].decode(errors="replace"))
    result: dict[str, Any] = last["result"]
    return result

"""Several processes on this machine, with the environment that torchrun would give them."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence

from vjepa_core.pretraining.errors import PretrainingError

_POLL_S = 0.2
_PATIENCE_S = 60.0


def launch(command: Sequence[str], devices: int, nodes: int = 1) -> int:
    """Run `command` once a device and wait for all; when one fails, the others are ended.

    With several machines, start the same command on each of them with MASTER_ADDR, MASTER_PORT and NODE_RANK
    in the environment.

    Returns
    -------
    int
        The first exit code that is not 0, or 0.

    Raises
    ------
    PretrainingError
        If the environment does not tell how to find the other machines.
    """
    node = 0
    address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(_free_port())}
    if nodes > 1:
        missing = [n for n in ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK") if n not in os.environ]
        if missing:
            raise PretrainingError(
                f"{nodes} machines have to find each other: set {', '.join(missing)} on each, "
                "or use torchrun."
            )
        address = {n: os.environ[n] for n in ("MASTER_ADDR", "MASTER_PORT")}
        node = int(os.environ["NODE_RANK"])
    threads = max(1, (os.cpu_count() or 1) // devices)
    children = []
    with _deaf():
        for local in range(devices):
            environment = {
                "OMP_NUM_THREADS": str(threads),
                **os.environ,
                **address,
                "WORLD_SIZE": str(devices * nodes),
                "RANK": str(node * devices + local),
                "LOCAL_RANK": str(local),
                "LOCAL_WORLD_SIZE": str(devices),
            }
            children.append(subprocess.Popen(command, env=environment))
        return _wait(children)


def _wait(children: Sequence[subprocess.Popen[bytes]]) -> int:
    failed = 0
    try:
        while any(child.poll() is None for child in children):
            codes = [child.returncode for child in children if child.returncode]
            if codes:
                failed = codes[0]
                break
            time.sleep(_POLL_S)
        else:
            failed = next((child.returncode for child in children if child.returncode), 0)
        # Those that were told to stop with the failed one may still be saving.
        deadline = time.monotonic() + (_PATIENCE_S if failed == 130 else 1.0)
        while failed and any(child.poll() is None for child in children) and time.monotonic() < deadline:
            time.sleep(_POLL_S)
    finally:
        for child in children:
            if child.poll() is None:
                child.kill()
            child.wait()
    return failed if failed >= 0 else 1


@contextlib.contextmanager
def _deaf() -> Iterator[None]:
    """Ctrl+C reaches the children by itself: they save, and this process waits for them."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])

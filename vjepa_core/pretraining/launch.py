"""Start several training processes on this machine with torchrun's environment variables."""

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
_SAVE_TIMEOUT_S = 60.0


def launch(command: Sequence[str], devices: int, nodes: int = 1) -> int:
    """Run `command` once per device and wait for all processes; if one fails, end the others.

    With several machines, run the same command on each of them with MASTER_ADDR, MASTER_PORT and NODE_RANK in
    the environment.

    Parameters
    ----------
    command : sequence of str
        Command line.
    devices : int
        Number of processes on this machine.
    nodes : int
        Number of machines.

    Returns
    -------
    int
        The first non-zero exit code, or 0.

    Raises
    ------
    PretrainingError
        If a variable that is needed for several machines is missing.
    """
    node = 0
    address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(_free_port())}
    if nodes > 1:
        missing = [n for n in ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK") if n not in os.environ]
        if missing:
            raise PretrainingError(
                f"Training on {nodes} machines needs the environment variables {', '.join(missing)}: set "
                "them on each machine, or use torchrun."
            )
        address = {n: os.environ[n] for n in ("MASTER_ADDR", "MASTER_PORT")}
        node = int(os.environ["NODE_RANK"])
    threads = max(1, (os.cpu_count() or 1) // devices)
    children = []
    with _ignore_interrupts():
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
        # After an interrupt, the other processes may still be saving.
        deadline = time.monotonic() + (_SAVE_TIMEOUT_S if failed == 130 else 1.0)
        while failed and any(child.poll() is None for child in children) and time.monotonic() < deadline:
            time.sleep(_POLL_S)
    finally:
        for child in children:
            if child.poll() is None:
                child.kill()
            child.wait()
    return failed if failed >= 0 else 1


@contextlib.contextmanager
def _ignore_interrupts() -> Iterator[None]:
    """Ignore Ctrl+C, which reaches the child processes too: they save, and this process waits for them."""
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

"""Check the requirements on this machine before the installation, and suggest how to meet them.

    python3 installer/check_system.py --for test|window

Only the standard library of Python 3.8 or later is used, because the virtual environment does not exist yet.
The exit code is 0 if all requirements are met; 2 if some are missing, which are printed to stderr with the
command that installs them. As root on a system with apt-get (containers, continuous integration), they are
installed.
"""

from __future__ import annotations

import argparse
import importlib
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from app.commands import system_libraries  # noqa: E402
from app.commands.system_libraries import Need  # noqa: E402

OLDEST, NEWEST = (3, 11), (3, 13)
# Measured: 6.1 GiB for .venv with the CUDA build of torch, and the wheels during unpacking.
SPACE_GIB = 9


def python_problem() -> str:
    """Return a sentence if this Python cannot run Apical, else ""."""
    version = sys.version_info[:2]
    if not OLDEST <= version <= NEWEST:
        return (
            f"Apical needs Python 3.11, 3.12 or 3.13, but this is {version[0]}.{version[1]} "
            f"({sys.executable}); install one of them, or choose it with `make PYTHON=/path/to/python3.12`."
        )
    if sys.maxsize < 2**32:
        return f"{sys.executable} is a 32-bit Python, which PyTorch does not support; install a 64-bit one."
    libc, release = platform.libc_ver()
    if sys.platform.startswith("linux") and libc != "glibc":
        return "PySide6 and PyTorch need glibc; use a Debian, Ubuntu, Fedora or Arch system."
    if libc == "glibc" and tuple(map(int, release.split(".")[:2])) < (2, 28):
        return f"PySide6 needs glibc 2.28, but this system has {release}; use Debian 10 or later."
    return ""


def space_problem() -> str:
    """Return a sentence if the disk is too full for `.venv`, else ""."""
    free = shutil.disk_usage(str(ROOT)).free / 2**30
    if (ROOT / ".venv").exists() or free >= SPACE_GIB:
        return ""
    return f"{ROOT} has {free:.1f} GiB free, but the installation needs {SPACE_GIB}; free some space first."


def missing_parts(purpose: str) -> list[Need]:
    """Return the missing modules of Python, shared libraries and fonts.

    Parameters
    ----------
    purpose : str
        "test" or "window".

    Returns
    -------
    list of Need
    """
    kind = system_libraries.window_kind() if purpose == "window" else system_libraries.OFFSCREEN
    needs = system_libraries.missing(kind)
    for module in ("venv", "ensurepip"):
        try:
            importlib.import_module(module)
        except ImportError:
            # Separate packages on Debian; part of Python elsewhere.
            package = f"python{sys.version_info[0]}.{sys.version_info[1]}-venv"
            needs.append(
                Need(f"Python's {module}", "the environment in .venv", (package, "python3", "python"))
            )
            break
    return needs


def install(command: str, run: Callable[[list[str]], int]) -> bool:
    """Run apt-get update and the command.

    Parameters
    ----------
    command : str
        Command of apt-get.
    run : callable
        ``run(command) -> int`` runs a command and returns its exit code.

    Returns
    -------
    bool
        True if both succeeded.
    """
    for line in ("apt-get update", command):
        sys.stderr.write(f"As root, running: {line}\n")
        sys.stderr.flush()
        if run(line.split()) != 0:
            return False
    return True


def run_command(command: list[str]) -> int:
    """Run a command with its output on stderr and return its exit code."""
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    return subprocess.run(command, env=environment, stdout=sys.stderr, check=False).returncode


def main(argv: list[str] | None = None) -> int:
    """Check the requirements and, as root with apt-get, install what is missing.

    Parameters
    ----------
    argv : list of str, optional
        Default: the arguments of the process.

    Returns
    -------
    int
        Exit code.
    """
    parser = argparse.ArgumentParser(prog="check_system", description="Check the requirements of Apical.")
    parser.add_argument("--for", dest="purpose", choices=("test", "window"), default="test")
    purpose = parser.parse_args(argv).purpose
    for problem in (python_problem(), space_problem()):
        if problem:
            return _fail(problem)
    needs = missing_parts(purpose)
    if needs:
        _print_missing(needs)
        command = system_libraries.install_command(needs)
        if command.startswith("apt-get") and os.name == "posix" and os.geteuid() == 0:
            if not install(command, run_command):
                return _fail(f"The installation failed; run this command to see the reason: {command}")
            needs = missing_parts(purpose)
            if needs:
                return _fail(f"Still missing: {', '.join(need.what for need in needs)}.")
        elif command:
            return _fail(f"Install them with:\n\n    sudo {command}\n")
        else:
            return _fail("Install them with your system's package manager.")
    problem = system_libraries.display_problem() if purpose == "window" else ""
    return _fail(problem) if problem else 0


def _print_missing(needs: list[Need]) -> None:
    width = max(len(need.what) for need in needs)
    lines = [f"  {need.what:<{width}}  for {need.purpose}" for need in needs]
    sys.stderr.write("\n".join(["Missing on this system:", *lines, ""]))


def _fail(sentence: str) -> int:
    sys.stderr.write(sentence.rstrip() + "\n")
    return 2


if __name__ == "__main__":
    sys.exit(main())

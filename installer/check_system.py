"""Say what this machine lacks before anything fails, and how to get it.

    python3 installer/check_system.py --for test|window

Standard library alone, Python 3.8 and later, run before the virtual environment exists. Exit 0: all there;
2: something is missing, named on stderr with the command that installs it. As root where there is apt-get
(containers, continuous integration) it says what it installs and installs it.
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
ROOM_GIB = 9  # measured: 6.1 GiB for .venv with the CUDA build of torch, and the wheels while they unpack


def python_problem() -> str:
    """Why this Python cannot run Apical, in one sentence; "" if it can."""
    version = sys.version_info[:2]
    if not OLDEST <= version <= NEWEST:
        return (
            f"Apical needs Python 3.11, 3.12 or 3.13 and found {version[0]}.{version[1]} ({sys.executable}); "
            "install one of them, or say which with `make PYTHON=/path/to/python3.12`."
        )
    if sys.maxsize < 2**32:
        return f"{sys.executable} is a 32-bit Python and PyTorch has none; install a 64-bit one."
    libc, release = platform.libc_ver()
    if sys.platform.startswith("linux") and libc != "glibc":
        return "PySide6 and PyTorch come for glibc alone; use a Debian, Ubuntu, Fedora or Arch system."
    if libc == "glibc" and tuple(map(int, release.split(".")[:2])) < (2, 28):
        return f"PySide6 needs glibc 2.28 and this system has {release}; use Debian 10 or later."
    return ""


def room_problem() -> str:
    """Why `.venv` would not fit, in one sentence; "" if it is there or fits."""
    free = shutil.disk_usage(str(ROOT)).free / 2**30
    if (ROOT / ".venv").exists() or free >= ROOM_GIB:
        return ""
    return f"{ROOT} has {free:.1f} GiB free and the install takes {ROOM_GIB} at most; free some space first."


def missing_parts(purpose: str) -> list[Need]:
    """What is missing of Python's own modules, shared libraries and fonts."""
    kind = system_libraries.window_kind() if purpose == "window" else system_libraries.OFFSCREEN
    needs = system_libraries.missing(kind)
    for module in ("venv", "ensurepip"):
        try:
            importlib.import_module(module)
        except ImportError:
            # Debian splits both from Python; elsewhere they come with it.
            package = f"python{sys.version_info[0]}.{sys.version_info[1]}-venv"
            needs.append(
                Need(f"Python's {module}", "the environment in .venv", (package, "python3", "python"))
            )
            break
    return needs


def install(command: str, run: Callable[[list[str]], int]) -> bool:
    """Run apt-get update and `command`, saying so; True if both went well."""
    for line in ("apt-get update", command):
        sys.stderr.write(f"As root, running: {line}\n")
        sys.stderr.flush()
        if run(line.split()) != 0:
            return False
    return True


def _run(command: list[str]) -> int:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    return subprocess.run(command, env=environment, stdout=sys.stderr, check=False).returncode


def main(argv: list[str] | None = None) -> int:
    """Check, tell, and as root with apt-get mend."""
    parser = argparse.ArgumentParser(prog="check_system", description="What is missing here?")
    parser.add_argument("--for", dest="purpose", choices=("test", "window"), default="test")
    purpose = parser.parse_args(argv).purpose
    for problem in (python_problem(), room_problem()):
        if problem:
            return _refuse(problem)
    needs = missing_parts(purpose)
    if needs:
        _tell(needs)
        command = system_libraries.install_command(needs)
        if command.startswith("apt-get") and os.name == "posix" and os.geteuid() == 0:
            if not install(command, _run):
                return _refuse(f"That did not work; run it yourself and see why: {command}")
            needs = missing_parts(purpose)
            if needs:
                return _refuse(f"Still missing: {', '.join(need.what for need in needs)}.")
        elif command:
            return _refuse(f"Install them with:\n\n    sudo {command}\n")
        else:
            return _refuse("Install them with your system's package manager.")
    problem = system_libraries.display_problem() if purpose == "window" else ""
    return _refuse(problem) if problem else 0


def _tell(needs: list[Need]) -> None:
    width = max(len(need.what) for need in needs)
    lines = [f"  {need.what:<{width}}  for {need.purpose}" for need in needs]
    sys.stderr.write("\n".join(["Missing on this system:", *lines, ""]))


def _refuse(sentence: str) -> int:
    sys.stderr.write(sentence.rstrip() + "\n")
    return 2


if __name__ == "__main__":
    sys.exit(main())

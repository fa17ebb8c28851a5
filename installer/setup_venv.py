"""Make or bring up to date `.venv` beside this folder; does nothing when it is current.

    python3.12 installer/setup_venv.py

Standard library alone; run by the Python that the environment is to have. `.venv/.apical-setup` holds a
fingerprint of pyproject.toml and that Python. It is removed before anything changes and written last, so an
interrupted install is done again.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
STAMP = ".apical-setup"


def base_python() -> str:
    """The Python itself, also when this script runs in an environment made from it."""
    return os.path.realpath(getattr(sys, "_base_executable", sys.executable))


def fingerprint(root: Path) -> str:
    """Changes with what is to be installed and with the Python that it is installed for."""
    digest = hashlib.sha256((root / "pyproject.toml").read_bytes())
    digest.update(f"{base_python()} {sys.version} {root}".encode())
    return digest.hexdigest()


def venv_python(root: Path) -> Path:
    """Where the environment's Python is, or will be."""
    return root / ".venv" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def is_current(root: Path) -> bool:
    """True if a finished install of this fingerprint is there."""
    stamp = root / ".venv" / STAMP
    try:
        return stamp.read_text() == fingerprint(root) and venv_python(root).exists()
    except OSError:
        return False


def is_of_this_python(root: Path) -> bool:
    """True if there is an environment made from this very Python that runs."""
    ask = "import sys, os; print(os.path.realpath(sys._base_executable), sys.version_info[:3])"
    try:
        told = subprocess.run(
            [str(venv_python(root)), "-c", ask], capture_output=True, text=True, check=True
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return False
    return told == f"{base_python()} {tuple(sys.version_info[:3])}"


def set_up(root: Path = ROOT) -> int:
    """Install what pyproject.toml asks for; pip's exit code, 0 without a word where nothing is to do."""
    if is_current(root):
        return 0
    stamp = root / ".venv" / STAMP
    stamp.unlink(missing_ok=True)
    if not is_of_this_python(root):
        _say(f"Making .venv with Python {sys.version.split()[0]} ({base_python()}) ...")
        made = subprocess.run(
            [base_python(), "-m", "venv", "--clear", str(root / ".venv")], check=False
        ).returncode
        if made:
            return made
    _say("Installing Apical and what it needs into .venv (the first time some GiB, several minutes) ...")
    pip = [str(venv_python(root)), "-m", "pip", "install", "--disable-pip-version-check", "-e", ".[test]"]
    code = subprocess.run(pip, cwd=str(root), check=False).returncode
    if code:
        sys.stderr.write("The install failed, as told above; mend that and run the same command again.\n")
        return code
    stamp.write_text(fingerprint(root))
    _say("Installed.")
    return 0


def _say(sentence: str) -> None:
    sys.stdout.write(sentence + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    try:
        sys.exit(set_up())
    except KeyboardInterrupt:
        sys.stderr.write("\nStopped; the same command goes on with it.\n")
        sys.exit(130)

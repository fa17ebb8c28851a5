"""Create or update the virtual environment `.venv`, unless it is up to date.

    python3.12 installer/setup_venv.py

Only the standard library is used; run it with the Python for the environment. `.venv/.apical-setup` contains
a fingerprint of pyproject.toml and this Python. It is deleted before any change and written last, so that an
interrupted installation is repeated.
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
    """Return the path of the Python interpreter, not that of a virtual environment."""
    return os.path.realpath(getattr(sys, "_base_executable", sys.executable))


def fingerprint(root: Path) -> str:
    """Return a hash of the requirements and of this Python."""
    digest = hashlib.sha256((root / "pyproject.toml").read_bytes())
    digest.update(f"{base_python()} {sys.version} {root}".encode())
    return digest.hexdigest()


def venv_python(root: Path) -> Path:
    """Return the path of the environment's Python."""
    return root / ".venv" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def is_current(root: Path) -> bool:
    """Return True if an installation with this fingerprint was finished."""
    stamp = root / ".venv" / STAMP
    try:
        return stamp.read_text() == fingerprint(root) and venv_python(root).exists()
    except OSError:
        return False


def has_same_python(root: Path) -> bool:
    """Return True if there is a working environment with this Python."""
    code = "import sys, os; print(os.path.realpath(sys._base_executable), sys.version_info[:3])"
    try:
        output = subprocess.run(
            [str(venv_python(root)), "-c", code], capture_output=True, text=True, check=True
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return False
    return output == f"{base_python()} {tuple(sys.version_info[:3])}"


def set_up(root: Path = ROOT) -> int:
    """Install the requirements in pyproject.toml.

    Parameters
    ----------
    root : Path
        Folder of the repository.

    Returns
    -------
    int
        Exit code of venv or pip; 0 if there is nothing to do.
    """
    if is_current(root):
        return 0
    stamp = root / ".venv" / STAMP
    stamp.unlink(missing_ok=True)
    if not has_same_python(root):
        _print(f"Creating .venv with Python {sys.version.split()[0]} ({base_python()}) ...")
        code = subprocess.run(
            [base_python(), "-m", "venv", "--clear", str(root / ".venv")], check=False
        ).returncode
        if code:
            return code
    _print(
        "Installing Apical and its dependencies into .venv (the first time several GiB, several minutes) ..."
    )
    pip = [str(venv_python(root)), "-m", "pip", "install", "--disable-pip-version-check", "-e", ".[test]"]
    code = subprocess.run(pip, cwd=str(root), check=False).returncode
    if code:
        sys.stderr.write(
            "The installation failed, see above; fix the problem and run the same command again.\n"
        )
        return code
    stamp.write_text(fingerprint(root))
    _print("Installed.")
    return 0


def _print(sentence: str) -> None:
    sys.stdout.write(sentence + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    try:
        sys.exit(set_up())
    except KeyboardInterrupt:
        sys.stderr.write("\nStopped; run the same command again to continue.\n")
        sys.exit(130)

"""The commands of the Makefile and of setup.ps1."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.installer.installer_modules import ROOT

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="there is no make here")


def _plan(target: str, python: str = sys.executable) -> str:
    # The inner make must not inherit the flags of the outer one.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    return subprocess.run(
        ["make", "-n", target, f"PYTHON={python}"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def test_test_checks_sets_up_and_ends_with_pytest() -> None:
    plan = _plan("test")
    steps = [
        "--for test",
        "setup_venv.py",
        "ruff check",
        "ruff format --check",
        "lint-imports",
        "mypy",
        "pytest",
    ]
    places = [plan.index(step) for step in steps]
    assert places == sorted(places)
    assert plan.strip().splitlines()[-1].endswith("-m pytest -n 2 --dist loadfile")


def test_run_checks_for_a_window_first_and_opens_the_demo() -> None:
    plan = _plan("run")
    assert plan.index("--for window") < plan.index("setup_venv.py") < plan.index("apical demo")


def test_a_missing_python_is_one_sentence() -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    done = subprocess.run(
        ["make", "setup", "PYTHON=/no/such/python"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "There is no Python here (/no/such/python)" in done.stderr


def test_continuous_integration_runs_the_same() -> None:
    run = ROOT / ".ci" / "run"
    assert run.read_text(encoding="utf-8").rstrip().endswith("exec make test")
    assert os.access(run, os.X_OK) or os.name == "nt"


def test_windows_has_the_same_commands() -> None:
    text = Path(ROOT / "installer" / "setup.ps1").read_text(encoding="utf-8")
    for word in ("check_system.py", "setup_venv.py", "demo", "pytest", "mypy", "lint-imports"):
        assert word in text

"""Creation and update of the virtual environment."""

from __future__ import annotations

import subprocess
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.unit.installer.installer_modules import script


class Machine:
    """Replaces venv and pip: records the commands and creates their files."""

    def __init__(self, setup: ModuleType, root: Path) -> None:
        self.setup, self.root = setup, root
        self.ran: list[str] = []
        self.pip_code = 0
        self.same_python = True

    def __call__(self, command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        python = self.setup.venv_python(self.root)
        code, output = 0, ""
        if "venv" in command:
            self.ran.append("venv")
            python.parent.mkdir(parents=True)
            python.touch()
        elif "pip" in command:
            self.ran.append("pip")
            code = self.pip_code
        elif not python.exists():
            raise FileNotFoundError
        else:
            output = f"{self.setup.base_python()} {tuple(self.setup.sys.version_info[:3])}"
            output = output if self.same_python else "another one"
        return subprocess.CompletedProcess(command, code, stdout=output, stderr="")


@pytest.fixture
def setup() -> ModuleType:
    return script("setup_venv")


@pytest.fixture
def machine(setup: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    (tmp_path / "pyproject.toml").write_text("[project]\n")
    machine = Machine(setup, tmp_path)
    monkeypatch.setattr(setup.subprocess, "run", machine)
    return machine


def test_an_up_to_date_environment_is_not_changed(
    setup: ModuleType, machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    assert setup.set_up(machine.root) == 0
    assert machine.ran == ["venv", "pip"]
    assert "several minutes" in capsys.readouterr().out
    assert setup.set_up(machine.root) == 0
    assert machine.ran == ["venv", "pip"]
    assert capsys.readouterr().out == ""


def test_new_dependencies_are_installed_into_the_same_environment(
    setup: ModuleType, machine: Machine
) -> None:
    setup.set_up(machine.root)
    (machine.root / "pyproject.toml").write_text("[project]\ndependencies = ['numpy']\n")
    assert setup.set_up(machine.root) == 0
    assert machine.ran == ["venv", "pip", "pip"]


def test_an_interrupted_installation_is_repeated(
    setup: ModuleType, machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    machine.pip_code = 1
    assert setup.set_up(machine.root) == 1
    assert "run the same command again" in capsys.readouterr().err
    assert not setup.is_current(machine.root)
    machine.pip_code = 0
    assert setup.set_up(machine.root) == 0
    assert machine.ran == ["venv", "pip", "pip"]
    assert setup.is_current(machine.root)


def test_another_python_gets_a_new_environment(
    setup: ModuleType, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    setup.set_up(machine.root)
    python = setup.venv_python(machine.root)
    machine.same_python = False
    monkeypatch.setattr(setup, "base_python", lambda: "/opt/python3.13")
    assert not setup.is_current(machine.root)
    python.unlink()
    python.parent.rmdir()
    assert setup.set_up(machine.root) == 0
    assert machine.ran == ["venv", "pip", "venv", "pip"]


def test_an_environment_without_its_python_is_not_current(setup: ModuleType, machine: Machine) -> None:
    setup.set_up(machine.root)
    setup.venv_python(machine.root).unlink()
    assert not setup.is_current(machine.root)

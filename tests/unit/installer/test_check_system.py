"""Check of the requirements of the installation."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from app.commands import system_libraries
from app.commands.system_libraries import Need
from tests.unit.installer.installer_modules import ROOT, script

CURSOR = Need("libxcb-cursor.so.0", "the window", ("libxcb-cursor0", "xcb-util-cursor", "xcb-util-cursor"))
linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux needs system libraries")


@pytest.fixture
def check() -> ModuleType:
    return script("check_system")


def _tools(monkeypatch: pytest.MonkeyPatch, *present: str) -> None:
    monkeypatch.setattr(system_libraries.shutil, "which", lambda tool: tool if tool in present else None)


@pytest.mark.parametrize(
    ("tool", "package"),
    [("apt-get", "libxcb-cursor0"), ("dnf", "xcb-util-cursor"), ("pacman", "xcb-util-cursor")],
)
def test_the_command_of_the_package_manager(tool: str, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    _tools(monkeypatch, tool)
    command = system_libraries.install_command([CURSOR, CURSOR])
    assert command.startswith(tool)
    assert command.split().count(package) == 1


def test_an_unknown_system_gets_no_command(monkeypatch: pytest.MonkeyPatch) -> None:
    _tools(monkeypatch)
    assert system_libraries.install_command([CURSOR]) == ""


@linux
@pytest.mark.parametrize(
    ("kind", "expected", "not_expected"),
    [
        (system_libraries.OFFSCREEN, "libEGL.so.1", "libxcb-cursor.so.0"),
        (system_libraries.XCB, "libxcb-cursor.so.0", "libwayland-cursor.so.0"),
        (system_libraries.WAYLAND, "libwayland-cursor.so.0", "libxcb-cursor.so.0"),
    ],
)
def test_requirements_depend_on_the_display(
    kind: str, expected: str, not_expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nothing_loads(name: str) -> None:
        raise OSError(name)

    monkeypatch.setattr(ctypes, "CDLL", nothing_loads)
    absent = {need.what for need in system_libraries.missing(kind)}
    assert expected in absent
    assert not_expected not in absent


@linux
@pytest.mark.parametrize(
    ("variables", "kind"),
    [
        ({}, system_libraries.OFFSCREEN),
        ({"DISPLAY": ":0"}, system_libraries.XCB),
        ({"DISPLAY": ":0", "WAYLAND_DISPLAY": "wayland-0"}, system_libraries.XCB),
        ({"WAYLAND_DISPLAY": "wayland-0"}, system_libraries.WAYLAND),
        ({"DISPLAY": ":0", "QT_QPA_PLATFORM": "offscreen"}, system_libraries.OFFSCREEN),
        ({"QT_QPA_PLATFORM": "wayland;xcb"}, system_libraries.WAYLAND),
    ],
)
def test_the_kind_of_window_follows_from_the_environment(
    variables: dict[str, str], kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert system_libraries.window_kind() == kind


@linux
def test_missing_fonts_are_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(system_libraries.os, "walk", lambda _: iter(()))
    assert [need.packages[0] for need in system_libraries.missing(system_libraries.OFFSCREEN)][-1:] == [
        "fonts-dejavu-core"
    ]


@pytest.mark.parametrize("version", [(3, 10), (3, 14), (2, 7)])
def test_an_unsupported_python_is_reported(
    version: tuple[int, int], check: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check.sys, "version_info", (*version, 0))
    output = check.python_problem()
    assert f"{version[0]}.{version[1]}" in output
    assert "PYTHON=" in output


def test_this_python_is_supported(check: ModuleType) -> None:
    assert check.python_problem() == ""


def test_a_full_disk_is_detected_before_the_installation(
    check: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check, "ROOT", tmp_path)
    monkeypatch.setattr(check.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 2**30})())
    assert "1.0 GiB free" in check.space_problem()


@linux
def test_an_ordinary_user_gets_the_command(
    check: ModuleType, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _tools(monkeypatch, "apt-get")
    monkeypatch.setattr(check, "missing_parts", lambda _: [CURSOR])
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(check, "run_command", lambda _: pytest.fail("installed without being root"))
    assert check.main(["--for", "test"]) == 2
    output = capsys.readouterr().err
    assert "libxcb-cursor.so.0" in output
    assert "sudo apt-get install -y --no-install-recommends libxcb-cursor0" in output


@linux
def test_root_with_apt_installs_and_prints_the_commands(
    check: ModuleType, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _tools(monkeypatch, "apt-get")
    answers = [[CURSOR], []]
    ran: list[list[str]] = []
    monkeypatch.setattr(check, "missing_parts", lambda _: answers.pop(0))
    monkeypatch.setattr(os, "geteuid", lambda: 0)

    def run(command: list[str]) -> int:
        ran.append(command)
        return 0

    monkeypatch.setattr(check, "run_command", run)
    assert check.main(["--for", "test"]) == 0
    assert ran == [
        ["apt-get", "update"],
        ["apt-get", "install", "-y", "--no-install-recommends", "libxcb-cursor0"],
    ]
    assert "running: apt-get install" in capsys.readouterr().err


@linux
@pytest.mark.parametrize(("code", "word"), [(100, "installation failed"), (0, "Still missing")])
def test_a_failed_installation_is_reported(
    code: int,
    word: str,
    check: ModuleType,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _tools(monkeypatch, "apt-get")
    monkeypatch.setattr(check, "missing_parts", lambda _: [CURSOR])
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(check, "run_command", lambda _: code)
    assert check.main([]) == 2
    assert word in capsys.readouterr().err


@linux
def test_a_missing_display_only_affects_the_window(
    check: ModuleType, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(check, "missing_parts", lambda _: [])
    assert check.main(["--for", "test"]) == 0
    assert check.main(["--for", "window"]) == 2
    assert "--screenshot" in capsys.readouterr().err


def test_it_runs_before_anything_is_installed() -> None:
    # -I -S: no site-packages, no environment; what is left is the standard library.
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(ROOT / "installer" / "check_system.py"), "--for", "test"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr

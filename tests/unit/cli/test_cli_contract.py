"""Exit codes and streams of the command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from app import cli, paths
from app.commands import system_libraries, window
from app.commands.report import Report
from app.domain.errors import CineError
from vjepa_core.errors import Cancelled, EncoderError

ROOT = Path(__file__).resolve().parents[3]


def _one_line(text: str) -> str:
    assert text.endswith("\n")
    assert text.count("\n") == 1
    assert "Traceback" not in text
    return text.strip()


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["segmnt"], "apical segment"),
        (["doctr"], "apical doctor"),
        (["nonsense"], "apical --help"),
        (["no/such/file.dcm"], "does not exist"),
        (["--bogus"], "--bogus"),
        (["info"], "FILE"),
        (["info", "no-such-file"], "does not exist"),
        (["encoders"], "list|check"),
        (["encoders", "check", "nobody"], "nobody"),
        (["bench"], "decode"),
        (["bench", "flying"], "flying"),
        (["demo", "--screenshot", "demo.jpg"], ".png"),
        (["demo", "--screenshot", "no/such/folder/demo.png"], "cannot be written"),
    ],
)
def test_bad_usage_is_one_line_and_exit_2(
    arguments: list[str], word: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert word in _one_line(err)


@pytest.mark.parametrize("command", ["predict", "export"])
def test_unknown_commands_are_rejected(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([command, "x"]) == 2
    assert command not in cli.COMMANDS


def test_version_and_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("apical ")
    assert cli.main(["--help"]) == 0
    output = capsys.readouterr().out
    assert all(name in output for name in cli.COMMANDS)
    assert "Research use only" in output


@pytest.mark.parametrize("command", sorted(cli.COMMANDS))
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([command, "--help"]) == 0
    assert f"apical {command}" in capsys.readouterr().out


def test_info_json_is_one_object_and_nothing_else(
    demo_cine_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["info", str(demo_cine_path), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["frames"] == 30
    assert facts["fps"] == 30.0


def test_output_of_libraries_stays_out_of_the_json(
    demo_cine_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from app.readers import open as opening

    real = opening.open_cine

    def chatty(path: Path) -> object:
        print("I am a library")
        return real(path)

    monkeypatch.setattr(opening, "open_cine", chatty)
    assert cli.main(["info", str(demo_cine_path), "--json"]) == 0
    out, err = capsys.readouterr()
    json.loads(out)
    assert "I am a library" in err


def test_info_as_text(demo_cine_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["info", str(demo_cine_path)]) == 0
    assert "30 of 320x240 pixels" in capsys.readouterr().out


@pytest.mark.parametrize("content", [b"", b"hello, this is no cine", b"\x89PNG but not really"])
def test_a_file_that_is_not_a_cine(
    content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "scan.dcm"
    file.write_bytes(content)
    assert cli.main(["info", str(file), "--json"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "scan.dcm" in _one_line(err)


def test_an_internal_error_is_logged_without_its_message(
    demo_cine_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from app.readers import open as opening

    def broken(_: Path) -> object:
        try:
            raise ValueError("DOE^JOHN 19510203")
        except ValueError as error:
            raise RuntimeError("DOE^JOHN") from error

    monkeypatch.setattr(opening, "open_cine", broken)
    assert cli.main(["info", str(demo_cine_path)]) == 1
    out, err = capsys.readouterr()
    log = paths.log_file()
    assert out == ""
    assert str(log) in _one_line(err)
    written = log.read_text(encoding="utf-8")
    assert "RuntimeError" in written
    assert "ValueError" in written
    assert "test_cli_contract.py" in written
    assert "DOE" not in written + err


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (CineError("scan.dcm holds no picture."), 2, "apical: scan.dcm holds no picture."),
        (EncoderError("mine has no weights."), 2, "apical: mine has no weights."),
        (Cancelled(), 130, "Stopped."),
    ],
)
def test_expected_errors_are_printed_and_not_logged(
    error: Exception,
    code: int,
    message: str,
    demo_cine_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from app.readers import open as opening

    def failing(_: Path) -> object:
        raise error

    monkeypatch.setattr(opening, "open_cine", failing)
    assert cli.main(["info", str(demo_cine_path)]) == code
    assert _one_line(capsys.readouterr().err) == message
    assert not paths.log_file().exists()


def test_an_internal_error_without_a_log(
    demo_cine_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from app.readers import open as opening

    (tmp_path / "file").write_text("")
    monkeypatch.setenv("APICAL_HOME", str(tmp_path / "file"))
    monkeypatch.setattr(opening, "open_cine", lambda _: 1 / 0)
    assert cli.main(["info", str(demo_cine_path)]) == 1
    assert "log could not be written" in _one_line(capsys.readouterr().err)


def test_ctrl_c_ends_quietly(
    demo_cine_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from app.readers import open as opening

    def interrupted(_: Path) -> object:
        raise KeyboardInterrupt

    monkeypatch.setattr(opening, "open_cine", interrupted)
    assert cli.main(["info", str(demo_cine_path)]) == 130
    assert _one_line(capsys.readouterr().err) == "Stopped."


def test_paths_open_the_window(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[list[Path]] = []

    def fake(files: list[Path]) -> Report:
        opened.append(files)
        return Report()

    monkeypatch.setattr(window, "open_window", fake)
    file = tmp_path / "a.dcm"
    file.touch()
    assert cli.main([]) == 0
    assert cli.main([str(file), str(tmp_path)]) == 0
    assert opened == [[], [file, tmp_path]]


def test_demo_with_a_screenshot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from app.commands import demo

    asked: list[tuple[bool, Path | None]] = []

    def fake(files: list[Path], *, demo: bool = False, screenshot: Path | None = None) -> Report:
        asked.append((demo, screenshot))
        return Report()

    monkeypatch.setattr(demo, "open_window", fake)
    monkeypatch.setenv("QT_QPA_PLATFORM", "offscreen")
    screenshot = tmp_path / "demo.png"
    assert cli.main(["demo"]) == 0
    assert cli.main(["demo", "--screenshot", str(screenshot)]) == 0
    assert asked == [(True, None), (True, screenshot)]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems always have a display")
def test_a_missing_display_is_reported_with_a_remedy(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM"):
        monkeypatch.delenv(name, raising=False)
    assert cli.main(["demo"]) == 2
    assert "--screenshot" in _one_line(capsys.readouterr().err)


def test_a_missing_library_is_named_instead_of_a_crash(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    need = system_libraries.Need("libxcb-cursor.so.0", "x", ("libxcb-cursor0", "xcb-util-cursor", "xcb"))
    monkeypatch.setattr(system_libraries, "missing", lambda _: [need])
    monkeypatch.setenv("QT_QPA_PLATFORM", "xcb")
    assert cli.main(["demo"]) == 2
    assert "libxcb-cursor.so.0" in _one_line(capsys.readouterr().err)


def test_as_a_process_without_torch_or_qt(demo_cine_path: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from app import cli; code = cli.main(sys.argv[1:]);"
        "sys.exit(99 if {'torch', 'PySide6'} & set(sys.modules) else code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "info", str(demo_cine_path), "--json"],
        cwd=ROOT,
        env={**os.environ, "APICAL_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0
    assert json.loads(done.stdout)["columns"] == 320


def test_as_a_module_with_bad_input(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "app.cli", "info", str(tmp_path / "gone.dcm")],
        cwd=ROOT,
        env={**os.environ, "APICAL_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert "gone.dcm" in _one_line(done.stderr)


def test_encoders_list_and_check(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["encoders", "list", "--json"]) == 0
    cards = json.loads(capsys.readouterr().out)["encoders"]
    default = next(card for card in cards if card["default"])
    assert cli.main(["encoders", "list"]) == 0
    assert default["name"] in capsys.readouterr().out
    assert cli.main(["encoders", "check", default["name"], "--json"]) == 0
    checked = json.loads(capsys.readouterr().out)
    assert checked["ok"] is True
    assert checked["checksum"] == default["checksum"]
    assert checked["counted_parameters"] == default["parameters"]

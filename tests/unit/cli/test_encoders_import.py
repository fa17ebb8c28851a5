"""`apical encoders import`."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from app import cli, paths
from app.domain.errors import ProjectError
from app.encoders import importing, registry
from app.processes.child import STOPPED, Child
from app.storage.filelock import FileLock
from tests import checkpoint_files
from tests.conftest import ROOT
from vjepa_core.errors import EncoderError


def import_report(capsys: pytest.CaptureFixture[str], *words: object) -> dict[str, Any]:
    assert cli.main(["encoders", "import", *map(str, words), "--json"]) == 0
    content: dict[str, Any] = json.loads(capsys.readouterr().out)
    return content


def kept_files() -> list[str]:
    return sorted(file.name for file in paths.encoders_dir().iterdir())


def test_look_describes_the_encoder_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = checkpoint_files.write("v-jepa-2", tmp_path)
    found = import_report(capsys, path, "--look")
    assert found["name"] == "vitl"
    assert found["source"] == "vitl.pt"
    assert found["container"] == "target_encoder"
    assert found["ambiguous"] is True
    assert (found["family"], found["dtype"], found["licence"]) == ("V-JEPA 2", "float32", "MIT")
    assert found["architecture"] == checkpoint_files.ARCHITECTURES["v-jepa-2"]
    assert all(line.endswith(".") for line in found["recognised"] + found["assumed"])
    assert import_report(capsys, path, "--look", "--family", "v-jepa")["family"] == "V-JEPA"
    assert kept_files() == []


def test_import_writes_the_encoder_and_its_card(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = checkpoint_files.write("echojepa", tmp_path)
    seen = import_report(capsys, path, "--look")
    done = import_report(capsys, path)
    assert seen.items() <= done.items()
    name = "vitl-kinetics-pt220-an55"
    card = registry.find(name)
    assert (card.family, card.trained, card.fps, card.depths) == ("EchoJEPA", True, 30.0, (0, 1, 2, 3))
    assert card.checksum == done["checksum"]
    assert card.path is not None
    assert card.path.stat().st_size == done["bytes"]
    content = json.loads(Path(done["card"]).read_text(encoding="utf-8"))
    assert content["source"] == {
        "file": path.name,
        "checksum": done["source_checksum"],
        "container": "target_encoder",
        "recognised": done["recognised"],
        "assumed": done["assumed"],
    }
    assert kept_files() == [f"{name}.json", f"{name}.safetensors"]
    assert cli.main(["encoders", "check", name]) == 0
    assert cli.main(["encoders", "choose", name]) == 0
    capsys.readouterr()
    assert import_report(capsys, path)["name"] == f"{name}-2"


def test_text_output_and_progress(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = checkpoint_files.write("v-jepa", tmp_path)
    assert cli.main(["encoders", "import", str(path)]) == 0
    captured = capsys.readouterr()
    for words in ("V-JEPA, ", "target_encoder", "--family v-jepa-2", "CC BY-NC 4.0", "vitl16 was imported"):
        assert words in captured.out
    assert re.search(r"^reading \d+/\d+$", captured.err, re.MULTILINE)
    assert re.search(r"^writing (\d+)/\1$", captured.err, re.MULTILINE)


def test_name_and_licence_given_by_the_user(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = checkpoint_files.write("v-jepa-2.1", tmp_path)
    done = import_report(capsys, path, "--name", "echo.v1", "--licence", " Our hospital,\n only ")
    assert (done["name"], done["licence"]) == ("echo.v1", "Our hospital, only")
    assert not any("Licence" in line for line in done["assumed"])
    assert registry.find("echo.v1").licence == "Our hospital, only"
    again = import_report(capsys, path, "--licence", "MIT")
    assert any("Licence MIT" in line for line in again["assumed"])


@pytest.mark.parametrize("file", ["Ä ö.pt", "con.pt", "-.pt", "x" * 90 + ".pt", "a.b.safetensors.pt"])
def test_invalid_names_are_corrected(tmp_path: Path, capsys: pytest.CaptureFixture[str], file: str) -> None:
    path = checkpoint_files.write("v-jepa-2.1", tmp_path, file)
    name = import_report(capsys, path)["name"]
    assert registry.find(name).name == name


def test_files_with_generic_names_are_named_after_their_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        import_report(capsys, checkpoint_files.write("hugging-face", tmp_path / "vjepa2-vitl"), "--look")[
            "name"
        ]
        == "vjepa2-vitl"
    )
    revision = "0123456789" * 4
    assert (
        import_report(capsys, checkpoint_files.write("hugging-face", tmp_path / revision), "--look")["name"]
        == "model"
    )
    # Hugging Face's cache: links in a folder of a revision to files that are named after their checksums.
    model = tmp_path / "models--facebook--vjepa2-vitl-fpc64-256"
    linked = model / "snapshots" / revision / "model.safetensors"
    linked.parent.mkdir(parents=True)
    linked.symlink_to(
        checkpoint_files.write("hugging-face", model / "blobs").rename(model / "blobs" / "ab12")
    )
    assert import_report(capsys, linked, "--look")["name"] == "vjepa2-vitl-fpc64-256"


def test_frame_rate_given_by_the_user(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = checkpoint_files.write("echojepa", tmp_path)
    seen = import_report(capsys, path, "--look")
    assert seen["fps"] == 30
    assert any("8 with ViT-L, at 24 with ViT-g" in line and "--fps" in line for line in seen["assumed"])
    done = import_report(capsys, path, "--fps", "24", "--name", "echo")
    assert done["fps"] == registry.find("echo").fps == 24
    assert not any("--fps" in line for line in done["assumed"])
    for rate in ("0", "1001", "nan", "x", "-3"):
        assert cli.main(["encoders", "import", str(path), f"--fps={rate}"]) == 2
        captured = capsys.readouterr()
        assert f"{rate} is not a number from 1 to 1000" in captured.err
        assert captured.err.count("\n") == 1


def test_bad_input_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = checkpoint_files.write("v-jepa-2.1", tmp_path)
    page = tmp_path / "page.pt"
    page.write_text("<html>", encoding="utf-8")
    for words, message in (
        ([tmp_path / "gone.pt"], "does not exist"),
        ([page], "web page"),
        ([good, "--name", "a/b"], "is not a valid name"),
        ([good, "--name", "apical-vits16"], "already"),
        ([good, "--family", "v-jepa"], "is not a V-JEPA:"),
        ([good, "--family", "dino"], "invalid choice"),
        ([], "required"),
    ):
        assert cli.main(["encoders", "import", *map(str, words)]) == 2
        captured = capsys.readouterr()
        assert captured.out == ""
        assert captured.err.startswith("apical: ")
        assert message in captured.err
        assert captured.err.count("\n") == 1
    assert kept_files() == []


def test_a_full_disk_is_detected_before_writing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = importing.inspect_checkpoint(checkpoint_files.write("v-jepa-2.1", tmp_path))
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(importing.shutil, "disk_usage", lambda folder: usage._replace(free=1000))
    with pytest.raises(ProjectError, match="where 0 MB are free: free some space"):
        importing.import_checkpoint(found, lambda *_: pytest.fail("it began"))
    assert kept_files() == []


def test_files_of_a_killed_import_are_removed_by_the_next(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (paths.encoders_dir() / ".vitl.safetensors.17-0.tmp").write_bytes(b"half")
    (paths.encoders_dir() / ".adding.lock").write_bytes(b"")
    import_report(capsys, checkpoint_files.write("v-jepa-2", tmp_path), "--name", "b")
    assert kept_files() == ["b.json", "b.safetensors"]


def test_two_imports_at_once(tmp_path: Path) -> None:
    found = importing.inspect_checkpoint(checkpoint_files.write("v-jepa-2.1", tmp_path))
    lock = FileLock(paths.encoders_dir() / ".adding")
    with pytest.raises(ProjectError, match="Another encoder is being written"):
        importing.import_checkpoint(found, lambda *_: None)
    lock.release()
    importing.import_checkpoint(found, lambda *_: None)


@pytest.mark.parametrize("stage", ["reading", "writing"])
@pytest.mark.parametrize("error", [KeyboardInterrupt, EncoderError, MemoryError])
def test_a_stopped_import_leaves_no_files(tmp_path: Path, stage: str, error: type[BaseException]) -> None:
    def stop(at: str, done: int, total: int) -> None:
        if at == stage:
            raise error

    with pytest.raises(error):
        importing.import_checkpoint(
            importing.inspect_checkpoint(checkpoint_files.write("v-jepa-2.1", tmp_path)), stop
        )
    assert kept_files() == []


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint that is large enough to interrupt its import."""
    path = tmp_path_factory.mktemp("large") / "large.pt"
    of = checkpoint_files.weight_shapes(1024, 6, 4096, "vjepa2")
    torch.save({name: torch.full(shape, 0.01) for name, shape in of.items()}, path)
    return path


def until_written(child: Child) -> None:
    for _ in range(2000):
        if any(line.startswith("writing") for line in child.new_lines()):
            return
        assert child.exit_code is None
        time.sleep(0.01)
    raise AssertionError("it never began to write")


def test_a_child_can_be_stopped_and_killed(large: Path) -> None:
    words = ["encoders", "import", str(large), "--json"]
    stopped = Child(words)
    until_written(stopped)
    stopped.request_stop()
    while stopped.exit_code is None:
        time.sleep(0.01)
    assert stopped.exit_code == STOPPED
    assert kept_files() == []
    killed = Child(words)
    until_written(killed)
    killed.kill()
    assert all(name.startswith(".") for name in kept_files())
    assert (
        importing.import_checkpoint(importing.inspect_checkpoint(large), lambda *_: None)[0].name == "large"
    )
    assert kept_files() == ["large.json", "large.safetensors"]


def test_help_needs_no_torch() -> None:
    code = (
        "import sys; from app import cli; cli.main(['encoders', 'import', '--help']); "
        "sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False, capture_output=True)
    assert done.returncode == 0

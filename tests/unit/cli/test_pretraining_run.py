"""Pre-training runs: folders, logs and child processes."""

from __future__ import annotations

import errno
import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from app import cli, paths
from app.domain.errors import ProjectError
from app.pretraining.runs import Plan, Run, pending_runs
from app.processes.child import LOCK, STOPPED, Child
from app.storage.filelock import FileLock
from tests.unit.readers.dicom_oracle import grey_cine

pytestmark = pytest.mark.slow

SMALL = """frames = 4
size = 64
batch = 2
checkpoint_every = 2
architecture = "vit_tiny_patch16_224_t2"
[predictor]
width = 24
depth = 1
heads = 1
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "small.toml"
    file.write_text(SMALL)
    return file


def _entry(step: int) -> bytes:
    return json.dumps({"step": step, "loss": 1 / step}).encode() + b"\n"


def _until(done: Any, patience_s: float = 60.0) -> None:
    end = time.monotonic() + patience_s
    while not done():
        assert time.monotonic() < end, "too slow"
        time.sleep(0.05)


def _ended(child: Child) -> int | None:
    _until(lambda: child.exit_code is not None)
    return child.exit_code


def test_estimate_describes_the_data_and_writes_nothing(
    demo_cine_path: Path, config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "cines"
    folder.mkdir()
    grey_cine(folder / "short.dcm", n=3)
    words = ["pretrain", str(demo_cine_path), str(folder), "--config", str(config), "--steps", "100"]
    assert cli.main([*words, "--estimate", "--json"]) == 0
    output = json.loads(capsys.readouterr().out)
    assert (output["cines"], output["frames"], output["steps"], output["batch"]) == (1, 30, 100, 2)
    assert output["left_out"] == {"fewer than 8 frames": ["short.dcm"]}
    assert output["seconds_a_step"] > 0
    assert output["estimated_s"] == pytest.approx(output["reading_s"] + 100 * output["seconds_a_step"])
    assert output["seconds_of_cine"] > 0.5
    assert list(paths.cache_dir().glob("estimate-*")) == []
    assert list(paths.runs_dir().iterdir()) == []


def test_estimate_without_usable_cines_lists_the_reasons(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cine = grey_cine(tmp_path / "short.dcm", n=3)
    assert cli.main(["pretrain", str(cine), "--estimate", "--config", str(config)]) == 2
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert "1 fewer than 8 frames" in last
    assert "add" in last


def test_a_run_needs_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["pretrain", str(tmp_path)]) == 2
    assert "--out is missing" in capsys.readouterr().err


def test_runs_are_numbered_and_listed() -> None:
    first, second = Run.create(Plan(("a.dcm",), 10)), Run.create(Plan(("b.dcm",), 20, encoder="own"))
    assert [first.name, second.name] == ["run-1", "run-2"]
    assert [run.name for run in pending_runs()] == ["run-2", "run-1"]
    assert Run(second.folder).plan == Plan(("b.dcm",), 20, encoder="own")
    first.delete()
    assert Run.create(Plan(("c.dcm",), 5)).name == "run-3"
    assert not first.folder.exists()


def test_a_damaged_folder_is_ignored() -> None:
    run = Run.create(Plan(("a.dcm",), 10))
    (run.folder / "run.json").write_text("{")
    with pytest.raises(ProjectError, match="contains no run"):
        Run(run.folder)
    assert pending_runs() == []
    assert Run.create(Plan(("a.dcm",), 10)).name == "run-2"


def test_a_kept_run_frees_the_disk_and_is_not_pending() -> None:
    run = Run.create(Plan(("a.dcm",), 10))
    for name in ("data", "encoder", "comparison"):
        (run.folder / name).mkdir()
    (run.folder / "checkpoint.pt").write_bytes(b"weights")
    (run.folder / "log.jsonl").write_bytes(_entry(10))
    run.mark_kept()
    assert {path.name for path in run.folder.iterdir()} == {"run.json", "log.jsonl"}
    assert pending_runs() == []


def test_log_entries_are_read_once_and_again_after_a_restart() -> None:
    run = Run.create(Plan(("a.dcm",), 10))
    assert run.new_entries() == ([], False)
    log = run.folder / "log.jsonl"
    log.write_bytes(_entry(1) + _entry(2) + b'{"step": 3, "lo')
    entries, anew = run.new_entries()
    assert [entry["step"] for entry in entries] == [1, 2]
    assert anew
    with log.open("ab") as out:
        out.write(b'ss": 0.3}\nnonsense\n')
    assert run.new_entries() == ([{"step": 3, "loss": 0.3}], False)
    assert run.step == 3
    fresh = log.with_name("other")
    fresh.write_bytes(_entry(1))
    fresh.replace(log)  # as a resumed run rewrites it up to its checkpoint
    entries, anew = run.new_entries()
    assert [entry["step"] for entry in entries] == [1]
    assert anew


def test_a_run_is_finished_if_its_encoder_is_of_the_last_step() -> None:
    run = Run.create(Plan(("a.dcm",), 10))
    card = run.folder / "encoder" / "new-1.json"
    card.parent.mkdir()
    card.write_text('{"training": {"steps": 6}}')
    assert not run.is_finished
    card.write_text('{"training": {"steps": 10}}')
    assert run.is_finished


def test_an_encoder_older_than_the_checkpoint_is_outdated() -> None:
    run = Run.create(Plan(("a.dcm",), 10))
    card = run.folder / "encoder" / "new-1.json"
    card.parent.mkdir()
    card.write_text('{"training": {"steps": 6}}')
    assert run.card == card
    checkpoint = run.folder / "checkpoint.pt"
    checkpoint.write_bytes(b"later")
    os.utime(card, (1, 1))
    assert run.card is None
    os.utime(checkpoint, (0, 0))
    assert run.card == card


def test_a_busy_run_is_not_deleted() -> None:
    run = Run.create(Plan(("a.dcm",), 10))
    lock = FileLock(run.folder / LOCK)
    with pytest.raises(ProjectError, match="still being worked on"):
        run.delete()
    assert run.folder.exists()
    lock.release()
    run.delete()
    assert not run.folder.exists()


def test_arguments_of_a_plan() -> None:
    words = Plan(("a.dcm",), 10, encoder="own").arguments()
    assert words == ["a.dcm", "--encoder", "own", "--steps", "10"]
    assert "--encoder" not in Plan(("a.dcm",), 10).arguments()


def test_a_run_continues_without_its_parent_and_its_cines(
    demo_cine_path: Path, config: Path, tmp_path: Path
) -> None:
    cine = tmp_path / "heart.dcm"
    cine.write_bytes(demo_cine_path.read_bytes())
    run = Run.create(Plan((str(cine),), 100_000, config=str(config)))
    child = run.start()
    try:
        _until(lambda: run.step >= 2 or child.exit_code is not None)
        assert run.is_busy
        second = run.start()
        assert _ended(second) == 2
        assert "Another process" in second.error_message()
        child.request_stop()
        child.detach()  # as when the window closes
        assert _ended(child) == STOPPED
    finally:
        child.kill()
    assert not run.is_busy
    assert run.has_checkpoint
    assert run.card is not None
    stopped_at = run.step

    cine.unlink()
    (run.folder / "run.json").write_text(
        json.dumps({"data": [str(cine)], "steps": stopped_at + 2, "config": str(config)})
    )
    run = Run(run.folder)
    child = run.start()
    assert _ended(child) == 0, child.error_message()
    assert run.is_finished
    assert run.step == stopped_at + 2
    assert json.loads(run.card.read_text())["name"] == "new-1"


def test_error_message_of_a_child() -> None:
    child = Child(["pretrain", "/nowhere/a.dcm", "--estimate", "--json"])
    assert _ended(child) == 2
    assert "does not exist" in child.error_message()
    assert child.result() == {}


@pytest.mark.parametrize(
    ("exit_code", "message"),
    [
        (-9, "It was killed, perhaps because memory ran out: close other programs."),
        (137, "It was killed, perhaps because memory ran out: close other programs."),
        (0xC0000017, "It was killed, perhaps because memory ran out: close other programs."),
        (-15, "It was killed."),
        (-11, "It crashed."),
        (0xC0000005, "It crashed."),
        (3, "It ended unexpectedly (code 3)."),
    ],
)
def test_only_a_killed_child_is_a_matter_of_memory(
    monkeypatch: pytest.MonkeyPatch, exit_code: int, message: str
) -> None:
    monkeypatch.setattr("app.processes.child.CHILD_MODULE", "this")  # a module that prints and ends
    child = Child([])
    assert _ended(child) == 0
    monkeypatch.setattr(Child, "exit_code", exit_code)
    assert child.error_message() == message


def test_a_full_disk_is_one_sentence(
    demo_cine_path: Path, config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("app.pretraining.estimate.pack_cines", refuse)
    assert cli.main(["pretrain", str(demo_cine_path), "--estimate", "--config", str(config)]) == 2
    assert "disk is full" in capsys.readouterr().err
    assert list(paths.cache_dir().glob("estimate-*")) == []

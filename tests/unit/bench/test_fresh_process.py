"""Measurements in separate processes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vjepa_core.bench.camus import BenchError
from vjepa_core.bench.fresh_process import run_in_process

Run = Callable[..., dict[str, Any]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run lines of Python as a module."""

    def start(*lines: str, **more: Any) -> dict[str, Any]:
        (tmp_path / "measured.py").write_text("\n".join(("import json, sys", *lines)))
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
        return run_in_process("measured", "a task", error=BenchError, killed="Killed: try less.", **more)

    return start


def test_lines_are_reported_and_the_last_is_the_result(run: Run) -> None:
    heard: list[dict[str, Any]] = []
    code = "print(json.dumps({'done': 1})); print(json.dumps({'result': {'task': sys.argv[1]}}))"
    assert run(code, on_line=heard.append) == {"task": "a task"}
    assert heard == [{"done": 1}, {"result": {"task": "a task"}}]


def test_the_process_finds_the_package_and_stays_offline(run: Run) -> None:
    code = "import os, vjepa_core; print(json.dumps({'result': {'offline': os.environ['HF_HUB_OFFLINE']}}))"
    assert run(code) == {"offline": "1"}


def test_an_expected_error_is_raised(run: Run) -> None:
    with pytest.raises(BenchError, match="Too large: choose less"):
        run("print(json.dumps({'error': 'Too large: choose less.'}))", "sys.exit(2)")


def test_a_process_killed_by_the_system_is_reported(run: Run) -> None:
    with pytest.raises(BenchError, match="Killed: try less"):
        run("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")


def test_another_exit_code_is_raised_with_stderr(run: Run) -> None:
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        run("sys.stderr.write('x' * 200_000)", "1 / 0")


def test_the_process_ends_with_its_parent(run: Run) -> None:
    def stop(line: dict[str, Any]) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run("print('{}', flush=True)", "import time; time.sleep(60)", on_line=stop)

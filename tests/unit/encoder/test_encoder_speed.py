"""Number format and threads by measurement."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from vjepa_core.encoder import attention, speed
from vjepa_core.encoder.precision import inference_dtype
from vjepa_core.encoder.speed import Settings, choose_method, choose_threads, processor_settings
from vjepa_core.errors import EncoderError
from vjepa_core.processor import SPEED_FILE_VARIABLE

FLAGS = {"avx512_bf16": True, "amx_bf16": False}


@pytest.fixture(autouse=True)
def _restore_settings() -> Iterator[None]:
    threads, by_head = torch.get_num_threads(), attention.bfloat16_by_head
    processor_settings.cache_clear()
    yield
    torch.set_num_threads(threads)
    attention.bfloat16_by_head = by_head
    processor_settings.cache_clear()


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the path of the result file."""
    path = tmp_path / "cache" / "processor.json"
    monkeypatch.setenv(SPEED_FILE_VARIABLE, str(path))
    return path


def _simulate(monkeypatch: pytest.MonkeyPatch, times: dict[str, float], threads: dict[int, float]) -> None:
    """Simulate a processor with the given times of a block."""
    monkeypatch.setattr(speed, "_time_methods", lambda clock: times)
    monkeypatch.setattr(
        speed,
        "measure_threads",
        lambda settings: replace(
            settings,
            threads=choose_threads(threads),
            thread_seconds={str(n): took for n, took in threads.items()},
        ),
    )
    monkeypatch.setattr(torch, "get_num_threads", lambda: max(threads))


@pytest.mark.usefixtures("file")
def test_cpu_flags_do_not_decide(monkeypatch: pytest.MonkeyPatch) -> None:
    """A processor whose bfloat16 instructions are slower than float32."""
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: FLAGS, raising=False)
    slow = {"float32, fused": 0.05, "bfloat16, fused": 0.08, "bfloat16, by head": 0.09}
    _simulate(monkeypatch, slow, {2: 0.03, 1: 0.05})
    assert inference_dtype("cpu") == torch.float32
    assert not attention.bfloat16_by_head
    processor_settings.cache_clear()
    Path(speed.os.environ[SPEED_FILE_VARIABLE]).unlink()
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict, raising=False)
    _simulate(monkeypatch, {**slow, "bfloat16, by head": 0.02}, {2: 0.03, 1: 0.05})
    assert inference_dtype("cpu") == torch.bfloat16
    assert attention.bfloat16_by_head


def test_the_fastest_method_is_chosen_and_float32_if_the_difference_is_small() -> None:
    seconds = {"float32, fused": 0.050, "bfloat16, fused": 0.048, "bfloat16, by head": 0.060}
    assert choose_method(seconds) == "float32, fused"
    assert choose_method({**seconds, "bfloat16, fused": 0.030}) == "bfloat16, fused"
    assert choose_method({"float32, fused": 0.050}) == "float32, fused"


def test_fewer_threads_are_chosen_only_if_clearly_faster() -> None:
    assert choose_threads({8: 0.010, 4: 0.009}) == 8
    assert choose_threads({8: 0.030, 4: 0.012, 2: 0.010, 1: 0.019}) == 2


def test_a_measurement_is_applied_and_cached(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    threads = torch.get_num_threads()
    found = processor_settings()
    assert (found.origin, found.threads <= threads) == ("measured", True)
    assert torch.get_num_threads() == found.threads
    assert "float32, fused" in found.seconds
    assert all(0 < took < 10 for took in found.seconds.values())
    assert "for a block" in found.reason
    assert json.loads(file.read_text())["settings"]["dtype"] == found.dtype

    torch.set_num_threads(threads)
    processor_settings.cache_clear()

    def never(clock: object) -> dict[str, float]:
        raise AssertionError("measured twice")

    monkeypatch.setattr(speed, "_time_methods", never)
    again = processor_settings()
    assert (again.origin, again.dtype, again.by_head) == ("kept", found.dtype, found.by_head)


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[: len(text) // 2],
        lambda text: "[]",
        lambda text: text.replace(torch.__version__, "1.0"),
        lambda text: text.replace('"dtype": "', '"dtype": "no-'),
        lambda text: text.replace('"threads": ', '"threads": 10000'),
        lambda text: text.replace('"seconds": {', '"seconds": {"no way": "long", '),
    ],
)
def test_an_invalid_file_is_replaced_by_a_new_measurement(file: Path, damage: object) -> None:
    found = processor_settings()
    assert callable(damage)
    file.write_text(damage(file.read_text()))
    torch.set_num_threads(max(found.threads, 1))
    processor_settings.cache_clear()
    assert processor_settings().origin == "measured"


def test_a_busy_processor_keeps_all_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed, "_is_busy", lambda task: True)
    before = Settings(
        "float32", by_head=False, threads=2, origin="measured", seconds={"float32, fused": 0.05}
    )
    assert speed.measure_threads(before) == before
    assert "too busy" in before.reason


def test_threads_are_timed_from_the_most_down(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed, "_is_busy", lambda task: False)
    used: list[int] = []
    monkeypatch.setattr(torch, "set_num_threads", used.append)
    took = {8: 0.4, 4: 0.1, 2: 0.2}
    monkeypatch.setattr(speed, "_best_times", lambda tasks, rounds, clock: {"linear": took[used[-1]] / 12})
    settings = Settings("float32", by_head=False, threads=8, origin="measured")
    found = speed.measure_threads(settings)
    assert used[:-1] == [8, 4, 2]
    assert found.threads == 4
    assert found.thread_seconds == pytest.approx({"8": 0.4, "4": 0.1, "2": 0.2})


@pytest.mark.parametrize("name", ["float32", "bfloat16"])
def test_the_environment_variable_takes_precedence(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(speed.PRECISION_VARIABLE, name)
    monkeypatch.setattr(speed, "_time_methods", None)
    assert inference_dtype("cpu") == getattr(torch, name)
    assert speed.PRECISION_VARIABLE in processor_settings().reason


def test_an_unknown_precision_gives_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(speed.PRECISION_VARIABLE, "half")
    with pytest.raises(EncoderError, match="APICAL_PRECISION is half: set it to float32 or bfloat16"):
        inference_dtype("cpu")

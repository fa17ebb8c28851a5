"""`apical encoders time`."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from app import cli, paths
from tests.conftest import ROOT
from vjepa_core import memory
from vjepa_core.encoder.architecture import Architecture
from vjepa_core.encoder.catalogue import DEFAULT_ENCODER
from vjepa_core.encoder.cost import clip_flops, clip_memory, tokens_of, weight_bytes
from vjepa_core.encoder.precision import cast_matrices
from vjepa_core.encoder.vit import VisionTransformer3D
from vjepa_core.fewshot import clip_time
from vjepa_core.fewshot.features import plan_clips, temporal_stride
from vjepa_core.memory import machine_memory

CPU = torch.device("cpu")
TINY = "vit_w48d3h2m96_patch16_224_t2"


def write_card(name: str, architecture: str, *, weights: bool = True, fps: float = 30.0) -> None:
    card = {
        "name": name,
        "family": "V-JEPA 2",
        "architecture": architecture,
        "parameters": 1,
        "licence": "MIT",
    }
    card |= {"description": "", "trained": True, "checksum": "0", "file": f"{name}.safetensors", "seed": 0}
    card |= {"fps": fps, "depths": [0]}
    folder = paths.encoders_dir()
    (folder / f"{name}.json").write_text(json.dumps(card), encoding="utf-8")
    if weights:
        (folder / f"{name}.safetensors").write_bytes(b"not read here")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Replace the measurement: each block takes 0.1 s. Returns the measured sizes."""
    output: list[str] = []

    def seconds(architecture: Architecture, device: torch.device) -> float:
        output.append(architecture.name)
        return architecture.depth / 10

    monkeypatch.setattr(clip_time, "clip_seconds", seconds)
    return output


def report(capsys: pytest.CaptureFixture[str], *words: object) -> dict[str, Any]:
    assert cli.main(["encoders", "time", *map(str, words), "--json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_bundled_encoders_of_one_architecture_are_timed_once(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A real measurement: both encoders have one architecture, and thus one time."""
    monkeypatch.setattr(clip_time, "_SECONDS", 0.0)
    found = report(capsys)
    n_threads = torch.get_num_threads()
    assert found["device"] == (
        torch.cuda.get_device_name()
        if torch.cuda.is_available()
        else f"CPU, {n_threads} thread{'s' if n_threads > 1 else ''}"
    )
    one, other = found["encoders"]
    assert one["name"] == DEFAULT_ENCODER
    assert one.keys() == {"name", "clip_s", "clips", "cine_s", "memory_bytes", "fits", "note"}
    assert 0 < one["clip_s"] < 60
    assert (one["clips"], one["cine_s"], one["fits"], one["note"]) == (None, None, True, None)
    assert 44e6 < one["memory_bytes"] < 400e6
    assert other == one | {"name": other["name"]}


def test_the_number_of_clips_is_that_of_the_plan(
    capsys: pytest.CaptureFixture[str], demo_cine_path: Path, asked: list[str]
) -> None:
    from app.readers.open import open_cine

    write_card("slow-frames", TINY, fps=10.0)
    found = {one["name"]: one for one in report(capsys, demo_cine_path)["encoders"]}
    cine = open_cine(demo_cine_path)
    cine.source.close()
    for name, fps in ((DEFAULT_ENCODER, 30.0), ("slow-frames", 10.0)):
        clips = len(plan_clips(cine.n_frames, temporal_stride(cine.timing.fps, fps)).starts)
        assert found[name]["clips"] == clips
        assert found[name]["cine_s"] == pytest.approx(clips * found[name]["clip_s"], abs=0.01)
    assert len(asked) == 2
    assert cli.main(["encoders", "time", str(demo_cine_path)]) == 0
    text = capsys.readouterr().out
    assert "THIS CINE" in text
    assert "slow-frames" in text


def test_encoders_that_cannot_be_timed_have_a_note(
    capsys: pytest.CaptureFixture[str], asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_card("gone", TINY, weights=False)
    write_card("unknown", "resnet50")
    write_card("uneven", "vit_tiny_patch15_224_t2")
    write_card("large", "vit_gigantic_patch16_384_t2")
    (paths.encoders_dir() / "bad.json").write_text("{", encoding="utf-8")
    monkeypatch.setattr(clip_time, "device_memory", lambda device: 2**30)
    found = {one["name"]: one for one in report(capsys)["encoders"]}
    assert {name for name, one in found.items() if one["clip_s"] is None} == {
        *("gone", "unknown", "uneven", "large", "bad")
    }
    assert [name for name, one in found.items() if not one["fits"]] == ["large"]
    for name, word in {
        "gone": "is missing",
        "unknown": "unknown.json cannot be read",
        "uneven": "do not divide",
        "large": "an encoder may use at most 80% of the 1.0 GiB of this machine",
        "bad": "bad.json cannot be read",
    }.items():
        assert word in found[name]["note"]
    assert found["large"]["memory_bytes"] > 3e9
    assert len(asked) == 1
    assert cli.main(["encoders", "time"]) == 0
    assert "large: It needs about" in capsys.readouterr().out


def test_an_encoder_that_takes_all_memory_does_not_fit(
    capsys: pytest.CaptureFixture[str], asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    [need] = {one["memory_bytes"] for one in report(capsys)["encoders"]}
    for there, fits in ((need / 0.79, True), (need / 0.81, False), (need, False), (None, True)):
        monkeypatch.setattr(clip_time, "device_memory", lambda device, there=there: there)
        assert {one["fits"] for one in report(capsys)["encoders"]} == {fits}


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "too little free memory"),
        (MemoryError(), "too little free memory"),
        (torch.OutOfMemoryError("CUDA out of memory"), "too little free memory"),
        (RuntimeError("a kernel is missing"), "(RuntimeError): see `apical doctor`"),
    ],
)
def test_a_failure_does_not_affect_the_others(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, error: Exception, words: str
) -> None:
    def seconds(architecture: Architecture, device: torch.device) -> float:
        if architecture.embed_dim == 48:
            raise error
        return 1.0

    monkeypatch.setattr(clip_time, "clip_seconds", seconds)
    write_card("bad", TINY)
    found = {one["name"]: one for one in report(capsys)["encoders"]}
    assert (found["bad"]["clip_s"], found["bad"]["fits"]) == (None, True)
    assert words in found["bad"]["note"]
    assert (found[DEFAULT_ENCODER]["clip_s"], found[DEFAULT_ENCODER]["note"]) == (1.0, None)


@pytest.mark.parametrize(
    ("words", "message"), [(["gone.dcm"], "does not exist"), (["README.md"], "README.md")]
)
def test_a_cine_that_cannot_be_opened_is_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, words: list[str], message: str
) -> None:
    monkeypatch.chdir(ROOT)
    assert cli.main(["encoders", "time", *words]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err
    assert len(err.strip().splitlines()) == 1


def test_time_is_extrapolated_from_two_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Simulated clock: 1 s for a block, 0.25 s for a norm, 0.5 s for the rest of a clip."""
    now = [0.0]
    monkeypatch.setattr(clip_time.time, "perf_counter", lambda: now[0])

    def call(module: nn.Module, seconds: float) -> None:
        for begun in module._forward_pre_hooks.values():
            begun(module, ())
        now[0] += seconds
        for done in module._forward_hooks.values():
            done(module, (), None)

    def extract(encoder: VisionTransformer3D, *_: object, **__: object) -> None:
        now[0] += 0.25
        for block in encoder.blocks:
            call(block, 1)
        call(encoder.output_norm(len(encoder.blocks) - 1), 0.25)
        now[0] += 0.25

    monkeypatch.setattr(clip_time, "extract", extract)
    for depth, form in itertools.product((1, 2, 12, 48), ("", ".vjepa2")):
        name = f"vit_w48d{depth}h2m96_patch16_224_t2{form}"
        seconds = clip_time.clip_seconds(Architecture.parse(name), CPU)
        assert seconds == pytest.approx(depth + 4 * 0.25 + 0.5)  # the program reads four depths


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224_t2", "vit_giant_patch16_256_t2.vjepa1"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_bytes_of_weights_equal_those_of_the_module(name: str, dtype: torch.dtype) -> None:
    architecture = Architecture.parse(name)
    with torch.device("meta"):
        model = cast_matrices(VisionTransformer3D(architecture), dtype)
    counted = sum(weight.nbytes for weight in model.parameters())
    assert weight_bytes(architecture, dtype.itemsize) == counted


def test_operations_equal_those_counted_by_torch() -> None:
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    architecture = Architecture.parse("vit_small_patch16_224_t2.vjepa2")
    with torch.device("meta"):
        model, clip = VisionTransformer3D(architecture), torch.empty(1, 3, 4, 64, 64)
    # Torch's counter does not know the attention kernel of CPUs, but the plain form.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        model(clip)
    assert counter.get_total_flops() == clip_flops(architecture, 4, 64)
    assert tokens_of(architecture, 4, 64) == 32
    with pytest.raises(ValueError, match="do not divide"):
        clip_flops(architecture, 3, 64)


def test_memory_grows_with_clips_and_precision() -> None:
    architecture = Architecture.parse("vit_base_patch16_224_t2")
    half, full, many = (
        clip_memory(architecture, 16, 224, matrix_bytes=size, batch=batch)
        for size, batch in ((2, 1), (4, 1), (2, 8))
    )
    assert weight_bytes(architecture, 2) < half < full
    assert math.isclose((many - half) / 7, half - weight_bytes(architecture, 2), rel_tol=1e-6)


def test_the_memory_of_the_machine_is_known() -> None:
    there = clip_time.device_memory(CPU)
    assert there == machine_memory()
    assert there is None or there > 2**28


def test_memory_on_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    def fill(status: Any) -> int:
        status._obj.total = 8 * 2**30
        return int(status._obj.length == 64)

    kernel = SimpleNamespace(kernel32=SimpleNamespace(GlobalMemoryStatusEx=fill))
    monkeypatch.setattr(memory.ctypes, "windll", kernel, raising=False)
    monkeypatch.setattr(memory.sys, "platform", "win32")
    assert machine_memory() == 8 * 2**30

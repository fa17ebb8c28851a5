"""The encoder benchmark: peer, rows and errors."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from app import cli
from app.commands.benches import encode as benches_encode
from vjepa_core.bench import encode, encode_process
from vjepa_core.bench.camus import BenchError
from vjepa_core.bench.encode import OURS, PEER, Side, sides
from vjepa_core.bench.encode_process import Task, measure
from vjepa_core.bench.vjepa2_peer import create_ours, create_peer
from vjepa_core.encoder.architecture import Architecture
from vjepa_core.encoder.block import Block
from vjepa_core.encoder.cost import clip_flops, weight_bytes

pytestmark = pytest.mark.slow

TINY = "vit_w48d2h2m96_patch8_32_t2.vjepa2"


def test_the_peer_has_the_same_weights_and_gives_the_same_tokens() -> None:
    pytest.importorskip("transformers")
    architecture = Architecture.parse(TINY)
    ours, peer = create_ours(architecture, torch.float32), create_peer(architecture, torch.float32, 4, 32)
    clip = torch.randn(2, 3, 4, 32, 32)
    expected = peer(clip.transpose(1, 2), skip_predictor=True).last_hidden_state
    torch.testing.assert_close(ours(clip), expected, atol=1e-5, rtol=0)
    assert expected.std() > 0.5
    assert peer.config._attn_implementation == "sdpa"  # type: ignore[union-attr]
    bytes_of = [sum(weight.nbytes for weight in model.parameters()) for model in (ours, peer)]
    assert bytes_of == [weight_bytes(architecture, 4)] * 2
    low = create_peer(architecture, torch.bfloat16, 4, 32)
    assert {weight.dtype for weight in low.parameters()} == {torch.bfloat16}
    assert create_ours(architecture, torch.bfloat16).blocks[0].mlp.fc1.weight.dtype == torch.bfloat16  # type: ignore[union-attr]


def test_half_precision_has_separate_rows() -> None:
    plain = [Side(OURS, "float32"), Side(PEER, "float32")]
    assert sides("cpu", "float32") == plain
    assert set(sides("cpu", "bfloat16")) == {*plain, Side(OURS, "bfloat16"), Side(PEER, "bfloat16")}
    assert sides("cuda", "bfloat16")[-1] == Side(OURS, "bfloat16", compiled=True)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("peer", [False, True])
def test_a_process_measures_one_program(tmp_path: Path, peer: bool, dtype: str) -> None:
    pytest.importorskip("transformers")
    file = str(tmp_path / "tokens.npy")
    measured = measure(
        Task(TINY, "cpu", frames=4, size=32, batch=2, seconds=0, peer=peer, dtype=dtype, tokens=file)
    )
    assert len(measured["seconds"]) == 3
    assert all(value > 0 for value in measured["seconds"])
    # It is imported on both sides, so that their memory is comparable.
    assert "transformers.models.vjepa2.modeling_vjepa2" in sys.modules
    full = weight_bytes(Architecture.parse(TINY), 4)
    assert full / 2 <= measured["weight_bytes"] <= full
    assert np.load(file).shape == (2, 32, 48)
    assert np.load(file).dtype == np.float32


@pytest.fixture
def tasks(monkeypatch: pytest.MonkeyPatch) -> list[Task]:
    """Replace processes by immediate results and record their arguments."""
    asked: list[Task] = []

    def fake_process(task: Task) -> dict[str, Any]:
        asked.append(task)
        tokens = np.full((2, 4, 3), 2.0, np.float32)
        tokens[0, 0, 0] += 0.5 * (task.dtype == "bfloat16")
        np.save(task.tokens, tokens)
        low = task.dtype == "bfloat16"
        second = (4.0 if task.peer else 2.0) / (2 if low else 1)
        return {
            "seconds": [second, second / 2, second],
            "peak_bytes": 3500 if task.peer else 1400,
            "before_bytes": 500 if task.peer else 400,
            "weight_bytes": 100,
            "matrix_flops": 1e9 * len(asked),
            "device": "CPU",
            "threads": 2,
        }

    monkeypatch.setattr(encode, "_fresh_process", fake_process)
    monkeypatch.setattr(encode, "inference_dtype", lambda device: torch.bfloat16)
    monkeypatch.setattr(encode.importlib.util, "find_spec", lambda name: object())
    return asked


def test_rows_and_ratios_from_the_results_of_processes(tasks: list[Task]) -> None:
    progress: list[tuple[str, int, int]] = []
    result = encode.run(
        [TINY],
        device="cpu",
        frames=4,
        size=32,
        batches=[2],
        rounds=2,
        on_progress=lambda *what: progress.append(what),
    )
    assert [(task.peer, task.dtype) for task in tasks] == 2 * [
        *((False, "bfloat16"), (True, "float32"), (False, "float32"), (True, "bfloat16"))
    ]
    assert [(done, total) for _, done, total in progress] == [(done, 8) for done in range(8)]
    assert result.keys() == {"name", "machine", "rows", "ratios"}
    assert result["machine"]["matrix_flops"] == {"bfloat16": 8e9, "float32": 7e9}
    rows = {row["side"]: row for row in result["rows"]}
    first = result["rows"][0]
    assert (first["side"], first["passes"], first["clip_s"], first["best_s"]) == (
        "ours, bfloat16",
        6,
        0.5,
        0.25,
    )
    assert first["clips_per_second"] == pytest.approx(2)
    assert first["floor_s"] == pytest.approx(clip_flops(Architecture.parse(TINY), 4, 32) / 8e9)
    assert first["utilisation"] == pytest.approx(first["floor_s"] / 0.5)
    assert first["largest_difference"] == pytest.approx(0.5)
    assert first["relative_difference"] == pytest.approx(0.5 / (24 * 4) ** 0.5)
    assert rows["VJEPA2Model, float32"]["relative_difference"] == 0
    label = "vit_w48d2h2m96"
    assert result["ratios"] == {
        f"{label}: seconds of a clip, ours against VJEPA2Model": pytest.approx(4),
        f"{label}: seconds of a clip, same precision (bfloat16)": pytest.approx(2),
        f"{label}: seconds of a clip, same precision (float32)": pytest.approx(2),
        f"{label}: memory that the encoder took, ours against VJEPA2Model": pytest.approx(3),
        f"{label}: memory that the encoder took, same precision (bfloat16)": pytest.approx(3),
        f"{label}: memory that the encoder took, same precision (float32)": pytest.approx(3),
    }
    assert (first["encoder_bytes"], first["peak_bytes"]) == (1000, 1400)
    assert [row["as_used"] for row in result["rows"]] == [True, False, False, False]
    assert {row["missing"] for row in result["rows"]} == {None}


@pytest.mark.parametrize(
    ("fails", "missing", "ratios"),
    [
        (lambda task: task.compiled, ["ours, bfloat16, compiled"], 6),
        (lambda task: task.peer and task.dtype == "float32", ["VJEPA2Model, float32"], 4),
    ],
)
def test_a_failed_row_does_not_affect_the_others(
    tasks: list[Task],
    monkeypatch: pytest.MonkeyPatch,
    fails: Callable[[Task], bool],
    missing: list[str],
    ratios: int,
) -> None:
    succeed = encode._fresh_process

    def fake_process(task: Task) -> dict[str, Any]:
        if fails(task):
            tasks.append(task)
            raise BenchError("No compiler: install one.")
        return succeed(task)

    monkeypatch.setattr(encode, "_fresh_process", fake_process)
    result = encode.run([TINY], device="cuda", frames=4, size=32, rounds=2)
    assert [row["side"] for row in result["rows"] if row["missing"] is not None] == missing
    assert len(tasks) == 9  # four sides twice, one once
    assert len(result["ratios"]) == ratios
    assert json.dumps(result)
    text = benches_encode.text({**result, "machine": {**result["machine"], "cores": 2, "cpu": "a CPU"}})
    assert f"{missing[0]}: No compiler: install one." in text


def test_the_reason_is_reported_if_nothing_was_measured(
    tasks: list[Task], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fake_process(task: Task) -> dict[str, Any]:
        raise BenchError("Too large: choose a smaller one.")

    monkeypatch.setattr(encode, "_fresh_process", fake_process)
    with pytest.raises(BenchError, match="Too large"):
        encode.run([TINY], device="cpu", frames=4, size=32)


def test_from_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("transformers")
    monkeypatch.setattr(encode, "inference_dtype", lambda device: torch.float32)  # two processes, not four
    words = ["--architecture", TINY, "--frames", "4", "--size", "32", "--rounds", "1", "--device", "cpu"]
    assert cli.main(["bench", "encode", *words, "--json", str(tmp_path / "out.json")]) == 0
    text = capsys.readouterr().out
    assert "UTILISATION" in text
    result = json.loads((tmp_path / "out.json").read_text())
    assert [row["side"] for row in result["rows"]] == ["ours, float32", "VJEPA2Model, float32"]
    for row in result["rows"]:
        assert 0 < row["best_s"] <= row["clip_s"]
        assert row["relative_difference"] < 1e-5
    assert any(what.endswith("ours against VJEPA2Model") for what in result["ratios"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--rounds", "0"], "must be at least 1"),
        (["--batch", "1", "0"], "must be at least 1"),
        (["--architecture", "resnet50"], "resnet50"),
        (["--architecture", "vit_small_patch16_224_t2"], "ends in .vjepa2"),
        (["--frames", "3"], "--frames or --size"),
        (["--device", "tpu"], "--device"),
        (["--json", "no/such/folder/x.json"], "cannot be written"),
    ],
)
def test_bad_input_is_one_line(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["bench", "encode", *words]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err
    assert len(err.strip().splitlines()) == 1


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_missing_gpu_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["bench", "encode", "--device", "cuda"]) == 2
    assert "no GPU" in capsys.readouterr().err


def test_a_missing_peer_is_reported_with_a_remedy(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    assert cli.main(["bench", "encode"]) == 2
    assert "pip install 'apical[bench]'" in capsys.readouterr().err
    with pytest.raises(BenchError, match="bench"):
        create_peer(Architecture.parse(TINY), torch.float32, 4, 32)


def test_only_the_blocks_are_compiled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("transformers")
    compiled: list[nn.Module] = []
    monkeypatch.setattr(nn.Module, "compile", lambda self, **options: compiled.append(self))
    file = str(tmp_path / "tokens.npy")
    measure(Task(TINY, "cpu", frames=4, size=32, seconds=0, compiled=True, tokens=file))
    assert [type(module) for module in compiled] == [Block, Block]


@pytest.mark.parametrize(
    ("error", "task", "message"),
    [
        (
            RuntimeError("DefaultCPUAllocator: can't allocate memory"),
            {},
            "The memory of the machine is too small",
        ),
        (MemoryError(), {}, "The memory of the machine is too small"),
        (
            torch.OutOfMemoryError("CUDA out of memory"),
            {"device": "cuda"},
            "The memory of the GPU is too small",
        ),
        (
            torch.OutOfMemoryError("CUDA out of memory"),
            {"device": "cuda", "compiled": True},
            "The memory of the GPU",
        ),
        (ImportError("backend raised:\nno Triton"), {"compiled": True}, "(backend raised: no Triton)"),
        (KeyError(), {"compiled": True}, "(KeyError)"),
    ],
)
def test_expected_errors_of_a_process_are_one_sentence(
    error: Exception,
    task: dict[str, Any],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(task: Task) -> None:
        raise error

    monkeypatch.setattr(encode_process, "measure", fail)
    monkeypatch.setattr(sys, "argv", ["", Task(TINY, **{"device": "cpu", **task}).to_json()])
    assert encode_process.main() == 2
    assert message in json.loads(capsys.readouterr().out)["error"]


def test_a_failed_process_is_an_error(tmp_path: Path) -> None:
    broken = Task(TINY, "cpu", dtype="float1", tokens=str(tmp_path / "tokens.npy"))
    with pytest.raises(RuntimeError, match="KeyError: 'float1'"):
        encode._fresh_process(broken)

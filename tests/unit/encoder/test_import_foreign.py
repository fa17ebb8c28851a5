"""Other files, damaged files and files that would execute code are rejected with one sentence."""

from __future__ import annotations

import argparse
import json
import pickle
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests import checkpoint_files
from vjepa_core.encoder.checkpoints.read import read
from vjepa_core.errors import EncoderError


def error_of(path: Path) -> str:
    with pytest.raises(EncoderError) as caught:
        read(path)
    message = str(caught.value)
    assert path.name in message
    assert "\n" not in message
    assert message.endswith(".")
    return message


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"<!DOCTYPE html><html>Not found</html>", "web page"),
        (b"\n <HTML><body>", "web page"),
        (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 5100\n", "git lfs pull"),
        (b"\0" * 5000, "zeros"),
        (b"\x08\x07\x12\x07pytorch\x1a\x05", "ONNX"),
        (b"\0" * 128 + b"DICM" + b"\2\0" * 40, "DICOM"),
        (b"\x89PNG\r\n\x1a\n", "an image"),
        (b"\xff\xd8\xff\xe0", "an image"),
        (b"\0\0\0\x18ftypmp42", "a video"),
        (b"%PDF-1.7", "PDF"),
        (b"\x89HDF\r\n\x1a\n", "HDF5"),
        (b"GGUF\3\0\0\0", "language model"),
        (b"\x1f\x8b\x08\0", "unpack it"),
        (b"\0" * 20 + b"x" * 237 + b"ustar\0", "unpack it"),
        (b"PK\x03\x04 and no more", "truncated"),
        (b"\x80\x02}q\0.", "damaged"),
        (b"hello, these are no weights", "not a known type of weight file"),
        (b'{"model_type": "vjepa2"}', "contains no weights"),
        (b"\x00\x10\0\0\0\0\0\0{", "truncated"),
        (b"\x02\0\0\0\0\0\0\0{}", None),
        (b"\x08\0\0\0\0\0\0\0{oh dear", "damaged"),
    ],
)
def test_other_files(tmp_path: Path, content: bytes, message: str | None) -> None:
    path = tmp_path / "file.pt"
    path.write_bytes(content)
    if message is None:
        assert read(path).tensors == {}
    else:
        assert message in error_of(path)


@pytest.mark.filterwarnings("ignore:.*torch.jit.script")
def test_real_other_files(tmp_path: Path, demo_cine_path: Path) -> None:
    assert "DICOM" in error_of(demo_cine_path)
    Image.new("L", (4, 4)).save(tmp_path / "a.tif")
    assert "an image" in error_of(tmp_path / "a.tif")
    np.save(tmp_path / "a.npy", np.zeros(3))
    assert "NumPy" in error_of(tmp_path / "a.npy")
    np.savez(tmp_path / "a.npz", a=np.zeros(3))
    assert "zip archive without tensors" in error_of(tmp_path / "a.npz")
    torch.jit.script(torch.nn.ReLU()).save(str(tmp_path / "a.pt"))
    assert "TorchScript" in error_of(tmp_path / "a.pt")
    assert "is a folder" in error_of(tmp_path)
    assert "does not exist" in error_of(tmp_path / "gone.pt")


@pytest.mark.parametrize("kind", ["v-jepa-2", "hugging-face"])
@pytest.mark.parametrize("kept", [0.999, 0.5, 0.01])
def test_truncated_files(tmp_path: Path, kind: str, kept: float) -> None:
    path = checkpoint_files.write(kind, tmp_path)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])
    assert "truncated" in error_of(path)


class Malicious:
    executed = False

    def __reduce__(self) -> tuple[object, ...]:
        return (
            exec,
            ("from tests.unit.encoder import test_import_foreign as t; t.Malicious.executed = True",),
        )


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_with_code_is_rejected_and_not_executed(tmp_path: Path, zipped: bool) -> None:
    content = {"target_encoder": checkpoint_files.weights_of("v-jepa-2.1"), "args": Malicious()}
    torch.save(content, tmp_path / "x.pt", _use_new_zipfile_serialization=zipped)
    assert "contains an object (exec) besides its tensors" in error_of(tmp_path / "x.pt")
    assert "safetensors" in error_of(tmp_path / "x.pt")
    torch.save(torch.nn.Linear(2, 2), tmp_path / "module.pt", _use_new_zipfile_serialization=zipped)
    assert "could execute code" in error_of(tmp_path / "module.pt")
    (tmp_path / "plain.pkl").write_bytes(pickle.dumps(Malicious()))
    error_of(tmp_path / "plain.pkl")
    assert not Malicious.executed


def test_arguments_of_a_training_script_are_rejected_as_an_object(tmp_path: Path) -> None:
    torch.save({"w": torch.ones(1), "args": argparse.Namespace(a=1)}, tmp_path / "x.pt")
    assert "contains an object (argparse.Namespace) besides its tensors" in error_of(tmp_path / "x.pt")


@pytest.mark.parametrize("zipped", [True, False])
def test_numpy_scalars_next_to_the_tensors_are_ignored(tmp_path: Path, zipped: bool) -> None:
    content = {"w": torch.ones(2), "loss": np.float64(0.4), "lr": np.float32(1), "t": np.datetime64("2020")}
    torch.save(content, tmp_path / "x.pt", _use_new_zipfile_serialization=zipped)
    assert list(read(tmp_path / "x.pt").tensors) == ["w"]
    torch.save({"w": torch.ones(2), "a": np.ones(3)}, tmp_path / "y.pt")
    assert "numpy" in error_of(tmp_path / "y.pt")


class NestedPickle:
    """An object that is pickled as a NumPy object scalar, whose bytes are a nested pickle."""

    def __reduce__(self) -> tuple[object, ...]:
        return (np.float64(0).__reduce__()[0], (np.dtype("O"), Malicious()))


def test_numpy_never_parses_bytes_of_the_file(tmp_path: Path) -> None:
    torch.save({"w": torch.ones(1), "x": NestedPickle()}, tmp_path / "x.pt")
    assert "(exec)" in error_of(tmp_path / "x.pt")
    assert not Malicious.executed


def repacked(path: Path, compression: int) -> Path:
    new = path.with_name("repacked.pt")
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(new, "w", compression) as archive:
        for member in old.infolist():
            archive.writestr(member.filename, old.read(member.filename))
    return new


def with_directory_byte(path: Path, offset: int, value: int) -> Path:
    """Change one byte in the directory entry of the first tensor of a zip."""
    content = bytearray(path.read_bytes())
    (entry,) = (
        found.start() for found in re.finditer(rb"PK\x01\x02.{42}[^/]{1,40}/data/0", content, re.DOTALL)
    )
    content[entry + offset] = value
    path.write_bytes(content)
    return path


def test_a_compressed_or_encrypted_zip_is_rejected(tmp_path: Path) -> None:
    path = checkpoint_files.write("v-jepa-2", tmp_path)
    assert "compressed or encrypted" in error_of(repacked(path, zipfile.ZIP_DEFLATED))
    read(repacked(path, zipfile.ZIP_STORED))
    for offset, value in ((8, 1), (10, 8), (10, 99)):  # encrypted, deflated, unknown compression
        assert "compressed or encrypted" in error_of(
            with_directory_byte(checkpoint_files.write("v-jepa-2", tmp_path), offset, value)
        )


def test_members_longer_than_the_file_are_reported_as_damage(tmp_path: Path) -> None:
    assert "is damaged" in error_of(
        with_directory_byte(checkpoint_files.write("v-jepa-2", tmp_path), 27, 0x7F)
    )  # high byte of the length


def test_a_small_file_with_a_huge_number_of_values_is_rejected(tmp_path: Path) -> None:
    many: list[object] = [1] * 60
    for _ in range(6):
        many = [many] * 60
    torch.save({"a": many, "w": torch.ones(1)}, tmp_path / "x.pt")
    assert "contains more than 1,048,576 values" in error_of(tmp_path / "x.pt")


def test_keys_that_are_not_names_are_ignored(tmp_path: Path) -> None:
    content = {(1, 2): torch.ones(1), "k" * 5000: torch.ones(1), 2**2000: torch.ones(1), "w": torch.ones(1)}
    torch.save(content, tmp_path / "x.pt")
    assert list(read(tmp_path / "x.pt").tensors) == ["w"]


def test_a_damaged_pickle_in_an_intact_zip(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.pt", "w") as archive:
        archive.writestr("x/data.pkl", b"\x80\x02nonsense")
        archive.writestr("x/version", b"3\n")
    assert "damaged" in error_of(tmp_path / "x.pt")


def test_the_format_of_torch_before_2020(tmp_path: Path) -> None:
    weights = checkpoint_files.weights_of("v-jepa-2.1")
    torch.save({"encoder": weights}, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    found = read(tmp_path / "old.pt")
    assert found.tensors.keys() == {f"encoder.{name}" for name in weights}
    content = (tmp_path / "old.pt").read_bytes()
    (tmp_path / "old.pt").write_bytes(content[: len(content) // 2])
    assert "damaged" in error_of(tmp_path / "old.pt")


def test_the_checkpoint_of_one_of_our_runs_is_rejected(tmp_path: Path) -> None:
    state = {"format": 1, "step": 2, "config": {}, "objective": {}, "teacher": {}, "monitor": {}}
    torch.save(state, tmp_path / "checkpoint.pt")
    assert "folder `encoder`" in error_of(tmp_path / "checkpoint.pt")


def test_parts_of_an_index(tmp_path: Path) -> None:
    path = checkpoint_files.write("hugging-face-shards", tmp_path)
    assert len(read(path).files) == 2
    (tmp_path / "model-00002-of-00002.safetensors").unlink()
    assert "model-00002-of-00002.safetensors" in error_of(path)
    # Parts are always looked up in the folder of the index.
    path.write_text(json.dumps({"weight_map": {"a": "../../etc/passwd"}}), encoding="utf-8")
    assert "passwd, a part of" in error_of(path)
    path.write_text(json.dumps({"weight_map": {"a": path.name}}), encoding="utf-8")
    error_of(path)
    for nothing in ("", ".", "/", "..", "a/..", 5, None):
        path.write_text(json.dumps({"weight_map": {"a": nothing}}), encoding="utf-8")
        assert "does not list the files of all weights" in error_of(path)
    (tmp_path / "folder").mkdir()
    path.write_text(json.dumps({"weight_map": {"a": "folder"}}), encoding="utf-8")
    assert "folder, a part of" in error_of(path)
    path.write_text(json.dumps({"weight_map": {"a": "b\x1b[2Jc"}}), encoding="utf-8")
    assert "b?[2Jc" in error_of(path)


def test_tensors_among_other_objects(tmp_path: Path) -> None:
    loop: dict[str, object] = {}
    loop["again"] = loop
    torch.save(
        {"a": {1: torch.ones(2)}, "list": [torch.ones(1), 3], "n": None, "loop": loop}, tmp_path / "x.pt"
    )
    assert list(read(tmp_path / "x.pt").tensors) == ["a.1", "list.0"]

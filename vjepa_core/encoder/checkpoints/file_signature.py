"""What a file is that is no checkpoint, by its first bytes: one sentence for the user."""

from __future__ import annotations

from vjepa_core.errors import EncoderError

WAY_OUT = "choose a V-JEPA checkpoint (.pt, .pth.tar or .safetensors)"
HEAD = 4096
"""Bytes from the start of a file that `refuse_foreign` wants to see."""

# Offset, bytes there, what such a file is.
_MAGIC = (
    (128, b"DICM", "a DICOM file"),
    (0, b"\x89PNG", "a picture"),
    (0, b"\xff\xd8\xff", "a picture"),
    (0, b"GIF8", "a picture"),
    (0, b"II*\0", "a picture"),
    (0, b"MM\0*", "a picture"),
    (0, b"RIFF", "a picture, a film or a sound"),
    (4, b"ftyp", "a film"),
    (0, b"%PDF", "a PDF document"),
    (0, b"\x89HDF", "an HDF5 file, as Keras and MATLAB write them"),
    (0, b"\x93NUMPY", "a NumPy array"),
    (0, b"GGUF", "a language model (GGUF)"),
)
_PACKED = (
    (257, b"ustar"),
    (0, b"\x1f\x8b"),
    (0, b"BZh"),
    (0, b"\xfd7zXZ"),
    (0, b"7z\xbc\xaf"),
    (0, b"Rar!"),
    (0, b"\x28\xb5\x2f\xfd"),
)


def refuse_foreign(name: str, head: bytes) -> None:
    """Raise EncoderError where the first bytes of a file show that it holds no weights.

    Parameters
    ----------
    name : str
        Of the file, for the sentence.
    head : bytes
        Its first `HEAD` bytes, fewer where it is shorter.
    """
    if not head:
        raise EncoderError(f"{name} is empty: download or copy it again.")
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith(b"version https://git-lfs"):
        raise EncoderError(
            f"{name} is a Git LFS pointer, which only stands for the weights: fetch them with `git lfs pull`."
        )
    if text.startswith((b"<!doctype", b"<html", b"<head", b"<?xml")):
        raise EncoderError(
            f"{name} is a web page and no checkpoint: the download did not reach the file; download it again."
        )
    if not head.strip(b"\0"):
        raise EncoderError(
            f"{name} begins with nothing but zeros: the download broke off; download it again."
        )
    for offset, magic in _PACKED:
        if head[offset : offset + len(magic)] == magic:
            raise EncoderError(f"{name} is a compressed archive: unpack it and choose the checkpoint in it.")
    for offset, magic, what in _MAGIC:
        if head[offset : offset + len(magic)] == magic:
            raise EncoderError(f"{name} is {what} and no checkpoint: {WAY_OUT}.")
    # An ONNX model begins with its version and the name of the program that wrote it.
    if head[0] == 0x08 and (
        name.lower().endswith(".onnx") or b"pytorch" in head[:64] or b"onnx" in head[:64]
    ):
        raise EncoderError(
            f"{name} is an ONNX model, whose parts have lost their names: "
            "choose the checkpoint that it was made from."
        )

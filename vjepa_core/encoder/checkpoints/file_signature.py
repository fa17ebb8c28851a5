"""Recognise files that are not checkpoints by their first bytes."""

from __future__ import annotations

from vjepa_core.errors import EncoderError

CHOOSE_CHECKPOINT = "choose a V-JEPA checkpoint (.pt, .pth.tar or .safetensors)"
HEAD = 4096
"""Number of bytes at the start of a file that `reject_other_files` inspects."""

# Offset, bytes at that offset, description of such a file.
_MAGIC = (
    (128, b"DICM", "a DICOM file"),
    (0, b"\x89PNG", "an image"),
    (0, b"\xff\xd8\xff", "an image"),
    (0, b"GIF8", "an image"),
    (0, b"II*\0", "an image"),
    (0, b"MM\0*", "an image"),
    (0, b"RIFF", "an image, video or audio file"),
    (4, b"ftyp", "a video"),
    (0, b"%PDF", "a PDF document"),
    (0, b"\x89HDF", "an HDF5 file, the format of Keras and MATLAB"),
    (0, b"\x93NUMPY", "a NumPy array"),
    (0, b"GGUF", "a language model (GGUF)"),
)
_ARCHIVES = (
    (257, b"ustar"),
    (0, b"\x1f\x8b"),
    (0, b"BZh"),
    (0, b"\xfd7zXZ"),
    (0, b"7z\xbc\xaf"),
    (0, b"Rar!"),
    (0, b"\x28\xb5\x2f\xfd"),
)


def reject_other_files(name: str, head: bytes) -> None:
    """Raise EncoderError if the first bytes of a file show that it contains no weights.

    Parameters
    ----------
    name : str
        Name of the file, for the error message.
    head : bytes
        The first `HEAD` bytes of the file, or fewer if it is shorter.

    Raises
    ------
    EncoderError
        If the file is empty or of another type.
    """
    if not head:
        raise EncoderError(f"{name} is empty: download or copy it again.")
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith(b"version https://git-lfs"):
        raise EncoderError(
            f"{name} is a Git LFS pointer instead of the weights: fetch them with `git lfs pull`."
        )
    if text.startswith((b"<!doctype", b"<html", b"<head", b"<?xml")):
        raise EncoderError(f"{name} is a web page, not a checkpoint: the download failed; download it again.")
    if not head.strip(b"\0"):
        raise EncoderError(
            f"{name} contains only zeros at its start: the download was interrupted; download it again."
        )
    for offset, magic in _ARCHIVES:
        if head[offset : offset + len(magic)] == magic:
            raise EncoderError(f"{name} is a compressed archive: unpack it and choose the checkpoint in it.")
    for offset, magic, description in _MAGIC:
        if head[offset : offset + len(magic)] == magic:
            raise EncoderError(f"{name} is {description}, not a checkpoint: {CHOOSE_CHECKPOINT}.")
    # An ONNX model starts with its version and the name of the program that wrote it.
    if head[0] == 0x08 and (
        name.lower().endswith(".onnx") or b"pytorch" in head[:64] or b"onnx" in head[:64]
    ):
        raise EncoderError(
            f"{name} is an ONNX model, which does not contain the names of the weights: "
            "choose the checkpoint from which it was exported."
        )

"""File name suffixes of cines, for folders, file dialogs and searches: the only list of them.

The format of a file is recognised by its content, see `app.readers.open`.
"""

from __future__ import annotations

from pathlib import Path

from natsort import natsorted, ns

DICOM_SUFFIXES = (".dcm", ".dicom", ".ima", ".img", ".dic", "")
"""DICOM files often have no suffix, or one that is part of a UID."""
VIDEO_SUFFIXES = (".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".wmv", ".mpg", ".mpeg", ".gif")
NIFTI_SUFFIXES = (".nii", ".nii.gz")
CINE_SUFFIXES = (".dcm", ".dicom", ".ima", *VIDEO_SUFFIXES, *NIFTI_SUFFIXES)
"""Suffixes that are used for cines alone; files with other names are recognised by content."""
IMAGE_SUFFIXES = (".png", ".apng", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")


def images_in(folder: Path) -> list[Path]:
    """Return the image files of a folder in natural order, without hidden ones."""
    images = (file for file in folder.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES)
    visible = (file for file in images if not file.name.startswith(".") and file.is_file())
    return natsorted(visible, key=lambda file: file.name, alg=ns.IGNORECASE)


def name_filter(suffixes: tuple[str, ...] = (*CINE_SUFFIXES, *IMAGE_SUFFIXES)) -> str:
    """Return the filter of a Qt file dialog, with "All files" for names without a suffix."""
    return f"Cines ({' '.join(f'*{suffix}' for suffix in suffixes)});;All files (*)"

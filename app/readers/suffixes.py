"""File name suffixes of cines, for folders, file dialogs and searches: the only list of them.

The format of a file is recognised by its content, see `app.readers.open`.
"""

from __future__ import annotations

DICOM_SUFFIXES = (".dcm", ".dicom", ".ima", ".img", ".dic", "")
"""DICOM files often have no suffix, or one that is part of a UID."""
VIDEO_SUFFIXES = (".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".wmv", ".mpg", ".mpeg", ".gif")
NIFTI_SUFFIXES = (".nii", ".nii.gz")
CINE_SUFFIXES = (".dcm", ".dicom", ".ima", *VIDEO_SUFFIXES, *NIFTI_SUFFIXES)
"""Suffixes that are used for cines alone; files with other names are recognised by content."""
IMAGE_SUFFIXES = (".png", ".apng", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")


def name_filter(suffixes: tuple[str, ...] = (*CINE_SUFFIXES, *IMAGE_SUFFIXES)) -> str:
    """Return the filter of a Qt file dialog, with "All files" for names without a suffix."""
    return f"Cines ({' '.join(f'*{suffix}' for suffix in suffixes)});;All files (*)"

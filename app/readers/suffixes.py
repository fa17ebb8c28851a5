"""The one list of file names that may hold a cine, for folders, dialogs and searches.

What a file really is, `app.readers.open` tells from its content.
"""

from __future__ import annotations

DICOM_SUFFIXES = (".dcm", ".dicom", ".ima", ".img", ".dic", "")
"""DICOM files often have no suffix, or one that is part of a UID."""
VIDEO_SUFFIXES = (".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".wmv", ".mpg", ".mpeg", ".gif")
NIFTI_SUFFIXES = (".nii", ".nii.gz")
CINE_SUFFIXES = (".dcm", ".dicom", ".ima", *VIDEO_SUFFIXES, *NIFTI_SUFFIXES)
IMAGE_SUFFIXES = (".png", ".apng", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")


def name_filter(suffixes: tuple[str, ...] = (*CINE_SUFFIXES, *IMAGE_SUFFIXES)) -> str:
    """Filter of a file dialog, with "All files" for names without a suffix."""
    return f"Cines ({' '.join(f'*{suffix}' for suffix in suffixes)});;All files (*)"

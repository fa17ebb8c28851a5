"""Readers of cines: DICOM, video, GIF, NIfTI and images."""

import os

# Keep messages of FFmpeg and OpenCV about damaged files off stderr: `CineError` reports them with the file's
# name. OpenCV reads these variables at its first video or image.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
# For images whose size Pillow cannot read in advance; the value of `limits.MAX_PIXELS`.
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(1 << 25))

"""Reading cines: DICOM first, then video, GIF, NIfTI and images."""

import os

# FFmpeg's own complaints would land on stderr; ours name the file. OpenCV reads this at its first video.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
# Pictures that Pillow cannot measure beforehand: as many pixels as `limits.MAX_PIXELS`.
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(1 << 25))
# So would OpenCV's of damaged images.
os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")

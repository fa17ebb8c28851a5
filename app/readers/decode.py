"""Decoding of one frame's bytes to luma, for all pixel formats of ultrasound DICOM."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from io import BytesIO
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.pixels import get_decoder
from pydicom.uid import (
    JPEG2000TransferSyntaxes,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSTransferSyntaxes,
    JPEGTransferSyntaxes,
)

from app.domain.cine import Frame
from app.readers.codestream import SizeMismatchError, codestream_format
from app.readers.layout import SUBSAMPLED, Layout
from app.readers.palette import Table, palette_tables
from app.readers.region import sample_indices
from app.readers.tags import number

Samples = NDArray[Any]
"""Stored values, shape (rows, columns) or (rows, columns, 3)."""


_JPEG = b"\xff\xd8\xff"
_J2K = (b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP")
_STARTS: dict[str, bytes | tuple[bytes, ...]] = {
    **dict.fromkeys(JPEGTransferSyntaxes, _JPEG),
    **dict.fromkeys(JPEGLSTransferSyntaxes, _JPEG),
    **dict.fromkeys(JPEG2000TransferSyntaxes, _J2K),
}
_LOSSLESS_JPEG = (JPEGLossless, JPEGLosslessSV1)
_PLUGINS = ("pylibjpeg", "gdcm", "pyjpegls")
"""In order of preference: GDCM's JPEG 2000 decoder writes to stderr, pyjpegls hangs on truncated data."""


class FrameDecoder:
    """Decoder of the frames of one file; thread-safe.

    Parameters
    ----------
    ds : Dataset
        The header.
    layout : Layout
    """

    def __init__(self, ds: Dataset, layout: Layout) -> None:
        self.layout = layout
        self._jpeg = layout.syntax == JPEGBaseline8Bit or (
            layout.syntax == JPEGExtended12Bit and layout.bits_stored == 8
        )
        self._lossless_jpeg = layout.syntax in _LOSSLESS_JPEG and layout.bits_stored == 8
        self._tables: tuple[Table, Table] | None = None
        if layout.photometric == "PALETTE COLOR":
            self._tables = palette_tables(ds, layout.bits_stored, layout.syntax.is_little_endian)
        self._range, self._window_given = _display_range(ds, layout)
        if not layout.syntax.is_encapsulated:
            self.samples: Callable[[bytes], tuple[Samples, str]] = self._native
            """``samples(data)`` returns the stored values of one frame and their colour space."""
        else:
            _quiet_gdcm()
            self.samples = self._compressed

    def luma(self, data: bytes) -> Frame:
        """Decode a frame to grey levels.

        Parameters
        ----------
        data : bytes
            Stored bytes of the frame.

        Returns
        -------
        ndarray, shape (rows, columns), uint8

        Raises
        ------
        SizeMismatchError
            The compressed frame has another size than the header states.
        Exception
            The data are damaged; the type depends on the decoder.
        """
        self._check_size(data)
        if self._jpeg:
            grey = jpeg_luma(data, rgb=self.layout.photometric == "RGB")
            if self.layout.photometric == "MONOCHROME1":
                grey = 255 - grey
        else:
            grey = self._to_luma(*self.samples(data))
        if grey.shape != (self.layout.rows, self.layout.columns):
            raise SizeMismatchError(grey.shape[1], grey.shape[0])
        return np.ascontiguousarray(grey)

    def _check_size(self, data: bytes) -> None:
        """Compare the size in the compressed data with that in the header before decoding."""
        found = codestream_format(data) if self.layout.syntax.is_encapsulated else None
        if found is not None and found.size != (self.layout.columns, self.layout.rows):
            raise SizeMismatchError(*found.size)

    def chroma(self, data: bytes) -> Frame | None:
        """Compute the chroma of every pixel.

        Parameters
        ----------
        data : bytes
            Stored bytes of the frame.

        Returns
        -------
        ndarray, shape (rows, columns), uint8, or None
            Largest minus smallest of R, G and B, or an equivalent; None for a grey format.
        """
        if self.layout.samples == 1 and self._tables is None:
            return None
        self._check_size(data)
        if self._jpeg:
            with Image.open(BytesIO(data), formats=("JPEG",)) as image:
                return _chroma_of_rgb(np.asarray(image.convert("RGB")))
        values, photometric = self.samples(data)
        if self._tables is not None:
            return self._tables[1][self._unsigned(values)]
        if photometric == "RGB":
            return _chroma_of_rgb(values)
        if values.ndim == 2:
            return None  # only luma was read from a subsampled format
        # Weights of Cb in B and of Cr in R (Rec. 601).
        difference = np.abs(values[..., 1:].astype(np.float32) - 128) * np.array((1.772, 1.402), np.float32)
        return np.asarray(np.clip(difference.max(axis=-1), 0, 255), np.uint8)

    def fit_range(self, read: Callable[[int], bytes], n_frames: int) -> list[str]:
        """Choose the display range once for the whole cine, so that the brightness does not flicker.

        Data with more than 8 bits that use less than half of their range are stretched. A window in the file
        is used unless it makes the frames almost black or completely white.

        Parameters
        ----------
        read : callable
            ``read(index) -> bytes`` reads the stored bytes of a frame.
        n_frames : int

        Returns
        -------
        list of str
            Sentences for the user.

        Raises
        ------
        Exception
            No frame can be decoded.
        """
        if self._range is None:
            return []
        if self._window_given:
            low, high = self._range
            darkest, brightest = self._extent(read, sample_indices(n_frames))
            if low + (high - low) / 4 < brightest and darkest < high:
                return []
            self._range = _full_range(self.layout)
        low, high = self._range
        _, brightest = self._extent(read, range(n_frames))
        if brightest < low + (high - low) / 2:
            self._range = (low, max(brightest, low + 1))
        return (
            ["The brightness window in the file does not fit the frames and is not used."]
            if self._window_given
            else []
        )

    def _extent(self, read: Callable[[int], bytes], indices: Iterable[int]) -> tuple[float, float]:
        """Return the smallest and the largest stored value of these frames, except damaged ones."""
        found, failure = [], None
        for index in indices:
            try:
                values = self._signed_values(self.samples(read(index))[0])
                found.append((float(values.min()), float(values.max())))
            except Exception as error:
                failure = error
        if not found:
            raise failure or ValueError("no frames")
        return min(low for low, _ in found), max(high for _, high in found)

    def _native(self, data: bytes) -> tuple[Samples, str]:
        p = self.layout
        if p.bits_allocated == 8 and not p.syntax.is_little_endian and p.pixel_vr == "OW":
            # 8-bit values in big-endian 16-bit words: each pair is swapped (PS3.5 A.3).
            data = np.frombuffer(data, "<u2").byteswap().tobytes()
        order = "<" if p.syntax.is_little_endian else ">"
        flat = np.frombuffer(data, f"{order}u{p.bits_allocated // 8}")
        if p.photometric in SUBSAMPLED:
            # Y1 Y2 Cb Cr for each two pixels.
            return flat.reshape(-1, 4)[:, :2].reshape(p.rows, p.columns), p.photometric
        if p.samples == 1:
            return flat.reshape(p.rows, p.columns), p.photometric
        if p.planar == 1:
            return np.moveaxis(flat.reshape(p.samples, p.rows, p.columns), 0, -1), p.photometric
        return flat.reshape(p.rows, p.columns, p.samples), p.photometric

    def _compressed(self, data: bytes) -> tuple[Samples, str]:
        p = self.layout
        # Checked here because the C libraries would write to stderr.
        if not data.startswith(_STARTS.get(p.syntax, b"")):
            raise ValueError("the data do not match the transfer syntax")
        options: dict[str, Any] = {
            "rows": p.rows,
            "columns": p.columns,
            "number_of_frames": 1,
            "samples_per_pixel": p.samples,
            "photometric_interpretation": p.photometric,
            "bits_allocated": p.bits_allocated,
            "bits_stored": p.bits_stored,
            "pixel_representation": int(p.signed),
            "pixel_keyword": "PixelData",
        }
        if p.samples > 1:
            options["planar_configuration"] = p.planar
        if self._lossless_jpeg:
            return _lossless_samples(data), p.photometric
        decoder = get_decoder(p.syntax)
        plugin = next((name for name in _PLUGINS if name in decoder.available_plugins), "")
        values, meta = decoder.as_array(encapsulate([data]), raw=True, decoding_plugin=plugin, **options)
        return values, str(meta["photometric_interpretation"])

    def _to_luma(self, values: Samples, photometric: str) -> Frame:
        if self._tables is not None:
            return self._tables[0][self._unsigned(values)]
        if values.ndim == 3 and photometric.startswith("YBR_") and photometric not in {"YBR_ICT", "YBR_RCT"}:
            values = values[..., 0]
        if values.ndim == 3:
            wide = (
                values if values.dtype == np.uint8 else _to_8_bit(values, 0, 2**self.layout.bits_stored - 1)
            )
            return np.asarray(cv2.cvtColor(np.ascontiguousarray(wide), cv2.COLOR_RGB2GRAY), np.uint8)
        if photometric.startswith("YBR_PARTIAL"):
            return _to_8_bit(values, 16, 235)
        if self._range is not None:
            values = _to_8_bit(self._signed_values(values), *self._range)
        elif values.dtype != np.uint8:  # 8 bits in a wider type
            values = self._unsigned(values).astype(np.uint8)
        return 255 - values if photometric == "MONOCHROME1" else values

    def _unsigned(self, values: Samples) -> Samples:
        """Mask the BitsStored bits of the value (PS3.5 8.1.1)."""
        p = self.layout
        kind = f"u{values.dtype.itemsize}"
        bits = values.astype(values.dtype.newbyteorder("=")).view(kind)
        if not p.syntax.is_encapsulated:
            bits = bits >> max(0, p.high_bit + 1 - p.bits_stored)
        return bits & np.array(2**p.bits_stored - 1, kind)

    def _signed_values(self, values: Samples) -> Samples:
        bits = self._unsigned(values)
        if not self.layout.signed:
            return bits
        half = 2 ** (self.layout.bits_stored - 1)
        return (bits.astype(np.int64) ^ half) - half


def jpeg_luma(data: bytes, rgb: bool = False) -> Frame:
    """Decode the Y plane of an 8-bit JPEG, without a conversion to RGB.

    Pillow is as fast as OpenCV here and raises for damaged data, where OpenCV returns a partly grey image and
    writes to stderr.

    Parameters
    ----------
    data : bytes
        The JPEG data.
    rgb : bool
        The DICOM header states that the three components are R, G and B.

    Returns
    -------
    ndarray, shape (rows, columns), uint8

    Raises
    ------
    OSError
        The data are truncated or damaged.
    """
    with Image.open(BytesIO(data), formats=("JPEG",)) as image:
        sampling = {layer[1:3] for layer in getattr(image, "layer", [])}
        # If header and JPEG disagree, the JPEG is right: JFIF and subsampling imply YCbCr.
        ycbcr = "jfif" in image.info or "adobe_transform" in image.info or len(sampling) > 1
        if not rgb or ycbcr or image.mode == "L":
            image.draft("L", image.size)
            return np.asarray(image if image.mode == "L" else image.convert("L"), np.uint8)
        image.draft("YCbCr", image.size)  # the stored components
        return np.asarray(cv2.cvtColor(np.asarray(image), cv2.COLOR_RGB2GRAY), np.uint8)


def _lossless_samples(data: bytes) -> Samples:
    """Decode the stored components of an 8-bit lossless JPEG, without colour conversion."""
    if data[2:4] == b"\xff\xe0":  # a JFIF marker requests a conversion that lossless decoding lacks
        data = data[:2] + data[4 + int.from_bytes(data[4:6], "big") :]
    with Image.open(BytesIO(data), formats=("JPEG",)) as image:
        return np.asarray(image)


def _display_range(ds: Dataset, p: Layout) -> tuple[tuple[float, float] | None, bool]:
    """Return the stored values of black and white, and True if the file states them.

    The range is None for 8-bit values, which need no conversion.
    """
    if p.samples != 1 or p.photometric == "PALETTE COLOR" or (p.bits_stored == 8 and not p.signed):
        return None, False
    centre, width = number(ds, "WindowCenter"), number(ds, "WindowWidth")
    if centre is not None and width is not None and width > 1:
        slope, intercept = number(ds, "RescaleSlope") or 1.0, number(ds, "RescaleIntercept") or 0.0
        # Linear window (PS3.3 C.11.2.1.2.1), converted from rescaled to stored values.
        low, high = centre - 0.5 - (width - 1) / 2, centre - 0.5 + (width - 1) / 2
        return ((low - intercept) / slope, (high - intercept) / slope), True
    return _full_range(p), False


def _full_range(p: Layout) -> tuple[float, float]:
    """Return the smallest and the largest value of the stored bits."""
    if p.signed:
        return -(2.0 ** (p.bits_stored - 1)), 2.0 ** (p.bits_stored - 1) - 1
    return 0.0, 2.0**p.bits_stored - 1


def _chroma_of_rgb(rgb: Samples) -> Frame:
    # Channel by channel: much faster than a reduction over an axis of length 3.
    r, g, b = (rgb[..., i] for i in range(3))
    return np.asarray(np.maximum(np.maximum(r, g), b) - np.minimum(np.minimum(r, g), b), np.uint8)


def _to_8_bit(values: Samples, low: float, high: float) -> Frame:
    scaled = (values.astype(np.float32) - low) * (255.0 / (high - low))
    return np.asarray(np.rint(np.clip(scaled, 0, 255)), np.uint8)


def _quiet_gdcm() -> None:
    """Keep GDCM from writing to stderr."""
    try:
        import gdcm
    except ImportError:
        return
    for switch in ("DebugOff", "WarningOff", "ErrorOff"):
        getattr(gdcm.Trace, switch)()

"""Layout of the bytes of a DICOM frame: the Image Pixel Module (PS3.3 C.7.6.3)."""

from __future__ import annotations

from dataclasses import dataclass

from pydicom.dataset import Dataset
from pydicom.uid import UID

from app.readers.tags import integer, text

SUBSAMPLED = {"YBR_FULL_422", "YBR_PARTIAL_422"}
"""Two pixels share one Cb and one Cr: 2 bytes per pixel at 8 bits."""
_ONE_SAMPLE = {"MONOCHROME1", "MONOCHROME2", "PALETTE COLOR"}
_THREE_SAMPLES = {
    "RGB",
    "YBR_FULL",
    "YBR_FULL_422",
    "YBR_PARTIAL_422",
    "YBR_PARTIAL_420",
    "YBR_ICT",
    "YBR_RCT",
}

PHOTOMETRIC = _ONE_SAMPLE | _THREE_SAMPLES
"""Supported values of PhotometricInterpretation."""


@dataclass(frozen=True)
class Layout:
    """The Image Pixel Module and the transfer syntax."""

    rows: int
    columns: int
    samples: int
    photometric: str
    planar: int
    bits_allocated: int
    bits_stored: int
    high_bit: int
    signed: bool
    syntax: UID
    pixel_vr: str = "OW"

    @property
    def frame_bytes(self) -> int:
        """Size of an uncompressed frame in bytes."""
        pixels = self.rows * self.columns
        if self.photometric in SUBSAMPLED:
            return pixels * 2 * self.bits_allocated // 8
        return pixels * self.samples * self.bits_allocated // 8

    @property
    def is_readable(self) -> bool:
        """True if the attributes are consistent and describe a format that can be decoded."""
        native = not self.syntax.is_encapsulated
        if self.samples == 1:
            widths = (8, 16) if self.photometric == "PALETTE COLOR" else (8, 16, 32)
            return self.photometric in _ONE_SAMPLE and self.bits_allocated in widths
        if self.samples != 3 or self.photometric not in _THREE_SAMPLES or self.bits_allocated not in (8, 16):
            return False
        if self.photometric in SUBSAMPLED:
            return not native or self.columns % 2 == 0
        return not (native and self.photometric == "YBR_PARTIAL_420")


def layout_of(ds: Dataset, syntax: UID, pixel_vr: str) -> Layout:
    """Read the layout; missing or impossible attributes get the most plausible value.

    Parameters
    ----------
    ds : Dataset
    syntax : UID
        Transfer syntax.
    pixel_vr : str
        VR of PixelData.

    Returns
    -------
    Layout
    """
    samples = integer(ds, "SamplesPerPixel", 1)
    allocated = integer(ds, "BitsAllocated", 8)
    stored = integer(ds, "BitsStored", allocated)
    if not 0 < stored <= allocated:
        stored = allocated
    high_bit = integer(ds, "HighBit", stored - 1)
    return Layout(
        rows=integer(ds, "Rows"),
        columns=integer(ds, "Columns"),
        samples=samples,
        photometric=text(ds, "PhotometricInterpretation") or ("RGB" if samples == 3 else "MONOCHROME2"),
        planar=integer(ds, "PlanarConfiguration"),
        bits_allocated=allocated,
        bits_stored=stored,
        high_bit=high_bit if stored - 1 <= high_bit < allocated else stored - 1,
        signed=integer(ds, "PixelRepresentation") == 1,
        syntax=syntax,
        pixel_vr=pixel_vr,
    )

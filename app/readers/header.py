"""Reading of DICOM headers without pixel data, and rejection of files that are not readable cines."""

from __future__ import annotations

import os
import struct
import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from pydicom import config, dcmread
from pydicom.dataset import FileDataset
from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_file_meta_info
from pydicom.pixels import get_decoder
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    EnhancedUSVolumeStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    MediaStorageDirectoryStorage,
)

from app.domain.errors import CineError
from app.readers.fragments import UNDEFINED, PixelElement, pixel_element
from app.readers.layout import Layout, layout_of
from app.readers.limits import MAX_UNPACKED, check_size
from app.readers.tags import number, value_of

# Values that violate the standard are common, and warnings about them would fill stderr.
config.settings.reading_validation_mode = config.IGNORE
warnings.filterwarnings("ignore", module=r"pydicom(\..*)?$")

_PIXEL_DATA = b"\xe0\x7f\x10\x00"
_JPEG_XL = {f"1.2.840.10008.1.2.4.{n}" for n in (110, 111, 112)}
_NATIVE = {
    ImplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    DeflatedExplicitVRLittleEndian,
}


@dataclass(frozen=True)
class Header:
    """Header of a readable file.

    Attributes
    ----------
    ds : FileDataset
        All attributes before the pixel data.
    layout : Layout
    element : PixelElement
    declared_frames : int or None
        NumberOfFrames; None if it is absent.
    inflated : bytes or None
        Pixel data of a deflated file.
    """

    ds: FileDataset
    layout: Layout
    element: PixelElement
    declared_frames: int | None
    inflated: bytes | None


def read_header(path: Path) -> Header:
    """Read everything before the pixel data.

    Parameters
    ----------
    path : Path

    Returns
    -------
    Header

    Raises
    ------
    CineError
        The file is not DICOM, damaged, encrypted, without images, or of an unsupported kind.
    """
    name = path.name
    _reject_bomb(path)
    with path.open("rb") as file:
        try:
            ds = dcmread(file, stop_before_pixels=True, force=not _has_preamble(path))
        except InvalidDicomError as error:
            raise CineError(f"{name} is not a DICOM file; choose an ultrasound cine.") from error
        except Exception as error:
            raise CineError(
                f"{name} has a damaged DICOM header; export it from the machine again."
            ) from error
        syntax = _syntax(ds)
        _reject_kind(name, ds)
        if syntax == DeflatedExplicitVRLittleEndian:
            element, inflated = _inflate(path)
        else:
            element, inflated = _locate(name, file, ds, syntax), None
    _reject_syntax(name, syntax)
    if syntax in _NATIVE and element.length == UNDEFINED:
        raise CineError(
            f"{name} is marked as uncompressed, but its images are compressed; "
            "export it from the machine again."
        )
    layout = layout_of(ds, syntax, element.vr)
    if layout.rows < 1 or layout.columns < 1:
        raise CineError(f"{name} does not state its image size; export it from the machine again.")
    check_size(name, layout.columns, layout.rows)
    return Header(ds, layout, element, _frames(name, ds), inflated)


def _has_preamble(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(132)[128:] == b"DICM"


def _syntax(ds: FileDataset) -> UID:
    stated = value_of(ds.file_meta, "TransferSyntaxUID")
    if stated is not None:
        return UID(str(stated).strip())
    implicit, little = ds.original_encoding
    if implicit or little is None:
        return ImplicitVRLittleEndian
    return ExplicitVRLittleEndian if little else ExplicitVRBigEndian


def _reject_kind(name: str, ds: FileDataset) -> None:
    kind = UID(str(value_of(ds, "SOPClassUID") or value_of(ds.file_meta, "MediaStorageSOPClassUID") or ""))
    if kind == EnhancedUSVolumeStorage:
        raise CineError(
            f"{name} is a 3D ultrasound volume, which Apical does not read; export a 2D cine instead."
        )
    if kind == MediaStorageDirectoryStorage:
        raise CineError(f"{name} is a DICOMDIR, an index without images; open the files it lists instead.")
    if value_of(ds, "Modality") == "SEG":
        raise CineError(f"{name} is a segmentation, not a cine; open the cine that it belongs to.")


def _locate(name: str, file: BinaryIO, ds: FileDataset, syntax: UID) -> PixelElement:
    """Read the header of the pixel data element, where dcmread stopped."""
    start = file.tell()
    tag = file.read(4)
    if tag == (_PIXEL_DATA if syntax != ExplicitVRBigEndian else b"\x7f\xe0\x00\x10"):
        file.seek(start)
        implicit, little = ds.original_encoding
        try:
            return pixel_element(file, explicit=not implicit, little=bool(little))
        except struct.error:
            pass
    elif tag[:2] in (b"\xe0\x7f", b"\x7f\xe0"):
        raise CineError(
            f"{name} has floating point images, which Apical does not read; export an 8-bit cine."
        )
    if "EncryptedAttributesSequence" in ds:
        raise CineError(f"{name} is encrypted; export it from the machine again without encryption.")
    kind = UID(str(value_of(ds, "SOPClassUID") or ""))
    if not tag and ("Rows" in ds or "Image Storage" in kind.name):
        raise CineError(f"{name} ends before its images; copy it again from where it came from.")
    if not kind:
        raise CineError(f"{name} has a damaged DICOM header; export it from the machine again.")
    kind_name = kind.name.removesuffix(" Storage") if kind.is_valid and kind.name != kind else "DICOM"
    raise CineError(f"{name} contains no images ({kind_name} object); choose an ultrasound cine.")


def _inflate(path: Path) -> tuple[PixelElement, bytes]:
    """Read a deflated file as a whole, because positions in it are only known after inflation."""
    try:
        ds = dcmread(path)
        data = bytes(ds["PixelData"].value)
    except Exception as error:
        raise CineError(
            f"{path.name} has no readable images; export it from the machine again uncompressed."
        ) from error
    return PixelElement(0, len(data), "OW"), data


def _reject_syntax(name: str, syntax: UID) -> None:
    if syntax in _JPEG_XL:
        raise CineError(
            f"{name} is compressed with JPEG XL, which Apical cannot read; "
            "export it from the machine as JPEG or uncompressed."
        )
    if syntax in _NATIVE:
        return
    try:
        available = get_decoder(syntax).is_available
    except NotImplementedError:
        available = False
    if not available:
        method = syntax.name if syntax.is_valid else "an unknown method"
        raise CineError(
            f"{name} is compressed with {method}, which Apical cannot read; "
            "export it from the machine as JPEG or uncompressed."
        )


def _reject_bomb(path: Path) -> None:
    """Reject a deflated file that inflates to more than `MAX_UNPACKED`: pydicom has no limit."""
    with path.open("rb") as file:
        try:
            syntax = value_of(read_file_meta_info(path), "TransferSyntaxUID")
            if syntax != DeflatedExplicitVRLittleEndian:
                return
            file.seek(132)
            while (start := file.read(2)) == b"\x02\0":
                file.seek(-2, os.SEEK_CUR)
                element = pixel_element(file, explicit=True, little=True)
                file.seek(element.offset + element.length)
            unpacker = zlib.decompressobj(-zlib.MAX_WBITS)
            unpacked, packed = 0, start
            while packed and unpacked <= MAX_UNPACKED:
                unpacked += len(unpacker.decompress(packed, 1 << 20))
                packed = unpacker.unconsumed_tail or file.read(1 << 16)
        except Exception:  # other defects are reported later
            return
    if unpacked > MAX_UNPACKED:
        raise CineError(
            f"{path.name} inflates to more than {MAX_UNPACKED >> 20} MiB; "
            "export it from the machine again without deflation."
        )


def _frames(name: str, ds: FileDataset) -> int | None:
    stated = number(ds, "NumberOfFrames")
    if stated is None:
        return None
    if stated < 1:
        raise CineError(f"{name} has no frames; choose another cine, or export it from the machine again.")
    return int(stated)

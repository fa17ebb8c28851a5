"""Open anything that holds a cine; what it is comes from its content, not from its name."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

from app.domain.cine import Cine
from app.domain.errors import CineError
from app.readers.suffixes import DICOM_SUFFIXES

# ContentInfo of CMS (RFC 5652): SEQUENCE, then the OID of envelopedData or of its kin.
_CMS_OIDS = (bytes.fromhex("06092a864886f70d0107"), bytes.fromhex("060b2a864886f70d01091001"))
_HEAD = 512
# Matroska and WebM, ASF (wmv), MPEG programme stream.
_VIDEO = (b"\x1aE\xdf\xa3", b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", b"\0\0\x01\xba")
_RIFF = {b"AVI ": "video", b"WEBP": "image"}


def open_cine(path: Path | str) -> Cine:
    """Open a DICOM file, a video (mp4, avi, gif), a NIfTI (x, y, t), an image, or a folder of images.

    Frames are decoded later, on demand; the first one is proven readable here.

    Parameters
    ----------
    path : Path or str

    Returns
    -------
    Cine

    Raises
    ------
    CineError
        One sentence that names the file and the way out.
    """
    path = Path(path).expanduser().absolute()
    try:
        return _open(path)
    except PermissionError as error:
        raise CineError(
            f"{path.name} may not be read; change its permissions or copy it elsewhere."
        ) from error
    except FileNotFoundError as error:
        raise CineError(f"{path} does not exist; check the path.") from error
    except OSError as error:
        raise CineError(
            f"{path.name} cannot be read ({error.strerror or type(error).__name__}); check the disk."
        ) from error


def _open(path: Path) -> Cine:
    # Late imports: each format brings its own library.
    if path.is_dir():
        from app.readers.images import open_folder

        return open_folder(path)
    match kind_of_file(path):
        case "empty":
            raise CineError(f"{path.name} is empty; copy it again from where it came from.")
        case "encrypted":
            raise CineError(f"{path.name} is encrypted; decrypt it, or export it again without encryption.")
        case "dicom":
            from app.readers.dicom_file import open_dicom

            return open_dicom(path)
        case "nifti":
            from app.readers.nifti import open_nifti

            return open_nifti(path)
        case "gif":
            from app.readers.multipage import open_pages

            return open_pages(path)
        case "video":
            from app.readers.video import open_video

            return open_video(path)
        case "image":
            from app.readers.images import open_image

            return open_image(path)
    if path.suffix.lower() in DICOM_SUFFIXES:
        raise CineError(
            f"{path.name} is not a DICOM file, whatever its name says; choose an ultrasound cine."
        )
    raise CineError(
        f"{path.name} is no cine that Apical reads; choose a DICOM, mp4, avi, gif or NIfTI file, "
        "or a folder of images."
    )


def kind_of_file(path: Path) -> str:
    """What a file is, see `kind_of`."""
    with path.open("rb") as file:
        return kind_of(file.read(_HEAD))


def kind_of(head: bytes) -> str:
    """What a file is, from its first 512 bytes; "" where nothing is recognised."""
    if not head:
        return "empty"
    if head[128:132] == b"DICM":
        return "dicom"
    if head[:1] == b"\x30" and any(oid in head[:24] for oid in _CMS_OIDS):
        return "encrypted"
    if head[:6] in (b"GIF87a", b"GIF89a"):
        return "gif"
    if head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip") or head.startswith(_VIDEO):
        return "video"
    if head[:4] == b"RIFF" and head[8:12] in _RIFF:
        return _RIFF[head[8:12]]
    if head[:1] == b"G" and head[188:189] == b"G" and head[376:377] == b"G":  # MPEG transport stream
        return "video"
    if head.startswith((b"\x89PNG", b"\xff\xd8\xff", b"BM", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")):
        return "image"
    plain = _unzipped(head) if head[:2] == b"\x1f\x8b" else head
    if plain[344:348] in (b"n+1\0", b"ni1\0") or plain[4:11] in (b"n+2\0\r\n\x1a",):
        return "nifti"
    # Without the preamble: an element of group 0002 or 0008 in little-endian, of a believable length.
    if head[:2] in (b"\x02\0", b"\x08\0") and head[3:4] == b"\0" and len(head) > 16:
        explicit = head[4:6].isalpha() and head[4:6].isupper()
        if explicit or int.from_bytes(head[4:8], "little") < 4096:
            return "dicom"
    return ""


def _unzipped(head: bytes) -> bytes:
    try:
        return zlib.decompressobj(wbits=31).decompress(head, 400)
    except (zlib.error, gzip.BadGzipFile):
        return b""

"""Open any file or folder that contains a cine; the format is recognised by content, not by name.

To add a format, write a module with a function from a path to a `Cine`, add an entry to `FORMATS` and the
file name suffixes to `app.readers.suffixes`.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from app.domain.cine import Cine
from app.domain.errors import CineError
from app.readers.suffixes import DICOM_SUFFIXES

# ContentInfo of CMS (RFC 5652): SEQUENCE, then the OID of envelopedData or of a related content type.
_CMS_OIDS = (bytes.fromhex("06092a864886f70d0107"), bytes.fromhex("060b2a864886f70d01091001"))
_HEAD = 512
# Matroska and WebM, ASF (wmv), MPEG program stream.
_VIDEO = (b"\x1aE\xdf\xa3", b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", b"\0\0\x01\xba")
_MP4_BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")
_IMAGE = (b"\x89PNG", b"\xff\xd8\xff", b"BM", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_GZIP = b"\x1f\x8b"


@dataclass(frozen=True)
class Format:
    """A file format that can be opened.

    Attributes
    ----------
    name : str
    matches : callable
        ``matches(head) -> bool`` from the first 512 bytes of a file.
    open : callable
        ``open(path) -> Cine``. Imports its library when called: each format uses another one.
    is_image : bool
        Files of this format are usually single frames: in a folder with cines they are ignored.
    """

    name: str
    matches: Callable[[bytes], bool]
    open: Callable[[Path], Cine]
    is_image: bool = False


def open_cine(path: Path | str) -> Cine:
    """Open a DICOM file, a video, an animation, a NIfTI (x, y, t), an image, or a folder of images.

    Frames are decoded later, on demand; only the first one is decoded here, to check that it can be.

    Parameters
    ----------
    path : Path or str

    Returns
    -------
    Cine

    Raises
    ------
    CineError
        One sentence with the name of the file, the cause and a remedy.
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


def format_of(path: Path) -> Format | None:
    """Recognise the format of a file by its first bytes; None for an unknown one."""
    return _recognise(_head(path))


def _open(path: Path) -> Cine:
    if path.is_dir():
        from app.readers.images import open_folder

        return open_folder(path)
    head = _head(path)
    if not head:
        raise CineError(f"{path.name} is empty; copy it again from where it came from.")
    found = _recognise(head)
    if found is not None:
        return found.open(path)
    if _is_encrypted(head):
        raise CineError(f"{path.name} is encrypted; decrypt it, or export it again without encryption.")
    if path.suffix.lower() in DICOM_SUFFIXES:
        raise CineError(f"{path.name} is not a DICOM file, despite its name; choose an ultrasound cine.")
    raise CineError(
        f"{path.name} is not a cine that Apical reads; choose a DICOM, mp4, avi, gif or NIfTI file, "
        "or a folder of images."
    )


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_HEAD)


def _recognise(head: bytes) -> Format | None:
    return next((one for one in FORMATS if one.matches(head)), None)


def _is_encrypted(head: bytes) -> bool:
    return head[:1] == b"\x30" and any(oid in head[:24] for oid in _CMS_OIDS)


def _is_dicom(head: bytes) -> bool:
    return head[128:132] == b"DICM"


def _is_dicom_without_preamble(head: bytes) -> bool:
    """Match an element of group 0002 or 0008 in little-endian with a plausible length."""
    if head[:2] not in (b"\x02\0", b"\x08\0") or head[3:4] != b"\0" or len(head) <= 16:
        return False
    has_vr = head[4:6].isalpha() and head[4:6].isupper()
    return has_vr or int.from_bytes(head[4:8], "little") < 4096


def _is_gif(head: bytes) -> bool:
    return head[:6] in (b"GIF87a", b"GIF89a")


def _is_video(head: bytes) -> bool:
    if head[4:8] in _MP4_BOXES or head.startswith(_VIDEO):
        return True
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        return True
    return head[:1] == head[188:189] == head[376:377] == b"G"  # MPEG transport stream


def _is_image(head: bytes) -> bool:
    return head.startswith(_IMAGE) or (head[:4] == b"RIFF" and head[8:12] == b"WEBP")


def _is_nifti(head: bytes) -> bool:
    if head.startswith(_GZIP):
        try:
            head = zlib.decompressobj(wbits=31).decompress(head, 400)
        except zlib.error:
            return False
    return head[344:348] in (b"n+1\0", b"ni1\0") or head[4:11] == b"n+2\0\r\n\x1a"


def _open_dicom(path: Path) -> Cine:
    from app.readers.dicom_file import open_dicom

    return open_dicom(path)


def _open_pages(path: Path) -> Cine:
    from app.readers.multipage import open_pages

    return open_pages(path)


def _open_video(path: Path) -> Cine:
    from app.readers.video import open_video

    return open_video(path)


def _open_image(path: Path) -> Cine:
    from app.readers.images import open_image

    return open_image(path)


def _open_nifti(path: Path) -> Cine:
    from app.readers.nifti import open_nifti

    return open_nifti(path)


FORMATS = (
    Format("dicom", _is_dicom, _open_dicom),
    Format("gif", _is_gif, _open_pages),
    Format("video", _is_video, _open_video),
    Format("image", _is_image, _open_image, is_image=True),
    Format("nifti", _is_nifti, _open_nifti),
    # Last: the weakest signature.
    Format("dicom", _is_dicom_without_preamble, _open_dicom),
)
"""All formats; the first match counts."""

"""Random damage to files, as caused by defective disks, interrupted transfers and faulty programs."""

from __future__ import annotations

import gzip
import io
import random
import struct
import zlib
from collections.abc import Callable

from pydicom import dcmread
from pydicom.dataset import Dataset

Damage = tuple[bytes, str]
"""The changed bytes and a description of the change."""

_EXTREMES = (0, 1, 2, 255, 256, 32767, 32768, 65535, 0x48000060, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
_HEAD = 4096

Value = str | int | float | bytes | list[float] | None

_TAGS: dict[str, tuple[str, tuple[Value, ...]]] = {
    "NumberOfFrames": ("IS", ("0", "1", "-1", "3", "999", "1207959648", "99999999999", "x", "")),
    "Rows": ("US", (0, 1, 7, 95, 97, 4096, 65535)),
    "Columns": ("US", (0, 1, 7, 127, 129, 4096, 65535)),
    "SamplesPerPixel": ("US", (0, 1, 2, 3, 4, 65535)),
    "PhotometricInterpretation": (
        "CS",
        ("RGB", "MONOCHROME1", "MONOCHROME2", "PALETTE COLOR", "YBR_FULL", "YBR_FULL_422", "YBR_PARTIAL_420"),
    ),
    "PlanarConfiguration": ("US", (0, 1, 2, 65535)),
    "BitsAllocated": ("US", (0, 1, 8, 12, 16, 32, 64, 65535)),
    "BitsStored": ("US", (0, 1, 7, 8, 10, 12, 16, 65535)),
    "HighBit": ("US", (0, 7, 11, 15, 31, 65535)),
    "PixelRepresentation": ("US", (0, 1, 2)),
    "FrameTime": ("DS", ("0", "-1", "0.03", "1e9", "1e308", "nan", "inf", "x", "33333")),
    "FrameTimeVector": ("DS", ([0.0], [0.0, 1e9], [0.0] * 9, [1.0] * 5000)),
    "CineRate": ("IS", ("0", "-1", "90000", "1", "x")),
    "RecommendedDisplayFrameRate": ("IS", ("0", "-5", "100000")),
    "FrameIncrementPointer": ("AT", (0x00181063, 0x00181065, 0x0000FFFF)),
    "WindowCenter": ("DS", ("0", "-1e30", "1e30", "nan", "x")),
    "WindowWidth": ("DS", ("0", "1", "2", "-5", "1e30", "x")),
    "RescaleSlope": ("DS", ("0", "-1", "1e30", "nan")),
    "BurnedInAnnotation": ("CS", ("YES", "NO", "MAYBE")),
    "RedPaletteColorLookupTableDescriptor": ("US", ([0.0, 0.0, 16.0], [65535.0, 65535.0, 8.0], [1.0])),
    "SOPClassUID": ("UI", ("1.2.840.10008.5.1.4.1.1.7", "1.2.3", "")),
    "SequenceOfUltrasoundRegions": ("SQ", (None,)),
    "ExtendedOffsetTable": ("OV", (b"\xff" * 64,)),
}
_REGION_TAGS = (
    "RegionLocationMinX0",
    "RegionLocationMaxX1",
    "RegionLocationMaxY1",
    "PhysicalDeltaX",
    "PhysicalUnitsXDirection",
    "RegionSpatialFormat",
    "RegionDataType",
)
_SYNTAXES = (
    "1.2.840.10008.1.2",
    "1.2.840.10008.1.2.1",
    "1.2.840.10008.1.2.1.99",
    "1.2.840.10008.1.2.2",
    "1.2.840.10008.1.2.4.50",
    "1.2.840.10008.1.2.4.70",
    "1.2.840.10008.1.2.4.80",
    "1.2.840.10008.1.2.4.90",
    "1.2.840.10008.1.2.5",
    "1.2.3.4",
)
# Markers of sizes, counts and times in containers; a number near one of them is replaced.
_MARKERS: dict[str, tuple[bytes, ...]] = {
    "video": (
        *(b"mvhd", b"mdhd", b"tkhd", b"stts", b"stsz", b"stsc", b"stco", b"elst", b"avc1", b"mp4v", b"ctts"),
        *(b"avih", b"strh", b"strf", b"idx1", b"LIST", b"movi", b"00dc", b"esds", b"avcC"),
    ),
    "gif": (b"GIF89a", b"\x21\xf9\x04", b"\x2c"),
    "image": (
        b"IHDR",
        b"acTL",
        b"fcTL",
        b"IDAT",
        b"\xff\xc0",
        b"\xff\xda",
        b"II*\0",
        b"VP8 ",
        b"ANMF",
        b"ANIM",
    ),
}
_NIFTI_FIELDS = {
    "dim": (40, 16),
    "datatype": (70, 4),
    "pixdim": (76, 32),
    "offset": (108, 12),
    "units": (123, 1),
}


def damage(data: bytes, kind: str, rng: random.Random) -> Damage:
    """Apply a random change for this kind of file.

    Parameters
    ----------
    data : bytes
        Content of an intact file.
    kind : str
        "dicom", "video", "gif", "image" or "nifti".
    rng : random.Random

    Returns
    -------
    Damage
    """
    special: dict[str, tuple[Callable[[bytes, random.Random], Damage], ...]] = {
        "dicom": (
            _set_tag,
            _set_tag,
            _set_tag,
            _delete_tag,
            _change_region,
            _change_syntax,
            *(_change_length,) * 2,
        ),
        "nifti": (_change_nifti,) * 3,
        "video": (_change_near_marker("video"),) * 3,
        "gif": (_change_near_marker("gif"),) * 2,
        "image": (_change_near_marker("image"),) * 2,
    }
    general = (_change_bytes, _truncate, _blank, _splice, _extreme)
    change = rng.choice((*general, *special.get(kind, ())))
    try:
        return change(data, rng)
    except Exception:  # not possible for this file
        return _change_bytes(data, rng)


def _position(data: bytes, rng: random.Random) -> int:
    """Choose a position: in half of the cases in the header."""
    return rng.randrange(min(len(data), _HEAD)) if rng.random() < 0.5 else rng.randrange(len(data))


def _change_bytes(data: bytes, rng: random.Random) -> Damage:
    out, count = bytearray(data), rng.choice((1, 2, 4, 16, 64))
    for _ in range(count):
        out[_position(data, rng)] = rng.randrange(256)
    return bytes(out), f"{count} random bytes"


def _truncate(data: bytes, rng: random.Random) -> Damage:
    keep = rng.randrange(len(data)) if rng.random() < 0.7 else len(data) - rng.randrange(min(len(data), 64))
    return data[:keep], f"truncated to {keep} bytes"


def _blank(data: bytes, rng: random.Random) -> Damage:
    start, length = _position(data, rng), rng.choice((8, 64, 512, 4096))
    fill = rng.choice((b"\0", b"\xff"))
    return data[:start] + fill * min(length, len(data) - start) + data[
        start + length :
    ], f"{length} blank bytes"


def _splice(data: bytes, rng: random.Random) -> Damage:
    start, other, length = _position(data, rng), _position(data, rng), rng.choice((1, 2, 16, 512))
    if rng.random() < 0.5:
        return data[:start] + data[start + length :], f"{length} bytes deleted at {start}"
    return data[:start] + data[other : other + length] + data[start:], f"{length} bytes inserted at {start}"


def _extreme(data: bytes, rng: random.Random) -> Damage:
    at = _position(data, rng)
    return _put_number(data, at, rng), f"an extreme number at {at}"


def _put_number(data: bytes, at: int, rng: random.Random) -> bytes:
    size, order = rng.choice((2, 4, 8)), rng.choice("<>")
    code = {2: "H", 4: "L", 8: "Q"}[size]
    number = struct.pack(order + code, rng.choice(_EXTREMES) & (2 ** (8 * size) - 1))
    return data[:at] + number + data[at + size :]


def _set_tag(data: bytes, rng: random.Random) -> Damage:
    ds = dcmread(io.BytesIO(data))
    keyword = rng.choice(list(_TAGS))
    vr, values = _TAGS[keyword]
    value = rng.choice(values)
    _set(ds, keyword, vr, value)
    return _saved(ds), f"{keyword} = {str(value)[:40]}"


def _set(ds: Dataset, keyword: str, vr: str, value: Value) -> None:
    from pydicom.datadict import tag_for_keyword
    from pydicom.dataelem import RawDataElement
    from pydicom.tag import Tag

    tag = Tag(tag_for_keyword(keyword) or 0)
    if vr == "SQ":
        ds[keyword].value = [Dataset()]
        return
    if vr == "US":
        numbers = value if isinstance(value, list) else [float(str(value))]
        raw = b"".join(struct.pack("<H", int(v)) for v in numbers)
    elif vr == "AT":
        raw = struct.pack("<HH", int(str(value)) >> 16, int(str(value)) & 0xFFFF)
    elif isinstance(value, bytes):
        raw = value
    else:
        text = "\\".join(map(str, value)) if isinstance(value, list) else str(value)
        raw = text.encode() + b" " * (len(text) % 2)
    # As raw bytes, because pydicom rejects most of these values.
    implicit = bool(ds.original_encoding[0])
    ds[tag] = RawDataElement(tag, vr, len(raw), raw, 0, implicit, True)


def _delete_tag(data: bytes, rng: random.Random) -> Damage:
    ds = dcmread(io.BytesIO(data))
    element = rng.choice([e for e in ds if e.keyword != "PixelData"] or list(ds))
    del ds[element.tag]
    return _saved(ds), f"without {element.keyword or element.tag}"


def _change_region(data: bytes, rng: random.Random) -> Damage:
    ds = dcmread(io.BytesIO(data))
    item = rng.choice(ds.SequenceOfUltrasoundRegions)
    keyword = rng.choice(_REGION_TAGS)
    if rng.random() < 0.2:
        delattr(item, keyword)
        return _saved(ds), f"region without {keyword}"
    value = rng.choice((0, 1, 3, 65535, 2**31)) if "Delta" not in keyword else rng.choice((0.0, -1e30, 1e-30))
    setattr(item, keyword, value)
    return _saved(ds), f"region with {keyword} = {value}"


def _change_syntax(data: bytes, rng: random.Random) -> Damage:
    ds = dcmread(io.BytesIO(data))
    old = str(ds.file_meta.TransferSyntaxUID).encode()
    new = rng.choice(_SYNTAXES).encode()[: len(old)].ljust(len(old), b"\0")
    return data.replace(old, new, 1), f"transfer syntax {new.decode(errors='replace')}"


def _change_length(data: bytes, rng: random.Random) -> Damage:
    """Change the length of the pixel data or of one of its items."""
    marks = _find_all(data, b"\xe0\x7f\x10\x00")[:2] + _find_all(data, b"\xfe\xff\x00\xe0")
    at = rng.choice(marks)
    offset = 8 if data[at + 4 : at + 6] in (b"OB", b"OW") else 4
    length = rng.choice((0, 1, 0xFFFFFFFE, 0xFFFFFFFF, len(data), rng.randrange(2**32)))
    place = at + offset
    return data[:place] + struct.pack("<L", length) + data[place + 4 :], f"length {length} at {place}"


def _find_all(data: bytes, mark: bytes) -> list[int]:
    found, at = [], data.find(mark)
    while at >= 0:
        found.append(at)
        at = data.find(mark, at + 1)
    return found


def _saved(ds: Dataset) -> bytes:
    out = io.BytesIO()
    ds.save_as(out)
    return out.getvalue()


def _change_near_marker(kind: str) -> Callable[[bytes, random.Random], Damage]:
    def change(data: bytes, rng: random.Random) -> Damage:
        mark = rng.choice([m for m in _MARKERS[kind] if m in data])
        start = rng.choice(_find_all(data, mark))
        at = start + len(mark) + rng.randrange(48)
        out = _put_number(data, at, rng)
        if data.startswith(b"\x89PNG"):
            out = _with_checksum(out, start)
        return out, f"an extreme number {at - start} bytes into {mark!r}"

    return change


def _with_checksum(png: bytes, chunk_name: int) -> bytes:
    """Correct the CRC of the chunk, which readers check first."""
    (length,) = struct.unpack(">L", png[chunk_name - 4 : chunk_name])
    end = chunk_name + 4 + length
    return png[:end] + struct.pack(">L", zlib.crc32(png[chunk_name:end])) + png[end + 4 :]


def _change_nifti(data: bytes, rng: random.Random) -> Damage:
    is_gzip = data[:2] == b"\x1f\x8b"
    plain = gzip.decompress(data) if is_gzip else data
    name = rng.choice(list(_NIFTI_FIELDS))
    start, length = _NIFTI_FIELDS[name]
    at = start + rng.randrange(length) // 2 * 2
    if name == "pixdim":
        value = rng.choice((0.0, -1.0, 1e-30, 1e30, float("nan"), float("inf"), 1.0))
        out = plain[: (at - 76) // 4 * 4 + 76] + struct.pack("<f", value) + plain[(at - 76) // 4 * 4 + 80 :]
    else:
        number = rng.choice((0, 1, 2, 5, 255, 32767, 65535, rng.randrange(65536)))
        out = plain[:at] + struct.pack("<H", number) + plain[at + 2 :]
    return gzip.compress(out, 1) if is_gzip else out, f"NIfTI {name} at {at}"

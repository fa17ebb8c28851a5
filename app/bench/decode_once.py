"""One measurement in a process of its own: decode a whole cine twice, print the seconds as JSON.

    python -m app.bench.decode_once ours|pydicom|pydicom-raw FILE

The first decode is cold (nothing of the file was looked at by this process), the second warm. The clock
starts after the imports on both sides, the decoders' own included, and covers opening the file. "pydicom" is
its plain `pixel_array`: it stops at colours, making them grey would add to its time. "pydicom-raw" leaves the
colours as they are stored, so that Y can be taken as it is: the quickest way to grey that pydicom offers.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydicom import dcmread
from pydicom.pixels import get_decoder, pixel_array

from app.readers import decode, dicom_file  # noqa: F401 - imported before the clock starts
from app.readers.open import open_cine


def ours(path: Path) -> dict[str, Any]:
    """Seconds to the first and to the last grey frame, and how many there are."""
    started = time.perf_counter()
    cine = open_cine(path)
    cine.frame(0)
    first = time.perf_counter() - started
    cine.source.prefetch(range(cine.n_frames))
    for index in range(cine.n_frames):
        cine.frame(index)
    seconds = time.perf_counter() - started
    cine.source.close()
    return {"seconds": seconds, "first_frame": first, "frames": cine.n_frames}


def pydicoms(path: Path) -> dict[str, Any]:
    """Seconds to the whole array from pydicom's default decoder, and how many frames it has."""
    started = time.perf_counter()
    ds = dcmread(path)
    pixels = ds.pixel_array
    seconds = time.perf_counter() - started
    return {"seconds": seconds, "frames": int(ds.get("NumberOfFrames", 1) or 1), "shape": list(pixels.shape)}


def pydicoms_raw(path: Path) -> dict[str, Any]:
    """The same without its conversion to RGB."""
    started = time.perf_counter()
    ds = dcmread(path)
    pixels = pixel_array(ds, raw=True)
    seconds = time.perf_counter() - started
    return {"seconds": seconds, "frames": int(ds.get("NumberOfFrames", 1) or 1), "shape": list(pixels.shape)}


def main(who: str, path: Path) -> dict[str, Any]:
    """Both measurements, and the plugin that pydicom takes by default."""
    sides: dict[str, Callable[[Path], dict[str, Any]]] = {
        "ours": ours,
        "pydicom": pydicoms,
        "pydicom-raw": pydicoms_raw,
    }
    once = sides[who]
    syntax = dcmread(path, stop_before_pixels=True).file_meta.TransferSyntaxUID
    decoder = get_decoder(syntax) if syntax.is_encapsulated else None
    plugins = decoder.available_plugins if decoder else ()
    return {"decoder": plugins[0] if plugins else "built in", "cold": once(path), "warm": once(path)}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(sys.argv[1], Path(sys.argv[2]))) + "\n")

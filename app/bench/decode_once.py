"""One measurement of `app.bench.decode`: decode a whole cine twice and print the times as JSON.

    python -m app.bench.decode_once ours|pydicom|pydicom-raw FILE

The first run is cold (this process has read only the header), the second warm. The times exclude all imports
and include opening the file. "pydicom" is `pixel_array`, which returns RGB; a conversion to grey would add to
its time. "pydicom-raw" keeps the stored colour space, whose Y channel is the grey image: pydicom's fastest
way to grey frames.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from pydicom import dcmread
from pydicom.pixels import get_decoder, pixel_array

from app.readers import decode, dicom_file  # noqa: F401 - imported before the clock starts
from app.readers.open import open_cine


def ours(path: Path) -> dict[str, Any]:
    """Measure the times to the first and to the last grey frame with Apical.

    Parameters
    ----------
    path : Path

    Returns
    -------
    dict
        Keys: seconds, first_frame (seconds), frames.
    """
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


def pydicom(path: Path, *, raw: bool) -> dict[str, Any]:
    """Measure the time to the whole array with pydicom's default decoder.

    Parameters
    ----------
    path : Path
    raw : bool
        Keep the stored colour space instead of converting to RGB.

    Returns
    -------
    dict
        Keys: seconds, frames, shape.
    """
    started = time.perf_counter()
    ds = dcmread(path)
    pixels = pixel_array(ds, raw=True) if raw else ds.pixel_array
    seconds = time.perf_counter() - started
    return {"seconds": seconds, "frames": int(ds.get("NumberOfFrames", 1) or 1), "shape": list(pixels.shape)}


def main(decoder: str, path: Path) -> dict[str, Any]:
    """Measure decoding cold, then warm.

    Parameters
    ----------
    decoder : str
        "ours", "pydicom" or "pydicom-raw".
    path : Path

    Returns
    -------
    dict
        Keys: decoder (default plugin of pydicom), cold, warm.
    """
    measurements: dict[str, Callable[[Path], dict[str, Any]]] = {
        "ours": ours,
        "pydicom": partial(pydicom, raw=False),
        "pydicom-raw": partial(pydicom, raw=True),
    }
    measure = measurements[decoder]
    syntax = dcmread(path, stop_before_pixels=True).file_meta.TransferSyntaxUID
    pydicom_decoder = get_decoder(syntax) if syntax.is_encapsulated else None
    plugins = pydicom_decoder.available_plugins if pydicom_decoder else ()
    return {"decoder": plugins[0] if plugins else "built in", "cold": measure(path), "warm": measure(path)}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(sys.argv[1], Path(sys.argv[2]))) + "\n")

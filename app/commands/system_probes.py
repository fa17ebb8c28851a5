"""Measurements of the machine for `apical doctor`; torch and Qt are imported in separate processes."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from app.commands.encoders import facts
from app.encoders.registry import cards as known_encoders
from app.encoders.registry import chosen as chosen_encoder
from vjepa_core.encoder.catalogue import EncoderCard

_PACKAGES = (
    "apical",
    "numpy",
    "torch",
    "torchvision",
    "timm",
    "safetensors",
    "opencv-python-headless",
    "pillow",
    "pydicom",
    "python-gdcm",
    "pylibjpeg-openjpeg",
    "pylibjpeg-rle",
    "pyjpegls",
    "nibabel",
    "PySide6-Essentials",
    "pyqtgraph",
)

_TORCH = """
import json, torch, torchvision, timm
found = {"cuda_available": torch.cuda.is_available(), "cuda_build": torch.version.cuda,
         "cuda_device": None, "cuda_works": False, "threads": torch.get_num_threads()}
if found["cuda_available"]:
    found["cuda_device"] = torch.cuda.get_device_name(0)
    try:
        ones = torch.ones(8, 8, device="cuda")
        found["cuda_works"] = float((ones @ ones)[0, 0]) == 8
    except RuntimeError:
        pass
try:
    import dataclasses
    from vjepa_core.encoder.precision import inference_device, inference_dtype
    from vjepa_core.encoder.speed import processor_settings
    device = inference_device()
    speed = {"device": device.type, "dtype": str(inference_dtype(device)).removeprefix("torch."),
             "threads": torch.get_num_threads(),
             "reason": "GPUs use bfloat16 if they support it."}
    if device.type == "cpu":
        settings = processor_settings()
        speed |= dataclasses.asdict(settings) | {"reason": settings.reason}
except Exception as error:
    speed = {"error": str(error)}
print(json.dumps({**found, "encoder": speed}))
"""

_QT = "from PySide6 import QtWidgets; import pyqtgraph; app = QtWidgets.QApplication([]); print('{}')"

_TIMEOUT_S = 180
_ROOT = Path(__file__).resolve().parents[2]


def packages() -> dict[str, str | None]:
    """Return the versions of distributions; None for one that is not installed."""
    return {name: _version(name) for name in _PACKAGES}


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def gpus() -> list[str]:
    """Return the NVIDIA GPUs with memory and driver, from nvidia-smi."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return []
    query = [tool, "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    try:
        output = subprocess.run(query, capture_output=True, text=True, timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    return [line.strip() for line in output.splitlines() if line.strip()]


def probe_torch() -> dict[str, Any]:
    """Import torch, torchvision and timm, and determine CUDA support and the settings of the encoder.

    Returns
    -------
    dict
        "encoder" has device, dtype, threads and the reason, or "error". Only "error" if the import fails.
    """
    python_path = os.pathsep.join(filter(None, (str(_ROOT), os.environ.get("PYTHONPATH"))))
    found, error = run_in_process(_TORCH, {"PYTHONPATH": python_path})
    return found if not error else {"error": error}


def probe_qt() -> str:
    """Return the reason why the libraries of the window do not load, else ""."""
    return run_in_process(_QT, {"QT_QPA_PLATFORM": "offscreen"})[1]


def run_in_process(code: str, environment: dict[str, str]) -> tuple[dict[str, Any], str]:
    """Run Python code in a separate process.

    Parameters
    ----------
    code : str
        Prints a JSON object.
    environment : dict
        Additional environment variables.

    Returns
    -------
    result : dict
        The JSON object; empty after an error.
    error : str
        Last line on stderr of code that failed, else "".
    """
    try:
        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            env={**os.environ, **environment},
            check=False,
        )
    except subprocess.TimeoutExpired:
        return {}, f"no result after {_TIMEOUT_S} s"
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        return {}, lines[-1] if lines else f"the process ended with {done.returncode}"
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found, ""


def encoders() -> tuple[list[dict[str, Any]], str]:
    """Check the weights of all encoders.

    Returns
    -------
    cards : list of dict
        Content of the cards with "sound": True if the weight file matches the card, None for built-in
        weights.
    error : str
        Errors of cards that cannot be read.
    """
    (cards, faults), chosen = known_encoders(), chosen_encoder()
    return [{**facts(card, chosen), "sound": _is_sound(card)} for card in cards], " ".join(faults.values())


def _is_sound(card: EncoderCard) -> bool | None:
    if card.path is None:
        return None
    try:
        with card.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == card.checksum
    except OSError:
        return False


def decoders() -> list[dict[str, Any]]:
    """Return the transfer syntaxes of ultrasound files and the plugins that decode them."""
    from pydicom import uid
    from pydicom.pixels import get_decoder

    native = (uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian, uid.ExplicitVRBigEndian)
    compressed = (
        uid.RLELossless,
        uid.JPEGBaseline8Bit,
        uid.JPEGExtended12Bit,
        uid.JPEGLossless,
        uid.JPEGLosslessSV1,
        uid.JPEGLSLossless,
        uid.JPEGLSNearLossless,
        uid.JPEG2000Lossless,
        uid.JPEG2000,
    )
    rows: list[dict[str, Any]] = [{"uid": str(s), "name": s.name, "by": ["built in"]} for s in native]
    for syntax in compressed:
        by = list(get_decoder(syntax).available_plugins)
        rows.append({"uid": str(syntax), "name": syntax.name, "by": by})
    return rows

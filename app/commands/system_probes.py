"""What `apical doctor` asks of the machine; torch and Qt are tried in processes of their own."""

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
             "reason": "GPUs take bfloat16 where they have units for it."}
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
    """Versions by distribution, None for one that is not installed."""
    return {name: _version(name) for name in _PACKAGES}


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def gpus() -> list[str]:
    """NVIDIA GPUs with memory and driver, as nvidia-smi tells them."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return []
    query = [tool, "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    try:
        told = subprocess.run(query, capture_output=True, text=True, timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    return [line.strip() for line in told.splitlines() if line.strip()]


def probe_torch() -> dict[str, Any]:
    """Whether torch, torchvision and timm import together, CUDA, and how the encoder runs; or {"error": ...}.

    ``encoder`` is how it runs: device, number format, threads and the reason; or {"error": ...} by itself.
    """
    here = os.pathsep.join(filter(None, (str(_ROOT), os.environ.get("PYTHONPATH"))))
    found, error = _in_own_process(_TORCH, {"PYTHONPATH": here})
    return found if not error else {"error": error}


def probe_qt() -> str:
    """Why the window's libraries do not load; "" if they do."""
    return _in_own_process(_QT, {"QT_QPA_PLATFORM": "offscreen"})[1]


def _in_own_process(code: str, environment: dict[str, str]) -> tuple[dict[str, Any], str]:
    """What the code prints as JSON, and the last line of what went wrong."""
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
        return {}, f"no answer in {_TIMEOUT_S} s"
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        return {}, lines[-1] if lines else f"the process ended with {done.returncode}"
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found, ""


def encoders() -> tuple[list[dict[str, Any]], str]:
    """Cards with `sound`: whether the weight file is the one on the card; None where they are built.

    And what is wrong with cards that cannot be read.
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
    """Transfer syntaxes that ultrasound comes in, and what reads each."""
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

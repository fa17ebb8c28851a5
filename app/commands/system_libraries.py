"""Shared libraries and fonts that the window needs from the system, and the packages that contain them.

Only the standard library of Python 3.8 is used, because `installer/check_system.py` imports this module
before anything is installed. The list has the NEEDED entries of PySide6-Essentials 6.8 to 6.11 that are not
in its wheel.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import sys
from pathlib import Path
from typing import NamedTuple

OFFSCREEN = "offscreen"
XCB = "xcb"
WAYLAND = "wayland"

INSTALLERS = {
    "apt-get": "apt-get install -y --no-install-recommends",
    "dnf": "dnf install -y",
    "pacman": "pacman -S --needed",
}


class Need(NamedTuple):
    """A requirement: its soname (or "a font"), its purpose, and its packages for apt, dnf and pacman."""

    what: str
    purpose: str
    packages: tuple[str, str, str]


_DRAWING = "drawing the window"
_DESKTOP = "the window on an X11 desktop"

_NEEDS: dict[str, list[Need]] = {
    OFFSCREEN: [
        Need("libstdc++.so.6", "every compiled part", ("libstdc++6", "libstdc++", "gcc-libs")),
        Need("libEGL.so.1", _DRAWING, ("libegl1", "libglvnd-egl", "libglvnd")),
        Need("libGL.so.1", _DRAWING, ("libgl1", "libglvnd-glx", "libglvnd")),
        Need("libX11.so.6", _DRAWING, ("libx11-6", "libX11", "libx11")),
        Need("libxkbcommon.so.0", "the keyboard", ("libxkbcommon0", "libxkbcommon", "libxkbcommon")),
        Need("libfontconfig.so.1", "finding fonts", ("libfontconfig1", "fontconfig", "fontconfig")),
        Need("libfreetype.so.6", "drawing text", ("libfreetype6", "freetype", "freetype2")),
        Need("libdbus-1.so.3", "communicating with the desktop", ("libdbus-1-3", "dbus-libs", "dbus")),
        Need("libglib-2.0.so.0", "the event loop", ("libglib2.0-0", "glib2", "glib2")),
        Need("libgthread-2.0.so.0", "the event loop", ("libglib2.0-0", "glib2", "glib2")),
        Need("libzstd.so.1", "reading resources", ("libzstd1", "libzstd", "zstd")),
        Need("libz.so.1", "reading resources", ("zlib1g", "zlib", "zlib")),
    ],
    XCB: [
        Need("libX11-xcb.so.1", _DESKTOP, ("libx11-xcb1", "libX11-xcb", "libx11")),
        Need("libxcb-cursor.so.0", _DESKTOP, ("libxcb-cursor0", "xcb-util-cursor", "xcb-util-cursor")),
        Need("libxcb-icccm.so.4", _DESKTOP, ("libxcb-icccm4", "xcb-util-wm", "xcb-util-wm")),
        Need("libxcb-image.so.0", _DESKTOP, ("libxcb-image0", "xcb-util-image", "xcb-util-image")),
        Need("libxcb-keysyms.so.1", _DESKTOP, ("libxcb-keysyms1", "xcb-util-keysyms", "xcb-util-keysyms")),
        Need(
            "libxcb-render-util.so.0",
            _DESKTOP,
            ("libxcb-render-util0", "xcb-util-renderutil", "xcb-util-renderutil"),
        ),
        Need("libxcb-util.so.1", _DESKTOP, ("libxcb-util1", "xcb-util", "xcb-util")),
        *(
            Need(f"libxcb-{part}.so.{version}", _DESKTOP, (f"libxcb-{part}{version}", "libxcb", "libxcb"))
            for part, version in (
                ("glx", 0),
                ("randr", 0),
                ("render", 0),
                ("shape", 0),
                ("shm", 0),
                ("sync", 1),
                ("xfixes", 0),
                ("xkb", 1),
            )
        ),
        Need(
            "libxkbcommon-x11.so.0",
            "the keyboard",
            ("libxkbcommon-x11-0", "libxkbcommon-x11", "libxkbcommon-x11"),
        ),
    ],
    WAYLAND: [
        Need(
            f"libwayland-{part}",
            "the window on a Wayland desktop",
            (f"libwayland-{name}0", f"libwayland-{name}", "wayland"),
        )
        for part, name in (("client.so.0", "client"), ("cursor.so.0", "cursor"))
    ]
    + [
        Need(
            "libwayland-egl.so.1",
            "the window on a Wayland desktop",
            ("libwayland-egl1", "libwayland-egl", "wayland"),
        )
    ],
}

_FONT = Need(
    "a font",
    "text: without one it is drawn as boxes",
    ("fonts-dejavu-core", "dejavu-sans-fonts", "ttf-dejavu"),
)


def window_kind() -> str:
    """Return the window system that Qt would use on Linux: XCB, WAYLAND, or OFFSCREEN without a display."""
    platform = os.environ.get("QT_QPA_PLATFORM", "").split(":")[0].split(";")[0]
    if platform in ("offscreen", "minimal", "vnc", "linuxfb"):
        return OFFSCREEN
    if platform.startswith(WAYLAND) or (os.environ.get("WAYLAND_DISPLAY") and not os.environ.get("DISPLAY")):
        return WAYLAND
    return XCB if os.environ.get("DISPLAY") or platform == XCB else OFFSCREEN


def display_problem() -> str:
    """Return a sentence with a remedy if no window can be shown, else ""."""
    if not sys.platform.startswith("linux") or os.environ.get("QT_QPA_PLATFORM"):
        return ""
    if os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"):
        return ""
    return (
        "There is no display to open a window on (neither DISPLAY nor WAYLAND_DISPLAY is set); "
        "log in to a desktop, use `xvfb-run -a`, or `apical demo --screenshot FILE.png`."
    )


def missing(kind: str) -> list[Need]:
    """Return the missing requirements.

    Parameters
    ----------
    kind : str
        OFFSCREEN, XCB or WAYLAND.

    Returns
    -------
    list of Need
        Empty on other systems than Linux.
    """
    if not sys.platform.startswith("linux"):
        return []
    needs = list(_NEEDS[OFFSCREEN])
    if kind != OFFSCREEN:
        needs += _NEEDS[kind]
    absent = [need for need in needs if not _loads(need.what)]
    return absent if _has_font() else [*absent, _FONT]


def install_command(needs: list[Need]) -> str:
    """Return the command that installs the packages, without sudo; "" for an unknown package manager."""
    for column, (tool, command) in enumerate(INSTALLERS.items()):
        if shutil.which(tool):
            return " ".join([command, *sorted({need.packages[column] for need in needs})])
    return ""


def _loads(soname: str) -> bool:
    try:
        ctypes.CDLL(soname)
    except OSError:
        return False
    return True


def _has_font() -> bool:
    data = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    folders = ("/usr/share/fonts", "/usr/local/share/fonts", f"{data}/fonts", "~/.fonts")
    for folder in folders:
        for _, _, names in os.walk(Path(folder).expanduser()):
            if any(name.lower().endswith((".ttf", ".otf", ".ttc", ".pfb")) for name in names):
                return True
    return False

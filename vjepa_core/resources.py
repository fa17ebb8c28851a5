"""Location of the files that ship with the program."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def resource_path(*parts: str) -> Path:
    """Return the path of a shipped file or folder, which may not exist.

    An installed wheel contains the repository's `resources` folder as `vjepa_core/_bundled`. A checkout has
    no such folder and uses `resources` directly.
    """
    bundled = _PACKAGE / "_bundled"
    root = bundled if bundled.is_dir() else _PACKAGE.parent / "resources"
    return root.joinpath(*parts)

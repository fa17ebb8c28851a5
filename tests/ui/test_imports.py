"""Modules of app.ui contain widgets; everything else belongs to a package that works without Qt."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import app.ui

FOLDER = Path(app.ui.__path__[0])
MODULES = [path for path in sorted(FOLDER.rglob("*.py")) if path.name != "__init__.py"]


def imported_modules(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            names.add(node.module)
    return names


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(FOLDER)))
def test_every_module_of_the_window_needs_qt(path: Path) -> None:
    """It imports Qt, or a module of the window; imports are acyclic, so every chain ends at Qt."""
    assert any(name.startswith(("PySide6", "pyqtgraph", "app.ui")) for name in imported_modules(path))

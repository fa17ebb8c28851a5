"""Files stay short enough to be read as a whole."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MAX_LINES = 400


def test_no_module_has_more_than_400_lines() -> None:
    modules = [*ROOT.glob("app/**/*.py"), *ROOT.glob("vjepa_core/**/*.py")]
    lines = {m.relative_to(ROOT): len(m.read_text(encoding="utf-8").splitlines()) for m in modules}
    assert {module: n for module, n in lines.items() if n > MAX_LINES} == {}

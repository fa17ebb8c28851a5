"""Markdown is wrapped, and the files that it names exist."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
WIDTH = 100
FILES = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("resources/**/*.md")]


def prose(text: str) -> Iterator[str]:
    """Yield the lines that must be wrapped: no code, tables, images or headings."""
    in_code = False
    for line in text.splitlines():
        if line.lstrip().startswith("```"):
            in_code = not in_code
        elif not in_code and not line.lstrip().startswith(("|", "#", "![")):
            yield line


def anchors(text: str) -> set[str]:
    """Return the anchors of a file's headings."""
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_lines_are_wrapped_and_links_exist(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    # A line without a space cannot be broken.
    long = [line for line in prose(text) if len(line) > WIDTH and " " in line.strip()]
    assert long == []
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        linked = file.parent / path if path else file
        assert linked.exists(), target
        if anchor:
            assert anchor in anchors(linked.read_text(encoding="utf-8")), target


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_code_that_is_named_exists(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    for path in re.findall(r"`((?:app|vjepa_core|tests|resources|installer)/[\w./-]+)`", text):
        assert (ROOT / path).exists(), path
    for module in re.findall(r"python -m ((?:app|vjepa_core)[\w.]+)", text):
        assert (ROOT / f"{module.replace('.', '/')}.py").exists(), module

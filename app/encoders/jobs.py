"""What the window has done with encoders in processes of their own: each a command of `apical encoders`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from app.processes.child import Child


def look(file: Path, family: str = "") -> Child:
    """Start finding out what a file holds; nothing is written."""
    return Child(["encoders", "import", str(file), *_family(family), "--look", "--json"])


def bring_in(file: Path, name: str, licence: str = "", family: str = "") -> Child:
    """Start importing a file under a name; progress in bytes, its answer says what came of it.

    Without a licence that of the family is assumed, and the card says so.
    """
    options = [f"--name={name}", *_family(family)]
    if licence:
        options.append(f"--licence={licence}")  # one word: it may begin with a dash
    return Child(["encoders", "import", str(file), *options, "--json"])


def time_all(cine: Path | None) -> Child:
    """Start measuring what each encoder takes here; seconds for the whole cine where one is given."""
    return Child(["encoders", "time", *([] if cine is None else [str(cine)]), "--json"])


def compare_all(names: Sequence[str], project: Path) -> Child:
    """Start measuring encoders on the labels of a project, each against the first."""
    return Child(["encoders", "compare", *names, "--project", str(project), "--json"])


def _family(family: str) -> list[str]:
    return [f"--family={family}"] if family else []

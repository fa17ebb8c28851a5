"""Commands of `apical encoders` that the window runs in child processes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from app.processes.child import Child


def start_inspection(file: Path, family: str = "") -> Child:
    """Start recognising the encoder in a checkpoint, without importing it."""
    return Child(["encoders", "import", str(file), *_family(family), "--look", "--json"])


def start_import(file: Path, name: str, licence: str = "", family: str = "") -> Child:
    """Start importing an encoder; its progress is in bytes.

    Parameters
    ----------
    file : Path
        The checkpoint.
    name : str
        Name of the new encoder.
    licence : str
        If empty, the licence of the family is assumed and marked as assumed on the card.
    family : str
        Family chosen by the user; empty to recognise it.

    Returns
    -------
    Child
    """
    options = [f"--name={name}", *_family(family)]
    if licence:
        options.append(f"--licence={licence}")  # one argument: it may begin with a dash
    return Child(["encoders", "import", str(file), *options, "--json"])


def start_timing(cine: Path | None) -> Child:
    """Start timing every encoder on this machine, for a clip and for the given cine."""
    return Child(["encoders", "time", *([] if cine is None else [str(cine)]), "--json"])


def start_comparison(names: Sequence[str], project: Path, out: Path | None = None) -> Child:
    """Start comparing encoders on the labels of a project.

    Parameters
    ----------
    names : sequence of str
        Encoders, by name or card; each is compared with the first.
    project : Path
        The project file.
    out : Path, optional
        Folder for images of the outlines.

    Returns
    -------
    Child
    """
    folder = [] if out is None else ["--out", str(out)]
    return Child(["encoders", "compare", *names, "--project", str(project), *folder, "--json"])


def _family(family: str) -> list[str]:
    return [f"--family={family}"] if family else []

"""Check this machine and suggest remedies for problems.

The exit code is 0 even if there is advice, and 1 only if Apical cannot work at all.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

from app import paths
from app.commands import system_libraries
from app.commands.report import Report, size
from app.commands.system_probes import decoders, encoders, gpus, packages, probe_qt, probe_torch
from app.domain.errors import ProjectError
from app.formatting import format_count
from vjepa_core.fewshot.cache_folder import CAP_VARIABLE, DEFAULT_CAP, CacheFolder, parse_cap
from vjepa_core.memory import machine_memory

_LOW_DISK = 5 * 2**30
_LOW_MEMORY = 4 * 2**30
_DEFAULT = f"{DEFAULT_CAP // 2**30} GiB"


class Problem(NamedTuple):
    """A problem and its remedy; a fatal one keeps Apical from working at all."""

    what: str
    do: str
    fatal: bool = False


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add `--clear-cache` and `--json`."""
    parser.add_argument(
        "--clear-cache",
        action="store_true",
        help="delete the features of cines and the measurements of the processor; both are computed again",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> Report:
    """Check everything; torch and Qt are imported in separate processes."""
    if args.clear_cache:
        return _clear_cache()
    problems: list[Problem] = []
    with ThreadPoolExecutor() as pool:  # both spend seconds on imports
        torch, qt = pool.submit(probe_torch), pool.submit(probe_qt)
    machine = _machine(problems)
    data: dict[str, Any] = {
        "versions": _versions(problems),
        "machine": machine,
        "torch": _torch(problems, torch.result(), machine["gpus"]),
        "window": _window(problems, qt.result()),
        "encoders": _encoders(problems),
        "decoders": _decoders(problems),
        "folders": _folders(problems),
        "feature_cache": _feature_cache(problems),
    }
    fatal = any(problem.fatal for problem in problems)
    data = {"works": not fatal, "problems": [problem._asdict() for problem in problems], **data}
    return Report(data, _text(data, problems), code=1 if fatal else 0)


def _versions(problems: list[Problem]) -> dict[str, str | None]:
    found = packages()
    for name in (name for name, version in found.items() if version is None):
        problems.append(Problem(f"{name} is not installed.", "Run `make setup`, or install Apical again."))
    return found


def _machine(problems: list[Problem]) -> dict[str, Any]:
    memory = machine_memory()
    if memory is not None and memory < _LOW_MEMORY:
        problems.append(Problem(f"This machine has little memory ({size(memory)}).", "Close other programs."))
    return {
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cores": os.cpu_count(),
        "memory_bytes": memory,
        "gpus": gpus(),
    }


def _torch(problems: list[Problem], found: dict[str, Any], present: list[str]) -> dict[str, Any]:
    if error := found.get("error"):
        problems.append(
            Problem(
                f"torch, torchvision and timm do not import together ({error}).",
                "Install a matching pair from one index: pip install --force-reinstall torch torchvision.",
                fatal=True,
            )
        )
    elif present and not found["cuda_available"]:
        built = found["cuda_build"]
        do = (
            f"Update the NVIDIA driver: this torch needs one for CUDA {built}."
            if built
            else "This torch is a CPU build: install the one from the default index to use the GPU."
        )
        problems.append(Problem("There is an NVIDIA GPU, but torch cannot use it.", do))
    elif found["cuda_available"] and not found["cuda_works"]:
        problems.append(
            Problem("A small computation on the GPU failed.", "Free its memory, or update the NVIDIA driver.")
        )
    if error := found.get("encoder", {}).get("error"):
        what, _, do = error.partition(": ")
        do = f"{do[:1].upper()}{do[1:]}" or "Install Apical again."
        problems.append(Problem(f"The settings of the encoder cannot be determined ({what}).", do))
    return found


def _window(problems: list[Problem], error: str) -> dict[str, Any]:
    absent = system_libraries.missing(system_libraries.window_kind())
    if absent:
        command = system_libraries.install_command(absent) or "Use your package manager."
        problems.append(Problem(f"The system lacks {', '.join(n.what for n in absent)}.", command))
    if error:
        do = "Run `make setup`, or install Apical again; the command line works without the window."
        problems.append(Problem(f"The library of the window does not load ({error}).", do))
    if display := system_libraries.display_problem():
        what, _, do = display.partition("; ")
        problems.append(Problem(f"{what}.", f"{do[:1].upper()}{do[1:]}"))
    return {
        "qt_loads": not error,
        "display": os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"),
        "missing_libraries": [need.what for need in absent],
    }


def _encoders(problems: list[Problem]) -> list[dict[str, Any]]:
    cards, error = encoders()
    if not cards:
        problems.append(Problem(error or "There is no encoder.", "Install Apical again.", fatal=True))
    elif error:
        what, _, do = error.partition(": ")
        problems.append(Problem(f"{what}.", f"{do[:1].upper()}{do[1:]}"))
    for card in cards:
        if card["sound"] is False:
            do = f"Run `apical encoders remove {card['name']}`." if card["own"] else "Install Apical again."
            problems.append(Problem(f"The weights of {card['name']} are missing or damaged.", do))
        elif card["chosen"] and not card["trained"]:
            do = "Check all masks carefully; nothing else is needed."
            problems.append(Problem(f"The encoder {card['name']} has not been trained.", do))
    return cards


def _decoders(problems: list[Problem]) -> list[dict[str, Any]]:
    found = decoders()
    for syntax in found:
        if not syntax["by"]:
            do = "Run `make setup`, or install Apical again."
            problems.append(Problem(f"Cines compressed with {syntax['name']} cannot be read.", do))
    return found


def _folders(problems: list[Problem]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, where in (
        ("projects", paths.projects_dir),
        ("cache", paths.cache_dir),
        ("settings", paths.config_dir),
        ("log", paths.log_file),
    ):
        try:
            found[name] = str(where())
        except ProjectError as error:
            found[name] = None
            what, _, do = str(error).partition(": ")
            problems.append(Problem(f"{what}.", f"{do[:1].upper()}{do[1:]}"))
    cache, projects = found["cache"], found["projects"]
    found["cache_bytes"] = _size_of(cache) if cache else None
    free = shutil.disk_usage(projects).free if projects else None
    found["disk_free_bytes"] = free
    if free is not None and free < _LOW_DISK:
        do = "Free some space; `apical doctor --clear-cache` empties the feature cache, without loss of data."
        problems.append(Problem(f"The disk with the projects has {size(free)} left.", do))
    return found


def _feature_cache(problems: list[Problem]) -> dict[str, Any] | None:
    """Return the size and the limits; None if there is no folder, which `_folders` reports."""
    stated = os.environ.get(CAP_VARIABLE, "").strip()
    is_invalid = bool(stated) and parse_cap(stated) is None
    if is_invalid:
        do = f"Set it to a number of GiB, or to 0 for no cache; {_DEFAULT} is used now."
        problems.append(Problem(f"{CAP_VARIABLE} is {stated[:20]}, which is not a valid size.", do))
    try:
        cache = CacheFolder(paths.features_dir(), DEFAULT_CAP if is_invalid else None)
    except ProjectError:
        return None
    entries = cache.entries()
    stored = sum(entry.size for entry in entries)
    return {
        "bytes": stored,
        "entries": len(entries),
        "cap_bytes": cache.max_bytes,
        "limit_bytes": cache.limit(stored),
    }


def _clear_cache() -> Report:
    """Delete the features of all cines and the measurements of the processor."""
    removed = CacheFolder(paths.features_dir()).clear()
    paths.speed_file().unlink(missing_ok=True)
    text = "The feature cache is already empty."
    if removed.files:
        text = f"Freed {size(removed.size)}: {_count(removed.files)} of the feature cache. "
        text += "Cines are encoded again when they are next opened."
    if removed.left:
        text = text if removed.files else "Nothing was freed."
        text += f" {_count(removed.left)} could not be deleted: close Apical's windows and try again."
    return Report({"freed_bytes": removed.size, "entries": removed.files, "left": removed.left}, text)


def _count(entries: int) -> str:
    return f"{entries} {'entry' if entries == 1 else 'entries'}"


def _cache_text(cache: dict[str, Any] | None) -> str:
    if cache is None:
        return "no folder"
    used = f"{size(cache['bytes'])} in {_count(cache['entries'])}"
    if not cache["cap_bytes"]:
        return f"off ({CAP_VARIABLE} is 0), {used} from earlier"
    if cache["limit_bytes"] < cache["cap_bytes"]:
        return f"{used}, at most {size(cache['limit_bytes'])}: more would fill the disk"
    return f"{used}, at most {size(cache['cap_bytes'])}"


def _speed_text(speed: dict[str, Any]) -> str:
    if "error" in speed:
        return "unknown"
    where = "on the GPU" if speed["device"] == "cuda" else f"with {format_count(speed['threads'], 'thread')}"
    measured = ", measured earlier" if speed.get("origin") == "kept" else ""
    return f"in {speed['dtype']} {where}{measured}. {speed['reason']}"


def _size_of(folder: str) -> int:
    total = 0
    for here, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.stat(os.path.join(here, name)).st_size  # noqa: PTH116, PTH118 - a string walk
            except OSError:  # deleted by another process
                continue
    return total


def _text(data: dict[str, Any], problems: list[Problem]) -> str:
    machine, torch, folders = data["machine"], data["torch"], data["folders"]
    memory = size(machine["memory_bytes"]) if machine["memory_bytes"] else "unknown"
    graphics = "; ".join(machine["gpus"]) or "none found"
    if torch.get("cuda_available"):
        graphics += f" (torch uses {torch['cuda_device']}, CUDA {torch['cuda_build']})"
    cards = [
        f"{card['name']} ({card['family']}, {card['licence']}{', in use' if card['chosen'] else ''})"
        for card in data["encoders"]
    ]
    hashes = [f"{card['name']} {card['checksum']}" for card in data["encoders"]]
    unreadable = [syntax["name"] for syntax in data["decoders"] if not syntax["by"]]
    free = folders["disk_free_bytes"]
    lines = [
        ("machine", f"{machine['system']}, {machine['cores']} cores, {memory} of memory"),
        ("GPU", graphics),
        ("Python", f"{platform.python_version()} ({sys.executable})"),
        ("packages", ", ".join(f"{name} {version}" for name, version in data["versions"].items() if version)),
        ("torch pair", "imports" if "error" not in torch else "does not import"),
        ("encoder runs", _speed_text(torch.get("encoder", {"error": ""}))),
        ("window", "loads" if data["window"]["qt_loads"] else "does not load"),
        ("display", data["window"]["display"] or "none"),
        ("encoders", "; ".join(cards) or "none"),
        *(("SHA-256", line) for line in hashes),
        (
            "decoders",
            f"all but {', '.join(unreadable)}" if unreadable else "all transfer syntaxes of ultrasound",
        ),
        ("projects", folders["projects"] or "no folder"),
        ("cache", f"{folders['cache']}, {size(folders['cache_bytes'])}" if folders["cache"] else "no folder"),
        ("features", _cache_text(data["feature_cache"])),
        ("settings", folders["settings"] or "no folder"),
        ("log", folders["log"] or "no folder"),
        ("disk free", size(free) if free is not None else "unknown"),
    ]
    rows = [f"{name:<12} {value}" for name, value in lines]
    if not problems:
        return "\n".join([*rows, "", "No problems were found."])
    advice = [f"{'!!' if problem.fatal else '- '} {problem.what}\n   {problem.do}" for problem in problems]
    return "\n".join([*rows, "", "Problems and remedies:", *advice])

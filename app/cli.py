"""The command line: finds the command, runs it, prints what it hands back, turns errors into exit codes.

0 done, 1 the program's fault, 2 bad usage or bad input, 130 stopped with Ctrl+C.
"""

from __future__ import annotations

import argparse
import contextlib
import difflib
import importlib
import json
import os
import sys
import warnings
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn, TextIO

from app.commands.report import DONE, STOPPED, Report, in_words, plain
from app.domain.errors import ApicalError
from app.encoders.speed_file import speed_file
from app.log import logs

# One module each in app.commands, imported when asked for: `apical info` loads neither torch nor Qt.
COMMANDS: dict[str, str] = {
    "demo": "open the window on the demo cine, with starter labels",
    "info": "what a cine is: frames, timing, calibration, region",
    "segment": "fit on a few labelled frames, write masks for every frame",
    "encoders": "which encoders there are, and whether one is sound",
    "pretrain": "train an encoder on cines without labels",
    "doctor": "what works on this machine, and what to do about the rest",
    "bench": "measure against peers, in one run",
}


class _UsageError(ApicalError):
    """Bad usage, in one line."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise _UsageError(f"{message[:1].upper()}{message[1:]}; see `{self.prog} --help`.")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line.

    Parameters
    ----------
    argv : sequence of str, optional
        Default: those of the process.

    Returns
    -------
    int
        Exit code.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a terminal that lacks a letter shows another one instead
            stream.reconfigure(errors="replace")
    try:
        with logs(), speed_file(), warnings.catch_warnings():
            if not sys.warnoptions:
                warnings.simplefilter("ignore")  # of libraries, whose words may quote the file
            return _run(arguments)
    except BrokenPipeError:
        # The reader has gone (`apical info ... | head`); the flush at exit must not say so again.
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE


def _run(arguments: list[str]) -> int:
    stdout = sys.stdout
    try:
        module, parsed = _parse(arguments)
        # Whatever a library says on stdout must not get into the JSON.
        with contextlib.redirect_stdout(sys.stderr):
            report = module.run(parsed)
        _print(report, as_json=getattr(parsed, "json", False) is True, stdout=stdout)
        return report.code
    except SystemExit as done:  # argparse, after --help or --version
        return done.code if isinstance(done.code, int) else DONE
    except KeyboardInterrupt:
        return _say("Stopped.", STOPPED)
    except BrokenPipeError:
        raise
    except Exception as error:
        words, code = in_words(error)
        return _say(words if code == STOPPED else f"apical: {words}", code)


def _parse(arguments: list[str]) -> tuple[ModuleType, argparse.Namespace]:
    if arguments and arguments[0] in COMMANDS:
        name, rest = arguments[0], arguments[1:]
        module = importlib.import_module(f"app.commands.{name}")
        parser = _Parser(prog=f"apical {name}", description=f"{module.__doc__ or ''}".split("\n\n")[0])
        module.add_arguments(parser)
        return module, parser.parse_args(rest)
    from app.commands import window

    listing = "\n".join(f"  {name:<10} {what}" for name, what in COMMANDS.items())
    parser = _Parser(
        prog="apical",
        usage="apical [PATH...] | apical COMMAND ...",
        description="Outline the heart on two frames of an echo cine; the rest is drawn. Research use only.",
        epilog=f"commands (see `apical COMMAND --help`):\n{listing}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"apical {_version()}")
    window.add_arguments(parser)
    parsed = parser.parse_args(arguments)
    for path in parsed.paths:
        if not os.path.lexists(path):
            raise _UsageError(_unknown(str(path)))
    return window, parsed


def _unknown(word: str) -> str:
    close = difflib.get_close_matches(word.lower(), COMMANDS, n=1)
    if close:
        return f"There is no command and no file {word}; did you mean `apical {close[0]}`?"
    looks_like_path = Path(word).suffix or any(mark in word for mark in "/\\")
    if looks_like_path:
        return f"{word} does not exist; check the path."
    return f"{word} is neither a command nor a file; see `apical --help`."


def _version() -> str:
    try:
        return version("apical")
    except PackageNotFoundError:
        return "(not installed)"


def _print(report: Report, *, as_json: bool, stdout: TextIO) -> None:
    text: Any = json.dumps(plain(report.data), indent=2, allow_nan=False) if as_json else report.text
    if text:
        stdout.write(f"{text}\n")
        stdout.flush()


def _say(line: str, code: int) -> int:
    sys.stderr.write(" ".join(line.split()) + "\n")
    return code


if __name__ == "__main__":
    sys.exit(main())

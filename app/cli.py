"""The command line: parse the arguments, run a command, print its report, turn errors into exit codes.

Exit codes: 0 success, 1 internal error, 2 invalid usage or input, 130 stopped with Ctrl+C.
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

from app.commands.report import DONE, STOPPED, Report, describe_error, to_json_types
from app.domain.errors import ApicalError
from app.encoders.speed_file import speed_file
from app.log import warnings_to_stderr
from app.processes.child import ERROR_PREFIX

# Modules of app.commands, imported only when needed: `apical info` loads neither torch nor Qt.
COMMANDS: dict[str, str] = {
    "demo": "open the window on the demo cine, with starter labels",
    "info": "print frames, timing, calibration and region of a cine",
    "segment": "fit on a few labelled frames, write masks for every frame",
    "measure": "measure volumes, ejection fraction and strain of the left heart",
    "encoders": "list, check, import, compare and choose encoders",
    "pretrain": "train an encoder on cines without labels",
    "doctor": "check this machine and suggest remedies",
    "bench": "run a benchmark",
}


class _UsageError(ApicalError):
    """Invalid use of the command line."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise _UsageError(f"{message[:1].upper()}{message[1:]}; see `{self.prog} --help`.")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line.

    Parameters
    ----------
    argv : sequence of str, optional
        Default: the arguments of the process.

    Returns
    -------
    int
        Exit code.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # replace characters that the terminal cannot show
            stream.reconfigure(errors="replace")
    try:
        with warnings_to_stderr(), speed_file(), warnings.catch_warnings():
            if not sys.warnoptions:
                warnings.simplefilter("ignore")  # warnings of libraries may contain file names
            return _run(arguments)
    except BrokenPipeError:
        # The reading program has ended (`apical info ... | head`): avoid a second error at exit.
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE


def _run(arguments: list[str]) -> int:
    stdout = sys.stdout
    try:
        module, parsed = _parse(arguments)
        # Keep the output of libraries out of the JSON.
        with contextlib.redirect_stdout(sys.stderr):
            report = module.run(parsed)
        _print(report, as_json=getattr(parsed, "json", False) is True, stdout=stdout)
        return report.code
    except SystemExit as done:  # argparse, after --help or --version
        return done.code if isinstance(done.code, int) else DONE
    except KeyboardInterrupt:
        return _print_error("Stopped.", STOPPED)
    except BrokenPipeError:
        raise
    except Exception as error:
        message, code = describe_error(error)
        return _print_error(message if code == STOPPED else f"{ERROR_PREFIX}{message}", code)


def _parse(arguments: list[str]) -> tuple[ModuleType, argparse.Namespace]:
    if arguments and arguments[0] in COMMANDS:
        name, rest = arguments[0], arguments[1:]
        module = importlib.import_module(f"app.commands.{name}")
        parser = _Parser(prog=f"apical {name}", description=f"{module.__doc__ or ''}".split("\n\n")[0])
        module.add_arguments(parser)
        return module, parser.parse_args(rest)
    from app.commands import window

    listing = "\n".join(f"  {name:<10} {help_text}" for name, help_text in COMMANDS.items())
    parser = _Parser(
        prog="apical",
        usage="apical [PATH...] | apical COMMAND ...",
        description="Outline the heart on two frames of an echo cine; Apical segments the others. "
        "Research use only.",
        epilog=f"commands (see `apical COMMAND --help`):\n{listing}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"apical {_version()}")
    window.add_arguments(parser)
    parsed = parser.parse_args(arguments)
    for path in parsed.paths:
        if not os.path.lexists(path):
            raise _UsageError(_unknown_argument(str(path)))
    return window, parsed


def _unknown_argument(argument: str) -> str:
    close = difflib.get_close_matches(argument.lower(), COMMANDS, n=1)
    if close:
        return f"There is no command or file {argument}; did you mean `apical {close[0]}`?"
    if Path(argument).suffix or any(separator in argument for separator in "/\\"):
        return f"{argument} does not exist; check the path."
    return f"{argument} is neither a command nor a file; see `apical --help`."


def _version() -> str:
    try:
        return version("apical")
    except PackageNotFoundError:
        return "(not installed)"


def _print(report: Report, *, as_json: bool, stdout: TextIO) -> None:
    text: Any = json.dumps(to_json_types(report.data), indent=2, allow_nan=False) if as_json else report.text
    if text:
        stdout.write(f"{text}\n")
        stdout.flush()


def _print_error(line: str, code: int) -> int:
    sys.stderr.write(" ".join(line.split()) + "\n")
    return code


if __name__ == "__main__":
    sys.exit(main())

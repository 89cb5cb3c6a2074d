"""From words to a command. The module of a command is loaded when it is asked for, not before."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from keyword import iskeyword
from typing import Any, NoReturn

from penstock import __version__

from .exits import INTERRUPTED, USAGE, Misuse
from .streams import complain, show

COMMANDS = {
    "run": "run a flow",
    "resume": "let a run go on",
    "runs": "list the runs that are kept",
    "show": "show a run",
    "debug": "call a step again as it was called, in a debugger",
    "watch": "follow a run that another process drives",
    "logs": "show what the steps of a run have said",
    "report": "write the report of a run, a page",
    "approve": "answer a gate",
    "cancel": "cancel a run",
    "graph": "draw a flow",
    "list": "find flows, without importing anything",
    "prune": "delete old runs",
    "export": "write a run into a file",
    "import": "add the run of a file",
    "doctor": "look whether the store is well",
}
"""Each has a module of its name in `commands`, with `configure(parser)` and `execute(arguments)`."""

EPILOG = """\
A TARGET is file.py, file.py:name, package.module or package.module:name.
Help on a command: penstock COMMAND --help

exit codes: 0 succeeded, 1 failed, 2 usage, 3 graph invalid, 4 store, 5 waiting,
            130 interrupted, 143 terminated

Ctrl-C ends a run in order, a second time at once; SIGTERM and SIGHUP do the same.
An output that is closed or full does not end it; where the disk was full, the exit code is 1 instead of 0.
"""


class Parser(argparse.ArgumentParser):
    """A parser whose complaints are two lines, and whose help has colours where there is rich."""

    def error(self, message: str) -> NoReturn:
        raise Misuse(f"{message}\nsee: {self.prog} --help")

    def format_help(self) -> str:
        self.formatter_class = _formatter()
        return super().format_help()

    def print_help(self, file: object = None) -> None:
        show(self.format_help())


def _formatter() -> type[argparse.HelpFormatter]:
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" or not sys.stdout.isatty()
    if plain:
        return argparse.RawDescriptionHelpFormatter
    try:
        from rich_argparse import RawDescriptionRichHelpFormatter
    except ImportError:
        return argparse.RawDescriptionHelpFormatter
    return RawDescriptionRichHelpFormatter


def command(words: Sequence[str]) -> int:
    """Does what the words of a command line say; gives the exit code."""
    try:
        return _dispatch(words)
    except Misuse as error:
        from penstock.core.visible import one_line, visible

        for number, line in enumerate(map(one_line, str(error).splitlines())):
            complain(line) if not number else show(f"  {line}\n", sys.stderr)
        show(visible(error.trace), sys.stderr)
        return error.code
    except KeyboardInterrupt:
        complain("interrupted")
        return INTERRUPTED
    except SystemExit as error:  # argparse, after --help
        return error.code if isinstance(error.code, int) else 0


def module_of(name: str) -> Any:
    """The module of a command."""
    return import_module(f"{__package__}.commands.{name}{'_' if iskeyword(name) else ''}")


def _dispatch(words: Sequence[str]) -> int:
    if not words:
        _top().print_help()
        return USAGE
    name, *rest = words
    if name.startswith("-"):
        _top().parse_args(words)
        raise Misuse(f"no command among {' '.join(words)!r}\nsee: penstock --help")
    if name not in COMMANDS:
        from difflib import get_close_matches

        near = get_close_matches(name, COMMANDS, n=1)
        mend = f"did you mean {near[0]!r}?" if near else f"one of {', '.join(COMMANDS)}"
        raise Misuse(f"there is no command {name!r}; {mend}\nsee: penstock --help")
    module = module_of(name)
    parser = Parser(prog=f"penstock {name}", description=module.__doc__, allow_abbrev=False)
    module.configure(parser)
    code: int = module.execute(parser.parse_intermixed_args(rest))
    return code


def _top() -> Parser:
    width = max(map(len, COMMANDS)) + 2
    commands = "".join(f"  {name:{width}}{text}\n" for name, text in COMMANDS.items())
    parser = Parser(
        prog="penstock",
        usage="penstock COMMAND ...",
        description="An embedded pipeline orchestrator: runs graphs of steps in this very process.",
        epilog=f"commands:\n{commands}\n{EPILOG}",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action=_Version, help="show the version and end")
    return parser


class _Version(argparse.Action):
    def __init__(self, option_strings: Sequence[str], dest: str, help: str | None = None) -> None:
        super().__init__(option_strings, dest, nargs=0, help=help)

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        show(f"penstock {__version__}\n")
        parser.exit()

"""Run a flow, show how it goes, and say how it went."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any, TextIO

from penstock import wiring
from penstock.cli import exits, given, signals
from penstock.cli.exits import Misuse
from penstock.cli.streams import complain, kept_clean, show
from penstock.cli.target import HELP, load, shape
from penstock.core.errors import InputError, PenstockError
from penstock.core.model import Input, RunOptions
from penstock.core.result import RunResult


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("target", metavar="TARGET", help=HELP)
    parser.add_argument(
        "--input",
        "-i",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="an input: text where it is annotated str, otherwise JSON; may be repeated",
    )
    parser.add_argument("--input-file", metavar="FILE", help="inputs from JSON or TOML; --input wins over it")
    parser.add_argument(
        "--target",
        "-t",
        action="append",
        dest="targets",
        metavar="STEP",
        help="run only this step and what it needs; may be repeated",
    )
    parser.add_argument(
        "--max-concurrency", type=_positive, metavar="N", help="attempts that run at the same time, at most"
    )
    parser.add_argument("--json", action="store_true", help="write one JSON object, and nothing else")


def execute(arguments: argparse.Namespace) -> int:
    """Runs; gives the exit code."""
    with signals.orderly() as asked:
        try:
            with kept_clean() if arguments.json else nullcontext(sys.stdout) as stdout:
                result = _run(arguments, stdout)
        except KeyboardInterrupt:
            complain("terminated" if asked.terminated else "interrupted")
            return exits.TERMINATED if asked.terminated else exits.INTERRUPTED
        return exits.of_status(result.status, terminated=asked.terminated)


def _run(arguments: argparse.Namespace, stdout: TextIO) -> RunResult:
    target = load(arguments.target)
    graph, known = shape(target)
    inputs = given.inputs(known, arguments.input, arguments.input_file)
    progress = wiring.progress(graph, sys.stderr)
    options = RunOptions(max_concurrency=arguments.max_concurrency, observers=(progress.observer,))
    try:
        with progress:
            result = target.object.run_with(inputs, targets=arguments.targets, options=options)
    except PenstockError as error:
        raise _refused(error, known, inputs) from None
    if arguments.json:
        from penstock.cli.as_json import as_json

        show(as_json(result, progress.tally), stdout)
    else:
        show(progress.summary(result, stdout), stdout)
    return result


def _refused(error: PenstockError, known: list[Input], inputs: Mapping[str, Any]) -> Misuse:
    code = exits.of_error(error)
    lines = str(error).splitlines()
    if isinstance(error, InputError) and "needs the input" in str(error):
        lines = [*lines[:2], f"give it with: {given.missing(known, inputs)}"]
    return Misuse("\n".join(lines), code)


def _positive(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"takes a number of 1 or more, not {text!r}")
    return int(text)

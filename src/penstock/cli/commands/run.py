"""Run a flow, show how it goes, and say how it went."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any, TextIO, get_args

from penstock import wiring
from penstock.cli import context, exits, given, signals
from penstock.cli.exits import Misuse
from penstock.cli.streams import complain, kept_clean, show
from penstock.cli.target import HELP, load, of_theirs, shape
from penstock.core.errors import InputError, PenstockError, RunCancelled
from penstock.core.events import RunStarted
from penstock.core.model import OnFailure
from penstock.core.ports import RUNNERS
from penstock.core.result import RunResult

_CONFIGURED = ("runner", "on_failure", "max_concurrency")  # what the configuration may say instead


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
    parser.add_argument("--context", metavar="MODULE:FACTORY", help=context.HELP)
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
    parser.add_argument(
        "--on-failure", choices=get_args(OnFailure), help="what becomes of the rest after a failure"
    )
    parser.add_argument("--runner", choices=RUNNERS, help="where the steps run that name no runner")
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
    try:
        config = wiring.configured()
    except InputError as error:
        raise Misuse(str(error)) from None
    target = load(arguments.target)
    graph, known = shape(target)
    inputs = given.inputs(known, arguments.input, arguments.input_file)
    if arguments.context is not None:
        inputs = context.context(arguments.context, target, known, inputs)
    progress = wiring.progress(graph, sys.stderr)
    said = {word: vars(arguments)[word] for word in _CONFIGURED if vars(arguments)[word] is not None}
    policy = _Policy()
    observers = (progress.observer,) if arguments.on_failure is None else (progress.observer, policy)
    how = config.how(**said, observers=observers)
    try:
        with progress:
            result = target.object.run_with(inputs, targets=arguments.targets, **how)
    except RunCancelled:  # twice, and so at once
        raise KeyboardInterrupt from None
    except PenstockError as error:
        configured = {word: getattr(config, word) for word in _CONFIGURED if word not in said}
        raise _refused(error, given.missing(known, inputs), configured) from None
    except Exception as error:
        theirs = of_theirs(target, error)
        if theirs is None:
            raise
        raise theirs from None
    if policy.on_failure not in (None, arguments.on_failure):
        text = f"--on-failure {arguments.on_failure} has no effect: {target.name} says itself what follows"
        result.warnings += (text,)
    if arguments.json:
        from penstock.cli.as_json import as_json

        show(as_json(result, progress.tally), stdout)
    else:
        show(progress.summary(result, stdout), stdout)
    return result


class _Policy:
    """Notes what really becomes of the rest after a failure: some targets have a say of their own."""

    on_failure: str | None = None

    def __call__(self, event: Any) -> None:
        if isinstance(event, RunStarted):
            self.on_failure = event.options["on_failure"]


def _refused(error: PenstockError, missing: str, configured: Mapping[str, Any]) -> Misuse:
    code = exits.of_error(error)
    lines = str(error).splitlines()
    if isinstance(error, InputError) and "needs the input" in str(error):
        lines = [*lines[:2], f"give it with: {missing}"]
    for word, value in configured.items():
        if value is not None and f"{word}={value!r}" in str(error):
            lines.append(f"that {word} is configured; --{word.replace('_', '-')} wins over it")
    return Misuse("\n".join(lines), code)


def _positive(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"takes a number of 1 or more, not {text!r}")
    return int(text)

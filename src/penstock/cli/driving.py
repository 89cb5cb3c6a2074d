"""A run from its first step to its last word: what `run` and `resume` have in common."""

from __future__ import annotations

import argparse
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, NamedTuple, TextIO

from penstock import wiring
from penstock.cli import context, exits, given, places, signals
from penstock.cli.exits import Misuse
from penstock.cli.streams import complain, kept_clean, lose, show
from penstock.cli.target import Target, of_theirs
from penstock.core.errors import GraphChanged, InputError, NotStorable, PenstockError, RunCancelled
from penstock.core.events import RunResumed, RunStarted
from penstock.core.graph import Graph
from penstock.core.model import Input, RunOptions, RunStatus
from penstock.core.ports import RUNNERS, check_runner
from penstock.core.result import RunResult

if TYPE_CHECKING:
    from penstock.core.history import StoredRun

_NAMED = tuple(name for name in RUNNERS if name != "executor")  # an executor is lent, by a program

CONFIGURED = ("runner", "on_failure", "max_concurrency")
"""What the configuration may say instead."""

_CHANGED = (
    "here: --on-change keep, --on-change rerun, or --rerun STEP for single ones",
)  # of the options of Python that the text names


class Keeping(NamedTuple):
    """Where a run is kept.

    Attributes:
        place: The store.
        run_id: Of the run; None for a new one.
        hint: What is stored of where its code is.
        again: The same as another command must be given it; None where the stored one will do.
        stored: The run as it was, if it goes on.
    """

    place: places.Place
    run_id: str | None
    hint: str
    again: str | None
    stored: StoredRun | None = None

    def resume_line(self, run_id: str) -> str:
        """The command that lets it go on."""
        return places.resume_line(self.place, run_id, self.again)


class Looks(NamedTuple):
    """How closely a run is looked at.

    Attributes:
        trace: Traces of it are sent.
        profile: What its attempts use is measured.
        report: Where its report is written when it has ended; None for nowhere.
    """

    trace: bool = False
    profile: bool = False
    report: str | None = None


class Drive(NamedTuple):
    """What is run, and how.

    Attributes:
        target: It.
        graph: Its graph.
        known: Its inputs.
        inputs: Those that were given.
        targets: What it is restricted to, else None.
        said: Of CONFIGURED what the command line says.
        how: Makes `runner` and `options` of the run call, with these observers.
        configured: Of CONFIGURED what the configuration says.
        keeping: Where it is kept; None for nowhere.
        looks: How closely it is looked at.
    """

    target: Target
    graph: Graph
    known: Sequence[Input]
    inputs: Mapping[str, Any]
    targets: Sequence[str] | None
    said: Mapping[str, Any]
    how: Callable[..., dict[str, Any]]
    configured: Mapping[str, Any]
    keeping: Keeping | None
    looks: Looks


def add_inputs(parser: argparse.ArgumentParser) -> None:
    """Adds the options that give inputs."""
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


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds what both commands take."""
    parser.add_argument(
        "--max-concurrency", type=positive, metavar="N", help="attempts that run at the same time, at most"
    )
    parser.add_argument(
        "--runner",
        type=runner,
        metavar="NAME",
        help=f"where the steps run that name no runner: {', '.join(_NAMED)}, or dask://host:port",
    )
    parser.add_argument(
        "--trace",
        action="store_true",
        help="send traces to where the variables OTEL_* say (needs penstock[otel])",
    )
    parser.add_argument(
        "--profile", action="store_true", help="measure processor time, and memory of steps in processes"
    )
    parser.add_argument("--report", metavar="FILE", help="write the run report when it has ended: a page")
    parser.add_argument("--json", action="store_true", help="write one JSON object, and nothing else")


def looks(arguments: argparse.Namespace) -> Looks:
    """How closely the run is looked at, of what `add_options` has added."""
    return Looks(arguments.trace, arguments.profile, arguments.report)


def conduct(json: bool, prepare: Callable[[], Drive]) -> int:
    """Prepares a run and drives it, in order whatever signals come; gives the exit code.

    Args:
        json: Write one JSON object, and nothing else.
        prepare: Finds out what is run.
    """
    with signals.orderly() as asked:
        try:
            with kept_clean() if json else nullcontext(sys.stdout) as stdout:
                result = _driven(prepare(), json, stdout)
        except KeyboardInterrupt:
            complain("terminated" if asked.terminated else "interrupted")
            return exits.TERMINATED if asked.terminated else exits.INTERRUPTED
        return exits.of_status(result.status, terminated=asked.terminated)


def _driven(drive: Drive, json: bool, stdout: TextIO) -> RunResult:
    target, keeping = drive.target, drive.keeping
    store = None if keeping is None else keeping.place.word
    progress = wiring.followed(drive.graph, sys.stderr, store=store, here=True)
    watch = _Watch(progress.tally, keeping)
    try:
        with _traced(drive.looks.trace) as more, progress:
            asked = {"profile": True} if drive.looks.profile else {}
            how = drive.how(observers=(watch, progress.observer, *more), **asked)
            if keeping is not None:
                how |= {"store": keeping.place.word, "run_id": keeping.run_id, "target": keeping.hint}
            result = target.object.run_with(drive.inputs, targets=drive.targets, **how)
    except (KeyboardInterrupt, RunCancelled):  # the latter twice, and so at once
        _say_how_to_go_on(watch.run_id, keeping)
        raise KeyboardInterrupt from None
    except PenstockError as error:
        raise _refused(error, drive, watch.run_id) from None
    except Exception as error:
        theirs = of_theirs(target, error)
        if theirs is None:
            raise
        raise theirs from None
    said = drive.said.get("on_failure")
    if said is not None and watch.on_failure not in (None, said):
        text = f"--on-failure {said} has no effect: {target.name} says itself what follows"
        result.warnings += (text,)
    if json:
        from penstock.cli.as_json import as_json

        show(as_json(result, progress.tally), stdout)
    else:
        show(progress.summary(result, stdout), stdout)
    if drive.looks.report is not None:
        _report(result, keeping, drive.looks.report)
    _say_what_is_next(result, keeping)
    return result


def _report(result: RunResult, keeping: Keeping | None, path: str) -> None:
    """Writes the run report. That it cannot be written is told, and does not make the run another one; of a
    run that has succeeded the exit code says it."""
    from penstock.cli.commands.report import write

    try:
        if keeping is None:
            result.report(path)
            return
        with places.history(keeping.place) as history:
            run = history.run(result.run_id)
            write(path, wiring.report(run, where=history.where, option=keeping.place.option))
    except (OSError, Misuse) as error:
        lose(wiring.shown(f"there is no report: {error}"))


@contextmanager
def _traced(asked: bool) -> Iterator[list[Any]]:
    """The observers that make traces, if they are asked for."""
    if not asked:
        yield []
        return
    with wiring.exporting(complain) as observer:
        yield [observer]


def _say_what_is_next(result: RunResult, keeping: Keeping | None) -> None:
    """How a run that has not succeeded goes on."""
    if keeping is None or result.status is RunStatus.SUCCEEDED:
        return
    if any(one.failure is not None and one.failure.kind == "not_storable" for one in result.failed()):
        complain("what cannot be stored can still be handed on, in a run that is not kept: --no-store")
    if result.status is RunStatus.WAITING:
        with places.history(keeping.place) as history:
            for gate in history.run(result.run_id).waiting:
                line = places.approve_line(keeping.place, result.run_id, gate.path, gate.takes)
                asks = f" asks: {gate.prompt}" if gate.prompt else " waits for an answer"
                complain(wiring.shown(f"gate {gate.path}{asks}"))
                complain(wiring.shown(f"to answer: {line}{'' if keeping.again else ' --resume'}"))
    _say_how_to_go_on(result.run_id, keeping)


def _say_how_to_go_on(run_id: str | None, keeping: Keeping | None) -> None:
    if keeping is not None and run_id is not None:
        complain(wiring.shown(f"to go on: {keeping.resume_line(run_id)}"))


class _Watch:
    """Notes which run it is, and what really becomes of the rest after a failure: some targets have a say of
    their own. When a run goes on, it counts what was done before."""

    def __init__(self, tally: Any, keeping: Keeping | None) -> None:
        self.run_id: str | None = None
        self.on_failure: str | None = None
        self._tally = tally
        self._stored = None if keeping is None else keeping.stored

    def __call__(self, event: Any) -> None:
        if isinstance(event, RunStarted):
            self.run_id = event.run_id
            self.on_failure = event.options["on_failure"]
        elif isinstance(event, RunResumed) and self._stored is not None:
            from penstock.core.history import counting

            for before in counting(self._stored.story, event):
                try:
                    self._tally(before)
                except KeyError:  # of a step that is not there any more
                    continue


def takes_store(target: Target) -> bool:
    """Whether what is run can be kept."""
    try:
        parameters = inspect.signature(target.object.run_with).parameters.values()
    except (TypeError, ValueError):
        return True
    return any(one.name == "store" or one.kind is one.VAR_KEYWORD for one in parameters)


def _refused(error: PenstockError, drive: Drive, run_id: str | None) -> Misuse:
    code = exits.of_error(error)
    lines = str(error).splitlines()
    if isinstance(error, InputError) and "needs the input" in str(error):
        lines = [*lines[:2], f"give it with: {given.missing(drive.known, drive.inputs)}"]
    if isinstance(error, GraphChanged):
        lines += _CHANGED
    for word, value in drive.configured.items():
        if value is not None and f"{word}={value!r}" in str(error):
            lines.append(f"that {word} is configured; --{word.replace('_', '-')} wins over it")
    keeping = drive.keeping
    if keeping is not None and isinstance(error, InputError) and isinstance(error.__cause__, NotStorable):
        lines.append("in a run that is not kept it can be given all the same: --no-store")
    if keeping is not None and code == exits.STORE:
        if run_id is not None:
            lines.append(f"to go on: {keeping.resume_line(run_id)}")
        elif keeping.stored is None:
            lines.append("keep the run elsewhere with --store FILE, or not at all with --no-store")
    return Misuse("\n".join(lines), code)


def options_of(stored: StoredRun, **said: Any) -> RunOptions:
    """How a run goes on: as it was to go, but for what is said now."""
    known = {name: value for name, value in stored.options.items() if name in RunOptions._fields}
    return RunOptions(**{**known, "tags": stored.tags, **said})


def runner(text: str) -> str:
    """The name of a runner, or the address of an engine, for argparse."""
    try:
        check_runner(text)
    except InputError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


def positive(text: str) -> int:
    """A number of 1 or more, for argparse."""
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"takes a number of 1 or more, not {text!r}")
    return int(text)

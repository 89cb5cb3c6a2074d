"""Call a step of a run again as it was called, under pdb. Nothing of it is written anywhere."""

from __future__ import annotations

import argparse
import inspect
import reprlib
import sys
from bdb import BdbQuit
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from penstock import wiring
from penstock.cli import context, driving, exits, given, hints, places
from penstock.cli.exits import Misuse
from penstock.cli.streams import complain, show
from penstock.cli.target import HELP, load, shape, users_trace
from penstock.core import failures
from penstock.core.errors import InputError, PenstockError
from penstock.core.reenact import choose, reenactment
from penstock.core.visible import one_line, visible

if TYPE_CHECKING:
    from penstock.core.graph import Graph
    from penstock.core.history import StoredRun
    from penstock.core.reenact import Chosen, Reenactment

_WIDTH = 100


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("run", metavar="RUN", help="its id, the beginning of it, or: last")
    parser.add_argument("step", metavar="STEP", help="a step's id, or the path of an item: parse[3]")
    parser.add_argument(
        "target", metavar="TARGET", nargs="?", help=f"where its code is, if that has to be said: {HELP}"
    )
    places.add_option(parser)
    driving.add_inputs(parser)
    parser.add_argument(
        "--attempt",
        type=driving.positive,
        metavar="N",
        help="which attempt, from 1; otherwise the last that failed",
    )
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--post-mortem", action="store_true", help="let it run, and open pdb where it raises")
    how.add_argument("--no-pdb", action="store_true", help="let it run, and say what it gives")


def execute(arguments: argparse.Namespace) -> int:
    """Calls it; gives the exit code."""
    place = places.place(arguments.store)
    with places.history(place) as history:
        run = places.find(history, arguments.run)
        try:
            chosen = choose(run, arguments.step, arguments.attempt)
        except KeyError as error:
            raise Misuse(f"{error}\nto see what there is: {_show_line(place, run)}") from None
        except InputError as error:
            raise Misuse(f"{error}\nto see more of it: {_show_line(place, run)}") from None
        target, graph, inputs = _target(arguments, place, run)
        options = driving.options_of(run)

        def again(inputs: Any, **kept: Any) -> Any:
            return target.object.run_with(inputs, options=options, **kept)

        try:
            scratch, _ = wiring.open_store("memory:")
            kept = history.reader, run
            with reenactment(again, inputs, graph, chosen, kept, scratch, _say) as made:
                _introduce(run, chosen, made)
                return _call(made, arguments)
        except PenstockError as error:
            raise Misuse(_refused(error, arguments, place), exits.of_error(error)) from None


def _show_line(place: places.Place, run: StoredRun) -> str:
    return f"penstock show {run.run_id}{place.option}"


def _target(
    arguments: argparse.Namespace, place: places.Place, run: StoredRun
) -> tuple[Any, Graph, dict[str, Any]]:
    """What the run was made of, its graph, and the inputs that are given again."""
    words = arguments.target
    if words is None:
        words = hints.usable(run.target, place)
        if words is None:
            line = f"penstock debug {run.run_id} '{arguments.step}' TARGET{place.option}"
            made = "does not say where its code is" if run.target is None else f"was made with {run.target!r}"
            raise Misuse(f"run {run.run_id} {made}; what is in this project may be used\nsay it: {line}")
    target = load(words)
    graph, known = shape(target)
    inputs = given.inputs(known, arguments.input, arguments.input_file)
    if arguments.context is not None:
        inputs = context.context(arguments.context, target, known, inputs)
    return target, graph, inputs


def _refused(error: PenstockError, arguments: argparse.Namespace, place: places.Place) -> str:
    lines = [str(error)]
    if "was a Secret" in lines[0]:
        name = lines[0].split("the input '", 1)[-1].partition("'")[0]
        lines.append(
            f"give it with: --input {name}=…, or, so that no list of processes shows it, in --input-file"
        )
    return "\n".join(lines)


def _introduce(run: StoredRun, chosen: Chosen, made: Reenactment) -> None:
    """Says what is about to be called, and with what."""
    attempt = chosen.attempt
    what = f"{attempt.outcome} with {attempt.failure}" if attempt.failure is not None else attempt.outcome
    complain(one_line(f"run {run.run_id}, step {chosen.path}, attempt {chosen.number}: {what}"))
    if made.changed:
        complain(one_line(f"the code of step {made.node.id!r} has changed since the attempt"))
    for name in sorted(made.arguments, key=_order(made)):
        complain(one_line(f"  {name} = {_shown(made.arguments[name])}"))


def _order(made: Reenactment) -> Callable[[str], int]:
    """Sorts arguments as the step's function has them."""
    try:
        names = list(inspect.signature(made.node.call).parameters)
    except (TypeError, ValueError):
        names = []
    return lambda name: names.index(name) if name in names else len(names)


def _shown(value: Any) -> str:
    """A value in a line, whatever its own repr does."""
    try:
        return failures.hide(_BRIEF.repr(value))
    except Exception:
        return f"<{type(value).__name__}>"


_BRIEF = reprlib.Repr()
_BRIEF.maxstring = _BRIEF.maxother = _WIDTH
_BRIEF.maxlist = _BRIEF.maxtuple = _BRIEF.maxdict = 8


def _call(made: Reenactment, arguments: argparse.Namespace) -> int:
    from penstock.cli import debugger

    try:
        value = debugger.perform(made) if arguments.post_mortem or arguments.no_pdb else debugger.debug(made)
    except BdbQuit:
        return exits.SUCCEEDED
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        error = error.with_traceback(debugger.users_part(error.__traceback__))
        show(visible(failures.hide(users_trace(error))), sys.stderr)
        if arguments.post_mortem:
            debugger.post_mortem(error.__traceback__)
        return exits.FAILED
    result, writes = debugger.parts_of(value)
    show(one_line(f"it gave {_shown(result)}") + "\n")
    if writes:
        show(one_line(f"it wrote {_shown(dict(writes))}") + "\n")
    complain("nothing of this was written to the run")
    return exits.SUCCEEDED


def _say(event: Any) -> None:
    """Shows what the step says of itself."""
    message = getattr(event, "message", None)
    if message is not None:
        fields = "".join(f" {name}={_shown(value)}" for name, value in event.fields.items())
        complain(one_line(failures.hide(f"log: {message}{fields}")))
    elif hasattr(event, "done"):
        total = "" if event.total is None else f" of {event.total:g}"
        complain(one_line(f"progress: {event.done:g}{total} {event.text}".rstrip()))

"""Run a flow, show how it goes, and say how it went."""

from __future__ import annotations

import argparse
from typing import Any, get_args

from penstock import wiring
from penstock.cli import context, driving, given, hints, places
from penstock.cli.driving import CONFIGURED, Drive, Keeping, conduct
from penstock.cli.exits import Misuse
from penstock.cli.target import HELP, Target, load, shape
from penstock.core.errors import InputError
from penstock.core.model import OnFailure


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("target", metavar="TARGET", help=HELP)
    driving.add_inputs(parser)
    parser.add_argument(
        "--target",
        "-t",
        action="append",
        dest="targets",
        metavar="STEP",
        help="run only this step and what it needs; may be repeated",
    )
    parser.add_argument(
        "--on-failure", choices=get_args(OnFailure), help="what becomes of the rest after a failure"
    )
    driving.add_options(parser)
    places.add_option(parser)
    parser.add_argument("--no-store", action="store_true", help="keep nothing of the run")
    parser.add_argument("--run-id", metavar="ID", help="its id; one that is known goes on, or is shown")
    parser.add_argument(
        "--tag",
        action="append",
        default=[],
        dest="tags",
        metavar="NAME=VALUE",
        help="words of your own to find it by; may be repeated",
    )
    parser.add_argument(
        "--durability", choices=("process", "power"), help="what a commit survives the loss of"
    )


def execute(arguments: argparse.Namespace) -> int:
    """Runs; gives the exit code."""
    return conduct(arguments.json, lambda: _prepared(arguments))


def _prepared(arguments: argparse.Namespace) -> Drive:
    try:
        config = wiring.configured()
    except InputError as error:
        raise Misuse(str(error)) from None
    target = load(arguments.target)
    graph, known = shape(target)
    inputs = given.inputs(known, arguments.input, arguments.input_file)
    if arguments.context is not None:
        inputs = context.context(arguments.context, target, known, inputs)
    said = {word: vars(arguments)[word] for word in CONFIGURED if vars(arguments)[word] is not None}
    more: dict[str, Any] = {}
    if arguments.tags:
        more["tags"] = _tags(arguments.tags)
    if arguments.durability is not None:
        more["durability"] = arguments.durability
    return Drive(
        target=target,
        graph=graph,
        known=known,
        inputs=inputs,
        targets=arguments.targets,
        said=said,
        how=lambda **observers: config.how(**said, **more, **observers),
        configured={word: getattr(config, word) for word in CONFIGURED if word not in said},
        keeping=_keeping(arguments, target),
        looks=driving.looks(arguments),
    )


def _keeping(arguments: argparse.Namespace, target: Target) -> Keeping | None:
    asked = "--store" if arguments.store is not None else "--run-id" if arguments.run_id is not None else ""
    if arguments.no_store:
        if asked:
            raise Misuse(f"{asked} and --no-store do not go together")
        return None
    if not driving.takes_store(target):
        if asked:
            raise Misuse(f"{asked}: {target.where}:{target.name} cannot be kept in a store")
        return None
    place = places.place(arguments.store)
    places.prepare(place)
    hint = hints.hint_of(arguments.target, target, place)
    again = None if hints.usable(hint, place) else arguments.target
    return Keeping(place, arguments.run_id, hint, again)


def _tags(pairs: list[str]) -> dict[str, str]:
    tags: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise Misuse(f"--tag takes NAME=VALUE, not {pair!r}")
        if name in tags:
            raise Misuse(f"the tag {name!r} is given twice")
        tags[name] = value
    return tags

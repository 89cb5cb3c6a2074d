"""The nodes that a step needs beside itself: those that pair what it maps over, and those of its folds.

Nothing here knows how a run goes. What the machine sees of a pair is a map over a list of tuples, of which
each parameter takes its part.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from penstock.core.errors import GraphError
from penstock.core.model import NOTHING, Accepts, Need, Node

from .markers import Fold
from .signature import Parameter
from .step import AnyStep
from .words import slot


class Zipped:
    """What a node calls that brings several lists together, element by element.

    Args:
        step: Id of the step that maps over the pairs, for error texts.
        sources: Ids of those that gave the lists, by parameter, in the order of the parts.
    """

    __slots__ = ("sources", "step")

    def __init__(self, step: str, sources: dict[str, str]) -> None:
        self.step = step
        self.sources = sources

    def __call__(self, **lists: Any) -> list[tuple[Any, ...]]:
        """The list of tuples.

        Raises:
            TypeError: One is no list.
            ValueError: They differ in length.
        """
        for param, source in self.sources.items():
            _check_list(self.step, source, lists[param])
        lengths = {param: len(lists[param]) for param in self.sources}
        if len(set(lengths.values())) > 1:
            told = ", ".join(f"{self.sources[param]!r} has {count}" for param, count in lengths.items())
            raise ValueError(f"{self.step!r} takes one element of each at a time, but they differ: {told}")
        return list(zip(*(lists[param] for param in self.sources), strict=True))


class Crossed:
    """What a node calls that brings an element, or parts of one, together with each element of a list.

    Args:
        step: Id of the step that maps over the pairs, for error texts.
        source: Id of the one that gave the list.
        params: Its parameters, in the order of the parts; the last takes the list.
    """

    __slots__ = ("params", "source", "step")

    def __init__(self, step: str, source: str, params: Sequence[str]) -> None:
        self.step = step
        self.source = source
        self.params = tuple(params)

    def __call__(self, **values: Any) -> list[tuple[Any, ...]]:
        """The list of tuples.

        Raises:
            TypeError: The last one is no list.
        """
        *first, last = [values[param] for param in self.params]
        _check_list(self.step, self.source, last)
        return [(*first, element) for element in last]


def _check_list(step: str, source: str, value: Any) -> None:
    if not isinstance(value, (list, tuple)):
        raise TypeError(
            f"{step!r} maps over the value of {source}, which is of type {type(value).__name__}; "
            "return a list or a tuple"
        )


def pair_up(step: AnyStep, needs: list[Need]) -> list[Node]:
    """Makes the ``each`` needs of a step take parts of one source, as its option ``pair`` says.

    Args:
        step: The step.
        needs: Its needs; those with ``each`` are replaced, in their places.

    Returns:
        The nodes that do the pairing, in the order of the data.

    Raises:
        GraphError: There are not two to pair, or the step may start without them.
    """
    places = [at for at, need in enumerate(needs) if need.how == "each"]
    how = step.options["pair"]
    if len(places) < 2:
        has = f"{needs[places[0]].param!r} is its only one" if places else "it has none"
        raise GraphError(
            f"step {step.id!r}: pair={how!r} is for a step with two or more each(), and {has};\n"
            "leave out pair="
        )
    eaches = [needs[at] for at in places]
    for need in eaches:
        _check_trigger(step, str(need.param), "each")
    nodes = _zipped(step, eaches) if how == "zipped" else _product(step, eaches)
    for part, at in enumerate(places):
        key = needs[at].key if how == "zipped" or at == places[-1] else None
        needs[at] = needs[at]._replace(node=nodes[-1].id, part=part, key=key)
    return nodes


def _zipped(step: AnyStep, eaches: list[Need]) -> list[Node]:
    keyed = [need.param for need in eaches if need.key is not None]
    if len(keyed) > 1:
        raise GraphError(
            f"step {step.id!r}: its parameters {keyed[0]!r} and {keyed[1]!r} both give a key, "
            "and a pair is one item;\ngive key= once"
        )
    call = Zipped(step.id, {str(need.param): need.node for need in eaches})
    return [_pairing(step, "zipped", call, [need._replace(how="use", key=None) for need in eaches])]


def _product(step: AnyStep, eaches: list[Need]) -> list[Node]:
    """One map inside the other: a node for each level but the last, which is the step itself."""
    nodes: list[Node] = []
    for level in range(1, len(eaches)):
        word = "product" if len(eaches) == 2 else f"product{level}"
        mine = eaches[: level + 1]
        needs = [need._replace(key=None) for need in mine]
        needs[level - 1] = mine[level - 1]  # the level before this one opens here, by its own keys
        if nodes:
            needs[:level] = [
                need._replace(node=nodes[-1].id, part=part) for part, need in enumerate(needs[:level])
            ]
        needs[level] = needs[level]._replace(how="use")
        call = Crossed(step.id, mine[level].node, [str(need.param) for need in mine])
        nodes.append(_pairing(step, word, call, needs))
    return nodes


def _pairing(step: AnyStep, word: str, call: Any, needs: list[Need]) -> Node:
    return Node(
        id=f"{step.id}.{word}",
        call=call,
        needs=tuple(needs),
        optional=step.options.get("optional", False),
        runner="inline",
        doc=f"what {step.id} maps over",
        origin=step.facts.origin,
    )


def fold_node(step: AnyStep, param: Parameter, marker: Fold) -> Node:
    """The node that folds, of which the parameter takes the value.

    Raises:
        GraphError: The step may start without it.
    """
    if not param.accepts:
        _check_trigger(step, param.name, "fold")
    return Node(
        id=f"{step.id}.{param.name}",
        call=marker.function,
        needs=(Need(marker.source.id, "gather", "item", Accepts.NOTHING, NOTHING, failures=marker.failures),),
        kind="gather",
        bound={"initial": marker.initial},
        optional=step.options.get("optional", False),
        doc=f"a fold for {step.id}",
        origin=step.facts.origin,
    )


def _check_trigger(step: AnyStep, name: str, word: str) -> None:
    """Refuses what no other trigger than the default can do without."""
    trigger = step.options.get("trigger", "all_succeeded")
    if trigger == "all_succeeded":
        return
    said = repr(trigger) if isinstance(trigger, str) else "of your own"
    raise GraphError(
        f"{slot(step, name)} takes {word}(...), and with the trigger {said} it may start without that;\n"
        f"{word} in a step before it, and take that one with outcome(...) or optional(...)"
    )

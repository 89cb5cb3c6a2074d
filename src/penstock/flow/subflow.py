"""A flow inside another: its steps once more, under ids of their own, wired to the flow around them.

Nothing here makes nodes. A copy of a step has the function and the options of the original; its bindings say
in full where each parameter comes from, so that to `wires.py` it is a step like any other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeVar, overload

from penstock.core.errors import GraphError, nearest
from penstock.core.model import NOTHING, Accepts
from penstock.core.names import normal_id

from .markers import Each, Lent, Marker, Output, Param, Source, Use
from .options import checked
from .signature import ABSENT, Facts, Parameter
from .step import AnyStep, FlowLike, Step, Template
from .switches import Choice

T = TypeVar("T")

Forced = frozenset[tuple[str, str]]
"""Pairs (prefix of a place, input) of bindings that map a sub-flow although they are no ``each``."""

_OF_THE_WHOLE = ("when", "trigger", "optional", "after")


class SubFlow:
    """A flow that is part of another; made by `Flow.add`.

    >>> prices = flow.add(pricing, path=use(download))
    >>> flow.add(report, total=use(prices[total]))      # `total` is a step of `pricing`

    Attributes:
        id: Its name in the flow around it.
        flow: The flow around it.
        inner: The flow whose steps it runs.
        bindings: What was given for the inputs of that: markers and constant values.
        options: Its options, checked.
    """

    __slots__ = ("bindings", "flow", "id", "inner", "options")

    def __init__(
        self,
        flow: FlowLike,
        id: str,
        inner: FlowLike,
        bindings: Mapping[str, Any],
        options: Mapping[str, Any],
    ) -> None:
        self.flow = flow
        self.id = id
        self.inner = inner
        self.bindings = bindings
        self.options = options

    def __repr__(self) -> str:
        return f"<sub-flow {self.id!r} of flow {self.flow.name!r}: flow {self.inner.name!r}>"

    @overload
    def __getitem__(self, step: Source[T]) -> Source[T]: ...
    @overload
    def __getitem__(self, step: str) -> Source[Any]: ...
    def __getitem__(self, step: Any) -> Any:
        """A step of the inner flow, as it stands in the outer one: for markers, targets and results.

        Args:
            step: The step itself (or what another sub-flow of the inner flow gave for a step of its own), or
                its id.

        Raises:
            GraphError: The inner flow has no such step.
        """
        names = named(self.inner)
        if isinstance(step, Source):
            if step.flow is not self.inner:
                of = "an input of the run" if step.flow is None else f"a step of {step.flow.name!r}"
                raise GraphError(
                    f"sub-flow {self.id!r} has the steps of flow {self.inner.name!r}, and {step.id!r} is {of}"
                )
            step = step.id
        found = names.get(step)
        if found is None:
            near = nearest(str(step), names)
            raise GraphError(f"sub-flow {self.id!r}: flow {self.inner.name!r} has no step {step!r}{near}")
        return Inside(self.flow, f"{self.id}/{step}", found.facts)


class Inside(Source[Output]):
    """A step of a sub-flow, as the flow around it knows it.

    Attributes:
        facts: What its function says about itself.
    """

    inside = True
    __slots__ = ("facts", "flow", "id")

    def __init__(self, flow: FlowLike, id: str, facts: Facts) -> None:
        self.flow = flow
        self.id = id
        self.facts = facts

    def __repr__(self) -> str:
        return f"<step {self.id!r} of flow {self.flow.name!r}>"


def sub_flow(
    flow: FlowLike, inner: FlowLike, name: str | None, bindings: Mapping[str, Any], options: Mapping[str, Any]
) -> SubFlow:
    """The sub-flow that `Flow.add` makes of another flow.

    Raises:
        GraphError: It would contain itself, or an option is not for a whole flow.
    """
    id = normal_id(inner.name if name is None else name, "sub-flow")
    label = f"sub-flow {id!r}"
    chain = _way(inner, flow)
    if chain is not None:
        raise GraphError(
            f"{label}: flow {flow.name!r} would contain itself: {' → '.join([flow.name, *chain])};\n"
            f"where the depth is known at run time only, run it in a step: {flow.name}.run(...)"
        )
    for word in options:
        if word not in _OF_THE_WHOLE:
            raise GraphError(
                f"{label}: {word!r} is an option of single steps, and a whole flow takes "
                f"{', '.join(_OF_THE_WHOLE[:-1])} and {_OF_THE_WHOLE[-1]};\n"
                f"give it to its steps, or to all with Flow({inner.name!r}, defaults={{{word!r}: ...}});\n"
                f"if an input of that name is meant, say bind={{{word!r}: ...}}"
            )
    facts = Facts(None, [], None, open=False, is_async=False)
    found = {word: value for word, value in checked(label, options, facts).items() if value is not None}
    return SubFlow(flow, id, inner, bindings, found)


def _way(start: FlowLike, end: FlowLike) -> list[str] | None:
    """The names of the flows on the way from one down to another that it contains, both ends included."""
    above: dict[int, list[str]] = {id(start): [start.name]}
    todo = [start]
    for flow in todo:  # grows while it is read
        if flow is end:
            return above[id(flow)]
        for part in flow.parts.values():
            if isinstance(part, SubFlow) and id(part.inner) not in above:
                above[id(part.inner)] = [*above[id(flow)], part.inner.name]
                todo.append(part.inner)
    return None


def named_like_one(step: str, name: str) -> GraphError:
    """The error for a parameter that is named like a sub-flow."""
    return GraphError(
        f"step {step!r}: its parameter {name!r} is named like a sub-flow, which has no value;\n"
        f"say {name}=use({name}[step]) for the step of it that is meant"
    )


def named(flow: FlowLike, prefix: str = "") -> dict[str, Any]:
    """All steps and switches of a flow by id, those of its sub-flows included."""
    found: dict[str, Any] = {}
    for name, part in flow.parts.items():
        if isinstance(part, SubFlow):
            found |= named(part.inner, f"{prefix}{name}/")
        else:
            found[prefix + name] = part
    return found


class HandsOn:
    """What the node of an input calls: it hands on the value that was given by this name.

    Args:
        name: Of the parameter; empty for a node that has no value.
    """

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, **given: Any) -> Any:
        return given.get(self.name)


class Copy(Step[..., Any, Any]):
    """A step of a sub-flow, as a step of the flow at the root.

    Attributes:
        place: Where it stands.
        original: The step itself; None of what is a copy of none.
        checks: Pairs (parameter, marker) that it does not take as they are, but that its types must fit.
    """

    inside = True
    __slots__ = ("checks", "original", "place")

    def __init__(
        self, place: Place, id: str, function: Any, facts: Facts, options: Mapping[str, Any]
    ) -> None:
        if place.optional:
            options = {**options, "optional": True}
        super().__init__(place.root, id, function, facts, {}, options)
        self.place = place
        self.original: AnyStep | None = None
        self.checks: list[tuple[Parameter, Marker]] = []


class Place:
    """A flow where it stands: at the root, or as one copy inside another.

    Attributes:
        root: The flow that is built.
        flow: The flow that stands here.
        sub: How it came here; None at the root.
        around: The place around; None at the root.
        prefix: What the ids of its steps begin with.
        optional: All its steps are optional.
        names: Its steps and switches by their ids in `flow`, those of sub-flows included.
        head: The step in front of all its steps, where it has one; see `Layout`.
        headed: It has one.
        asked: Inputs of `flow` that a step asks for, and what those that ask accept besides success.
    """

    __slots__ = (
        "_inputs", "_values", "around", "asked", "flow", "head", "headed", "layout", "names", "optional",
        "prefix", "root", "sub",
    )  # fmt: skip

    def __init__(self, layout: Layout, flow: FlowLike, sub: SubFlow | None, around: Place | None) -> None:
        self.layout = layout
        self.root = layout.flow
        self.flow = flow
        self.sub = sub
        self.around = around
        self.prefix: str = ""
        self.optional: bool = False
        if sub is not None and around is not None:
            self.prefix = f"{around.prefix}{sub.id}/"
            self.optional = around.optional or sub.options.get("optional", False)
        self.names: dict[str, Any] = {}
        self.head: Copy | None = None
        self.headed = False
        self.asked: dict[str, Accepts] = {}
        self._values: dict[str, Any] = {}
        self._inputs: dict[str, Copy] = {}

    def lead(self) -> Place | None:
        """The innermost place around its steps, itself included, that has a head; None for none."""
        place: Place | None = self
        while place is not None and not place.headed:
            place = place.around
        return place

    def value(self, step: AnyStep, param: Parameter) -> Any:
        """What the name of a parameter means here: a marker, or a constant."""
        if isinstance(self.flow.parts.get(param.name), SubFlow):
            raise named_like_one(step.id, param.name)
        source = self.names.get(param.name)
        if source is None and param.name in self.flow.resources:
            return Lent(self.flow.resources[param.name])
        if source is None:
            default = NOTHING if param.default is ABSENT else param.default
            return self.given(step, param, Param(param.name, param.type, default))
        if self.sub is not None:
            self.layout.by_name.append((step, param.name, source.id))
        return Use(source)

    def translated(self, step: AnyStep, param: Parameter, marker: Marker) -> Any:
        """What a marker of a step of `flow` means here: a marker, or a constant."""
        if self.sub is None:
            return marker
        source = marker.source
        if not isinstance(source, Param):
            return _moved(marker, self.source(step, f"its parameter {param.name!r}", source))
        if type(marker) is Use:
            return self.given(step, param, source)
        takes = Parameter(source.id)
        takes.type, takes.accepts = source.type, marker.accepts
        value = self.given(step, takes, source)
        if type(value) is Use and (marker.how != "each" or self._level_with(value.source)):
            return _moved(marker, value.source)
        return _moved(marker, self._input(step, param, source))

    def _level_with(self, source: Any) -> bool:
        """Whether a map over a source makes one item more for each element, and no more than that here."""
        lead = self.lead()
        return lead is None or source is lead.head

    def source(self, step: AnyStep, param: str, source: Any) -> Any:
        """A source of `flow`, as it stands here.

        Raises:
            GraphError: It is one of another flow.
        """
        if self.sub is None:
            return source
        if source.flow is not self.flow:
            raise GraphError(
                f"step {step.id!r}: {param} takes step {source.id!r} of another flow, {source.flow.name!r};\n"
                f"let flow {self.flow.name!r} have an input for it, and give that where the flow is added"
            )
        return self.names.get(source.id, source)

    def given(self, step: AnyStep, param: Parameter, source: Param[Any]) -> Any:
        """The value of an input of `flow`."""
        name = source.id
        if self.sub is None or self.around is None:
            return Use(source)
        self.asked[name] = self.asked.get(name, Accepts.ANYTHING) & param.accepts
        if name not in self.sub.bindings:
            if name in self.around.names:
                raise GraphError(
                    f"sub-flow {self.prefix[:-1]!r}: its input {name!r} is named like a step of "
                    f"flow {self.around.flow.name!r}, and inputs are not wired by name;\n"
                    f"say flow.add(..., {name}=use({name})), or give it a value"
                )
            return self.around.given(step, param, source)
        value = self.binding(name)
        if not isinstance(value, Each):
            return value
        assert self.head is not None
        if isinstance(step, Copy):
            step.checks.append((param, value))
        return Use(self.head)

    def binding(self, name: str) -> Any:
        """What the sub-flow was given for an input, in the words of the root: a marker, or a constant."""
        assert self.sub is not None
        assert self.around is not None
        if name not in self._values:
            value = self.sub.bindings[name]
            if isinstance(value, Marker):
                label = Copy(self.around, self.prefix[:-1], None, _NO_FACTS, {})
                value = self.around.translated(label, Parameter(name), value)
            self._values[name] = value
        return self._values[name]

    def _input(self, step: AnyStep, param: Parameter, source: Param[Any]) -> Copy:
        """The step that stands for an input that is mapped over, or taken apart."""
        name = source.id
        if name in self.names:
            raise GraphError(
                f"step {step.id!r}: its parameter {param.name!r} takes the input {name!r}, "
                "and a step has that name too; rename one"
            )
        found = self._inputs.get(name)
        if found is None:
            takes = Parameter(name)
            takes.type = source.type
            facts = _facts([takes], source.type, f"an input of {self.prefix[:-1]}")
            found = Copy(self, self.prefix + name, HandsOn(name), facts, {"runner": "inline"})
            found.bindings = {name: self.given(found, takes, source)}
            self._inputs[name] = found
            self.layout.entries.append(found)
        return found


class Layout:
    """A flow with all its sub-flows, laid out flat.

    In front of a sub-flow stands its head, a step of its id, where something is said of the sub-flow as a
    whole: a condition, an order, an ``each``. What `ties.py` adds to its steps makes them follow it.

    Args:
        flow: The flow.
        forced: Bindings that map a sub-flow although they are no ``each``: it takes items of a mapped step.

    Attributes:
        entries: What makes nodes, in the order of definition: steps, heads, switches. It grows while it is
            built, when only a condition asks for a part of an input.
        steps: The steps among them by id: those that people wrote.
        places: The copies of flows in it, the outer ones first.
        by_name: (step, parameter, id of the source) where a sub-flow wires by name.
    """

    __slots__ = ("by_name", "entries", "flow", "forced", "places", "root", "steps")

    def __init__(self, flow: FlowLike, forced: Forced = frozenset()) -> None:
        self.flow = flow
        self.forced = forced
        self.entries: list[Any] = []
        self.steps: dict[str, AnyStep] = {}
        self.places: list[Place] = []
        self.by_name: list[tuple[AnyStep, str, str]] = []
        self.root = Place(self, flow, None, None)
        self._fill(self.root)

    def _fill(self, place: Place) -> None:
        for name, part in place.flow.parts.items():
            if isinstance(part, SubFlow):
                self._enter(place, name, part)
                continue
            found: Any = part
            if isinstance(part, Choice):
                found = part if place.sub is None else part.moved(place, place.prefix + name)
            else:
                if place.sub is not None:
                    found = Copy(place, place.prefix + name, part.function, part.facts, part.options)
                    found.original = part
                self.steps[found.id] = found
            place.names[name] = found
            self.entries.append(found)

    def _enter(self, around: Place, name: str, sub: SubFlow) -> None:
        place = Place(self, sub.inner, sub, around)
        self.places.append(place)
        own = [word for word in ("when", "trigger", "after") if sub.options.get(word)]
        place.headed = bool(own) or any(
            isinstance(value, Each) or (place.prefix, input) in self.forced
            for input, value in sub.bindings.items()
        )
        if place.headed:
            options = {word: sub.options[word] for word in own}
            head = Copy(around, place.prefix[:-1], None, _NO_FACTS, {**options, "runner": "inline"})
            if sub.options.get("optional"):
                head.options = {**head.options, "optional": True}
            place.head = head
            self.entries.append(head)
        self._fill(place)
        around.names |= {f"{name}/{inner}": found for inner, found in place.names.items()}

    def bind(self) -> None:
        """Gives every copy its bindings.

        Raises:
            GraphError: A step takes something of another flow, or an input clashes with a step.
        """
        for place in self.places:
            for name, part in place.flow.parts.items():
                if isinstance(part, Choice):
                    place.names[name].follow(place)
                elif not isinstance(part, SubFlow):
                    self._bind(place, place.names[name], part)
        for place in self.places:
            if place.head is not None:
                self._bind_head(place, place.head)

    def _bind(self, place: Place, step: Copy, original: AnyStep) -> None:
        facts = step.facts
        if not facts.resolved:
            facts.resolve()
        given, bindings = original.bindings, dict[str, Any]()
        for param in facts.params:
            value = given.get(param.name, param.default)
            if isinstance(value, Marker):
                bindings[param.name] = place.translated(step, param, value)
            elif param.name in given:
                bindings[param.name] = value
            elif not (param.context or param.fixed or isinstance(value, (Source, Template))):
                bindings[param.name] = place.value(step, param)
        for name, value in given.items():
            if name not in facts.names:  # only **keywords can take it
                is_marker = isinstance(value, Marker)
                bindings[name] = place.translated(step, Parameter(name), value) if is_marker else value
        step.bindings = bindings
        self._order(place, step)

    def _bind_head(self, place: Place, head: Copy) -> None:
        """The head takes what maps the sub-flow, and whatever a condition of the whole may want."""
        assert place.sub is not None
        judged = "when" in head.options or "trigger" in head.options
        params, mapped = [], ""
        for name in place.sub.bindings:
            value = place.binding(name)
            is_each = isinstance(value, Each)
            if judged or is_each or (place.prefix, name) in self.forced:
                param = Parameter(name)
                if not is_each:
                    param.accepts = place.asked.get(name, Accepts.NOTHING)
                params.append(param)
                head.bindings = {**head.bindings, name: value}
            if is_each:
                mapped = name
        head.function = HandsOn(mapped)
        head.facts = _facts(params, None, f"the sub-flow {place.flow.name!r}")
        assert place.around is not None
        self._order(place.around, head)

    def _order(self, place: Place, step: Copy) -> None:
        if step.options.get("after"):
            after = tuple([place.source(step, "after", source) for source in step.options["after"]])
            step.options = {**step.options, "after": after}

    def unused(self) -> Iterator[GraphError]:
        """An error for each input that a sub-flow was given and that none of its steps asks for."""
        for place in reversed(self.places):  # of two errors the inner one is the cause
            assert place.sub is not None
            for name in place.sub.bindings:
                if name in place.asked:
                    continue
                inner = place.flow.name
                why = nearest(name, [*place.asked, *_OF_THE_WHOLE])
                if name in place.names:
                    why = f": it is a step of {inner!r}, and steps take their own values"
                elif not why:
                    why = f"; it takes {', '.join(place.asked) or 'none'}"
                yield GraphError(f"sub-flow {place.prefix[:-1]!r}: flow {inner!r} has no input {name!r}{why}")


def _facts(params: list[Parameter], returns: Any, doc: str) -> Facts:
    facts = Facts(None, params, None, open=False, is_async=False)
    facts.returns = returns
    facts.doc = doc
    facts.resolved = True
    return facts


_NO_FACTS = _facts([], None, "")


def _moved(marker: Marker, source: Any) -> Marker:
    from copy import copy

    new = copy(marker)
    new.source = source
    return new

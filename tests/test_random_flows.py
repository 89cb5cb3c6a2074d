"""Random flows of parts, loops and switches against the same in plain Python: what the face makes of them is
steps like all others, and must come to the same."""

from __future__ import annotations

from typing import Any, NamedTuple
from zlib import crc32

from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.core.model import RunOptions
from penstock.flow import Flow, each, gather, param, repeat, switch, use


class Op(NamedTuple):
    """One line of a program: it takes earlier values by number; 0 is what the program was given."""

    kind: str  # call, loop, switch, part, mapped
    needs: tuple[int, ...]
    number: int  # rounds of a loop, branches of a switch, items of a map
    inner: tuple[Op, ...] = ()


Program = tuple[Op, ...]


@st.composite
def programs(draw: st.DrawFn, depth: int = 2) -> Program:
    """A program of up to five lines; parts have programs of their own."""
    lines: list[Op] = []
    kinds = ("call", "loop", "switch", "part", "mapped") if depth else ("call", "loop", "switch")
    for at in range(draw(st.integers(1, 5 if depth == 2 else 3))):
        kind = draw(st.sampled_from(kinds))
        needs = tuple(draw(st.lists(st.integers(0, at), min_size=2, max_size=2)))
        inner = draw(programs(depth - 1)) if kind in ("part", "mapped") else ()
        lines.append(Op(kind, needs, draw(st.integers(1, 4)), inner))
    return tuple(lines)


def mix(*seen: Any) -> int:
    """A value that differs as soon as anything in it does."""
    return crc32(repr(seen).encode()) % 1_000_003  # the same in every process, as hashes of texts are not


def enough(value: int) -> bool:
    return value % 3 == 0


def evaluate(program: Program, given: int) -> int:
    """What a program comes to."""
    values = [given]
    for at, op in enumerate(program):
        first, second = (values[need] for need in op.needs)
        if op.kind == "call":
            value = mix(at, first, second)
        elif op.kind == "loop":
            value = mix(at, first)
            for _ in range(op.number - 1):
                value = value if enough(value) else mix(at, value)
        elif op.kind == "switch":
            value = mix(at, first % op.number, second)
        elif op.kind == "part":
            value = evaluate(op.inner, first)
        else:
            value = mix(at, [evaluate(op.inner, first + item) for item in range(op.number)])
        values.append(value)
    return values[-1]


def flow_of(program: Program, name: str = "program") -> tuple[Flow, Any]:
    """The same program as a flow, and the source of what it comes to."""
    flow = Flow(name)
    sources: list[Any] = [param("given", int)]
    for at, op in enumerate(program):
        first, second = (sources[need] for need in op.needs)
        sources.append(_line(flow, at, op, first, second))
    return flow, sources[-1]


def _line(flow: Flow, at: int, op: Op, first: Any, second: Any) -> Any:
    if op.kind == "call":

        def call(a: int, b: int) -> int:
            return mix(at, a, b)

        return flow.add(call, name=f"n{at}", a=use(first), b=use(second))
    if op.kind == "loop":

        def again(value: int) -> int:
            return mix(at, value)

        return repeat(
            flow.add(again, name=f"n{at}", value=use(first)), until=enough, max=op.number, feed="value"
        )
    if op.kind == "switch":
        return _switched(flow, at, op.number, first, second)
    inner, last = flow_of(op.inner, f"inner{at}")
    if op.kind == "part":
        return flow.add(inner, name=f"n{at}", given=use(first))[last]

    def spread(a: int) -> list[int]:
        return [a + item for item in range(op.number)]

    def total(found: list[int]) -> int:
        return mix(at, found)

    items = flow.add(spread, name=f"n{at}.items", a=use(first))
    part = flow.add(inner, name=f"n{at}.each", given=each(items))
    return flow.add(total, name=f"n{at}", found=gather(part[last]))


def _switched(flow: Flow, at: int, branches: int, first: Any, second: Any) -> Any:
    def route(a: int) -> int:
        return a % branches

    def branch(which: int, b: int) -> int:
        return mix(at, which, b)

    asked = flow.add(route, name=f"n{at}.route", a=use(first))
    ways = {
        which: flow.add(branch, name=f"n{at}.{which}", which=which, b=use(second))
        for which in range(branches)
    }
    return switch(asked, ways, name=f"n{at}")


@settings(max_examples=60, deadline=None)
@given(programs(), st.integers(0, 1000), st.sampled_from((None, 1, 2)))
def test_a_flow_of_parts_comes_to_what_plain_python_does(program, number, most):
    flow, last = flow_of(program)

    def answer(found: int) -> int:
        return found

    step = flow.add(answer, found=use(last))
    result = flow.run(given=number, options=RunOptions(max_concurrency=most))
    result.raise_for_failure()
    assert result[step] == evaluate(program, number)

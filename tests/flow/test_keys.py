"""Items that are told apart by a key of their element instead of by their place."""

# mypy: disable-error-code="empty-body, no-untyped-call"

import functools
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from penstock.core.errors import GraphError
from penstock.core.model import NOTHING, Accepts, Failure, Need, RunOptions, RunStatus
from penstock.flow import Context, Flow, each, gather, param, use


class Person(NamedTuple):
    name: str
    age: int


PEOPLE = [Person("Ada", 36), Person("Bob", 41), Person("Cleo", 36)]


def name_of(person: Person) -> str:
    return person.name


async def name_later(person: Person) -> str:
    return person.name


def name_by_name(person: Person) -> Iterator[str]:
    yield person.name


class ByName:
    def __call__(self, person: Person) -> str:
        return person.name


@pytest.fixture
def flow() -> Flow:
    flow = Flow("flow")

    @flow.step
    def people() -> list[Person]:
        return PEOPLE

    return flow


def path(ctx: Context, person: Person) -> str:
    return str(ctx.path)


def keyed(flow: Flow, key: Any) -> Any:
    return flow.add(path, person=each(flow.steps["people"], key=key))


# --- building ---------------------------------------------------------------------------------------------


def test_a_key_goes_into_the_need(flow):
    keyed(flow, name_of)
    graph = flow.graph()
    (need,) = graph.nodes[graph.index["path"]].needs
    assert need == Need("people", "each", "person", Accepts.NOTHING, NOTHING, key=name_of)


def test_a_key_is_shown(flow):
    source = flow.steps["people"]
    assert repr(each(source, key=name_of)) == "each(people, key=name_of)"
    assert repr(each(source, key=functools.partial(name_of))) == "each(people, key=name_of)"
    assert repr(each(source, key=ByName())) == "each(people, key=ByName)"
    flow.add(path, person=each(source, key=lambda person: person.age))
    assert "each(people, key=<lambda>)" in flow.explain_wiring()


SAYS = "each(people, key=...): key takes a function of the element that returns a str or an int"


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("name", f"{SAYS};\nsay key=lambda element: element['name']"),
        (0, f"{SAYS};\nsay key=lambda element: element[0]"),
        (3.5, f"{SAYS}, not 3.5"),
        (
            name_later,
            f"{SAYS}, and 'name_later' is async;\n"
            "let 'people' return its elements with their keys, and look there",
        ),
        (
            name_by_name,
            f"{SAYS}, and 'name_by_name' is a generator function;\n"
            "let 'people' return its elements with their keys, and look there",
        ),
    ],
)
def test_a_key_is_a_plain_function(flow, key, text):
    with pytest.raises(GraphError) as caught:
        each(flow.steps["people"], key=key)
    assert str(caught.value) == text


def test_a_step_is_no_key(flow):
    with pytest.raises(GraphError, match="returns a str or an int, not <step 'people' of flow 'flow'>"):
        each(flow.steps["people"], key=flow.steps["people"])


# --- runs -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", [name_of, ByName(), functools.partial(name_of), lambda person: person.name])
def test_items_are_called_by_their_keys(flow, key):
    step = keyed(flow, key)
    result = flow.run()
    assert result.items(step) == ["path[Ada]", "path[Bob]", "path[Cleo]"]
    assert [one.path for one in result.nodes["path"].items] == ["path[Ada]", "path[Bob]", "path[Cleo]"]


def test_the_context_has_the_keys(flow):
    @flow.step
    def years(person: Person = each(flow.steps["people"], key=name_of)) -> list[int]:
        return [1990, 2000]

    @flow.step
    def key(ctx: Context, year: int = each(years)) -> Any:
        return ctx.key

    @flow.step
    def both(ctx: Context, year: int = each(years, key=str)) -> Any:
        return ctx.key

    result = flow.run()
    assert result.items(key)[:3] == [("Ada", 0), ("Ada", 1), ("Bob", 0)]
    assert result.items(both)[:2] == [("Ada", "1990"), ("Ada", "2000")]


def test_keys_may_be_numbers(flow):
    step = keyed(flow, lambda person: -len(person.name) - ord(person.name[0]))
    assert flow.run().items(step)[0] == "path[-68]"


@pytest.mark.parametrize("streaming", [False, True])
def test_f07_two_elements_of_one_key_fail(streaming):
    flow = Flow("flow")

    def people() -> list[Person]:
        return PEOPLE

    def stream() -> Iterator[Person]:
        yield from PEOPLE

    function: Any = stream if streaming else people
    source = flow.add(function, name="people")
    flow.add(path, person=each(source, key=lambda person: person.age))
    result = flow.run()
    assert result.status is RunStatus.FAILED
    failure: Any = result.nodes["people"].failure
    assert (failure.type, failure.text) == (
        "DuplicateKey",
        "two elements of people, number 0 and 2, have the key 36 in 'path'; a key must tell them apart",
    )


@pytest.mark.parametrize("wrong", [None, 1.5, True, ("Ada",), b"Ada"])
def test_keys_of_other_types_fail(flow, wrong):
    keyed(flow, lambda person: wrong)
    failure = flow.run().nodes["people"].failure
    assert failure.text == (
        f"the key of 'path' returned {type(wrong).__name__}; it must return a str or an int"
    )


def test_a_key_that_raises_fails_the_source(flow):
    keyed(flow, lambda person: person.nme)
    failure = flow.run().nodes["people"].failure
    assert isinstance(failure, Failure)
    assert (failure.type, failure.note) == ("AttributeError", "in the key of 'path'")


def test_keys_of_a_stream():
    flow = Flow("flow")

    @flow.step
    def people() -> Iterator[Person]:
        yield from PEOPLE

    step = keyed(flow, name_of)
    assert flow.run().items(step) == ["path[Ada]", "path[Bob]", "path[Cleo]"]


def test_keys_of_an_input():
    flow = Flow("flow")
    step = flow.add(path, person=each(param("people", list[Person]), key=name_of))
    assert flow.run(people=PEOPLE).items(step)[0] == "path[Ada]"


def test_two_maps_over_one_list_have_keys_of_their_own(flow):
    by_name = keyed(flow, name_of)
    by_place = flow.add(path, name="by place", person=each(flow.steps["people"]))
    result = flow.run()
    assert result.items(by_name)[1] == "path[Bob]"
    assert result.items(by_place)[1] == "by place[1]"


def test_failures_and_skips_are_called_by_keys(flow):
    @flow.step
    def young(person: Person = each(flow.steps["people"], key=name_of)) -> int:
        if person.age > 40:
            raise ValueError(person.name)
        return person.age

    @flow.step
    def twice(young: int = use(young)) -> int:
        return 2 * young

    @flow.step
    def all_of(twice: list[int] = gather(twice, failures="drop")) -> list[int]:
        return twice

    result = flow.run(options=RunOptions(on_failure="continue"))
    assert result[all_of] == [72, 72]
    assert result.tolerated == ("young[Bob]",)
    assert repr(result.nodes["twice"].items[1]) == "<twice[Bob]: skipped (young[Bob] failed)>"


def test_two_items_never_share_an_idempotency_key():
    """A key may hold the very signs that a path is written with."""
    flow = Flow("flow")

    @flow.step
    def outer() -> list[str]:
        return ["a", "a,b"]

    @flow.step
    def inner(name: str = each(outer, key=str)) -> list[str]:
        return ["b,c"] if name == "a" else ["c"]

    @flow.step(keep=True)
    def told(ctx: Context, name: str = each(inner, key=str)) -> str:
        return ctx.idempotency_key

    keys = flow.run().items(told)
    assert len(set(keys)) == 2

"""Code that changed between a run and its resumption: nothing of it goes unsaid, and nothing is mixed up."""

# mypy: disable-error-code="no-untyped-call,no-untyped-def"

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from penstock.core.errors import GraphChanged
from penstock.core.model import RunOptions
from penstock.flow import Flow, each, gather, use

from .tools import BAD, called, does, fix, go


def one() -> int:
    return does("first", 1)


def other_one() -> int:
    return does("first", 100)


def two(first: int) -> int:
    return does("second", first + 1)


def other_two(first: int) -> int:
    return does("second", first + 1000)


def three(second: int) -> int:
    return does("third", second)


def other_three(second: int) -> int:
    return does("third", -second)


def chain(a: Callable[..., Any] = one, b: Callable[..., Any] = two, c: Callable[..., Any] = three) -> Flow:
    flow = Flow("chain")
    first = flow.add(a, name="first")
    second = flow.add(b, name="second", first=use(first))
    flow.add(c, name="third", second=use(second))
    return flow


@pytest.fixture
def broken(store):
    """A run of which the first two steps are finished, and the third has failed."""
    BAD.add("third")
    assert go(chain(), store).status.value == "failed"
    fix()
    called()
    return store


def keep() -> RunOptions:
    return RunOptions(on_change="keep")


def rerun() -> RunOptions:
    return RunOptions(on_change="rerun")


class TestBodies:
    def test_j25_of_a_finished_step_is_refused_with_the_list(self, broken):
        rows = list(broken.rows("r"))
        with pytest.raises(GraphChanged, match="step 'first' has other code") as caught:
            go(chain(other_one), broken)
        assert caught.value.changes == ("step 'first' has other code",)
        assert "on_change='keep'" in str(caught.value)
        assert list(broken.rows("r")) == rows, "the run is untouched"
        assert broken.find("r").owner is None, "and nobody's"
        assert go(chain(), broken)["third"] == 2

    def test_all_of_them_are_named(self, broken):
        with pytest.raises(GraphChanged) as caught:
            go(chain(other_one, other_two), broken)
        assert len(caught.value.changes) == 2

    def test_j25_keep(self, broken):
        assert go(chain(other_one), broken, options=keep())["third"] == 2
        assert called() == ["third"]

    def test_j25_rerun(self, broken):
        assert go(chain(other_one), broken, options=rerun())["third"] == 101
        assert called() == ["first", "second", "third"]

    def test_rerun_of_a_later_one_leaves_those_before_it(self, broken):
        assert go(chain(one, other_two), broken, options=rerun())["third"] == 1001
        assert called() == ["second", "third"]

    def test_rerun_by_name_says_enough(self, broken):
        assert go(chain(other_one), broken, options=RunOptions(rerun=["first"]))["third"] == 101

    def test_j25_of_an_unfinished_step_runs_as_it_is_now_and_says_so(self, broken):
        result = go(chain(c=other_three), broken)
        assert result["third"] == -2
        assert any("third" in warning for warning in result.warnings)

    def test_what_was_kept_once_is_not_refused_the_next_time(self, broken):
        BAD.add("third")
        go(chain(other_one), broken, options=keep())
        fix()
        assert go(chain(other_one), broken)["third"] == 2

    def test_nor_what_was_run_again(self, broken):
        BAD.add("third")
        go(chain(other_one), broken, options=rerun())
        fix()
        called()
        assert go(chain(other_one), broken)["third"] == 101
        assert called() == ["third"]

    def test_but_the_old_code_is_another_one_then(self, broken):
        BAD.add("third")
        go(chain(other_one), broken, options=rerun())
        fix()
        with pytest.raises(GraphChanged, match="'first'"):
            go(chain(), broken)


class TestShapes:
    def renamed(self) -> Flow:
        flow = Flow("chain")
        first = flow.add(one, name="begin")
        second = flow.add(two, name="second", first=use(first))
        flow.add(three, name="third", second=use(second))
        return flow

    def test_j26_a_renamed_step_never_gets_anothers_value(self, broken):
        with pytest.raises(GraphChanged, match="'first' is not in the flow any more") as caught:
            go(self.renamed(), broken)
        assert any("'second' needs begin (before: first)" in change for change in caught.value.changes)

    def test_j26_renamed_and_run_again(self, broken):
        assert go(self.renamed(), broken, options=rerun())["third"] == 2
        assert called() == ["first", "second", "third"]

    def test_j26_renamed_and_kept(self, broken):
        """What nobody knows any more goes; the second one keeps what it made of it."""
        result = go(self.renamed(), broken, options=keep())
        assert result["third"] == 2
        assert "second" not in called()

    def test_j25_a_new_edge_into_a_finished_step(self, broken):
        flow = Flow("chain")
        extra = flow.add(three, name="extra", bind={"second": 5})
        first = flow.add(one, name="first")
        second = flow.add(two, name="second", first=use(first), after=[extra])
        flow.add(three, name="third", second=use(second))
        with pytest.raises(GraphChanged, match="'second' needs"):
            go(flow, broken)
        BAD.add("third")
        assert go(flow, broken, options=keep()).status.value == "failed"
        fix()
        assert go(flow, broken)["third"] == 2, "and nothing is asked twice"

    def test_j26_a_failed_step_that_is_renamed_runs_under_its_new_name(self, store):
        """What was skipped because of it is not skipped any more."""
        BAD.add("first")
        go(chain(), store)
        fix()
        assert go(self.renamed(), store)["third"] == 2

    def test_a_new_step_at_the_end_runs(self, broken):
        flow = chain()

        @flow.step
        def fourth(third: int) -> int:
            return does("fourth", third)

        assert go(flow, broken)["fourth"] == 2
        assert called() == ["fourth", "third"]

    def test_j25_a_step_that_is_gone(self, broken):
        flow = Flow("chain")
        first = flow.add(one, name="first")
        flow.add(three, name="third", second=use(first))
        with pytest.raises(GraphChanged, match="'second' is not in the flow any more"):
            go(flow, broken)
        assert go(flow, broken, options=keep())["third"] == 1

    def test_an_unfinished_step_that_is_gone_is_no_matter(self, broken):
        flow = Flow("chain")
        first = flow.add(one, name="first")
        flow.add(two, name="second", first=use(first))
        assert go(flow, broken).status.value == "succeeded"
        assert called() == []

    def test_j25_mapped_another_way(self, store):
        def flow(mapped: bool) -> Flow:
            made = Flow("mapped")

            @made.step
            def items() -> list[int]:
                return does("items", [1, 2])

            if mapped:

                @made.step
                def work(x: int = each(items)) -> int:
                    return does("work", x)

                @made.step
                def last(xs: list[int] = gather(work)) -> int:
                    return does("last", sum(xs))

            else:

                @made.step(name="work")
                def work_all(x: list[int] = use(items)) -> int:
                    return does("work", sum(x))

                @made.step(name="last")
                def last_all(x: int = use(work_all)) -> int:
                    return does("last", x)

            return made

        BAD.add("last")
        go(flow(True), store)
        fix()
        with pytest.raises(GraphChanged, match="'work' is mapped another way"):
            go(flow(False), store)
        called()
        assert go(flow(False), store, options=rerun())["last"] == 3
        assert called() == ["last", "work"]
        assert go(flow(False), store)["last"] == 3


def test_changes_are_noticed_after_a_crash_too(store):
    from .tools import cut

    cut(chain(), store, '["start","second"')
    with pytest.raises(GraphChanged, match="'first'"):
        go(chain(other_one), store)
    assert go(chain(b=other_two), store)["third"] == 1001


def test_of_a_run_that_has_succeeded_nothing_is_asked(store):
    """There is nothing to be done any more."""
    go(chain(), store)
    called()
    assert go(chain(other_one), store)["third"] == 2
    assert called() == []

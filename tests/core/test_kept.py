"""What is kept is made again when something has changed, and only then."""

from __future__ import annotations

from typing import Any

import pytest

from penstock.core.kept import Kept


class Alike:
    """Equal to every other one, and another object."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Alike)

    def __hash__(self) -> int:
        return 1


class Odd:
    """Cannot be compared."""

    def __eq__(self, other: object) -> bool:
        raise ValueError("no")

    __hash__ = None  # type: ignore[assignment]


def made(*given: tuple[list[Any], list[Any]]) -> list[int]:
    """For each of these, the number of the call that made it."""
    kept: Kept[int] = Kept()
    calls: list[int] = []

    def make() -> int:
        calls.append(len(calls) + 1)
        return calls[-1]

    return [kept.of(values, objects, make) for values, objects in given]


def test_it_is_made_once_as_long_as_everything_stays_the_same() -> None:
    one = Alike()
    assert made(([1, "a"], [one]), ([1, "a"], [one]), ([1, "a"], [one])) == [1, 1, 1]


@pytest.mark.parametrize("values", [[2], [], [1, 1]])
def test_another_value_makes_it_again(values: list[Any]) -> None:
    assert made(([1], []), (values, []), ([1], [])) == [1, 2, 3]


def test_values_are_compared_by_what_they_equal_and_objects_by_what_they_are() -> None:
    one, other = Alike(), Alike()
    assert made(([one], []), ([other], [])) == [1, 1]
    assert made(([], [one]), ([], [other])) == [1, 2]
    assert made(([], [1]), ([], [True])) == [1, 2]


@pytest.mark.parametrize("fewer", [0, 1])
def test_fewer_and_more_objects_are_a_change(fewer: int) -> None:
    one, other = Alike(), Alike()
    assert made(([], [one, other]), ([], [one, other][:fewer]), ([], [one, other])) == [1, 2, 3]


def test_values_that_cannot_be_compared_make_it_again() -> None:
    odd = Odd()
    assert made(([odd], []), ([Odd()], []), ([odd], [])) == [1, 2, 3]


def test_what_could_not_be_made_is_not_kept() -> None:
    kept: Kept[int] = Kept()
    with pytest.raises(ZeroDivisionError):
        kept.of([1], [], lambda: 1 // 0)
    assert kept.of([1], [], lambda: 5) == 5

"""Steps put together by their names."""

from penstock.core.model import NodeStatus
from penstock.observers.groups import grouped
from penstock.observers.rows import Row


def named(*names: str) -> list[Row]:
    return [Row(name, 0) for name in names]


def test_names_that_differ_in_digits_are_one_group():
    rows = named("load", *(f"part_{n:03}" for n in range(10)), *(f"x{n}.y{n}" for n in range(5)))
    found = grouped(rows, 8)
    assert [(group.name, group.size) for group in found] == [("load", 1), ("part_*", 10), ("x*.y*", 5)]
    assert found[0].only is rows[0]


def test_too_many_groups_are_put_together_by_their_first_word():
    words = ("north", "south", "east", "west", "up", "down", "left", "right", "in", "out")
    rows = named(*(f"load_{word}" for word in words), *(f"save_{word}" for word in words))
    assert [(group.name, group.size) for group in grouped(rows, 4)] == [("load_*", 10), ("save_*", 10)]


def test_what_fits_no_group_is_one_more():
    words = ["".join((chr(97 + n // 26), chr(97 + n % 26))) for n in range(50)]
    rows = named(*(f"{word}_{end}" for word in words for end in "xy"), *(f"part_{n}" for n in range(50)))
    found = grouped(rows, 5)
    assert len(found) <= 5
    assert sum(group.size for group in found) == 150
    assert ("part_*", 50) in [(group.name, group.size) for group in found]
    assert found[-1].name == "all others"
    assert [group.name for group in grouped(rows, 1)] == ["all"]


def test_every_row_is_in_one_group():
    rows = named("a_1", "a_2", "b_1", "c")
    for most in (1, 2, 3, 4):
        found = grouped(rows, most)
        assert len(found) <= most
        assert sum(group.size for group in found) == 4
        assert all(row.group in found for row in rows)


def test_a_group_counts_what_moves():
    rows = named("a_1", "a_2", "a_3")
    (group,) = grouped(rows, 1)
    assert group.status is NodeStatus.PENDING
    group.move(NodeStatus.PENDING, NodeStatus.RUNNING)
    assert (group.status, group.done) == (NodeStatus.RUNNING, 0)
    group.move(NodeStatus.RUNNING, NodeStatus.FAILED)
    assert (group.status, group.done) == (NodeStatus.PENDING, 1)
    for _ in range(2):
        group.move(NodeStatus.PENDING, NodeStatus.SUCCEEDED)
    assert (group.status, group.done) == (NodeStatus.FAILED, 3)

"""Previews: parsed data as short texts, whatever the data, and nothing is made of it."""

import json
from collections import Counter, deque
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import PurePosixPath

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.core.codec import preview
from penstock.core.model import NOTHING, Ok
from penstock.core.secrets import Secret

from .codec_kit import VALUES, Color, Line, May, Point, codec


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "None"),
        (True, "True"),
        (5, "5"),
        (1.5, "1.5"),
        (float("nan"), "nan"),
        ("it's", '"it\'s"'),
        ([1, "a", [None]], "[1, 'a', [None]]"),
        ({"a": 1, "b": {"c": []}}, "{'a': 1, 'b': {'c': []}}"),
        ((), "()"),
        ((1,), "(1,)"),
        ((1, (2, 3)), "(1, (2, 3))"),
        ({1: "a", None: 2}, "{1: 'a', None: 2}"),
        ({3, 1}, "{1, 3}"),
        (set(), "set()"),
        (frozenset([1]), "frozenset({1})"),
        (Counter("aa"), "Counter({'a': 2})"),
        (deque([1]), "deque([1])"),
        (range(3), "range(0, 3, 1)"),
        (b"abc", "<bytes, 3 bytes>"),
        (b"x" * 100_000, "<bytes, 100,000 bytes>"),
        (10**700, f"0x{10**700:x}"[:20] + "…"),
        (datetime(2024, 1, 2, 3), "2024-01-02T03:00:00"),
        (timedelta(days=1, seconds=3), "timedelta(1, 3, 0)"),
        (Decimal("1.10"), "1.10"),
        (PurePosixPath("a/b"), "a/b"),
        (1 + 2j, "complex(1.0, 2.0)"),
        (Color.RED, "Color.RED"),
        (May.READ | May.WRITE, "May(3)"),
        (Line(1, "x"), "Line(sku=1, amount='x', total=None)"),
        (Point(1), "Point(x=1, y=None)"),
        (Ok(1), "Ok(value=1, source='run')"),
        (NOTHING, "NOTHING"),
    ],
    ids=lambda item: str(type(item)) if isinstance(item, int) else str(item),
)
def test_values_as_people_know_them(value, text):
    said = preview(json.loads(codec().encode(value)), 60)
    assert said == text if not text.endswith("…") else said.startswith(text[:-1])


@given(VALUES, st.integers(0, 200))
@settings(max_examples=200)
def test_never_longer_than_asked(value, width):
    data = json.loads(codec(inline=100).encode(value))
    said = preview(data, width)
    assert len(said) <= max(width, 1)
    assert said.isprintable()


DATA = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text() | st.integers(),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(
            st.text()
            | st.sampled_from(["$tuple", "$dict", "$data", "$enum", "$blob", "$penstock", "fields", "name"]),
            inner,
        )
    ),
)


@given(DATA)
@settings(max_examples=100)
def test_of_data_that_nobody_has_written(data):
    said = preview(data)
    assert len(said) <= 80
    assert said.isprintable()


def test_no_order_to_a_terminal_goes_through():
    evil = "\x1b[2J\r\n\u202e\0"
    for data in (
        evil,
        [evil],
        {evil: evil},
        {"$enum": evil, "name": evil},
        {"$data": evil, "fields": {evil: evil}},
    ):
        for word in ("$decimal", evil, "$" + evil, "$custom", "$path"):
            for one in (data, {word: evil}, {word: data}):
                assert preview(one).isprintable()


def test_large_data_is_shown_at_once():
    class Counting(list):
        seen = 0

        def __iter__(self):
            for item in super().__iter__():
                Counting.seen += 1
                yield item

    wide = list(range(1_000_000))
    assert preview({"a": wide, "b": "x" * 10_000_000}).startswith("{'a': [0, 1, 2")
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    assert "…" in preview(deep)
    while deep:
        deep = deep[0]  # type: ignore[assignment]


def test_secrets_that_have_come_into_a_text_are_masked():
    secret = Secret("hunter2-and-more")
    assert "hunter2" not in preview({"error": "no login with hunter2-and-more"})
    del secret

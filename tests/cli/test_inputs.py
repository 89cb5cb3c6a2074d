"""Inputs: from text and files to the annotated type, and what is said of those that do not fit."""

import datetime
import decimal
import enum
import json
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, NewType, Optional

import pytest

from penstock.cli.exits import Misuse
from penstock.cli.given import from_text, inputs, missing
from penstock.core.model import Input
from penstock.core.secrets import Secret

UserId = NewType("UserId", int)


class Colour(enum.Enum):
    RED = "red"
    BLUE = 2


@dataclass
class Order:
    number: int


FIT: list[tuple[Any, str, Any]] = [
    (str, "3", "3"),
    (str, '"x"', '"x"'),
    (str, "a=b", "a=b"),
    (str, "", ""),
    (int, "3", 3),
    (int, "-3", -3),
    (float, "3", 3.0),
    (float, "1e-3", 0.001),
    (float, "Infinity", float("inf")),
    (bool, "true", True),
    (Path, "data/a b.csv", Path("data/a b.csv")),
    (Path, '"data/x"', Path("data/x")),
    (Path, "3", Path("3")),
    (datetime.datetime, "2026-01-31T12:00:00", datetime.datetime(2026, 1, 31, 12)),
    (datetime.date, "2026-01-31", datetime.date(2026, 1, 31)),
    (datetime.time, "12:30", datetime.time(12, 30)),
    (decimal.Decimal, "19.99", decimal.Decimal("19.99")),
    (uuid.UUID, "6f1e0a52-7c7a-4c5e-9d0b-3a4f5c6d7e8f", uuid.UUID("6f1e0a527c7a4c5e9d0b3a4f5c6d7e8f")),
    (list, "[1, null]", [1, None]),
    (list[int], "[1, 2]", [1, 2]),
    (list[Path], '["a", "b"]', [Path("a"), Path("b")]),
    (list[float], "[1, 2.5]", [1.0, 2.5]),
    (Sequence[int], "[1]", [1]),
    (Iterable[str], '["a"]', ["a"]),
    (tuple[int, ...], "[1, 2]", (1, 2)),
    (tuple[int, str], '[1, "a"]', (1, "a")),
    (set[int], "[1, 1]", {1}),
    (frozenset[str], '["a"]', frozenset({"a"})),
    (dict, '{"a": 1}', {"a": 1}),
    (dict[str, list[int]], '{"a": [1]}', {"a": [1]}),
    (Mapping[str, Path], '{"a": "b"}', {"a": Path("b")}),
    (Optional[int], "3", 3),  # noqa: UP045
    (Optional[int], "null", None),  # noqa: UP045
    (str | None, "null", None),
    (str | None, "3", "3"),
    (int | str, "3", 3),
    (int | str, "x", "x"),
    (float | int, "3", 3),
    (Path | None, "x", Path("x")),
    (bool | list[int], "[1]", [1]),
    (Literal["a", "b"], "a", "a"),
    (Literal[1, "a"], "1", 1),
    (Colour, "red", Colour.RED),
    (Colour, "BLUE", Colour.BLUE),
    (UserId, "7", 7),
    (Annotated[int, "positive"], "7", 7),
    (Any, '{"a": 1}', {"a": 1}),
    (object, "x", "x"),
    (None, "3", 3),
    (None, "3x", "3x"),
]


@pytest.mark.parametrize(("type_", "text", "value"), FIT)
def test_text_becomes_the_annotated_type(type_, text, value):
    found = from_text(Input("x", type_), text)
    assert found == value
    assert type(found) is type(value)


MISFIT: list[tuple[Any, str, str]] = [
    (int, "x", 'takes int, not "x": that is not JSON\nfor example: --input x=3'),
    (int, "3.0", 'takes int, not "3.0": 3.0 is not int\nfor example: --input x=3'),
    (int, "true", 'takes int, not "true": true is not int\nfor example: --input x=3'),
    (int, "", 'takes int, not "": that is not JSON\nfor example: --input x=3'),
    (float, '"1"', 'takes float, not "\\"1\\"": "1" is not float\nfor example: --input x=0.5'),
    (bool, "1", 'takes bool, not "1": 1 is not bool\nfor example: --input x=true'),
    (bool, "True", 'takes bool, not "True": that is not JSON\nfor example: --input x=true'),
    (
        list[int],
        '[1, "x"]',
        """takes list[int], not "[1, \\"x\\"]": element 2: "x" is not int\nfor example: --input 'x=[3]'""",
    ),
    (list[Path], "a.csv", """takes list[Path], not "a.csv": that is not JSON
for example: --input 'x=["data/orders.csv"]'"""),
    (tuple[int, str], "[1]", """takes tuple[int, str], not "[1]": it has 1 elements, not 2
for example: --input 'x=[3, "text"]'"""),
    (dict[str, int], '{"a": null}', """takes dict[str, int], not "{\\"a\\": null}": at "a": null is not int
for example: --input 'x={"key": 3}'"""),
    (int | None, "x", 'takes int | None, not "x": that is not JSON\nfor example: --input x=3'),
    (
        datetime.date,
        "tomorrow",
        'takes date, not "tomorrow": "tomorrow" is not a date\nfor example: --input x=2026-01-31',
    ),
    (Literal["a", "b"], "c", """takes Literal['a', 'b'], not "c": "c" is none of "a", "b"
for example: --input x=a"""),
    (Colour, "green", 'takes Colour, not "green": "green" is none of RED, BLUE\nfor example: --input x=RED'),
    (list[int], "[" * 100_000, f"""takes list[int], not "{"[" * 58}…: that is not JSON
for example: --input 'x=[3]'"""),
    (Order, "{}", "takes Order, which cannot be written here; run the flow from Python"),
    (list[Order], "[{}]", "takes Order, which cannot be written here; run the flow from Python"),
    (Callable[[], int], "3", "takes Callable[[], int], which cannot be written here; "
     "run the flow from Python"),
    (dict[int, str], '{"1": "a"}', "takes a dict with keys of type int, which cannot be written here; "
     "run the flow from Python"),
]  # fmt: skip


@pytest.mark.parametrize(("type_", "text", "says"), MISFIT)
def test_l07_what_does_not_fit_is_said_with_an_example(type_, text, says):
    with pytest.raises(Misuse) as caught:
        from_text(Input("x", type_), text)
    assert str(caught.value) == f"input 'x' {says}"
    assert caught.value.code == 2
    assert len(str(caught.value).splitlines()) <= 3


KNOWN = (Input("count", int), Input("root", Path), Input("note", str, ""), Input("any"))


def test_a_pair_wins_over_the_file(tmp_path):
    file = tmp_path / "in.json"
    file.write_text(json.dumps({"count": 1, "root": "a", "any": {"x": [1]}}))
    assert inputs(KNOWN, ["count=2"], str(file)) == {"count": 2, "root": Path("a"), "any": {"x": [1]}}


def test_toml_has_dates_of_its_own(tmp_path):
    file = tmp_path / "in.toml"
    file.write_text('day = 2026-01-31\nat = 2026-01-31T12:00:00\nnames = ["a"]\nprice = "1.5"\n')
    known = [
        Input("day", datetime.date),
        Input("at", datetime.datetime),
        Input("names", list[str]),
        Input("price", decimal.Decimal),
    ]
    assert inputs(known, [], str(file)) == {
        "day": datetime.date(2026, 1, 31),
        "at": datetime.datetime(2026, 1, 31, 12),
        "names": ["a"],
        "price": decimal.Decimal("1.5"),
    }


@pytest.mark.parametrize(
    ("pairs", "says"),
    [
        (["count"], '--input takes NAME=VALUE, not "count"'),
        (["=3"], '--input takes NAME=VALUE, not "=3"'),
        (["coutn=3"], "there is no input 'coutn'; did you mean 'count'?"),
        (["zzz=3"], "there is no input 'zzz'; it takes count, root, note, any"),
        (["count=1", "count=2"], "the input 'count' is given twice"),
    ],
)
def test_l07_pairs_that_are_none(pairs, says):
    with pytest.raises(Misuse) as caught:
        inputs(KNOWN, pairs, None)
    assert str(caught.value) == says


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.json", b"{", "it is not JSON: Expecting property name enclosed in double quotes: "
         "line 1 column 2 (char 1)"),
        ("a.json", b"[1]", "it holds [1]; an object with the inputs by name is wanted"),
        ("a.json", b'{"count": 1, "count": 2}', "it is not JSON: 'count' is in it twice"),
        ("a.json", b'{"count": "1"}', 'input \'count\' takes int: "1" is not int'),
        ("a.json", b'{"coutn": 1}', "there is no input 'coutn'; did you mean 'count'?"),
        ("a.json", b"\xff\xfe", "it is not UTF-8"),
        ("a.toml", b"count = ", "it is not TOML: Invalid value (at end of document)"),
    ],
)  # fmt: skip
def test_l07_files_that_hold_something_else(tmp_path, name, content, says):
    file = tmp_path / name
    file.write_bytes(content)
    with pytest.raises(Misuse) as caught:
        inputs(KNOWN, [], str(file))
    assert str(caught.value) == f"{file}: {says}"


def test_l07_a_file_that_is_not_there():
    with pytest.raises(Misuse, match=r"^there is no file 'none\.json'$"):
        inputs(KNOWN, [], "none.json")


def test_what_is_missing_is_said_with_the_option_that_gives_it():
    assert missing(KNOWN, {}) == "--input count=3 --input root=data/orders.csv --input any=VALUE"
    assert missing(KNOWN, {"count": 1, "root": 1, "any": 1}) == ""
    assert missing([Input("**")], {}) == ""


def test_beside_those_that_are_known_any_name_may_be_taken():
    known = [*KNOWN, Input("**", default=None)]
    assert inputs(known, ["count=3", "coutn=3", "x=text"], None) == {"count": 3, "coutn": 3, "x": "text"}
    with pytest.raises(Misuse, match=r"^input 'count' takes int"):
        inputs(known, ["count=x"], None)
    with pytest.raises(Misuse, match=r"^the input 'x' is given twice$"):
        inputs(known, ["x=1", "x=2"], None)


def test_l07_a_missing_input(call, files):
    (files / "asks.py").write_text(
        "from penstock import Flow\nflow = Flow('asks')\n@flow.step\ndef load(path: str) -> int: ...\n"
    )
    assert call("run", "asks.py") == (
        2,
        "",
        "penstock: flow 'asks' needs the input 'path' (step 'load', parameter 'path', str)\n"
        "  give it with: --input path=text\n",
    )
    assert call("run", "asks.py", "--input", "path=x").code == 0


def test_inputs_reach_the_run(call):
    assert "total  45\n" in call("run", "good.py", "-i", "count=10").out


def test_a_secret_is_given_like_any_other_input_and_wrapped():
    known = [Input("token", Secret[str]), Input("pin", Secret[int]), Input("plain", Secret)]
    given = inputs(known, ["token=sword fish", "pin=1234", "plain=x"], None)
    assert {name: type(one) for name, one in given.items()} == dict.fromkeys(given, Secret)
    assert [given[name].reveal() for name in ("token", "pin", "plain")] == ["sword fish", 1234, "x"]


def test_l09_what_was_given_for_a_secret_is_in_no_error_text(tmp_path):
    known = [Input("pin", Secret[int])]
    with pytest.raises(Misuse) as caught:
        inputs(known, ["pin=swordfish"], None)
    assert str(caught.value) == "input 'pin' takes Secret[int], and was given something else"
    file = tmp_path / "a.json"
    file.write_text('{"pin": "swordfish"}')
    with pytest.raises(Misuse) as caught:
        inputs(known, [], str(file))
    assert str(caught.value) == f"{file}: input 'pin' takes Secret[int], and it is something else"
    assert inputs([Input("pin", Secret[str])], [], str(file))["pin"].reveal() == "swordfish"

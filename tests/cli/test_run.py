"""What `penstock run` says: whole texts of the summary and of the lines, and the JSON object."""

import json
import subprocess
import sys

import pytest

from penstock.cli.as_json import NotPlain, plain
from penstock.core.model import Abandoned, NodeStatus, RunStatus
from penstock.core.result import NodeResult, RunResult
from penstock.observers.marks import Signs
from penstock.observers.page import plain as as_text
from penstock.observers.summary import FAILURES, OUTPUTS, SHOWN, brief, summary
from tests.cli.plays import P, begin, broken, chain, fail, start, tally

MAPPED = """\
from penstock import Flow, RetryPolicy, each, gather, use

flow = Flow("orders")

@flow.step
def orders() -> list[int]:
    return list(range(6))

@flow.step(retry=RetryPolicy(max_attempts=2, initial_delay=0.0))
def price(order: int = each(orders)) -> float:
    if order == 4:
        raise LookupError("no price for order 4")
    return order / 2

@flow.step
def total(prices: list[float] = gather(price, failures="drop")) -> float:
    return sum(prices)

@flow.step(when=lambda total: total < 0)
def refund(total: float) -> None: ...

@flow.step(optional=True)
def notify(total: float) -> None:
    raise ConnectionError("mail server\\nis away")

@flow.step
def publish(total: float) -> dict[str, float]:
    return {"total": total}
"""


def words_of(text: str) -> list[str]:
    """The lines of a text, each space in them as one: columns are as wide as the durations in them."""
    return [" ".join(line.split()) for line in text.splitlines()]


def test_a_run_that_fails(call, files):
    told = call("run", "bad.py")
    assert told.code == 1
    assert words_of(told.out.replace(f"{files}/", "")) == [
        "bad run RUN",
        "",
        "✓ load TOOK",
        "✗ parse TOOK ValueError: row 7 is broken",
        "– save parse failed",
        "",
        "parse failed bad.py:11",
        "ValueError: row 7 is broken",
        "second line",
        "",
        "✗ failed in TOOK 1 of 3 steps, 1 failed, 1 skipped",
    ]
    assert (
        told.err
        == """\
TIME  run RUN of bad: 3 steps
TIME  load   started
TIME  load   succeeded in TOOK
TIME  parse  started
TIME  parse  failed after TOOK: ValueError: row 7 is broken
TIME  save   skipped: parse failed
TIME  run RUN failed in TOOK
penstock: to go on: penstock resume RUN
"""
    )


def test_a_map_with_failures_that_are_let_pass(call, files):
    (files / "mapped.py").write_text(MAPPED)
    told = call("run", "mapped.py", "--max-concurrency", "1")
    assert told.code == 0
    assert words_of(told.out.replace(f"{files}/", "")) == [
        "orders run RUN",
        "",
        "✓ orders TOOK",
        "✓ price TOOK 5 ok, 1 failed (tolerated), 1 retry",
        "✓ total TOOK",
        "– refund its condition said no",
        "✗ notify TOOK ConnectionError: mail server (tolerated)",
        "✓ publish TOOK",
        "",
        "price[4] failed mapped.py:12 attempt 2 tolerated",
        "LookupError: no price for order 4",
        "notify failed mapped.py:24 tolerated",
        "ConnectionError: mail server",
        "is away",
        "",
        "publish {'total': 5.5}",
        "",
        "✓ succeeded in TOOK 4 of 6 steps, 1 failed, 1 skipped",
    ]


def test_only_targets_are_run(call):
    told = call("run", "good.py", "--target", "numbers")
    assert (
        told.out
        == """\
sums  run RUN

  ✓ numbers TOOK

numbers  [0, 1, 2]

✓ succeeded in TOOK  1 step
"""
    )


def test_one_json_object_and_nothing_else(call, files):
    (files / "mapped.py").write_text("print('imported')\n" + MAPPED)
    told = call("run", "mapped.py", "--json")
    assert told.code == 0
    assert "imported" in told.err
    found = json.loads(told.out)
    assert set(found) == {
        "run_id", "flow", "status", "reason", "began", "duration", "nodes", "outputs", "outputs_left_out",
        "tolerated", "abandoned", "warnings",
    }  # fmt: skip
    assert (found["run_id"], found["flow"], found["status"]) == ("RUN", "orders", "succeeded")
    assert found["outputs"] == {"publish": {"total": 5.5}}
    assert sorted(found["tolerated"]) == ["notify", "price[4]"]
    for node in found["nodes"].values():
        node.pop("duration")
    assert found["nodes"] == {
        "orders": {"status": "succeeded", "attempts": 1, "reason": None},
        "price": {
            "status": "succeeded",
            "attempts": 7,
            "reason": None,
            "items": {"total": 6, "succeeded": 5, "failed": 1, "skipped": 0, "cancelled": 0},
            "failures": {"price[4]": "LookupError: no price for order 4"},
        },
        "total": {"status": "succeeded", "attempts": 1, "reason": None},
        "refund": {"status": "skipped", "attempts": 0, "reason": "its condition said no"},
        "notify": {"status": "failed", "attempts": 1, "reason": "ConnectionError: mail server\nis away"},
        "publish": {"status": "succeeded", "attempts": 1, "reason": None},
    }


def test_what_steps_and_their_children_print_is_not_in_the_json(program, files):
    (files / "loud.py").write_text(
        "import os, subprocess, sys\nfrom penstock import Flow\nflow = Flow('loud')\nprint('import')\n"
        "@flow.step\ndef shout() -> float:\n"
        "    print('step')\n    os.write(1, b'descriptor\\n')\n"
        "    subprocess.run([sys.executable, '-c', 'print(\"child\")'], check=True)\n"
        "    return float('nan')\n"
    )
    done = program("run", "loud.py", "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout)["outputs"] == {"shout": "NaN"}
    assert done.stdout.count(b"\n") == 1
    assert {b"import", b"step", b"descriptor", b"child"} <= set(done.stderr.splitlines())


def test_values_that_json_has_and_those_it_has_not():
    whole = [None, True, 1, 1.5, "é\ud800", {"a": (1, [2])}, float("inf"), float("-inf"), float("nan")]
    expected = [None, True, 1, 1.5, "é\ud800", {"a": [1, [2]]}, "Infinity", "-Infinity", "NaN"]
    assert plain(whole) == expected
    assert json.loads(json.dumps(plain(whole), allow_nan=False)) == expected
    circle: list[object] = []
    circle.append(circle)
    for value in (b"x", {1}, {1: 2}, object(), NodeStatus.FAILED, [object()], circle, 10**5000):
        with pytest.raises(NotPlain):
            plain(value)


def test_outputs_that_are_not_plain_are_named(call, files):
    (files / "set.py").write_text(
        "from penstock import Flow\nflow = Flow('x')\n@flow.step\ndef one() -> set[int]:\n    return {1}\n"
    )
    found = json.loads(call("run", "set.py", "--json").out)
    assert (found["outputs"], found["outputs_left_out"]) == ({}, ["one"])
    assert "one  {1}\n" in call("run", "set.py").out


def told_of(count: int, status: NodeStatus) -> list[str]:
    """The summary of a run with many steps, one of which failed."""
    from penstock.core.graph import Graph
    from penstock.core.model import Node

    graph = Graph("many", [Node(f"n{number:03}", int) for number in range(count)])
    nodes = {f"n{number:03}": NodeResult(f"n{number:03}", status, attempts=1) for number in range(count)}
    nodes["n007"] = NodeResult("n007", NodeStatus.FAILED, failure=broken(), attempts=1, duration=1.0)
    play = [begin(graph), start(P("n007"), 0), fail(P("n007"), 1)]
    outputs = {f"n{number:03}": number for number in range(count) if number != 7}
    result = RunResult("r1", RunStatus.FAILED, nodes, lambda: outputs, duration=61.0)
    return [as_text(line) for line in summary(tally(graph, play), result, 100, Signs())]


def test_of_many_steps_those_that_succeeded_are_one_line():
    assert told_of(200, NodeStatus.SUCCEEDED) == [
        "many  run r1",
        "",
        "  ✗ n007  1.0 s  ValueError: no",
        "  ✓ 199 steps succeeded",
        "",
        "n007 failed  app.py:7",
        "    ValueError: no",
        "",
        *(f"n{number:03}  {number}" for number in range(OUTPUTS + 1) if number != 7),
        f"and {199 - OUTPUTS} more outputs",
        "",
        "✗ failed in 1 min 01 s  199 of 200 steps, 1 failed",
    ]


def test_of_many_steps_that_were_skipped_some_are_shown():
    lines = told_of(200, NodeStatus.SKIPPED)
    assert lines.count("  – 179 more steps skipped") == 1
    assert sum(line.startswith("  – n") for line in lines) == SHOWN
    assert len(told_of(40, NodeStatus.SKIPPED)) > 40


def test_of_many_failures_the_first_are_told():
    graph = chain()
    text = "a\n" * 9
    failures = {id: NodeResult(id, NodeStatus.FAILED, failure=broken(text)) for id in graph.index}
    play = [begin(graph), *(fail(P(id), 1, text) for id in failures)]
    result = RunResult(
        "r1",
        RunStatus.FAILED,
        failures,
        dict,
        abandoned=(Abandoned("penstock-1", "load"),),
        warnings=("observer x raised",),
    )
    lines = [as_text(line) for line in summary(tally(graph, play), result, 100, Signs("ascii"))]
    assert lines[6:] == [
        *("load failed  app.py:7", "    ValueError: a", "    a", "    a", "    a", "    ..."),
        *("parse failed  app.py:7", "    ValueError: a", "    a", "    a", "    a", "    ..."),
        *("save failed  app.py:7", "    ValueError: a", "    a", "    a", "    a", "    ..."),
        "",
        "abandoned: penstock-1 (load) could not be stopped and goes on by itself",
        "warning: observer x raised",
        "",
        "x failed in < 1 ms  0 of 3 steps, 3 failed",
    ]
    assert FAILURES >= 3


class Silent:
    def __repr__(self) -> str:
        raise RuntimeError("no")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("plain", "plain"),
        ("", "''"),
        ("two\nlines", "'two\\nlines'"),
        (list(range(100)), "[0, 1, 2, 3, 4, 5, ...]"),
        ({"a": [1, 2]}, "{'a': [1, 2]}"),
        ("\x1b[31m", "'\\x1b[31m'"),
        ("x" * 1000, "x" * 599 + "…"),
    ],
)
def test_outputs_are_told_in_short(value, text):
    assert brief(value) == text


def test_an_output_whose_repr_raises_is_told_all_the_same():
    assert brief(Silent()).startswith("<Silent instance at ")
    assert brief([Silent()]).startswith("[<Silent instance at ")


def test_help_loads_no_more_than_it_needs():
    script = (
        "import sys; sys.argv = ['penstock', '--help']\n"
        "from penstock.cli import main\nassert main() == 0\n"
        "print(sorted(name for name in sys.modules if name.partition('.')[0] in "
        "('penstock', 'asyncio', 'sqlite3', 'rich', 'rich_argparse')), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stderr == (
        "['penstock', 'penstock.cli', 'penstock.cli.app', 'penstock.cli.exits', 'penstock.cli.streams']\n"
    )
    assert done.stdout.startswith("usage: penstock COMMAND ...\n")


def test_the_version(call):
    from penstock import __version__

    assert call("--version").out == f"penstock {__version__}\n"


def test_help_names_every_command_and_exit_code(call):
    out = call("--help").out
    assert all(f"\n  {name} " in out for name in ("run", "graph", "list"))
    assert all(f"{code} " in out for code in (0, 1, 2, 3, 4, 5, 130, 143))
    for name in ("run", "graph", "list"):
        assert call(name, "--help").out.startswith(f"usage: penstock {name} ")


def test_drawings(call):
    assert (
        call("graph", "good.py").out
        == """\
sums · 2 steps · 2 levels

inputs
  count  int = 3

steps
●  numbers    input count
●  total      use numbers
"""
    )
    assert call("graph", "good.py", "--format", "mermaid").out.startswith("flowchart TD\n")
    assert call("graph", "good.py", "--format", "dot").out.startswith('digraph "sums" {\n')


def test_a_number_that_is_none_is_refused_in_words(call):
    for given in ("0", "-1", "two", "1.5"):
        told = call("run", "good.py", f"--max-concurrency={given}")
        assert told.err.startswith(
            f"penstock: argument --max-concurrency: takes a number of 1 or more, not {given!r}\n"
        )


def test_a_map_that_failed_altogether_is_no_value(call, files):
    text = MAPPED_FAILS.replace("KEEP", "n < 0")
    (files / "fails.py").write_text(text)
    assert "0 items" not in call("run", "fails.py").out
    (files / "some.py").write_text(text.replace("n < 0", "n < 1"))
    assert "\nwork  1 item: [0]\n" in call("run", "some.py").out
    (files / "empty_map.py").write_text(text.replace("range(3)", "range(0)"))
    assert "\nwork  0 items: []\n" in call("run", "empty_map.py").out


MAPPED_FAILS = """\
from penstock import Flow, each

flow = Flow("fails")

@flow.step
def numbers() -> list[int]:
    return list(range(3))

@flow.step
def work(n: int = each(numbers)) -> int:
    assert KEEP
    return n
"""

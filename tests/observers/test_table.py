"""The table of a notebook, as HTML."""

import sys
from html.parser import HTMLParser
from types import ModuleType, SimpleNamespace
from typing import Any

from penstock.core import events as e
from penstock.core.graph import Graph
from penstock.core.model import Need, Node
from penstock.core.ports import Upcoming
from penstock.core.visible import one_line
from penstock.observers import notebook
from penstock.observers.face import Shown
from penstock.observers.frames import Frames
from tests.cli.plays import P, begin, broken, call, chain, fail, finish, mapped, start, succeed, tally
from tests.cli.test_live import busy
from tests.payloads import PAYLOADS


class Checked(HTMLParser):
    """Tags that are opened are closed, and nothing but those that the table needs occurs."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()
        self.attributes: set[str] = set()
        self.text = ""

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.open.append(tag)
        self.seen.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def parsed(graph: Graph, play: list[Any], now: float) -> Checked:
    checked = Checked()
    checked.feed(notebook.table(Frames(tally(graph, play)).at(now, 30)))
    checked.close()
    assert checked.open == []
    return checked


def test_a_table_of_a_map():
    found = parsed(mapped(), busy(), 14.0)
    assert found.seen == {"div", "b", "span", "table", "tbody", "tr", "td"}
    for text in ("mapped", "601 of 1,200 items", "1 failed", "10 s left", "ValueError: no", "1 of 4 steps"):
        assert text in found.text


KNOWN = {"style", "role", "aria-valuemin", "aria-valuemax", "aria-valuenow"}


def evil_run(evil: str) -> tuple[Graph, list[Any]]:
    """A run that has this text wherever a run may have one of its own."""
    nodes = [Node(name, call) for name in ("source", "other", "third", "fourth")]
    graph = Graph("evil", [*nodes, Node("work", call, (Need("source", "each", "x"),))])
    items = [P("work", (f"{number}{evil}",)) for number in range(3)]
    play: list[Any] = [begin(graph)._replace(run_id=evil, flow=evil), e.NodeExpanded(P("work"), 3)]
    play += [start(P("source"), 0), fail(P("source"), 1, evil), start(P("other"), 0)]
    play += [e.Logged(P("other"), 1, evil, {"k": evil}), e.Progressed(P("other"), 1, 2, evil)]
    play += [e.NodeWaiting(P("third"), 1, 1.0, None, evil, "str"), start(P("fourth"), 0)]
    play += [e.NodeRetrying(P("fourth"), 1, broken(evil), 9.0, 0.0, 1.0), e.CancelAsked(evil, 1.0)]
    play += [*(start(item, 0) for item in items), fail(items[0], 1, evil), e.Logged(items[1], 1, evil, {})]
    return graph, play


def test_u06_nothing_of_a_run_is_markup():
    """Every payload becomes text: no element and no attribute comes of it."""
    for payload in PAYLOADS:
        graph, play = evil_run(payload)
        found = parsed(graph, play, 2.0)
        assert found.seen <= {"div", "b", "span", "table", "tbody", "tr", "td"}, payload
        assert found.attributes <= {"style", "role", "aria-valuemin", "aria-valuemax", "aria-valuenow"}, (
            payload
        )
        assert found.text.count(one_line(payload)) >= 6, payload


def test_l06_control_characters_are_shown_as_text():
    play: list[Any] = [begin(chain()), start(P("load"), 0), e.Logged(P("load"), 1, "\x1b[2J\u202ex", {})]
    play.append(e.Progressed(P("load"), 1, 2, "\u202ey"))
    shown = parsed(chain(), play, 1.0).text
    assert "\\x1b[2J\\u202ex" in shown
    assert "\\u202ey" in shown


def test_there_is_no_notebook_without_a_kernel(monkeypatch):
    monkeypatch.delitem(sys.modules, "IPython", raising=False)
    assert not notebook.in_notebook()


class Display:
    """What a kernel's IPython does for us."""

    def __init__(self) -> None:
        self.shown: list[tuple[str, dict[str, str], str]] = []

    def display(self, data: dict[str, str], *, raw: bool, display_id: str) -> None:
        assert raw
        self.shown.append(("new", data, display_id))

    def update_display(self, data: dict[str, str], *, raw: bool, display_id: str) -> None:
        assert raw
        self.shown.append(("same", data, display_id))


def test_one_display_is_updated_and_the_last_picture_stays(monkeypatch):
    python, display = ModuleType("IPython"), Display()
    python.get_ipython = lambda: SimpleNamespace(kernel=1)  # type: ignore[attr-defined]
    python.display = display  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", python)
    assert notebook.in_notebook()
    follower = Shown().for_run(Upcoming("r", chain()))
    play: list[Any] = [begin(chain()), start(P("load"), 0), succeed(P("load"), 1)]
    for event in play:
        follower(event)
    follower(finish())
    assert display.shown[0][0] == "new"
    assert {how for how, _, _ in display.shown[1:]} == {"same"}
    assert len({id for _, _, id in display.shown}) == 1
    last = display.shown[-1][1]
    assert "1 of 3 steps" in last["text/html"]
    assert "1 of 3 steps" in last["text/plain"]
    assert last["text/plain"].splitlines()[3].startswith("✓ load")

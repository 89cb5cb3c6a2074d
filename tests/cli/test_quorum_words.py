"""What the command line says of a quorum out of reach, where nothing has failed that could be shown."""

import json

from penstock.core.graph import Graph
from penstock.core.model import RunOptions
from penstock.observers.live import picture
from penstock.observers.marks import Signs
from penstock.observers.page import plain
from penstock.observers.tally import Tally

FEW = """\
from penstock import Flow, Quorum, each, gather

flow = Flow("few")

@flow.step
def numbers() -> list[int]:
    return [1, 2, 3]

@flow.step
def work(n: int = each(numbers)) -> int:
    return n

@flow.step
def total(ns: list[int] = gather(work, failures=Quorum(5))) -> int:
    return sum(ns)
"""

WHY = "Quorum(5) of 'work' cannot be reached: it has 3 items"


def test_lines_and_summary_have_the_reason(call, files):
    (files / "few.py").write_text(FEW)
    told = call("run", "few.py")
    assert told.code == 1
    assert f"total    skipped: {WHY}" in told.err
    assert f"\nthe run failed: {WHY}\n" in told.out
    assert "work failed" not in told.err + told.out


def test_so_does_the_object(call, files):
    (files / "few.py").write_text(FEW)
    told = json.loads(call("run", "few.py", "--json").out)
    assert (told["status"], told["reason"]) == ("failed", WHY)
    assert json.loads(call("run", "good.py", "--json").out)["reason"] is None


def test_so_does_the_live_table(files):
    names: dict[str, object] = {}
    exec(FEW, names)
    flow = names["flow"]
    graph = flow.graph()  # type: ignore[attr-defined]
    assert isinstance(graph, Graph)
    tally = Tally(graph)
    flow.run(options=RunOptions(observers=[tally]))  # type: ignore[attr-defined]
    shown = [plain(line) for line in picture(tally, 1.0, 120, 24, Signs(None))]
    assert any(WHY in line for line in shown)

"""The table against the field: what is measured, where, and what the pages say. No peer is installed here."""

import json
import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from bench import durable_floors, graphs, page
from bench.measure import Spread
from bench.peers import __main__ as peers
from bench.peers import apart, environments, measuring
from bench.peers import page as peers_page
from bench.peers.environments import Environment, Failed
from bench.peers.rows import PEERS, ROWS, STARTS, Row, chosen

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "bench" / "peers"


@pytest.fixture
def room(tmp_path, monkeypatch):
    monkeypatch.setattr(durable_floors, "ROOM", tmp_path / "room")
    monkeypatch.setattr(peers, "PAGE", tmp_path / "peers.md")
    monkeypatch.setattr(peers, "PERFORMANCE", tmp_path / "performance.md")
    return tmp_path


# --- rows ---------------------------------------------------------------------------------------------------


def test_the_whole_field_is_measured():
    asked = {"dagster", "dask", "dbos", "hamilton", "langgraph", "luigi", "prefect", "ray"}
    assert set(PEERS) == asked == {start.peer for start in STARTS}
    for peer in asked - {"dbos"}:  # it records every step
        shapes = {row.shape for row in ROWS if row.peer == peer and row.section == "memory"}
        assert shapes == {"chain", "wide", "layered", "map"}, peer
    for peer in asked:
        assert any(row.peer == peer and row.section == "sleeping" for row in ROWS), peer
    for peer in ("dbos", "langgraph", "hamilton", "luigi", "dagster", "prefect"):
        assert any(row.peer == peer and (row.section, row.shape) == ("durable", "chain") for row in ROWS)


def test_every_row_is_of_a_script_and_stands_once():
    assert len({row[:6] for row in ROWS}) == len(ROWS)
    for row in ROWS:
        assert (FOLDER / f"{row.script}_run.py").is_file()
        assert (FOLDER / f"requirements-{row.peer}.txt").is_file()
        assert row.rounds >= 2
    for start in STARTS:
        assert (measuring.HELLO / f"{start.script}_hello.py").is_file()


def test_rows_of_one_table_line_tell_of_one_setting():
    for row in ROWS:
        same = [one for one in ROWS if (one.section, one.title) == (row.section, row.title)]
        if row.section == "memory":
            assert {(one.how, one.own, one.rounds) for one in same} == {(row.how, row.own, row.rounds)}


def test_quick_rows_are_small_and_few():
    rows, starts = chosen(["luigi", "ray"], quick=True)
    assert {row.peer for row in rows} == {start.peer for start in starts} == {"luigi", "ray"}
    assert all(row.rounds == 1 and row.steps <= 1_000 for row in rows)


# --- environments -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("peer", PEERS)
def test_the_versions_of_peers_are_pinned_with_hashes_and_say_not_where_they_come_from(peer):
    text = environments.pins_of(peer).read_text("utf-8")
    pin = re.compile(r"[A-Za-z0-9_.-]+(\[[a-z0-9_,-]+\])?==[0-9a-z.+]+( ; .+?)? \\")
    for line in text.splitlines():
        if not line.startswith((" ", "#")):
            assert pin.fullmatch(line), line
    assert text.count("--hash=sha256:") >= len(re.findall("(?m)^[a-z]", text))
    assert "://" not in text
    for wanted in environments.pins_of(peer).with_suffix(".in").read_text("utf-8").splitlines():
        assert not re.search("==", wanted) or f"\n{wanted} " in f"\n{text}"


def test_peers_can_reach_nothing_but_this_machine():
    code = """
import socket
from bench.peers import apart

apart.stay_here()
for address in (("192.0.2.1", 9), ("203.0.113.7", 443)):
    for way in ("connect", "connect_ex"):
        try:
            getattr(socket.socket(), way)(address)
        except ConnectionRefusedError as error:
            print(error)
server = socket.create_server(("127.0.0.1", 0))
print(socket.create_connection(server.getsockname()).getpeername()[0])
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    told = ["a peer wanted to talk to 192.0.2.1"] * 2 + ["a peer wanted to talk to 203.0.113.7"] * 2
    assert done.stdout.splitlines() == [*told, "127.0.0.1"]


def test_peers_see_nothing_of_the_users_settings(monkeypatch, tmp_path):
    for name in ("LANGSMITH_API_KEY", "DBOS_CONDUCTOR_KEY", "PREFECT_API_URL", "RAY_ADDRESS", "DASK_CONFIG"):
        monkeypatch.setenv(name, "secret")
    monkeypatch.setenv("LANGSMITH_TRACING", "true")
    given = apart.environment(tmp_path, (tmp_path / "more",))
    assert "secret" not in given.values()
    assert given["LANGSMITH_TRACING"] == "false"
    assert given["PATH"]
    assert given["HOME"] == given["PREFECT_HOME"] == str(tmp_path)
    assert given["PYTHONPATH"].endswith(str(tmp_path / "more"))


def test_an_environment_is_made_once_for_its_pins(room, monkeypatch):
    made = []

    def call(command, **how):
        made.append(command)
        (durable_floors.ROOM / "peers" / "luigi").mkdir(parents=True, exist_ok=True)
        return ""

    monkeypatch.setattr(environments, "call", call)
    first = environments.environment("luigi")
    assert len(made) == 2
    assert "--require-hashes" in made[1]
    assert environments.environment("luigi") == first
    assert len(made) == 2
    (durable_floors.ROOM / "peers" / "luigi" / "installed.txt").write_text("others", encoding="utf-8")
    environments.environment("luigi")
    assert len(made) == 4


def test_why_a_command_failed_is_its_last_word():
    with pytest.raises(Failed, match=r"^ValueError: no$"):
        environments.call([sys.executable, "-c", "raise ValueError('no')"])
    with pytest.raises(Failed, match="not done after 0 s"):
        environments.call([sys.executable, "-c", "import time; time.sleep(60)"], seconds=0.1)


def test_what_a_command_has_started_ends_with_it_when_it_is_given_up(tmp_path, monkeypatch):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    child = (
        f"import time; kept = open({str(pipe)!r}, 'w'); kept.write('there'); kept.flush(); time.sleep(600)"
    )
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    is_there, is_gone = threading.Event(), threading.Event()

    def read():
        with pipe.open() as end:
            end.read(5)
            is_there.set()
            end.read()  # comes to an end when nobody holds the pipe any more
            is_gone.set()

    def communicate(self, timeout=None, real=subprocess.Popen.communicate):
        if timeout is None:
            return real(self)
        assert is_there.wait(60)
        raise subprocess.TimeoutExpired(self.args, timeout)

    monkeypatch.setattr(subprocess.Popen, "communicate", communicate)
    threading.Thread(target=read, daemon=True).start()
    with pytest.raises(Failed, match="not done after 5 s"):
        environments.call([sys.executable, "-c", code], seconds=5)
    assert is_gone.wait(60)


# --- measuring ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "steps", "value"),
    [("chain", 7, 7), ("loop", 7, 7), ("wide", 7, 10), ("map", 4, 10), ("apart", 5, 5)],
)
def test_what_a_run_is_to_give(shape, steps, value):
    assert measuring.expected(shape, steps) == value


def test_what_layers_and_sleepers_give_tells_a_wrong_run_from_a_right_one():
    assert len({measuring.expected("layered", steps) for steps in (200, 300, 500, 1_000)}) == 4
    seconds, needs = graphs.irregular()
    assert measuring.expected("sleeping", 60) == sum(seconds[step] for step in graphs.sinks(needs))


@pytest.mark.parametrize("how", ["inline", "threads", "coroutines"])
def test_the_floor_and_penstock_give_it(room, how):
    where = measuring.here()
    for shape in ("chain", "wide", "layered", "map", "apart"):
        for name in ("floor", "penstock"):
            assert measuring.script(where, name, shape, how, 60)["us"] > 0


def test_a_durable_run_of_penstock_and_its_floor_leave_their_bytes(room):
    found = measuring.script(measuring.here(), "penstock", "chain", "functions power", 30)
    assert found["journal"]
    assert found["bytes"] > 0
    assert measuring.script(measuring.here(), "floor", "rows", "power", 30)["bytes"] > durable_floors.ROW


def test_a_script_that_gives_something_else_is_not_measured(room, monkeypatch):
    where = Environment(Path(sys.executable), room)
    monkeypatch.setattr(measuring, "call", lambda command, **how: 'a word\n{"us": 1, "value": 7}\nand one\n')
    with pytest.raises(Failed, match="floor gave 7, not 8"):
        measuring.script(where, "floor", "chain", "inline", 8)
    monkeypatch.setattr(measuring, "call", lambda command, **how: "nothing of use\n")
    with pytest.raises(Failed, match="floor reported nothing"):
        measuring.script(where, "floor", "chain", "inline", 8)


def test_a_script_of_three_steps_that_prints_something_else_is_not_measured(room, monkeypatch):
    monkeypatch.setattr(measuring, "call", lambda command, **how: "13\n")
    with pytest.raises(Failed, match=r"floor_threads\.py printed '13', not '12'"):
        measuring.start(STARTS[0], Environment(Path(sys.executable), room))


# --- the pages ----------------------------------------------------------------------------------------------


def fake_script(where, name, shape, how, steps):
    """A peer takes four times as long as Penstock, but for Dask's threads, which take half of it."""
    us = {"floor": 200.0, "penstock": 250.0, "dask": 125.0}.get(name, 1_000.0)
    versions = {name: "9.9"}
    return {"us": us, "bytes": 300.0, "journal": "wal", "sqlite": "3", "versions": versions, "value": 1}


@pytest.fixture
def field(room, monkeypatch):
    """Environments and scripts that are not there."""
    monkeypatch.setattr(peers, "environment", lambda peer: Environment(room / peer, room / peer))
    monkeypatch.setattr(measuring, "script", fake_script)
    monkeypatch.setattr(measuring, "whole", lambda where, path: 0.2 if "penstock" in path.name else 1.5)
    monkeypatch.setattr(measuring, "imported", lambda where, module: 0.05)
    return room


def test_the_page_holds_all_that_was_measured(field):
    assert peers.main(["--quick"]) == 0
    assert not (field / "peers.md").exists()
    assert peers.main([]) == 0
    text = (field / "peers.md").read_text("utf-8")
    for row in ROWS:
        assert f"| {row.title} |" in text
    for start in STARTS:
        assert f"| {start.title} | {start.rounds} | 50 ms | 1.50 s | 7.50 × |" in text
    cell = "1.00 ms, 4.00 ×"
    assert f"| Ray, tasks on 2 workers | 1,000 (chain 300) | 2 | processes |{f' {cell} |' * 4}" in text
    told = "functions, `power` | 200 µs | 250 µs | 1.00 ms | 4.00 × |"
    assert f"| DBOS on SQLite, functions | chain | 300 | 5 | {told}" in text
    assert "prefect 9.9" in text
    assert str(field) not in text
    assert "Not measured" not in text


def test_the_page_says_where_another_is_quicker(field):
    peers.main([])
    text = (field / "peers.md").read_text("utf-8")
    quicker = text.split("Quicker than Penstock in these runs:")[1].split(page.END)[0]
    assert "* Dask, `dask.threaded.get`: chain, 1,000" in quicker
    assert "Ray" not in quicker


def test_nobody_quicker_is_said_too():
    row = ROWS[0]._replace(rounds=1)
    told = {"us": 2.0, "versions": {}, "sqlite": "3"}
    results = peers_page.Results([measuring.Measured(row, [told], [{**told, "us": 1.0}], [told])], [])
    assert "No engine was quicker than Penstock" in peers_page.page(results)


def test_a_peer_that_cannot_be_installed_is_named_and_the_rest_stands(field, monkeypatch, capsys):
    def environment(peer):
        if peer == "dbos":
            raise Failed("no route to any registry")
        return Environment(field / peer, field / peer)

    monkeypatch.setattr(peers, "environment", environment)
    assert peers.main([]) == 1
    assert "not measured: dbos: could not be installed: no route to any registry" in capsys.readouterr().out
    text = (field / "peers.md").read_text("utf-8")
    assert "* dbos: could not be installed: no route to any registry" in text
    assert "DBOS on SQLite, functions" not in text
    assert "| LangGraph, `invoke` |" in text


def test_a_row_that_fails_is_named_and_the_rest_stands(field, monkeypatch):
    def script(where, name, shape, how, steps):
        if (name, shape) == ("hamilton", "wide"):
            raise Failed("it fell over")
        return fake_script(where, name, shape, how, steps)

    monkeypatch.setattr(measuring, "script", script)
    assert peers.main([]) == 1
    text = (field / "peers.md").read_text("utf-8")
    assert "* Hamilton, driver: wide, 1,000: it fell over" in text
    assert "| Hamilton, driver | 1,000 | 5 | inline | 1.00 ms, 4.00 × | – |" in text


def test_the_tables_stand_in_the_page_of_penstocks_own_rows_too(field):
    own = field / "performance.md"
    own.write_text("# Performance\n\nOurs.\n", encoding="utf-8")
    peers.main([])
    first = own.read_text("utf-8")
    assert first.startswith("# Performance\n\nOurs.\n\n## Beside others\n")
    assert "### In memory" in first
    assert "\n## In memory" not in first
    assert "What is not like for like\n" not in first
    peers.main([])
    assert own.read_text("utf-8") == first
    text = (field / "peers.md").read_text("utf-8")
    assert page.with_peers("# Performance\n\nOurs.\n", text) == first
    assert page.with_peers("# Performance\n", "a page without tables") == "# Performance\n"


def test_part_of_the_field_is_written_only_where_it_is_asked_for(field):
    assert peers.main(["--only", "luigi"]) == 0
    assert not (field / "peers.md").exists()
    assert peers.main(["--only", "luigi", "--out", str(field / "part.md")]) == 0
    text = (field / "part.md").read_text("utf-8")
    assert "| Luigi, targets in files |" in text
    assert "Prefect, with" not in text.split(page.END)[0]


def test_figures_for_people():
    assert peers_page.times(Spread(3.4, 3.21, 120.0)) == "3.40 × (3.21–120)"
    assert peers_page.a_step([{"us": 12.34}]) == "12.3 µs"
    assert peers_page.a_step([{"us": 1_234.0}]) == "1.23 ms"
    assert peers_page.a_process([0.0123]) == "12 ms"
    assert peers_page.a_process([14.345]) == "14.34 s" or peers_page.a_process([14.345]) == "14.35 s"
    assert peers_page.size([{"bytes": 9_000}]) == "9,000 B"
    assert peers_page.size([{"bytes": 73_400}]) == "73 KB"


def test_a_ratio_is_made_round_by_round():
    row = Row("memory", "x", "x", "X", "chain", "h", 10, "inline", 3)
    peer, own = [{"us": us} for us in (10.0, 30.0, 10.0)], [{"us": us} for us in (5.0, 10.0, 1.0)]
    assert measuring.Measured(row, peer, own, []).ratio.median == 3.0


def test_a_report_is_one_line_of_json(tmp_path, capsys):
    apart.report(apart.Asked("chain", "inline", 4, tmp_path / "none.db"), lambda: 4, ("pytest",))
    found = json.loads(capsys.readouterr().out)
    assert found["value"] == 4
    assert found["journal"] is None
    assert list(found["versions"]) == ["pytest"]

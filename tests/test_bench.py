"""The bench: its floors do the same work as Penstock, and every row can be measured. No time is asserted."""

import asyncio
import re
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

from bench import __main__ as bench
from bench import (
    cost_rows,
    durable_floors,
    durable_rows,
    floors,
    memory,
    page,
    process,
    run_rows,
    shapes,
    sleeping,
    traces,
)
from bench.measure import Line, Scale, Spread, same_values, spread
from bench.peers import __main__ as peers
from bench.peers import apart
from penstock import RunOptions

ROOT = Path(__file__).resolve().parents[1]
TINY = Scale("tiny", 20, 60, 25, 2, 1, 1, 1, 1, 2_000)
SIZES = (2, 3, 20, 137)
MAKERS = [*shapes.SHAPES, lambda steps: shapes.layered(steps, 5)]


def all_shapes():
    return [make(steps) for make in MAKERS for steps in SIZES]


# --- the floors give what Penstock gives --------------------------------------------------------------------


@pytest.mark.parametrize("shape", all_shapes(), ids=lambda shape: f"{shape.name}-{len(shape.needs)}")
@pytest.mark.parametrize("options", [None, shapes.Options(timeout=False)], ids=["defaults", "options"])
def test_plain_floors_agree(shape, options):
    dag, flow = shapes.dag_of(shape, shapes.SYNC), shapes.flow_of(shape, shapes.SYNC, options)
    assert floors.loop(dag) == floors.threads(dag)
    assert same_values(floors.loop(dag), flow.run(runner="inline"))
    assert same_values(floors.loop(dag), flow.run())


@pytest.mark.parametrize("shape", all_shapes(), ids=lambda shape: f"{shape.name}-{len(shape.needs)}")
@pytest.mark.parametrize("family", [shapes.COROUTINE, shapes.NAPPING, shapes.WAITING], ids=lambda f: f.name)
def test_coroutine_floors_agree(shape, family):
    dag, flow = shapes.dag_of(shape, family), shapes.flow_of(shape, family)
    values = asyncio.run(floors.tasks(dag))
    assert values == asyncio.run(floors.capped_tasks(dag, 3))
    assert set(values) == set(shape.needs)
    assert same_values(values, flow.run())
    assert same_values(values, flow.run(options=RunOptions(max_concurrency=3)))


@pytest.mark.parametrize("family", [shapes.SYNC, shapes.COROUTINE], ids=lambda family: family.name)
def test_maps_agree(family):
    pairs = [
        (shapes.map_dag(25, family), shapes.map_flow(25, family)),
        (shapes.nested_dag(5, family), shapes.nested_flow(5, family)),
    ]
    for dag, flow in pairs:
        plain = family is shapes.SYNC
        values = floors.loop(dag) if plain else asyncio.run(floors.tasks(dag))
        result = flow.run(runner="inline") if plain else flow.run()
        assert same_values(values, result)


def test_values_that_differ_are_noticed():
    shape = shapes.chain(3)
    result = shapes.flow_of(shape, shapes.SYNC).run()
    assert not same_values({**floors.loop(shapes.dag_of(shape, shapes.SYNC)), "s2": 0}, result)


@pytest.mark.parametrize("at", range(3), ids=["chain", "wide", "layered"])
def test_loops_that_define_make_the_same_graphs(at):
    shape, flow = shapes.SHAPES[at](150), cost_rows.DEFINERS[at](150)
    found = {node.id: tuple(need.node for need in node.needs) for node in flow.graph().nodes}
    assert found == shape.needs


def test_the_sleeping_graph_keeps_order_on_both_sides():
    durations, needs = sleeping.irregular()
    order = list(needs)
    assert all(order.index(need) < order.index(step) for step, mine in needs.items() for need in mine)
    assert sleeping.critical_path(durations, needs) < sleeping.level_barrier(durations, needs) / 2


# --- the traces ---------------------------------------------------------------------------------------------


def test_players_agree_on_what_leaves_no_choice():
    trace = traces.Trace("chain", {"a": 1.0, "b": 2.0, "c": 4.0}, {"a": (), "b": ("a",), "c": ("b",)})
    times = [
        traces.lower_bound(trace, 2),
        traces.by_machine(trace, 2, None),
        traces.by_machine(trace, 2, trace.seconds),
        traces.by_list(trace, 2, traces.first_come),
        traces.by_waves(trace, 2),
    ]
    assert times == [7.0] * 5


def test_nothing_beats_the_lower_bound():
    for one in traces.play([traces.montage(12, Random(1))], (1, 3, 50)):
        for time in (one.known, one.unknown, one.fifo, one.waves, one.best):
            assert time >= 1 - 1e-9


def test_made_up_traces_stand_in_for_missing_ones(monkeypatch, tmp_path):
    monkeypatch.setenv("PENSTOCK_SHARED", str(tmp_path))
    found, about = traces.load()
    assert len(found) == 4
    assert "made up" in about


# --- rows and page ------------------------------------------------------------------------------------------

IN_PROCESS = (
    run_rows.coroutines,
    run_rows.coroutines_options,
    run_rows.suspending,
    run_rows.inline,
    run_rows.inline_options,
    run_rows.threads,
    run_rows.maps,
    cost_rows.define,
    cost_rows.growth,
)


def test_every_row_has_a_name():
    named = set(bench.ROWS.values())
    durable = {durable_rows.chains, durable_rows.wide, durable_rows.maps, durable_rows.resume}
    assert {*durable, durable_rows.sizes, durable_rows.listing} < named
    assert {*IN_PROCESS, run_rows.values, memory.memory, process.process, sleeping.sleeping} < named


@pytest.mark.parametrize("rows", IN_PROCESS, ids=lambda rows: rows.__name__)
def test_rows_are_measured(rows):
    lines = list(rows(TINY))
    assert lines
    for line in lines:
        assert line.figure.low <= line.figure.median <= line.figure.high
        assert line.work in page.terminal(line)


@pytest.mark.slow
@pytest.mark.parametrize(
    "rows",
    [run_rows.values, memory.memory, process.process, sleeping.sleeping],
    ids=lambda rows: rows.__name__,
)
def test_slow_rows_are_measured(rows):
    assert list(rows(TINY))


def test_the_page_is_written(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(bench, "QUICK", TINY)
    monkeypatch.setenv("PENSTOCK_SHARED", str(tmp_path))
    monkeypatch.setattr(traces, "montage", lambda _images, dice, real=traces.montage: real(4, dice))
    out = tmp_path / "page.md"
    assert bench.main(["--quick", "--only", "inline", "--only", "traces", "--out", str(out)]) == 0
    text = out.read_text(encoding="utf-8")
    assert "### Plain steps inline, defaults" in text
    assert "| chain, 20 |" in text
    assert "### Makespan by workflow" in text
    assert "tiny run" in text
    assert str(tmp_path) not in text
    assert "chain, 20" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("figure", "verdict"), [(0.2, "met aim"), (0.3, "met aim"), (0.4, "met must"), (0.6, "**missed**")]
)
def test_verdicts(figure, verdict):
    line = Line("s", "w", "f", "o", Spread(figure, figure, figure), must=0.5, aim=0.3)
    assert line.verdict == verdict
    assert line._replace(must=None).verdict == "–"


def test_spread_of_one_and_of_many():
    assert spread([2.0]) == (2.0, 2.0, 2.0)
    assert spread([1.0, 2.0, 3.0, 4.0, 5.0]) == (3.0, 2.0, 4.0)


# --- durable runs, and others' engines ----------------------------------------------------------------------


@pytest.fixture
def room(tmp_path, monkeypatch):
    monkeypatch.setattr(durable_floors, "ROOM", tmp_path / "room")
    return tmp_path


@pytest.mark.parametrize("level", ["process", "power"])
def test_the_floor_of_durable_runs_keeps_all_its_rows(room, level):
    rows = durable_floors.bodies(40)
    assert {len(row) for row in rows} == {durable_floors.ROW}
    with durable_floors.fresh_folder() as folder:
        raw = durable_floors.Raw(folder / "raw.db", level)
        durable_floors.commit_each(raw, rows)
        raw.close()
        assert durable_floors.read_all(folder / "raw.db") == 40
        assert durable_floors.letters(folder / "raw.db") == 40 * durable_floors.ROW
    assert not folder.exists()


@pytest.mark.parametrize(
    "rows",
    [
        durable_rows.maps,
        durable_rows.sizes,
        pytest.param(durable_rows.chains, marks=pytest.mark.slow),
        pytest.param(durable_rows.wide, marks=pytest.mark.slow),
        pytest.param(durable_rows.resume, marks=pytest.mark.slow),
    ],
    ids=lambda rows: rows.__name__,
)
def test_durable_rows_are_measured(room, rows):
    lines = list(rows(TINY))
    assert lines
    for line in lines:
        assert 0 < line.figure.low <= line.figure.median <= line.figure.high
        assert line.work in page.terminal(line)
    assert list((room / "room").iterdir()) == []


@pytest.mark.slow
def test_listing_is_measured_and_its_large_journal_deleted(room, monkeypatch):
    monkeypatch.setattr(durable_rows, "MB", 1_000)
    lines = list(durable_rows.listing(TINY))
    assert len(lines) == 2
    assert list((room / "room").iterdir()) == []


def test_listing_is_left_out_where_there_is_no_room(room, monkeypatch, capsys):
    monkeypatch.setattr(durable_floors, "free", lambda: 10_000_000)
    assert list(durable_rows.listing(TINY)) == []
    assert "no room for a journal of 20 MB" in capsys.readouterr().out


def test_a_recorded_run_that_gives_something_else_is_noticed(room, monkeypatch):
    shape = shapes.chain(5)
    other = shapes.flow_of(shapes.chain(5), shapes.COROUTINE).run(override={"s2": 7})
    monkeypatch.setattr(durable_rows, "stored", lambda flow, store, **how: other)
    with pytest.raises(AssertionError, match="chain: a recorded run gives 9, then 9"):
        durable_rows.checked(shapes.flow_of(shape, shapes.COROUTINE), shape)


@pytest.mark.parametrize("peer", peers.PEERS)
def test_the_versions_of_peers_are_pinned_and_say_not_where_they_come_from(peer):
    text = (peers.HERE / f"requirements-{peer}.txt").read_text("utf-8")
    pins = [line for line in text.splitlines() if not line.startswith("#")]
    assert all(re.fullmatch(r"[A-Za-z0-9_.-]+==[0-9a-z.]+", pin) for pin in pins), pins
    assert any(pin.startswith(f"{peer}==") for pin in pins)


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


def test_peers_see_nothing_of_the_users_settings(monkeypatch):
    monkeypatch.setenv("LANGSMITH_API_KEY", "secret")
    monkeypatch.setenv("DBOS_CONDUCTOR_KEY", "secret")
    monkeypatch.setenv("LANGSMITH_TRACING", "true")
    given = apart.environment()
    assert "secret" not in given.values()
    assert given["LANGSMITH_TRACING"] == "false"
    assert given["PATH"]


def test_a_peer_that_cannot_be_installed_is_named(room, monkeypatch, capsys):
    def call(command, **how):
        raise peers.Failed("no route to any registry")

    monkeypatch.setattr(peers, "call", call)
    monkeypatch.setattr(peers, "ROOT", room)
    monkeypatch.setattr(peers, "PAGE", room / "page.md")
    assert peers.main([]) == 1
    assert "not measured: dbos: could not be installed: no route to any registry" in capsys.readouterr().out
    assert not (room / "page.md").exists()


def test_the_page_beside_others_holds_what_was_measured(room, monkeypatch, capsys):
    def script(python, name, shape, how, steps, value):
        us = {"raw": 200.0, "penstock": 250.0}.get(name, 1_000.0)
        told = {"us": us, "bytes": 300.0, "journal": "wal", "sqlite": "3", "versions": {name: "9.9"}}
        return {**told, "value": value}

    monkeypatch.setattr(peers, "environment", lambda peer: room / peer)
    monkeypatch.setattr(peers, "script", script)
    monkeypatch.setattr(peers, "PAGE", room / "page.md")
    assert peers.main(["--quick"]) == 0
    assert not (room / "page.md").exists()
    assert peers.main([]) == 0
    text = (room / "page.md").read_text("utf-8")
    for row in peers.ROWS:
        assert f"| {row.work} | 200 µs | 250 µs | 1000 µs | 4.00 × (4.00–4.00) |" in text
    assert "* dbos 9.9" in text
    assert str(room) not in text


def test_a_script_that_gives_something_else_is_not_measured(room, monkeypatch):
    monkeypatch.setattr(peers, "call", lambda command, **how: '{"value": 7}\n')
    with pytest.raises(peers.Failed, match="raw gave 7, not 8"):
        peers.script(Path(sys.executable), "raw", "rows", "FULL", 10, 8)


def test_why_a_command_failed_is_its_last_word():
    with pytest.raises(peers.Failed, match=r"^ValueError: no$"):
        peers.call([sys.executable, "-c", "raise ValueError('no')"])
    with pytest.raises(peers.Failed, match="not done after 0 s"):
        peers.call([sys.executable, "-c", "import time; time.sleep(60)"], seconds=0.1)

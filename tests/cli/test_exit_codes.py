"""The table of exit codes, and that misuse is said in three lines at most."""

import pytest

from penstock.cli import exits
from penstock.core.errors import CycleError, GraphError, InputError, PenstockError
from penstock.core.model import RunStatus


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("run good.py", 0),
        ("run good.py --json", 0),
        ("run bad.py", 1),
        ("run bad.py --json", 1),
        ("run bad.py --target load", 0),
        ("run missing.py", 2),
        ("run three.py", 2),
        ("run raises.py", 2),
        ("run good.py --input count=x", 2),
        ("run good.py --input coutn=3", 2),
        ("run good.py --input count", 2),
        ("run good.py --input-file none.json", 2),
        ("run good.py --target nothing", 2),
        ("run good.py --max-concurrency 0", 2),
        ("run good.py --max-concurrency two", 2),
        ("run good.py --no-such-option", 2),
        ("run good.py --max 2", 2),
        ("--vers", 2),
        ("run", 2),
        ("rnu good.py", 2),
        ("--no-such-option", 2),
        ("", 2),
        ("run twice.py", 3),
        ("run unbuildable.py:flow", 3),
        ("graph twice.py", 3),
        ("graph unbuildable.py:flow", 3),
        ("graph good.py", 0),
        ("graph missing.py", 2),
        ("graph good.py --format png", 2),
        ("list .", 0),
        ("list missing", 2),
        ("--help", 0),
        ("--version", 0),
        ("run --help", 0),
    ],
)
def test_l07_exit_codes(call, words, code):
    told = call(*words.split())
    assert told.code == code
    if code in (2, 3) and "raises" not in words and words:
        assert told.out == ""
        assert 1 <= len(told.err.splitlines()) <= 3
        assert told.err.startswith("penstock: ")
        assert "Traceback" not in told.err


def test_l07_exit_codes_of_statuses():
    assert {status: exits.of_status(status) for status in RunStatus} == {
        RunStatus.SUCCEEDED: 0,
        RunStatus.FAILED: 1,
        RunStatus.WAITING: 5,
        RunStatus.CANCELLED: 130,
        RunStatus.PENDING: 1,
        RunStatus.RUNNING: 1,
    }
    assert exits.of_status(RunStatus.CANCELLED, terminated=True) == 143
    assert exits.of_status(RunStatus.SUCCEEDED, terminated=True) == 0


def test_l07_exit_codes_of_errors():
    class StoreError(PenstockError): ...

    class Locked(StoreError): ...

    assert exits.of_error(GraphError("x")) == exits.of_error(CycleError("aba")) == 3
    assert exits.of_error(StoreError("x")) == exits.of_error(Locked("x")) == 4
    assert exits.of_error(InputError("x")) == 2


TEXTS = {
    "rnu": "there is no command 'rnu'; did you mean 'run'?\n  see: penstock --help",
    "xyz": (
        "there is no command 'xyz'; one of run, resume, runs, show, debug, watch, logs, report, approve, "
        "cancel, graph, list, prune, export, import, doctor\n  see: penstock --help"
    ),
    "run": "the following arguments are required: TARGET\n  see: penstock run --help",
    "run good.py --jsno": "unrecognized arguments: --jsno\n  see: penstock run --help",
    "run good.py --target totl": "targets: there is no step 'totl'; did you mean 'total'?",
    "run good.py --max-concurrency 0": (
        "argument --max-concurrency: takes a number of 1 or more, not '0'\n  see: penstock run --help"
    ),
    "run twice.py": (
        "twice.py:8: there is a step 'work' already; to use a function again say flow.add(..., name='...')"
    ),
}


@pytest.mark.parametrize("words", TEXTS)
def test_misuse_names_the_thing_and_the_mend(call, words):
    assert call(*words.split()).err == f"penstock: {TEXTS[words]}\n"


def test_a_graph_that_cannot_be_built_names_where_it_comes_from(call):
    told = call("run", "unbuildable.py:flow")
    assert told.err.startswith("penstock: unbuildable.py:flow: step 'near'")

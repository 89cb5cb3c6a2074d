"""A run is followed from another process; see `held` for the run."""

import json
import signal
from pathlib import Path
from typing import Any

import pytest

import penstock
from tests.cli import held
from tests.cli.conftest import steady
from tests.cli.held import Other
from tests.cli.test_run import words_of


@pytest.fixture
def project(files: Path) -> Path:
    return held.prepare(files)


def events(out: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.splitlines()]


# ----------------------------------------------------------------------------------------------------------
# While it goes on
# ----------------------------------------------------------------------------------------------------------


def test_a_run_is_followed_to_its_end(project):
    with held.held(project) as run:
        other = Other(project, "watch", "last", "--json", "--from-start")
        other.until("forged")  # the run cannot go on before it was seen
        assert held.let_go(project, run)[0] == 0
        code, out, err = other.end()
    assert (code, err) == (0, "")
    told = events(out)
    names = [one["event"] for one in told]
    assert (names[0], names[-1]) == ("RunStarted", "RunFinished")
    started = next(
        at for at, one in enumerate(told) if one["event"] == "NodeStarted" and one["path"] == "hold"
    )
    logged = next(at for at, one in enumerate(told) if one.get("origin") == "app")
    ended = next(
        at for at, one in enumerate(told) if one["event"] == "NodeSucceeded" and one["path"] == "hold"
    )
    assert started < logged < ended
    assert told[logged]["level"] == "warning"
    assert told[ended]["value"] == "on"
    assert {"event": "Progressed", "path": "hold", "done": 1, "total": 2, "text": "half"} in told
    assert "let go" in [one.get("message") for one in told]


def test_without_a_terminal_it_is_followed_in_lines(project):
    with held.held(project) as run:
        other = Other(project, "watch", "last", "--from-start")
        other.until("forged")
        held.let_go(project, run)
        code, out, err = other.end()
    assert code == 0
    lines = words_of(steady(out))
    assert lines[0] == "TIME run RUN of held: 3 steps"
    assert "TIME hold warning: forged\\nTIME.000 hold error all is lost\\x1b[2J" in lines, out
    assert lines.index("TIME hold started") < lines.index("TIME hold succeeded in TOOK")
    assert "TIME run RUN succeeded in TOOK" in lines
    assert lines[-1] == "✓ succeeded in TOOK 3 steps"
    assert "drives run" in err
    assert "\x1b" not in out


def test_by_default_only_what_is_new_is_shown(project):
    with held.held(project) as run:
        other = Other(project, "watch", "last")
        assert other.process.stderr is not None
        assert "Ctrl-C ends only the watching" in other.process.stderr.readline()
        held.let_go(project, run)
        code, out, _ = other.end()
    assert code == 0
    lines = words_of(steady(out))
    assert "TIME hold succeeded in TOOK" in lines
    assert not any("load started" in line for line in lines)


def test_the_exit_code_is_that_of_the_run(project):
    with held.held(project) as run:
        other = Other(project, "watch", "last", "--from-start")
        other.until("forged")
        assert held.let_go(project, run, "fail")[0] == 1
        code, out, err = other.end()
    assert code == 1
    assert "ValueError: told to fail" in out
    assert steady(err).splitlines()[-1] == "penstock: to go on: penstock resume RUN"


def test_l05_a_run_whose_process_dies_was_cut_off(project):
    with held.held(project) as run:
        other = Other(project, "watch", "last", "--from-start")
        other.until("forged")
        assert held.let_go(project, run, "die")[0] == -signal.SIGKILL
        code, _, err = other.end()
    assert code == 1
    said = steady(err).splitlines()[-2:]
    assert said[0].startswith("penstock: run RUN was cut off: process ")
    assert said[1] == "penstock: to go on: penstock resume RUN"


def test_a_run_that_waits_for_an_answer_is_not_waited_for(project):
    with held.held(project, "run", "held.py:gated") as run:
        other = Other(project, "watch", "last", "--from-start")
        other.until("started")
        assert held.let_go(project, run)[0] == 5
        code, out, err = other.end()
    assert code == 5
    assert "Go on?" in out
    assert "penstock: to answer: penstock approve RUN ok" in steady(err)


@pytest.mark.parametrize(("number", "expected"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=str)
@pytest.mark.parametrize("words", [(), ("--json",)], ids=str)
def test_l01_ctrl_c_ends_the_watching_and_not_the_run(project, number, expected, words):
    with held.held(project) as run:
        other = Other(project, "watch", "last", "--from-start", *words)
        other.until("forged")
        other.process.send_signal(number)
        code, _, err = other.end()
        assert code == expected
        assert "is not watched any more; it goes on in process" in err
        assert "Traceback" not in err
        assert held.let_go(project, run)[0] == 0


def test_l05_when_nobody_reads_any_more_it_ends(project):
    with held.held(project) as run:
        other = Other(project, "watch", "last", "--json", "--from-start")
        other.until("forged")
        other.stop_reading()
        held.tell(project, "more")  # which it cannot show to anybody
        assert other.end() == (0, "", "")
        assert held.let_go(project, run)[0] == 0


def test_a_run_that_is_resumed_meanwhile_is_followed_on(project):
    with held.held(project) as run:
        held.let_go(project, run, "fail")
    with held.held(project, "resume", "last") as run:
        other = Other(project, "watch", "last", "--from-start")
        other.until("hold")
        held.let_go(project, run)
        code, out, _ = other.end()
    assert code == 0
    lines = words_of(steady(out))
    assert any("goes on: " in line for line in lines), out
    assert lines.count("TIME load succeeded in TOOK") == 1
    assert "✓ succeeded in TOOK 3 steps" in lines


# ----------------------------------------------------------------------------------------------------------
# Views
# ----------------------------------------------------------------------------------------------------------


def views(project: Path, call: Any, *words: str) -> tuple[list[str], list[dict[str, Any]]]:
    plain, told = call("watch", "last", *words), call("watch", "last", "--json", *words)
    assert plain.code == told.code
    return plain.out.splitlines(), events(told.out)


@pytest.fixture
def over(project, call):
    """A run that is over."""
    with held.held(project) as run:
        held.let_go(project, run)
    return call


def test_values_as_they_come(project, over):
    lines, told = views(project, over, "--view", "values", "--from-start")
    assert told[0] == {"event": "ValueOf", "path": "load", "value": [1, 2]}
    assert {"event": "ValueOf", "path": "parse[1]", "value": 20} in told
    assert lines[0] == "load  [1, 2]"
    assert "parse[1]  20" in lines
    assert 'hold  "on"' in lines or "hold  'on'" in lines


def test_updates_of_steps_and_of_the_run(project, over):
    lines, told = views(project, over, "--view", "updates", "--from-start")
    assert [(one["path"], one["status"]) for one in told][:2] == [(None, "running"), ("load", "running")]
    assert (told[-1]["path"], told[-1]["status"]) == (None, "succeeded")
    assert lines[0] == "TIME  run  running"
    assert "TIME  parse[0]  succeeded" in lines


def test_how_far_it_is(project, over):
    lines, told = views(project, over, "--view", "progress", "--from-start")
    assert (told[-1]["path"], told[-1]["done"], told[-1]["total"]) == (None, 4, 4)
    assert "run  4 of 4" in lines
    assert "hold  1 of 2  half" in lines


def test_of_a_run_that_is_over_nothing_is_new(project, over):
    told = over("watch", "last", "--json")
    assert (told.code, told.out) == (0, "")
    told = over("watch", "last")
    assert told.code == 0
    assert words_of(told.out)[0] == "held run RUN"
    assert "started" not in told.out


def test_there_is_no_such_view(project, over):
    told = over("watch", "last", "--view", "value")
    assert told.code == 2
    assert "invalid choice: 'value'" in told.err


def test_u06_what_an_event_holds_moves_no_cursor(project, over):
    for words in (["--json"], [], ["--view", "updates"], ["--view", "progress"], ["--view", "values"]):
        told = over("watch", "last", "--from-start", *words)
        assert "\x1b" not in told.out + told.err


def test_a_value_that_json_cannot_hold_stands_as_a_text(project, call):
    (project / "dates.py").write_text(
        "import datetime\nfrom penstock import Flow\nflow = Flow('dates')\n\n"
        "@flow.step\ndef day() -> datetime.date:\n    return datetime.date(2026, 1, 2)\n\n"
        "@flow.step\ndef nothing(day: datetime.date) -> None: ...\n"
    )
    assert call("run", "dates.py").code == 0
    told = events(call("watch", "last", "--view", "values", "--json", "--from-start").out)
    assert told[0]["path"] == "day"
    assert "2026" in told[0]["value_preview"]
    assert told[1] == {"event": "ValueOf", "path": "nothing", "value": None}


def test_a_run_that_is_not_there(project, over):
    told = over("watch", "nowhere")
    assert told.code == 2
    assert "there is no run 'nowhere'" in told.err


def test_watching_needs_no_code_of_the_run(project, over):
    (project / "held.py").unlink()
    assert over("watch", "last", "--from-start").code == 0
    with penstock.open(project / ".penstock" / "journal.db") as history:
        assert len(list(history.runs()[0].watch())) > 10

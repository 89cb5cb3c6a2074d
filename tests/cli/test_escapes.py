"""What data holds never reaches a terminal as a command to it: keys, names of limits, texts of failures."""

import re

import pytest

from penstock import Flow, Limit, RunFailed, RunOptions, each, gather
from penstock.core.visible import one_line, visible
from penstock.observers.live import picture
from penstock.observers.marks import Signs
from penstock.observers.page import coloured, plain
from penstock.observers.tally import Tally

EVIL = """\
from penstock import Context, Flow, Limit, each

flow = Flow("evil")

@flow.step
def keys() -> list[str]:
    return ["\\x1b[1mA", "\\x1b]0;title\\x07B", "C"]

@flow.step(limits=[Limit("\\x1b[5mlimit", capacity=1)])
def kk(k: str = each(keys, key=lambda s: s), *, context: Context) -> str:
    context.progress(1, 2, "\\x1b[2Jprogress")
    context.log("\\x1b[2Jlog")
    raise ValueError("\\x1b[31mred\\u202e\\r\\nsecond \\x1b[2J line")
"""

COMMANDS = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]")


@pytest.fixture
def evil(files):
    (files / "evil.py").write_text(EVIL)
    return "evil.py"


@pytest.mark.parametrize(
    "words",
    [
        ("run", "evil.py"),
        ("run", "evil.py", "--json"),
        ("graph", "evil.py"),
        ("graph", "evil.py", "--format", "mermaid"),
        ("graph", "evil.py", "--format", "dot"),
        ("run", "\x1b[1m.py"),
        ("run", "evil.py:\x1b[1mx"),
        ("run", "evil.py", "--input", "\x1b[1mx=3"),
        ("run", "evil.py", "--\x1b[1m"),
        ("\x1b[1m",),
    ],
    ids=repr,
)
def test_no_data_commands_the_terminal(program, evil, words):
    done = program(*words)
    for told in (done.stdout, done.stderr):
        assert not COMMANDS.search(told.decode())
    if words == ("run", "evil.py"):
        assert "kk[\\x1b[1mA] failed: ValueError: \\x1b[31mred" in done.stderr.decode()
        assert "\\x1b[1mA] failed" in done.stdout.decode()


def test_nor_does_the_traceback_of_a_file_that_raises(program, files):
    (files / "raises_evil.py").write_text("raise ValueError('\\x1b[2J')\n")
    done = program("run", "raises_evil.py")
    assert done.returncode == 2
    assert "ValueError: \\x1b[2J" in done.stderr.decode()
    assert not COMMANDS.search(done.stderr.decode())


def evil_flow():
    flow = Flow("evil")
    keys = flow.add(lambda: ["\x1b[1mA"], name="keys")

    def kk(k, **_):
        raise ValueError("\x1b[31mred\nsecond")

    kk = flow.add(kk, name="kk", k=each(keys, key=lambda s: s), limits=[Limit("\x1b[5ml", capacity=1)])
    return flow, kk


def test_a_result_shows_no_key_raw():
    flow, kk = evil_flow()
    flow.add(lambda x: x, name="later", x=gather(kk))
    result = flow.run()
    shown = [repr(result), repr(result.nodes), repr(result.nodes["kk"]), repr(result.nodes["kk"].items[0])]
    shown += [repr(result.nodes["kk"].items), repr(list(result.nodes["kk"].items)), repr(result.failed())]
    with pytest.raises(RunFailed) as failed:
        result.raise_for_failure()
    shown += str(failed.value).splitlines()
    with pytest.raises(KeyError) as no_value:
        print(result["later"])
    shown.append(str(no_value.value))
    for text in shown:
        assert not COMMANDS.search(text), text
    assert "kk[\\x1b[1mA]" in repr(result)
    assert "kk[\\x1b[1mA] failed" in str(no_value.value)
    assert result.nodes["kk"].items[0].path == "kk[\x1b[1mA]", "as data it stays what it is"


def test_the_wiring_and_the_live_table_show_none_either():
    flow, _ = evil_flow()
    flow.add(lambda x: x, name="b", x="\x1b[1m")
    assert not COMMANDS.search(flow.explain_wiring())
    tally = Tally(flow.graph())

    flow.run(options=RunOptions(observers=[tally]))
    for line in picture(tally, 1.0, 80, 24, Signs(None)):
        assert not COMMANDS.search(plain(line))
        assert not COMMANDS.search(re.sub("\x1b\\[[0-9]*m", "", coloured(line)))


def test_text_of_several_lines_keeps_them():
    assert visible("a\x1b[1m\n\tb\r\n") == "a\\x1b[1m\n    b\\r\n"
    assert one_line("a\nb") == "a\\nb"

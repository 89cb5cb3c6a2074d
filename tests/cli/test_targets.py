"""Targets: files, modules and names; what is missing, ambiguous or raises."""

import sys

import pytest

from penstock.cli.target import can_run, runnables
from penstock.flow import Flow


@pytest.mark.parametrize("words", ["good.py", "good.py:flow", "./good.py", "good", "good:flow"])
def test_a_file_a_module_and_a_name(call, words):
    told = call("run", words)
    assert told.code == 0
    assert (
        told.out
        == """\
sums  run RUN

  ✓ numbers TOOK
  ✓ total TOOK

total  3

✓ succeeded in TOOK  2 steps
"""
    )


def test_a_module_in_a_package(call, files):
    (files / "app").mkdir()
    (files / "app" / "__init__.py").write_text("")
    (files / "app" / "flows.py").write_text((files / "three.py").read_text())
    assert call("run", "app.flows:two").code == 0
    assert call("run", "app.flow").err == (
        "penstock: there is no module 'app.flow'; did you mean 'app.flows'?\n"
    )


MISUSES = {
    "gud.py": "there is no file 'gud.py'; did you mean 'good.py'?",
    "no/such/file.py": "there is no file 'no/such/file.py'; there is no folder 'no/such' either",
    "goood": "there is no module 'goood'; did you mean 'good'?",
    "a-b": "'a-b' is neither a Python file nor a module",
    ".": ". is a folder; to see what can be run in it: penstock list .",
    "notes.txt": "notes.txt is not a Python file",
    "good.py:flwo": "good.py: there is no 'flwo' in it; did you mean 'flow'?",
    "good.py:nothing": "good.py: there is no 'nothing' in it; it has flow",
    "good.py:total": "good.py: 'total' cannot be run, it is of type Step; it has flow",
    "good.py:Flow": "good.py: 'Flow' cannot be run, it is a class; it has flow",
    "empty.py": "empty.py: there is no flow in it, nor anything else that can be run",
    "three.py": """three.py: there are 3 flows in it: one, two, three
  say which: three.py:one""",
}


@pytest.mark.parametrize("words", MISUSES)
def test_l07_a_target_that_cannot_be_found_is_misuse(call, files, words):
    (files / "notes.txt").write_text("")
    told = call("run", words)
    assert told == (2, "", f"penstock: {MISUSES[words]}\n")
    assert call("graph", words) == told


def test_a_flow_that_is_a_part_of_another_is_not_meant(call, files):
    (files / "parts.py").write_text(
        "from penstock import Flow\n\npart = Flow('part')\n\n@part.step\ndef one() -> int:\n    return 1\n\n"
        "whole = Flow('whole')\nwhole.add(part, name='inner')\n"
    )
    told = call("run", "parts.py")
    assert (told.code, told.out.splitlines()[0]) == (0, "whole  run RUN")
    assert call("run", "parts.py:part").code == 0


def test_one_of_three(call):
    assert call("run", "three.py:two").code == 0
    assert call("run", "three.py:again").code == 0


def test_l07_a_target_that_raises_shows_the_users_frames_only(call, files):
    told = call("run", "raises.py")
    assert told.code == 2
    assert (
        told.err.replace(f"{files}/", "")
        == """\
penstock: raises.py cannot be imported
Traceback (most recent call last):
  File "raises.py", line 4, in <module>
    divide(1)
  File "raises.py", line 2, in divide
    return number / 0
           ~~~~~~~^~~
ZeroDivisionError: division by zero
"""
    )


def test_l07_a_chain_of_errors_shows_the_users_frames_only(call, files):
    (files / "chain.py").write_text(
        "from importlib import import_module\n"
        "try:\n    import_module('raises')\nexcept ZeroDivisionError as error:\n"
        "    raise RuntimeError('no') from error\n"
    )
    told = call("run", "chain.py")
    assert told.code == 2
    assert "importlib" not in told.err.replace("from importlib import", "").replace("import_module(", "")
    assert told.err.count("Traceback") == 2


def test_l07_a_syntax_error_shows_the_line(call, files):
    told = call("run", "broken.py")
    assert told.code == 2
    assert (
        told.err.replace(f"{files}/", "")
        == """\
penstock: broken.py cannot be imported
  File "broken.py", line 1
    flow = (
           ^
SyntaxError: '(' was never closed
"""
    )


def test_l07_a_file_that_leaves(call, files):
    told = call("run", "leaves.py")
    assert told.code == 2
    assert (
        told.err.replace(f"{files}/", "")
        == """\
penstock: leaves.py cannot be imported
Traceback (most recent call last):
  File "leaves.py", line 2, in <module>
    sys.exit('no licence')
SystemExit: no licence
"""
    )


def test_a_missing_module_of_the_user_is_not_a_missing_target(call, files):
    (files / "needs.py").write_text("import no_such_module\n")
    for words in ("needs.py", "needs"):
        told = call("run", words)
        assert told.code == 2
        assert told.err.startswith(f"penstock: {words} cannot be imported\n")
        assert told.err.endswith("ModuleNotFoundError: No module named 'no_such_module'\n")


def test_l08_only_the_named_file_is_imported(call, files):
    (files / "neighbour.py").write_text("raise SystemExit('imported')\n")
    assert call("run", "good.py").code == 0
    assert "neighbour" not in sys.modules


def test_a_file_imports_its_neighbour_as_python_lets_it(call, files):
    (files / "deep").mkdir()
    (files / "deep" / "beside.py").write_text("import good as _g\nflow = _g.flow\n")
    (files / "deep" / "good.py").write_text((files / "good.py").read_text())
    assert call("run", "deep/beside.py").code == 0


def test_a_file_named_like_a_module_of_python_takes_nothing_from_it(call, files):
    (files / "json.py").write_text((files / "good.py").read_text())
    (files / "good-2.py").write_text((files / "good.py").read_text())
    import json

    assert call("run", "json.py").code == 0
    assert sys.modules["json"] is json
    assert call("run", "good-2.py").code == 0


def test_what_stands_behind_main_does_not_run(call, files):
    text = (files / "good.py").read_text()
    (files / "script.py").write_text(text + "\nif __name__ == '__main__':\n    raise SystemExit(9)\n")
    assert call("run", "script.py").code == 0


def test_a_target_is_known_by_the_port_not_by_class():
    class Mine:
        def graph(self):
            return Flow("x").graph()

        def inputs(self):
            return ()

        def run_with(
            self, inputs, *, targets=None, runner=None, options=None, store=None, run_id=None, target=None
        ): ...

    class Touchy:
        def __getattr__(self, name):
            raise RuntimeError("do not look")

    mine = Mine()
    assert can_run(mine)
    assert not can_run(Mine)
    assert not can_run(Flow)
    assert not can_run(sys)
    assert not can_run(Touchy())
    assert runnables({"a": mine, "b": mine, "__c__": Mine(), "d": 1}) == {"a": mine}

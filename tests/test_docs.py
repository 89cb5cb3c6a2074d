"""The docs are true: every block in them runs, every public word stands in them, every link leads somewhere.

How a page is read, for those who write one. Its blocks run in their order, in an empty folder:

* ``python`` is run; all blocks of a page share their names. A ``text`` block after one that prints, or that
  says ``print(``, is what it prints, exactly.
* A block of any language whose first line is ``# file: NAME`` is written to that file instead.
* ``console``: lines that start with ``$ penstock`` or ``$ python`` (of a file of the page, or of pytest) are
  run, and what follows is compared with what they write, where ``…`` stands for anything in a line, or alone
  for any lines. Their exit code is 0 unless a line ``$ echo $?`` follows with another one.
* ``pyi`` holds signatures; those of the reference are compared with the code. Nothing else is looked at.
"""

import argparse
import ast
import builtins
import enum
import importlib
import inspect
import io
import os
import re
import subprocess
import sys
import types
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stdout
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple, get_args, get_type_hints

import pytest

import penstock
from penstock.cli import app, exits
from penstock.core import errors, events
from penstock.core.handle import Handle
from penstock.core.model import TRIGGERS, NodeStatus, RunStatus, SkipCause
from penstock.core.result import NodeResult
from penstock.flow import FlowHandle, FlowResult, StepOptions

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = [*(ROOT / name for name in ("README.md",) if (ROOT / name).exists()), *sorted(DOCS.rglob("*.md"))]
NAMES = [page.relative_to(ROOT).as_posix() for page in PAGES]


def read(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


# ----------------------------------------------------------------------------------------------------------
# Blocks
# ----------------------------------------------------------------------------------------------------------


class Block(NamedTuple):
    """A fenced block: what its fence says it is, its text, and the number of its first line."""

    language: str
    text: str
    line: int

    @property
    def file(self) -> str | None:
        """The file that it is, if it is one."""
        found = re.match(r"# file: (\S+)\n", self.text)
        return found[1] if found else None


FENCE = re.compile(r"^(?P<fence>`{3,})(?P<language>[^\n`]*)\n(?P<text>.*?)^(?P=fence)[ ]*$", re.M | re.S)


def blocks(page: str) -> list[Block]:
    return [
        Block(found["language"].strip(), found["text"], page.count("\n", 0, found.start("text")) + 1)
        for found in FENCE.finditer(page)
    ]


def prose(page: str) -> str:
    """A page without its blocks."""
    return FENCE.sub("", page)


class Wrong(AssertionError):
    """A page shows what is not so."""


class Player:
    """Runs the blocks of one page in the current folder.

    Args:
        name: What complaints call the page.
        tools: A folder for the programs ``penstock`` and ``python`` of this interpreter.
    """

    def __init__(self, name: str, tools: Path) -> None:
        self.name = name
        self.module = types.ModuleType("a_page_of_the_docs")
        self.environment = {
            **os.environ,
            "PATH": f"{tools}{os.pathsep}{os.environ.get('PATH', '')}",
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONUTF8": "1",
            "NO_COLOR": "1",
        }
        tools.mkdir()
        for program, module in (("penstock", "-m penstock.cli"), ("python", "")):
            (tools / program).write_text(f'#!/bin/sh\nexec "{sys.executable}" {module} "$@"\n')
            (tools / program).chmod(0o755)

    def play(self, page: str) -> None:
        """Runs them all.

        Raises:
            Wrong: Something else came out than the page shows.
        """
        every = blocks(page)
        if re.search(r"^[ \t]+```", page, re.M):
            raise Wrong(f"{self.name}: an indented fence would not be run")
        sys.modules[self.module.__name__] = self.module
        for block, after in pairwise([*every, Block("", "", 0)]):
            if block.file is not None:
                Path(block.file).write_text(block.text, "utf-8")
                importlib.invalidate_caches()
            elif block.language == "python":
                printed = self.run(block)
                if after.language == "text" and (printed or "print(" in block.text):
                    self.compare(printed, after.text, after.line, exactly=True)
            elif block.language == "console":
                self.console(block)

    def run(self, block: Block) -> str:
        text = block.text.replace('if __name__ == "__main__":', "if True:")  # what a page guards is run too
        code = compile("\n" * (block.line - 1) + text, self.name, "exec", dont_inherit=True)
        printed = io.StringIO()
        with redirect_stdout(printed):
            exec(code, self.module.__dict__)
        return printed.getvalue()

    def console(self, block: Block) -> None:
        lines = block.text.splitlines()
        starts = [number for number, line in enumerate(lines) if line.startswith("$ ")]
        code = 0
        for at, end in pairwise([*starts, len(lines)]):
            command, shown, line = lines[at][2:], "\n".join(lines[at + 1 : end]), block.line + at
            if command == "echo $?":
                if shown.strip() != str(code):
                    raise Wrong(f"{self.name}:{line}: the command before this line exits with {code}")
                code = 0
            elif self.is_ours(command):
                self.check_code(code, line)
                code, written = self.execute(command)
                if shown.strip():
                    self.compare(written, shown, line + 1)
        self.check_code(code, block.line + len(lines))

    def check_code(self, code: int, line: int) -> None:
        if code:
            raise Wrong(
                f"{self.name}:{line}: the command before this line exits with {code}; show it: $ echo $?"
            )

    @staticmethod
    def is_ours(command: str) -> bool:
        words = command.split()
        if words[0] != "python" or len(words) < 2:
            return words[0] == "penstock"
        return words[1:3] == ["-m", "pytest"] or Path(words[1]).exists()

    def execute(self, command: str) -> tuple[int, str]:
        done = subprocess.run(
            command,
            shell=True,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=120,
        )
        return done.returncode, done.stdout.decode()

    def compare(self, real: str, shown: str, line: int, *, exactly: bool = False) -> None:
        mine, theirs = tidy(real), tidy(shown)
        same = mine == theirs if exactly else re.fullmatch(pattern(theirs), mine) is not None
        if not same:
            raise Wrong(f"{self.name}:{line}: the page shows\n{theirs}\nand it is\n{mine}")


def tidy(text: str) -> str:
    return "".join(f"{line.rstrip()}\n" for line in text.rstrip().splitlines())


def pattern(shown: str) -> str:
    """What ``…`` makes of a text."""
    lines = shown.splitlines()
    return "".join(
        r"(?:.*\n)*?" if line == "…" else ".*".join(map(re.escape, line.split("…"))) + r"\n" for line in lines
    )


@pytest.fixture
def player(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Player]:
    """A player in an empty folder; what its page imports from there is forgotten afterwards."""
    folder = tmp_path / "page"
    folder.mkdir()
    (folder / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    before = set(sys.modules)
    yield Player("page", tmp_path / "tools")
    for name in set(sys.modules) - before:
        if str(folder) in str(getattr(sys.modules[name], "__file__", "")) or name == "a_page_of_the_docs":
            del sys.modules[name]


@pytest.mark.parametrize("name", NAMES)
def test_every_block_runs_and_prints_what_is_shown(name: str, player: Player) -> None:
    player.name = name
    player.play(read(name))


GOOD = """\
```python
# file: job.py
from penstock import Flow

flow = Flow("job")


@flow.step
def inverse(n: int) -> float:
    return 1 / n
```
```python
from job import flow
print(flow.run(n=4)["inverse"])
```
prints
```text
0.25
```
```console
$ penstock run job.py --input n=4
…
job  run …
…
✓ succeeded in …
$ penstock run job.py --input n=0
…
✗ failed in …
penstock: to go on: penstock resume …
$ echo $?
1
$ make nothing
```
"""


def test_a_good_page_passes(player: Player) -> None:
    player.play(GOOD)
    assert Path("job.py").read_text("utf-8").startswith("# file: job.py")


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("0.25\n", "0.5\n", "page:18: the page shows\n0.5\n\nand it is\n0.25"),
        ("$ echo $?\n1", "$ echo $?\n2", "page:30: the command before this line exits with 1"),
        ("$ echo $?\n1\n", "", "page:31: the command before this line exits with 1"),
        ("✗ failed", "✓ succeeded", "page:27: the page shows"),
        ("job  run …\n", "jib  run …\n", "page:22: the page shows"),
        ("```text\n0.25", "  ```text\n0.25", "page: an indented fence would not be run"),
        ("n=4\n…", "n=4 --bogus\n…", "page:22: the page shows"),
    ],
)
def test_what_is_shown_and_is_not_so_is_noticed(player: Player, old: str, new: str, complaint: str) -> None:
    assert old in GOOD
    with pytest.raises(Wrong, match=re.escape(complaint)):
        player.play(GOOD.replace(old, new))


def test_what_a_function_of_the_page_prints_is_compared_too(player: Player) -> None:
    page = "```python\ndef show(): print(1)\n```\n```python\nshow()\n```\n```text\n1\n```\n"
    player.play(page)
    with pytest.raises(Wrong, match="the page shows\n2"):
        player.play(page.replace("text\n1", "text\n2"))


def test_a_block_that_raises_is_noticed_with_its_line(player: Player) -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        player.play("\n\n```python\nx = 1\ny = x / 0\n```\n")
    last = caught.traceback[-1]
    assert (str(last.path).rpartition(os.sep)[2], last.lineno + 1) == ("page", 5)


# ----------------------------------------------------------------------------------------------------------
# Words
# ----------------------------------------------------------------------------------------------------------

REFERENCE = "docs/reference.md"
CLI = "docs/guides/cli.md"
ERRORS = "docs/guides/errors.md"

MEMBERS: dict[str, type] = {
    "Flow": penstock.Flow,
    "Step": penstock.Step,
    "Context": penstock.Context,
    "Limit": penstock.Limit,
    "RetryPolicy": penstock.RetryPolicy,
    "RunOptions": penstock.RunOptions,
    "Timeout": penstock.Timeout,
    "Quorum": penstock.Quorum,
    "Abandoned": penstock.Abandoned,
    "Rate": penstock.Rate,
    "Ok": penstock.Ok,
    "Failure": penstock.Failure,
    "Skip": penstock.Skip,
    "Node": penstock.Node,
    "Graph": penstock.Graph,
    "FlowResult": FlowResult,
    "FlowHandle": FlowHandle,
    "NodeResult": NodeResult,
    "History": penstock.History,
    "StoredRun": penstock.StoredRun,
}
"""Classes whose public members the reference has to name; those that only runners call are left out."""

INTERNAL = {"ask_to_stop", "travel", "arrived", "attend", "attended", "pass_on", "facts", "bindings", "lent"}

EVENTS = [*get_args(events.Event), events.Progressed, events.Logged, events.Measured]

ERROR_CLASSES = [
    value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, Exception)
]


def section(page: str, name: str) -> str:
    """What stands under the heading of a code name, subsections included; empty if there is none."""
    heading = re.compile(rf"^(#+) `{re.escape(name)}`[^\n]*\n", re.M)
    plain = FENCE.sub(
        lambda found: found[0].replace("\n#", "\n "), page
    )  # comments in blocks are no headings
    found = heading.search(plain)
    if found is None:
        return ""
    end = re.compile(rf"^#{{1,{len(found[1])}}} ", re.M).search(plain, found.end())
    return plain[found.end() : end.start() if end else len(plain)]


def row(text: str, *cells: str) -> str:
    """The first table row that starts with these cells, in code or plain; empty if there is none."""
    start = r"\s*\|\s*".join(rf"`?{re.escape(cell)}`?" for cell in cells)
    found = re.search(rf"^\|\s*{start}\s*\|.*$", text, re.M)
    return found[0] if found else ""


def said(text: str, word: str) -> bool:
    """Whether a word stands somewhere in code, by itself or in a longer piece of it."""
    return re.search(rf"`[^`\n]*(?<!\w){re.escape(word)}(?!\w)[^`\n]*`", text) is not None


def public_members(class_: type) -> list[str]:
    slots = [name for base in class_.__mro__ for name in getattr(base, "__slots__", ())]
    names = {*dir(class_), *slots, *getattr(class_, "_fields", ())}
    names -= {*dir(tuple), *INTERNAL} - set(getattr(class_, "_fields", ()))
    return sorted(name for name in names if not name.startswith("_"))


def missing_names(reference: str) -> list[str]:
    return [name for name in penstock.__all__ if not section(reference, name).strip()]


def missing_members(reference: str) -> list[str]:
    return [
        f"{name}.{member}"
        for name, class_ in MEMBERS.items()
        for member in public_members(class_)
        if not said(section(reference, name), member)
        and member not in "".join(re.findall(r"```pyi\n(.*?)```", section(reference, name), re.S))
    ]


def missing_options_of_steps(reference: str) -> list[str]:
    table = section(reference, "Flow.step")
    return [name for name in StepOptions.__annotations__ if not row(table, f"{name}=")]


def missing_events(reference: str) -> list[str]:
    missing = []
    for event in EVENTS:
        mine = row(reference, event.__name__)
        missing += [event.__name__] if not mine else []
        missing += [f"{event.__name__}.{field}" for field in event._fields if mine and not said(mine, field)]
    return missing


def missing_statuses(reference: str) -> list[str]:
    enums: list[type[enum.Enum]] = [NodeStatus, RunStatus, SkipCause]
    return [
        f"{class_.__name__}.{one.name}"
        for class_ in enums
        for one in class_
        if not row(section(reference, class_.__name__), one.name, one.value)
    ]


def missing_triggers(page: str) -> list[str]:
    return [name for name in TRIGGERS if not row(page, name)]


def missing_kinds(page: str) -> list[str]:
    kinds = get_args(get_type_hints(penstock.Failure)["kind"])
    return [kind for kind in kinds if not row(page, kind)]


def missing_errors(page: str) -> list[str]:
    return [class_.__name__ for class_ in ERROR_CLASSES if not section(page, class_.__name__).strip()]


def missing_commands(page: str) -> list[str]:
    missing = []
    for command in app.COMMANDS:
        mine = section(page, f"penstock {command}")
        missing += [f"penstock {command}"] if not mine.strip() else []
        parser = argparse.ArgumentParser()
        app.module_of(command).configure(parser)
        for action in parser._actions:
            words = [*action.option_strings, *(action.choices or ())]
            if "--help" not in words:
                missing += [f"penstock {command} {word}" for word in words if mine and not said(mine, word)]
    return missing + [f"penstock {word}" for word in ("--help", "--version") if not said(page, word)]


def missing_exit_codes(page: str) -> list[int]:
    codes = {value for name, value in vars(exits).items() if name.isupper() and type(value) is int}
    return sorted(code for code in codes if not row(page, str(code)))


CHECKS = [
    (missing_names, REFERENCE),
    (missing_members, REFERENCE),
    (missing_options_of_steps, REFERENCE),
    (missing_events, REFERENCE),
    (missing_statuses, REFERENCE),
    (missing_exit_codes, REFERENCE),
    (missing_triggers, "docs/guides/failures.md"),
    (missing_kinds, "docs/guides/failures.md"),
    (missing_errors, ERRORS),
    (missing_commands, CLI),
    (missing_exit_codes, CLI),
]


@pytest.mark.parametrize(("check", "page"), CHECKS)
def test_every_public_word_is_documented(check: Any, page: str) -> None:
    assert check(read(page)) == []


@pytest.mark.parametrize(
    ("check", "page", "old", "missing"),
    [
        (missing_names, REFERENCE, "# `RetryPolicy`", "RetryPolicy"),
        (missing_names, REFERENCE, "# `each`", "each"),
        (missing_names, REFERENCE, "# `__version__`", "__version__"),
        (missing_members, REFERENCE, "idempotency_key", "Context.idempotency_key"),
        (missing_members, REFERENCE, "explain_wiring", "Flow.explain_wiring"),
        (missing_options_of_steps, REFERENCE, "| `keep=`", "keep"),
        (missing_events, REFERENCE, "| `AttemptReleased`", "AttemptReleased"),
        (missing_events, REFERENCE, "`due`", "NodeRetrying.due"),
        (missing_statuses, REFERENCE, "| `RETRYING`", "NodeStatus.RETRYING"),
        (missing_statuses, REFERENCE, "| `UPSTREAM`", "SkipCause.UPSTREAM"),
        (missing_exit_codes, REFERENCE, "| 143", 143),
        (missing_triggers, "docs/guides/failures.md", "| `none_failed`", "none_failed"),
        (missing_kinds, "docs/guides/failures.md", "| `lost_worker`", "lost_worker"),
        (missing_errors, ERRORS, "# `CycleError`", "CycleError"),
        (missing_commands, CLI, "# `penstock list`", "penstock list"),
        (missing_commands, CLI, "--input-file", "penstock run --input-file"),
        (missing_commands, CLI, "mermaid", "penstock graph mermaid"),
        (missing_commands, CLI, "--version", "penstock --version"),
        (missing_exit_codes, CLI, "| 130", 130),
    ],
)
def test_a_word_that_is_missing_is_noticed(check: Any, page: str, old: str, missing: Any) -> None:
    text = read(page)
    assert old in text
    found = check(text.replace(old, old[:2] + "planted"))
    assert missing in found
    assert len(found) < 4


# ----------------------------------------------------------------------------------------------------------
# What errors say
# ----------------------------------------------------------------------------------------------------------


def one(n: int = 1) -> int:
    return n


def two(n: int = 2) -> int:
    return n


def whole() -> list[int]:
    return []


def vague() -> Sequence[int]:
    return []


async def f() -> None: ...


def stars(*args: int) -> None: ...


def stored(store: str) -> None: ...


def mistakes(flow: penstock.Flow) -> list[Callable[[], Any]]:
    """The mistakes of the table in the errors page, in its order; each gets an empty flow."""
    use, each = penstock.use, penstock.each
    add: Any = flow.add
    step: Any = flow.step

    def mapped() -> Any:
        add(whole, name="list")
        return add(one, name="a", n=each(add(whole, name="source")))

    def collects(xs: list[int]) -> None: ...
    def takes(x: int) -> None: ...
    def any_two(x, y): ...

    other: Any = penstock.Flow("other").add
    return [
        lambda: add(takes, x=use(add(whole, name="a"))),
        lambda: add(collects, xs=use(mapped())),
        lambda: add(takes, x=each(add(vague, name="a"))),
        lambda: add(one, name="n"),
        lambda: add(takes, x=add(one, name="a")),
        lambda: add(takes, x=[use(add(one, name="a"))]),
        lambda: add(any_two, x=each(add(whole, name="a")), y=each(flow.steps["a"])),
        lambda: add(takes, x=use(other(one, name="a"))),
        lambda: add(takes, x=use(add(one, name="a")), trigger="all_done"),
        lambda: add(one, retry=3),
        lambda: step(retries=3)(one),
        lambda: step(n=3)(one),
        lambda: add(stars),
        lambda: add(f()),
        lambda: [add(f), add(f)],
        lambda: [add(f), add(one, name="f")],
        lambda: [add(one), add(two)],
        lambda: add(stored),
        lambda: add(one, runner="inline", timeout=1),
        lambda: [add(one, limits=[penstock.Limit("api", n)], name=f"{n}") for n in (1, 2)],
    ]


def make(number: int) -> None:
    flow = penstock.Flow("flow")
    mistakes(flow)[number]()
    flow.graph()


def quotes(page: str) -> list[str]:
    table = page[page.index("| It says | Mend |") :].partition("\n\n")[0]
    return re.findall(r"^\| `(.+?)` \|", table, re.M)


def test_the_errors_page_says_what_errors_say() -> None:
    said_so = quotes(read(ERRORS))
    assert len(said_so) == len(mistakes(penstock.Flow("flow")))
    for number, quote in enumerate(said_so):
        with pytest.raises(penstock.GraphError) as caught:
            make(number)
        assert quote in " ".join(str(caught.value).split())


# ----------------------------------------------------------------------------------------------------------
# Signatures
# ----------------------------------------------------------------------------------------------------------

OBJECTS = {
    "flow": penstock.Flow,
    "step": penstock.Step,
    "context": penstock.Context,
    "limit": penstock.Limit,
    "policy": penstock.RetryPolicy,
    "result": FlowResult,
    "handle": FlowHandle,
    "history": penstock.History,
    "run": penstock.StoredRun,
}


def signatures(page: str) -> Iterator[tuple[str, str]]:
    """Name and parameters of every signature in the page's ``pyi`` blocks."""
    for block in blocks(page):
        if block.language == "pyi":
            found = re.fullmatch(r"([\w.]+)\((.*)\)(?: -> ([^\n]*))?\n", block.text, re.S)
            assert found is not None, f"line {block.line} is no signature"
            yield found[1], found[2]


def wrong_signatures(page: str) -> list[str]:
    wrong = []
    for name, parameters in signatures(page):
        owner, _, member = name.rpartition(".")
        real = getattr(OBJECTS[owner], member) if owner else getattr(penstock, name)
        expected = shape(inspect.signature(real), bound=bool(owner))
        if written(parameters) != expected:
            wrong.append(f"{name}{inspect.signature(real)}")
    return wrong


def shape(signature: inspect.Signature, *, bound: bool) -> list[tuple[str, Any, str]]:
    found = [(one.name, one.kind, default(one.default)) for one in signature.parameters.values()]
    return found[1:] if bound else found


def default(value: Any) -> str:
    plain = value is inspect.Parameter.empty or isinstance(value, (str, int, float, type(None), tuple))
    return repr(value) if plain else "..."


def written(parameters: str) -> list[tuple[str, Any, str]]:
    made = ast.parse(f"def f({parameters}): ...").body[0]
    assert isinstance(made, ast.FunctionDef)
    for one in [*made.args.args, *made.args.posonlyargs, *made.args.kwonlyargs]:
        one.annotation = None
    for star in (made.args.vararg, made.args.kwarg):
        if star is not None:
            star.annotation = None
    names = vars(builtins).copy()
    exec(ast.unparse(made), names)
    signature = inspect.signature(names["f"])
    return [(one.name, one.kind, default(one.default)) for one in signature.parameters.values()]


def test_signatures_in_the_reference_are_those_of_the_code() -> None:
    assert wrong_signatures(read(REFERENCE)) == []
    assert len(list(signatures(read(REFERENCE)))) > 25


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("max_attempts: int = 3", "max_attempts: int = 4"),
        ("runner=None", "runner='threads'"),
        ("gather(source, *,", "gather(source,"),
        ("grace: float = 10.0", "graze: float = 10.0"),
    ],
)
def test_a_wrong_signature_is_noticed(old: str, new: str) -> None:
    text = read(REFERENCE)
    assert old in text
    assert len(wrong_signatures(text.replace(old, new))) in (1, 2, 3, 4)


def test_the_two_handles_offer_the_same() -> None:
    """The reference describes `FlowHandle`; the core's own has one method more, for who runs the engine."""
    assert set(public_members(Handle)) - {"finish"} <= set(public_members(FlowHandle))


# ----------------------------------------------------------------------------------------------------------
# Links
# ----------------------------------------------------------------------------------------------------------


def anchors(page: str) -> set[str]:
    """What can stand after ``#`` in a link to the page."""
    headings = re.findall(r"^#+ (.+?) *$", prose(page), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken_links(page: str, folder: Path) -> list[str]:
    """Links of a page in this folder that lead nowhere; those to other sites are not followed."""
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = folder / path if path else None
        there = file is None or file.exists()
        if there and anchor:
            there = anchor in anchors(page if file is None else file.read_text("utf-8"))
        if not there:
            broken.append(target)
    return broken


@pytest.mark.parametrize("name", NAMES)
def test_every_link_leads_to_a_page_that_exists(name: str) -> None:
    assert broken_links(read(name), (ROOT / name).parent) == []


def test_a_broken_link_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "other.md").write_text("# One `two`\n```python\n# three\n```\n")
    page = "# Here\n[a](other.md) [b](other.md#one-two) [c](#here) [d](https://example.org/x)"
    assert broken_links(page, tmp_path) == []
    page = "[a](others.md) [b](other.md#three) ![c](x.png) [d](#there)"
    assert broken_links(page, tmp_path) == ["others.md", "other.md#three", "x.png", "#there"]

"""An atlas of Python's standard library: every file measured, related to the others, drawn on one page.

    python examples/stdlib_atlas.py                                   # writes build/atlas
    penstock run examples/stdlib_atlas.py --input root=src --input title="My project"

Some files cannot be parsed: those of `examples/broken/`, and a few that the standard library keeps for its
own tests. They are kept as failures, told on the page with their reasons, and hold nothing up.
"""

import os
import platform
import sysconfig
from pathlib import Path

from atlas import relate
from atlas.measure import Metrics, Source, measure
from atlas.page import Findings, render
from atlas.relate import HotSpot, ImportGraph, Loops, Survey, Totals, Twins, Unread
from atlas.table import as_csv
from penstock import Failure, Flow, Ok, Skip, each, gather, use

STDLIB = sysconfig.get_paths()["stdlib"]
BROKEN = str(Path(__file__).with_name("broken"))
LEFT_OUT = {"site-packages", "dist-packages", "__pycache__"}

flow = Flow("stdlib_atlas")


@flow.step
def discover(root: str = STDLIB, broken: str = BROKEN, limit: int = 0) -> list[Source]:
    """Every Python file under `root`, or `limit` of them evenly spread, and the broken ones."""
    found = [Source(str(file), shown(file, root)) for file in python_files(root)]
    if 0 < limit < len(found):
        found = [found[number * len(found) // limit] for number in range(limit)]
    ours = [Source(str(file), "examples/broken/" + shown(file, broken)) for file in python_files(broken)]
    return ours + found


@flow.step(runner="processes")
def parse(source: Source = each(discover)) -> Metrics:
    """One call per file, on every processor. What it raises fails this file and nothing else."""
    return measure(source)


@flow.step
def survey(
    sources: list[Source] = use(discover),
    parsed: list[Ok[Metrics] | Failure | Skip] = gather(parse, failures="keep"),
) -> Survey:
    """Tell the measured files from those that failed; outcomes come in the order of the sources."""
    files, unread = [], []
    for source, outcome in zip(sources, parsed, strict=True):
        match outcome:
            case Ok(value=metrics):
                files.append(metrics)
            case Failure(type=error, text=reason):
                unread.append(Unread(source.path, error, reason))
            case Skip(cause=cause):
                unread.append(Unread(source.path, "Skip", cause.value))
    return Survey(tuple(files), tuple(unread))


@flow.step
def totals(survey: Survey = use(survey)) -> Totals:
    return relate.add_up(survey)


@flow.step
def import_graph(survey: Survey = use(survey)) -> ImportGraph:
    return relate.connect(survey.files)


@flow.step
def loops(graph: ImportGraph = use(import_graph)) -> Loops:
    return relate.loops(graph)


@flow.step
def hot_spots(survey: Survey = use(survey), top: int = 15) -> list[HotSpot]:
    return relate.hottest(survey.files, top)


@flow.step
def duplicates(survey: Survey = use(survey)) -> list[Twins]:
    return relate.twins(survey.files)


@flow.step
def table(survey: Survey = use(survey), out: str = "build/atlas") -> str:
    """A row per file, the failed ones included, for a spreadsheet."""
    return write(as_csv(survey), out, "files.csv")


@flow.step
def page(
    survey: Survey = use(survey),
    totals: Totals = use(totals),
    graph: ImportGraph = use(import_graph),
    loops: Loops = use(loops),
    hot_spots: list[HotSpot] = use(hot_spots),
    duplicates: list[Twins] = use(duplicates),
    out: str = "build/atlas",
    title: str = f"The standard library of Python {platform.python_version()}",
) -> str:
    return write(
        render(Findings(title, survey, totals, graph, loops, hot_spots, duplicates)), out, "index.html"
    )


@flow.step
def summary(
    totals: Totals = use(totals),
    loops: Loops = use(loops),
    duplicates: list[Twins] = use(duplicates),
    page: str = use(page),
    table: str = use(table),
) -> str:
    return (
        f"{totals.files:,} files, {totals.unread} of them not readable; {totals.lines:,} lines, "
        f"{totals.definitions:,} definitions; {len(loops.found)} import loops, {len(duplicates)} functions "
        f"written more than once. Page: {page}, table: {table}"
    )


def python_files(root: str) -> list[Path]:
    if not Path(root).is_dir():
        raise NotADirectoryError(f"{root!r} is not a folder to look for Python files in")
    found = []
    for folder, subfolders, names in os.walk(root):
        subfolders[:] = [name for name in subfolders if name not in LEFT_OUT]
        found += [Path(folder, name) for name in names if name.endswith(".py")]
    return sorted(found)


def shown(file: Path, root: str) -> str:
    """The path as the atlas shows it; bytes of a name that are no UTF-8 are spelled out."""
    return os.fsencode(file.relative_to(root).as_posix()).decode(errors="backslashreplace")


def write(text: str, folder: str, name: str) -> str:
    Path(folder).mkdir(parents=True, exist_ok=True)
    target = Path(folder, name)
    target.write_text(text, encoding="utf-8", newline="")
    return target.as_posix()


if __name__ == "__main__":
    result = flow.run()
    result.raise_for_failure()
    print(result["summary"])

"""The page: one HTML file that needs no script, no network, no second file. Every name in it is escaped."""

import re
from base64 import b64encode
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from atlas import draw, relate
from atlas.markup import Markup, joined, tag
from atlas.measure import ENOUGH_STATEMENTS
from atlas.relate import HotSpot, ImportGraph, Loop, Loops, Survey, Totals, Twins, Unread

ROWS = 15
PLACES = 4

#: Loops of more modules are drawn as dots.
ENOUGH_FOR_A_KNOT = 8


@dataclass(frozen=True, slots=True)
class Findings:
    title: str
    survey: Survey
    totals: Totals
    graph: ImportGraph
    loops: Loops
    hot_spots: Sequence[HotSpot]
    twins: Sequence[Twins]


def render(found: Findings) -> str:
    style = Markup(Path(__file__).with_name("page.css").read_text(encoding="utf-8"))
    digest = b64encode(sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'"
    sections = (lines(found), complexity(found), imports(found), repeated(found), unread(found), counting())
    return (
        "<!doctype html>\n"
        + tag(
            "html",
            tag(
                "head",
                Markup('<meta charset="utf-8">'),
                Markup('<meta name="viewport" content="width=device-width, initial-scale=1">'),
                Markup('<meta name="color-scheme" content="light dark">'),
                Markup(f'<meta http-equiv="Content-Security-Policy" content="{policy}">'),
                tag("title", found.title),
                tag("style", style),
            ),
            tag("body", head(found), tag("main", *sections), foot()),
            lang="en",
        )
        + "\n"
    )


def head(found: Findings) -> Markup:
    totals = found.totals
    figures = (
        ("Files", totals.files, ""),
        ("Lines", totals.lines, ""),
        ("Lines of code", totals.code_lines, ""),
        ("Functions", totals.functions, ""),
        ("Classes", totals.classes, ""),
        ("Imports", totals.imports, ""),
        ("Import loops", len(found.loops.found), ""),
        ("Could not be read", totals.unread, "bad" if totals.unread else ""),
    )
    links = (
        ("lines", "Lines"),
        ("complexity", "Complexity"),
        ("imports", "Imports"),
        ("repeated", "Written twice"),
        ("unread", "Could not be read"),
        ("counting", "How it is counted"),
    )
    lead = (
        "Its files, measured one by one: where the lines are, which functions branch most, which modules "
        "need each other, and what was written twice."
    )
    entries = (tag("li", tag("a", text, href=f"#{to}")) for to, text in links)
    boxes = (
        tag("div", tag("dt", what), tag("dd", f"{many:,}"), class_=kind or None)
        for what, many, kind in figures
    )
    return tag(
        "header",
        tag("p", "Code atlas", class_="over"),
        tag("h1", found.title),
        tag("p", lead, class_="lead"),
        tag("nav", tag("ul", *entries), aria_label="Sections"),
        tag("dl", *boxes, class_="figures"),
    )


def lines(found: Findings) -> Markup:
    files = found.survey.files
    shades = ("no functions", "up to 1.25", "up to 2", "up to 3", "up to 5", "more")
    return section(
        "lines",
        "Where the lines are",
        "Each box is a file, as large as it has lines, inside the box of its package. The more it stands out "
        "from the page, the more its functions branch. The smallest files of a package share one box.",
        figure(
            "Lines by package and file",
            "",
            draw.treemap(files, 1040, 640),
            draw.treemap(files, 360, 620),
            key(
                ((f"s{shade}", text) for shade, text in enumerate(shades)),
                "Mean complexity of its functions:",
            ),
        ),
    )


def complexity(found: Findings) -> Markup:
    files, totals = found.survey.files, found.totals
    mean = totals.complexity / totals.functions if totals.functions else 0
    most = max((spot.complexity for spot in found.hot_spots), default=1)
    rows = (
        tag(
            "tr",
            tag("th", name(spot.name), at(spot.path, spot.line), scope="row"),
            meter(spot.complexity / most),
            count(spot.complexity),
            count(spot.lines),
        )
        for spot in found.hot_spots
    )
    return section(
        "complexity",
        "How complex it is",
        f"A function without a branch has complexity 1; each branch adds one. The mean is {mean:.1f}: most "
        "functions are plain, and a few hold much of the difficulty.",
        tag(
            "div",
            figure(
                "Functions by complexity",
                "How many functions there are of each complexity.",
                draw.histogram(files, 520),
                draw.histogram(files, 360),
            ),
            figure(
                "Files by lines and complexity",
                "Complexity is summed over a file; both axes are logarithmic.",
                draw.scatter(files, 520, 330, touch=False),
                draw.scatter(files, 360, 330, touch=True),
                key([("bar", "library"), ("quiet", "tests")]),
            ),
            class_="pair",
        ),
        table(
            "Hot spots",
            "The functions with most branches.",
            (("Function", ""), ("", "m"), ("Complexity", "n"), ("Lines", "n")),
            rows,
        ),
    )


def imports(found: Findings) -> Markup:
    graph, loops = found.graph, found.loops
    drawn = [biggest_loop(loop) for loop in loops.found[:1]]
    if loops.latent and loops.latent not in loops.found:
        drawn.append(latent_knot(loops.latent, graph))
    shows = [tag("div", *drawn, class_="pair")] if drawn else []
    leaned_on = relate.most_imported(graph, 10)
    most = max((many for _, many in leaned_on), default=1)
    shows.append(
        tag(
            "div",
            table(
                "Import loops",
                "At import time, biggest first, each with a shortest way round.",
                (("Modules", "n"), ("Way round", "")),
                (loop_row(loop) for loop in loops.found[:ROWS]),
            ),
            table(
                "Leaned on most",
                "By how many modules each is imported at import time.",
                (("Module", ""), ("", "m"), ("Importers", "n")),
                (
                    tag("tr", tag("th", name(module), scope="row"), meter(many / most), count(many))
                    for module, many in leaned_on
                ),
            ),
            class_="pair",
        )
    )
    return section(
        "imports",
        "Who imports whom",
        f"{len(graph.modules):,} modules and {len(graph.edges):,} imports between them that run as a module "
        f"is imported; {len(graph.deferred):,} more wait inside functions. Loops work only with care.",
        *shows,
    )


def biggest_loop(loop: Loop) -> Markup:
    about = (
        f"{len(loop.modules)} modules that need each other at import time; arrows point to what is imported."
    )
    if len(loop.modules) <= ENOUGH_FOR_A_KNOT:
        return figure(
            "The biggest loop", about, draw.ring(loop, 520, 330, "a"), draw.ring(loop, 360, 320, "b")
        )
    return figure("The biggest loop", about, draw.knot(loop, set(), 520, 8), draw.knot(loop, set(), 360, 0))


def latent_knot(loop: Loop, graph: ImportGraph) -> Markup:
    late = set(graph.deferred)
    waiting = sum(edge in late for edge in loop.edges)
    return figure(
        "The knot that is avoided",
        f"If the {waiting:,} imports that wait ran at once, {len(loop.modules)} modules would be one loop.",
        draw.knot(loop, late, 520, 8),
        draw.knot(loop, late, 360, 0),
        key([("accent", "at import"), ("alarm", "waits inside a function")]),
    )


def loop_row(loop: Loop) -> Markup:
    if len(loop.modules) == 2:
        way = joined((name(module) for module in loop.modules), " ⇄ ")
    else:
        way = joined((name(module) for module in loop.shortest), " → ")
    return tag("tr", count(len(loop.modules)), tag("td", way))


def repeated(found: Findings) -> Markup:
    groups = found.twins
    needless = sum(group.needless for group in groups)
    return section(
        "repeated",
        "Written twice",
        f"{len(groups):,} functions of {ENOUGH_STATEMENTS} statements or more stand in the sources more than "
        f"once, the same but for their names and docstrings: {needless:,} lines that say nothing new.",
        table(
            "Duplicate functions",
            "Those that repeat most lines."
            + (f" {len(groups) - ROWS:,} more are not shown." if len(groups) > ROWS else ""),
            (("Copies", "n"), ("Lines", "n"), ("Where", "")),
            (
                tag("tr", count(len(group.places)), count(group.lines), tag("td", places(group)))
                for group in groups[:ROWS]
            ),
        ),
    )


def places(group: Twins) -> Markup:
    items = [tag("li", name(function), at(path, line)) for path, function, line in group.places[:PLACES]]
    if len(group.places) > PLACES:
        items.append(tag("li", tag("small", f"and {len(group.places) - PLACES:,} more")))
    return tag("ul", *items)


def unread(found: Findings) -> Markup:
    lost = found.survey.unread
    return section(
        "unread",
        "Could not be read",
        f"{len(lost):,} of {found.totals.files:,} files could not be parsed. They are counted as files and "
        "left out of all other figures; the reason is the parser's own.",
        table(
            "Files that could not be parsed",
            "Those in examples/broken are broken on purpose.",
            (("File and reason", ""), ("Error", "")),
            map(unread_row, lost),
        ),
    )


def unread_row(lost: Unread) -> Markup:
    error = lost.error.rpartition(".")[2]
    return tag(
        "tr",
        tag("th", name(lost.path), tag("small", lost.reason), scope="row"),
        tag("td", error, class_="error"),
    )


def counting() -> Markup:
    terms = (
        ("Lines of code", "Lines that are neither blank, nor only a comment, nor part of a docstring."),
        (
            "Complexity",
            "McCabe's: 1 for a function, and 1 more for each if, elif, conditional expression, for, while, "
            "except, case, and, or, and each for and if of a comprehension. A nested function has its own.",
        ),
        (
            "Import loop",
            "Modules of which each one imports, in the end, all others. An import counts for the module that "
            "it names, not for the packages around it.",
        ),
        (
            "Imports that wait",
            "Those inside functions, under TYPE_CHECKING and under __main__: importing the file does not run "
            "them.",
        ),
        (
            "Duplicate",
            "Functions whose syntax trees are the same without their names, docstrings and positions. Nested "
            "functions are not compared.",
        ),
    )
    body = (part for term, meaning in terms for part in (tag("dt", term), tag("dd", meaning)))
    return section(
        "counting",
        "How it is counted",
        "So that every number can be checked.",
        tag("dl", *body, class_="terms"),
    )


def foot() -> Markup:
    return tag(
        "footer", tag("p", "Made by the flow ", tag("code", "stdlib_atlas"), ", an example of Penstock.")
    )


def section(id: str, title: str, about: str, *shows: object) -> Markup:
    intro = tag("div", tag("h2", title), tag("p", about), class_="about")
    return tag("section", intro, tag("div", *shows, class_="shows"), id=id)


def figure(title: str, about: str, wide: Markup, narrow: Markup, *below: Markup) -> Markup:
    """A figure in its two drawings; the style sheet shows the one that fits."""
    drawings = (tag("div", wide, class_="wide"), tag("div", narrow, class_="narrow"))
    return tag("figure", tag("figcaption", tag("b", title), about), *drawings, *below)


def table(title: str, about: str, columns: Sequence[tuple[str, str]], rows: Iterable[Markup]) -> Markup:
    body = list(rows) or [tag("tr", tag("td", "None.", class_="none", colspan=len(columns)))]
    heads = (
        tag("th" if text else "td", text, scope="col" if text else None, class_=kind or None)
        for text, kind in columns
    )
    return tag(
        "table", tag("caption", tag("b", title), about), tag("thead", tag("tr", *heads)), tag("tbody", *body)
    )


def key(entries: Iterable[tuple[str, str]], title: str = "") -> Markup:
    items = [tag("li", title)] if title else []
    for kind, text in entries:
        rect = tag("rect", width=14, height=14, rx=2, class_=kind)
        items.append(tag("li", tag("svg", rect, viewBox="0 0 14 14", aria_hidden="true"), text))
    return tag("ul", *items, class_="key")


def name(text: str) -> Markup:
    """A dotted name or a path, which may be broken behind its dots and slashes."""
    return tag("code", breakable(text))


def at(path: str, line: int) -> Markup:
    return tag("small", breakable(f"{path}:{line}"))


def breakable(text: str) -> Markup:
    return joined(re.split(r"(?<=[./_])(?=\w)(?!py\b)", text), "<wbr>")


def count(value: int) -> Markup:
    return tag("td", f"{value:,}", class_="n")


def meter(share: float) -> Markup:
    """A cell with a bar, for the eye only: the number stands beside it."""
    bar = tag("rect", width=share * 100, height=8, class_="bar")
    box = {"viewBox": "0 0 100 8", "preserveAspectRatio": "none", "aria_hidden": "true"}
    return tag("td", tag("svg", bar, class_="meter", **box), class_="m")

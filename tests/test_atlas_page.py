"""The page and the table of the atlas: complete, readable, and safe against evil names."""

import csv
import importlib
import io
import os
import re
import sys
from base64 import b64encode
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import pytest

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
VOID = {"meta", "wbr"}

EVIL = [
    "<img src=x onerror=alert(1)>.py",
    "\"><svg onload='alert(1)'>.py",
    "&lt;b&gt; & co.py",
    "}<style><script>.py",
    "=cmd|' -C calc'!A1.py",
    "{{7*7}} ${x} `y`.py",
    "line\nbreak, comma.py",
    "\u202egnp.py",
    "a" * 200 + ".py",
    "résumé 漢字 🐍.py",
]


@pytest.fixture(scope="module")
def job():
    sys.path.insert(0, str(EXAMPLES))
    try:
        return importlib.import_module("stdlib_atlas")
    finally:
        sys.path.remove(str(EXAMPLES))


def run(job, root, out, **inputs):
    kept = ["survey", "totals", "page", "table"]
    result = job.flow.run(root=str(root), out=str(out), targets=kept, **inputs)
    result.raise_for_failure()
    text = {name: Path(result[name]).read_bytes().decode() for name in ("page", "table")}
    return SimpleNamespace(survey=result["survey"], totals=result["totals"], **text)


@pytest.fixture(scope="module")
def some(job, tmp_path_factory):
    """An atlas of a part of the standard library."""
    return run(job, job.STDLIB, tmp_path_factory.mktemp("some"), limit=150)


@pytest.fixture(scope="module")
def evil(job, tmp_path_factory):
    """An atlas of files whose names want to be more than names; half of them cannot be parsed."""
    root = tmp_path_factory.mktemp("evil")
    folder = root / "<script>alert('folder')<"
    folder.mkdir()
    twin = "def {}(a):\n    a += 1\n    a += 2\n    a += 3\n    a += 4\n    a += 5\n    return a\n"
    for number, name in enumerate(EVIL):
        text = twin.format(f"f{number}") if number % 2 else "x = <script>alert('text')</script>\n"
        (root / name).write_text(text, encoding="utf-8")
        (folder / name).write_text(text, encoding="utf-8")
    return run(job, root, tmp_path_factory.mktemp("out"), title="<b>Mine</b> & yours")


class Page(HTMLParser):
    """The elements of a page: what is opened must be closed, in order."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.elements = []
        self.words = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs), tuple(self._open)))
        assert len(attrs) == len(dict(attrs))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        if "style" not in self._open:
            self.words.append(data)

    def all(self, *tags):
        return [(tag, attrs) for tag, attrs, _ in self.elements if tag in tags]

    @property
    def text(self):
        return "".join(self.words)


@pytest.fixture(params=["some", "evil", "empty", "one"])
def page(request, job, tmp_path):
    if request.param in ("some", "evil"):
        return Page(request.getfixturevalue(request.param).page)
    root = tmp_path / "root"
    root.mkdir()
    if request.param == "one":
        (root / "alone.py").write_text("")
    return Page(run(job, root, tmp_path / "out", broken=str(root)).page)


# --- Safety


def test_the_page_holds_only_elements_of_ours(page):
    ours = (
        "html head meta title style body header main footer section nav h1 h2 p b a ul li dl dt dd div figure"
    )
    ours += " figcaption table caption thead tbody tr th td code small wbr"
    ours += " svg g rect path circle text title defs marker"
    assert {tag for tag, _, _ in page.elements} <= set(ours.split())


def test_nothing_runs_and_nothing_is_fetched(page):
    for tag, attributes, _ in page.elements:
        assert not any(
            name.startswith("on") or name in {"src", "style", "action", "srcset"} for name in attributes
        )
        assert attributes.get("href", "#").startswith("#"), tag
    policy = next(attributes["content"] for _, attributes in page.all("meta") if "http-equiv" in attributes)
    assert policy.startswith("default-src 'none'; style-src 'sha256-")


def test_the_style_is_the_one_the_policy_names(some):
    (style,) = re.findall(r"<style>(.*?)</style>", some.page, re.S)
    assert b64encode(sha256(style.encode()).digest()).decode() in some.page
    assert "url(" not in style
    assert "@import" not in style


def test_evil_names_are_shown_as_they_are(evil):
    page = Page(evil.page)
    assert "<b>Mine</b> & yours" in page.text
    for lost in evil.survey.unread:
        assert lost.path in page.text
        assert lost.reason in page.text
    for file in evil.survey.files:
        assert file.path in page.text
    for name in EVIL[:4]:
        assert name not in evil.page


def test_half_of_the_evil_files_failed(evil):
    unread = {lost.path for lost in evil.survey.unread if not lost.path.startswith("examples/broken/")}
    assert len(unread) == len(EVIL)
    assert {path for path in unread if "/" not in path} == set(EVIL[::2])


def test_a_name_that_is_no_text_is_spelled_out(job, tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    try:
        Path(os.fsdecode(os.fsencode(root) + b"/caf\xe9.py")).write_text("x = (\n")
    except OSError:
        pytest.skip("this file system takes no such name")
    found = run(job, root, tmp_path / "out")
    assert "caf\\xe9.py" in Page(found.page).text
    assert "caf\\xe9.py" in found.table


# --- What a reader meets


def test_language_title_and_headings(page):
    assert page.all("html")[0][1]["lang"] == "en"
    assert len(page.all("h1")) == 1
    levels = [tag for tag, _ in page.all("h1", "h2", "h3")]
    assert levels[0] == "h1"
    assert set(levels[1:]) == {"h2"}
    assert len(page.all("main")) == len(page.all("header")) == len(page.all("footer")) == 1


def test_every_link_leads_somewhere(page):
    ids = [attributes["id"] for _, attributes, _ in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {attributes["href"][1:] for _, attributes in page.all("a")} <= set(ids)
    for _, attributes in page.all("g"):
        if "marker-end" in attributes:
            assert attributes["marker-end"].removeprefix("url(#").removesuffix(")") in ids


def test_tables_have_captions_and_scoped_headings(page):
    tables = page.all("table")
    assert len(tables) == len(page.all("caption")) >= 4
    assert all(attributes.get("scope") in {"row", "col"} for _, attributes in page.all("th"))


def test_figures_say_what_they_show(page):
    for _, attributes in page.all("svg"):
        assert attributes.get("aria-hidden") == "true" or (
            attributes["role"] == "img" and attributes["aria-label"]
        )
        assert "viewbox" in attributes
    assert len(page.all("figure")) == len(page.all("figcaption")) >= 3


def test_marks_have_tooltips_with_numbers(some):
    page = Page(some.page)
    assert sum(tag == "title" and "svg" in above for tag, _, above in page.elements) > 300


def test_coordinates_are_finite(page):
    for tag, attributes, _ in page.elements:
        for name, value in attributes.items():
            if name in {"x", "y", "width", "height", "cx", "cy", "r", "d", "viewbox"}:
                assert not re.search(r"nan|inf|e[+-]?\d", value), (tag, name, value)
            if name in {"width", "height", "r"} and tag != "marker":
                assert float(value) >= 0


def test_the_treemap_gives_each_file_its_area(job):
    draw = importlib.import_module("atlas.draw")
    sizes = [400, 300, 200, 50, 30, 10, 5, 5]
    boxes = draw.squarify(sizes, draw.Box(0, 0, 100, 40))
    for size, box in zip(sizes, boxes, strict=True):
        assert box.area == pytest.approx(size * 4)
        assert box.x >= -1e-9
        assert box.y >= -1e-9
        assert box.x + box.width <= 100 + 1e-6
        assert box.y + box.height <= 40 + 1e-6
    for one in range(len(boxes)):
        for other in range(one):
            a, b = boxes[one], boxes[other]
            wide = min(a.x + a.width, b.x + b.width) - max(a.x, b.x)
            high = min(a.y + a.height, b.y + b.height) - max(a.y, b.y)
            assert wide <= 1e-6 or high <= 1e-6


def test_the_totals_and_the_failures_are_on_the_page(some):
    text = Page(some.page).text
    totals = some.totals
    for number in (
        totals.files,
        totals.lines,
        totals.code_lines,
        totals.functions,
        totals.classes,
        totals.imports,
    ):
        assert f"{number:,}" in text
    for lost in some.survey.unread:
        assert lost.path in text
        assert lost.reason in text


def test_both_colour_schemes_are_legible(job):
    css = (EXAMPLES / "atlas" / "page.css").read_text(encoding="utf-8")
    schemes = [
        dict(re.findall(r"--([\w-]+): (#\w{6})", block))
        for block in re.findall(r":root \{(.*?)\}", css, re.S)
    ]
    pairs = [(ink, "ground") for ink in ("ink", "quiet", "accent", "alarm")]
    pairs += [("t-low", f"s{shade}") for shade in range(4)] + [("t-high", "s4"), ("t-high", "s5")]
    assert len(schemes) == 2
    for colours in schemes:
        for ink, ground in pairs:
            assert contrast(colours[ink], colours[ground]) >= 4.5, (ink, ground)


def contrast(one, other):
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def luminance(colour):
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def test_the_same_sources_give_the_same_bytes(some, job, tmp_path):
    again = run(job, job.STDLIB, tmp_path, limit=150)
    assert again.page == some.page
    assert again.table == some.table


# --- The table


@pytest.mark.parametrize("name", ["some", "evil"])
def test_the_table_has_a_row_per_file(request, name):
    atlas = request.getfixturevalue(name)
    rows = list(csv.DictReader(io.StringIO(atlas.table, newline="")))
    totals = atlas.totals
    assert len(rows) == totals.files
    assert sorted(row["path"] for row in rows) == sorted(
        [file.path for file in atlas.survey.files] + [lost.path for lost in atlas.survey.unread]
    )
    for column in ("lines", "code_lines", "classes", "functions", "complexity", "imports"):
        assert sum(int(row[column] or 0) for row in rows) == getattr(totals, column)
    assert sum(bool(row["error"]) for row in rows) == totals.unread
    assert all(bool(row["error"]) == bool(row["reason"]) != bool(row["lines"]) for row in rows)

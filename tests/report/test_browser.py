"""The report in Chromium: it is quiet, it fits, nothing lies on anything else, and its script works."""

from itertools import pairwise
from pathlib import Path

import pytest

from penstock.draw.svg import svg
from penstock.report.page import page

from . import made
from .browser import chromium, watched

WIDTHS = (390, 1280, 1920)
MADE = {
    "small": made.small,
    "failed": made.failed,
    "resumed": made.resumed,
    "cancelled": made.cancelled,
    "gated": made.gated,
    "large": made.large,
}

CHECKS = (Path(__file__).parent / "checks.js").read_text("utf-8")
CLIPPED, OVERLAPS, CONTRAST = (f"({CHECKS}).{name}()" for name in ("clipped", "overlaps", "contrast"))


@pytest.fixture(scope="module")
def browser():
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The pages of all reports, by name."""
    folder = tmp_path_factory.mktemp("pages")
    for name, make in MADE.items():
        report = make()
        (folder / f"{name}.html").write_text(
            page(report, svg(report.outline, statuses=report.standings)), "utf-8"
        )
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(MADE))
def test_no_error_no_request_no_overflow_no_overlap_at_any_width_light_and_dark(browser, files, name):
    for scheme in ("light", "dark"):
        with watched(browser, files / f"{name}.html", color_scheme=scheme) as one:
            for width in WIDTHS:
                one.page.set_viewport_size({"width": width, "height": 900})
                wide = one.page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
                assert wide[0] <= wide[1], (name, width)
                assert one.page.evaluate(CLIPPED) == [], (name, width)
                assert one.page.evaluate(OVERLAPS) == [], (name, width)
            assert one.page.evaluate(CONTRAST) == [], (name, scheme)
            assert one.quiet(), (one.said, one.asked, one.dialogs, one.violations())


def test_without_a_script_everything_is_there_and_nothing_is_hidden_but_the_controls(browser, files):
    with watched(browser, files / "failed.html", java_script_enabled=False) as one:
        for what in (
            ".story",
            "#failures article",
            "#graph svg",
            "#time .row svg",
            "#efficiency .legs",
            "#t tr.i",
        ):
            assert one.page.locator(what).first.is_visible(), what
        for what in (".copy", ".tools", "#theme", ".filter"):
            assert not one.page.locator(what).first.is_visible(), what


def names(one):
    return one.page.eval_on_selector_all(
        "#t tbody tr:not(.i)", "rows => rows.map(r => r.cells[0].dataset.name)"
    )


def test_the_table_is_sorted_by_keyboard(browser, files):
    with watched(browser, files / "failed.html") as one:
        before = names(one)
        head = one.page.locator("#t thead th").filter(has_text="Duration")
        head.locator("button").focus()
        one.page.keyboard.press("Enter")
        assert head.get_attribute("aria-sort") == "descending"
        report = made.failed()
        longest = sorted(
            report.steps, key=lambda step: -1 if step.duration is None else -round(step.duration, 2)
        )
        known = [step.path for step in longest if step.duration is not None]
        assert [name for name in names(one) if name in known] != before
        took = {step.path: step.duration or -1 for step in report.steps}
        order = [took[name] for name in names(one)]
        assert all(a >= b - 0.05 for a, b in pairwise(order))
        one.page.keyboard.press("Space")
        assert head.get_attribute("aria-sort") == "ascending"
        one.page.keyboard.press("Enter")
        assert head.get_attribute("aria-sort") == "none"
        assert names(one) == before


def test_items_stay_under_their_step_however_it_is_sorted(browser, files):
    with watched(browser, files / "failed.html") as one:
        one.page.locator("#t thead th button").filter(has_text="Step").click()
        rows = one.page.eval_on_selector_all("#t tbody tr", "rows => rows.map(r => r.cells[0].dataset.name)")
        at = rows.index("parse")
        assert rows[at + 1 : at + 19] == [f"parse[{number}]" for number in range(18)]


def test_steps_are_filtered_by_text_and_status_and_items_open(browser, files):
    with watched(browser, files / "failed.html") as one:
        visible = "#t tbody tr:visible"
        assert one.page.locator(visible).count() == 9
        one.page.get_by_role("button", name="Items of parse").click()
        assert one.page.locator(visible).count() == 27
        one.page.locator(".filter input").fill("parse[7")
        assert one.page.locator(visible).count() == 2
        one.page.locator(".filter input").fill("")
        one.page.locator('.chips button[data-status="failed"]').click()
        assert one.page.locator(visible).count() == 3
        assert one.page.locator(".found").inner_text() == "3 found"


def test_a_step_chosen_in_the_graph_the_timeline_or_the_table_is_shown_with_its_attempts(browser, files):
    with watched(browser, files / "failed.html", viewport={"width": 1280, "height": 900}) as one:
        panel = one.page.locator(".panel")
        number = [node.id for node in made.failed().outline.nodes].index("load")
        one.page.locator(f'#graph [data-node="{number}"]').click()
        assert "load" in panel.locator("h3").inner_text()
        assert "TimeoutError" in panel.inner_text()
        assert panel.locator(".spans li").count() >= 3
        one.page.keyboard.press("Escape")
        assert not panel.is_visible()
        one.page.locator("#time a.lab").filter(has_text="audit").focus()
        one.page.keyboard.press("Enter")
        assert panel.locator("h3").inner_text() == "audit"
        panel.get_by_role("button", name="Close").click()
        one.page.locator("#t tbody tr").filter(has_text="fetch").first.click()
        assert panel.locator("h3").inner_text() == "fetch"
        assert one.quiet()


def test_what_is_under_the_pointer_is_told(browser, files):
    with watched(browser, files / "failed.html", viewport={"width": 1280, "height": 900}) as one:
        row = one.page.locator("#time .rows .row").filter(has_text="fetch").locator("svg")
        row.scroll_into_view_if_needed()
        box = row.bounding_box()
        one.page.mouse.move(box["x"] + 30, box["y"] + 11)
        assert one.page.locator(".tip").inner_text().startswith("fetch\nran 2.10 s")
        one.page.locator("#time .load svg").first.scroll_into_view_if_needed()
        box = one.page.locator("#time .load svg").first.bounding_box()
        one.page.mouse.move(box["x"] + 30, box["y"] + 20)
        assert "running" in one.page.locator(".tip").inner_text()


def test_a_map_of_too_many_lanes_tells_how_many_ran(browser, tmp_path):
    took = tuple(1.0 + number % 3 for number in range(200))
    report = made.report([made.Work("a"), made.Work("many", ("a",), items=took)], workers=100)
    path = tmp_path / "crowd.html"
    path.write_text(page(report), "utf-8")
    with watched(browser, path, viewport={"width": 1280, "height": 900}) as one:
        row = one.page.locator("#time .rows .row").filter(has_text="many").locator("svg")
        row.scroll_into_view_if_needed()
        box = row.bounding_box()
        one.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 30)
        name, told = one.page.locator(".tip").inner_text().split("\n")
        assert name == "many"
        assert 20 <= int(told.removesuffix(" running")) <= 100
        one.page.mouse.down()
        one.page.mouse.up()
        assert not one.page.locator(".panel").is_visible()
        assert one.quiet()


def test_zoom_widens_the_timeline_inside_its_own_box(browser, files):
    with watched(browser, files / "failed.html", viewport={"width": 1280, "height": 900}) as one:
        before = one.page.locator("#time .rows svg").first.bounding_box()["width"]
        for _ in range(3):
            one.page.locator('#time [data-zoom="in"]').click()
        assert one.page.locator("#time .rows svg").first.bounding_box()["width"] > before * 2.5
        assert one.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        one.page.locator('#time [data-zoom="fit"]').click()
        assert abs(one.page.locator("#time .rows svg").first.bounding_box()["width"] - before) < 2


def test_colours_follow_the_system_until_somebody_chooses(browser, files):
    back = "getComputedStyle(document.body).backgroundColor"
    with watched(browser, files / "small.html", color_scheme="dark") as one:
        dark = one.page.evaluate(back)
        one.page.locator("#theme").click()
        light = one.page.evaluate(back)
        assert light != dark
        assert one.page.evaluate("getComputedStyle(document.querySelector('.pk-bg')).fill") == light
        one.page.locator("#theme").click()
        assert one.page.evaluate(back) == dark
        one.page.reload()
        assert one.page.locator("#theme").inner_text() == "Dark"


def test_on_paper_everything_is_open_and_light_and_there_are_no_buttons(browser, files):
    with watched(browser, files / "failed.html", color_scheme="dark") as one:
        one.page.emulate_media(media="print")
        assert one.page.evaluate("getComputedStyle(document.documentElement).colorScheme") == "light"
        assert one.page.locator("#t tr.i").first.is_visible()
        for what in (".bar", ".filter", ".copy", ".tools"):
            assert not one.page.locator(what).first.is_visible()
        one.page.evaluate("dispatchEvent(new Event('beforeprint'))")
        assert one.page.evaluate("[...document.querySelectorAll('details')].every(one => one.open)")


def test_everything_that_can_be_clicked_can_be_reached_by_keyboard(browser, files):
    with watched(browser, files / "failed.html") as one:
        assert one.page.evaluate(
            "[...document.querySelectorAll('button, a[href], summary, .scroll, .tl')]"
            ".every(one => one.hidden || one.tabIndex >= 0)"
        )
        one.page.keyboard.press("Tab")
        assert one.page.evaluate("document.activeElement.className") == "skip"
        one.page.keyboard.press("Enter")
        assert one.page.evaluate("document.activeElement.id") == "main"

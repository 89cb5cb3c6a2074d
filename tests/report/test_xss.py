"""U06: texts of strangers run nowhere in a report, whatever they say and wherever they stand."""

import pytest

from penstock.core.outline import NodeStanding, Outline, OutlineNode
from penstock.core.visible import one_line
from penstock.draw.svg import svg
from penstock.report import failures, table
from penstock.report.data import (
    Attempt,
    Command,
    Figure,
    Forecast,
    Gate,
    Leg,
    Life,
    Line,
    Output,
    Report,
    Step,
    Trouble,
    WhatIf,
)
from penstock.report.page import page
from tests.payloads import PAYLOADS

from .browser import chromium, watched
from .parsed import Page

STRANGE = "img, object, embed, link, base, meta, math, video, audio, form:not(.filter)"
A_PAGE = 180  # payloads of one page: each stands in every place


@pytest.fixture(scope="module")
def browser():
    with chromium() as started:
        yield started


def hostile(texts, statuses=("failed", "succeeded", "skipped")):
    """A report that has one of these texts in every place that holds a text."""
    steps, nodes = [], []
    for number, text in enumerate(texts):
        trouble = Trouble(text, text, text, f'  File "{text}", line 1, in {text}\n    {text}\n{text}', text)
        lines = (Line(1.0, text, text, text, ((text, text),)), Line(1.0, "error", "stderr", text))
        tries = tuple(Attempt(n, n, "failed", 1.0, 1.0, 1.0, 2.0, 2.5, trouble, lines=lines) for n in (1, 2))
        status = statuses[number % len(statuses)]
        item = Step(f"{text}[{text}]", text, status, True, text, text, 2, tries, trouble, 1.0, 2.0, 1.0)
        steps.append(Step(text, text, status, False, text, text, 2, tries, trouble, 1.0, 2.0, 1.0))
        if number % 7 == 0:
            steps[-1] = steps[-1]._replace(
                path=text + " ", counts={text: 1, "failed": 1}, items=(item,), attempts=()
            )
        nodes.append(
            OutlineNode(text, "step", (("use", texts[number - 1]),) if number else (), 0, False, (text,))
        )
    pairs = {text: text for text in texts}
    first = texts[0]
    return Report(
        first,
        texts[1],
        "failed",
        texts[2],
        9.0,
        0.5,
        1.0,
        5.0,
        4.0,
        Outline(texts[3], tuple(nodes)),
        {text: NodeStanding("failed", {}, text) for text in texts},
        {"failed": 1, first: 2},
        tuple(steps),
        lives=(Life(1.0, 2.0, end=first), Life(3.0, 5.0, 1.0, True, first, 1, tuple(texts))),
        critical=tuple(Leg("run", text, 1, 1.0, 2.0) for text in texts),
        forecast=Forecast(
            4.0, 4.0, 2, tuple(WhatIf(text, "twice", 1.0, -0.5, 2, text) for text in texts), first
        ),
        gates=tuple(Gate(text, text, text, 1.0, 2.0, 3.0, text) for text in texts),
        inputs=tuple(pairs.items()),
        outputs=tuple(Output(text, text) for text in texts),
        figures=tuple(
            Figure(text, "text/html" if number % 2 else "image/svg+xml", text)
            for number, text in enumerate(texts[:4])
        ),
        commands=tuple(Command(text, text) for text in texts),
        tags=pairs,
        about={**pairs, "commit": first, "branch": first},
        options=tuple(pairs.items()),
        target=first,
        parent=first,
        store=first,
        warnings=tuple(texts),
        dropped=tuple(texts),
    )


def shown(path, report):
    path.write_text(
        page(report, svg(report.outline, statuses=report.standings), version="<b>1</b>"), "utf-8", "strict"
    )
    return path


def test_u06_there_are_500_payloads():
    assert len(set(PAYLOADS)) >= 500


@pytest.mark.slow
def test_u06_no_payload_runs_anywhere_in_a_report(browser, tmp_path):
    for start in range(0, len(PAYLOADS), A_PAGE):
        texts = PAYLOADS[start : start + A_PAGE]
        if len(texts) < 4:
            texts = PAYLOADS[-4:]
        file = shown(tmp_path / f"{start}.html", hostile(texts))
        with watched(browser, file, viewport={"width": 1280, "height": 900}) as one:
            one.page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
            one.page.locator("#t thead th button").first.click()
            one.page.locator("#t tbody tr").first.click()
            one.page.locator("#time a.lab").first.click()
            one.page.mouse.move(700, 400)
            one.page.evaluate(
                "document.querySelectorAll('a[data-r], [data-node]').forEach("
                "one => one.dispatchEvent(new MouseEvent('click', {bubbles: true, cancelable: true})))"
            )
            one.page.evaluate("scrollTo(0, document.body.scrollHeight)")
            one.page.wait_for_load_state()
            assert one.hits() == []
            assert one.dialogs == []
            assert one.asked == []
            assert one.violations() == []
            assert one.page.locator("h1 > span").first.inner_text()[:60].strip() in one_line(texts[1])
            assert one.page.evaluate("document.scripts.length") == 2
            assert one.page.locator(f"main :is({STRANGE})").count() == 0


def test_u06_what_the_policy_would_stop_does_not_even_try(browser, tmp_path):
    """Frames of figures hold markup of strangers: their own policy and sandbox keep it still."""
    texts = [text for text in PAYLOADS if "<" in text][:40]
    report = hostile(texts)._replace(figures=tuple(Figure("f", "text/html", text) for text in texts))
    with watched(browser, shown(tmp_path / "figures.html", report)) as one:
        one.page.locator("#outputs iframe").last.scroll_into_view_if_needed()
        one.page.wait_for_load_state()
        assert one.page.locator("#outputs iframe").count() == len(texts)
        assert one.hits() == []
        assert one.asked == []
        assert one.dialogs == []


@pytest.mark.parametrize(("module", "what"), [(failures, "escape_lines"), (table, "escape")])
def test_u06_a_forgotten_escape_would_be_seen(browser, tmp_path, monkeypatch, module, what):
    """The watching itself works: without our escapes and our policy, payloads do run."""
    monkeypatch.setattr(module, what, lambda text: text)
    report = hostile([text for text in PAYLOADS if text.startswith("<img")][:1] * 4)
    text = page(report).replace("Content-Security-Policy", "X-Nothing", 1)
    path = tmp_path / "broken.html"
    path.write_text(text, "utf-8")
    with watched(browser, path) as one:
        one.page.wait_for_function("window.__hits.length > 0", timeout=10_000)


def test_u06_the_policy_alone_stops_a_script_that_got_in(browser, tmp_path):
    text = page(hostile(PAYLOADS[:4])).replace(
        "</main>", "<script>window.__hit(1)</script><img src=x onerror=window.__hit(2)></main>"
    )
    path = tmp_path / "inside.html"
    path.write_text(text, "utf-8")
    with watched(browser, path) as one:
        one.page.wait_for_function("window.__violations.length >= 2", timeout=10_000)
        assert one.hits() == []


def test_u06_every_payload_reads_back_as_the_text_that_it_is():
    texts = PAYLOADS[:A_PAGE]
    read = Page(page(hostile(texts)))
    told = {" ".join(one.text.split()) for one in read.all("h3")}
    failed = [text for number, text in enumerate(texts) if number % 3 == 0 and number % 7]
    shown = failed[: failures.SHOWN]
    assert {" ".join(one_line(text).split()) for text in shown} <= told

"""Texts that would run a script, as everything that a picture says: nothing runs; U06, U07."""

from __future__ import annotations

from collections import Counter
from typing import Any
from xml.etree import ElementTree

import pytest

from penstock.core.outline import NodeStanding, Outline, OutlineNode, OutlineScope
from penstock.draw.boxes import escaped
from penstock.draw.svg import svg
from tests.draw.browser import opened
from tests.draw.corpus import NAMES
from tests.payloads import PAYLOADS

ELEMENTS = {"svg", "title", "desc", "style", "g", "rect", "path", "circle", "text"}
ATTRIBUTES = {
    *("class", "role", "width", "height", "viewBox", "aria-labelledby", "id", "x", "y", "rx", "r", "d"),
    *("transform", "data-node"),
}
HELD = 40  # payloads in one picture

HARNESS = """<!doctype html><meta charset=utf-8><script>
window.hits = []; window.__hit = (number) => { window.hits.push(number); };
</script><body>"""


def evil(texts: list[str], statuses: bool) -> str:
    """A picture in which each text is a name, a trait, a note, and the name of the flow; in a map of it."""
    nodes = [
        OutlineNode(
            text, needs=(("use", texts[number - 1]),) if number else (), scope=number % 2, traits=(text,)
        )
        for number, text in enumerate(texts)
    ]
    outline = Outline(texts[0], tuple(nodes), (OutlineScope(-1, ""), OutlineScope(0, texts[-1])))
    standings = {text: NodeStanding("failed", {"succeeded": 3, "failed": 1}, text) for text in texts}
    return svg(outline, statuses=standings if statuses else None, group=None if statuses else False)


def pictures() -> list[str]:
    parts = [PAYLOADS[start : start + HELD] for start in range(0, len(PAYLOADS), HELD)]
    return [evil(part, statuses) for part in parts for statuses in (False, True)]


def checked(picture: str) -> None:
    root = ElementTree.fromstring(picture)
    for one in root.iter():
        name = one.tag.removeprefix("{http://www.w3.org/2000/svg}")
        assert name in ELEMENTS
        assert set(one.attrib) <= ATTRIBUTES
    assert Counter(one.tag for one in root.iter())["{http://www.w3.org/2000/svg}style"] == 1


def test_there_are_enough_payloads():
    assert len(PAYLOADS) == len(set(PAYLOADS)) >= 500
    assert all("__hit" in text or "#" in text or "127.0.0.1" in text for text in PAYLOADS)


def test_u07_a_picture_has_no_elements_and_attributes_but_ours():
    for picture in pictures():
        checked(picture)


def test_u07_the_corpus_of_names_is_drawn_as_xml():
    names = list(dict.fromkeys(NAMES))
    for start in range(0, len(names), HELD):
        checked(evil(names[start : start + HELD], True))


@pytest.mark.parametrize("text", [*NAMES, *PAYLOADS], ids=ascii)
def test_u07_one_function_escapes_all(text):
    shown = escaped(text)
    assert not set(shown) & set("<>\"'")
    assert ElementTree.fromstring(f'<a b="{shown}">{shown}</a>').text is not None or not text


def test_u06_u07_nothing_runs_in_a_page_that_holds_pictures():
    with opened() as page:
        dialogs: list[str] = []

        def dismiss(dialog: Any) -> None:
            dialogs.append(dialog.message)
            dialog.dismiss()

        page.on("dialog", dismiss)
        heard: list[Any] = []
        page.on("pageerror", lambda error: heard.append(error))
        for picture in pictures():
            page.set_content(HARNESS + picture)
            for one in page.query_selector_all(".pk-k")[:2]:
                one.dispatch_event("mouseover")
            assert page.evaluate("document.querySelectorAll('svg.pk').length") == 1
            assert page.evaluate("window.hits") == []
        assert page.evaluate("document.querySelectorAll('script').length") == 1
        assert (dialogs, heard, page.left) == ([], [], [])


def test_u06_the_harness_sees_what_runs():
    with opened() as page:
        page.set_content(HARNESS + PAYLOADS[2])
        page.wait_for_function("window.hits.length > 0")
        assert page.evaluate("window.hits") == [2]


def test_the_prefix_of_ids_is_no_way_in():
    with pytest.raises(ValueError, match="ids_prefix"):
        svg(Outline("x", ()), ids_prefix='"><script>')

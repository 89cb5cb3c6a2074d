"""A report's page, read by the parser of the standard library: what somebody without a script sees."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from typing import Any, NamedTuple

VOID = {"meta", "link", "input", "img", "br", "wbr", "hr"}
LOOSE = {"tr", "td", "th", "thead", "tbody"}


class Element(NamedTuple):
    """One element, with all the text in it."""

    tag: str
    attributes: dict[str, str]
    number: int
    inside: tuple[int, ...]  # the elements that it is in, from the outermost
    words: list[str]

    @property
    def text(self) -> str:
        return " ".join("".join(self.words).split())

    @property
    def classes(self) -> list[str]:
        return self.attributes.get("class", "").split()


class Page(HTMLParser):
    """All elements of a page, in order."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[Element] = []
        self.doubtful: list[str] = []
        self._open: list[int] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        closes = {"tr": ("td", "th", "tr"), "td": ("td", "th"), "th": ("td", "th")}.get(tag, ())
        while self._open and self.elements[self._open[-1]].tag in closes:
            self._open.pop()
        number = len(self.elements)
        names = [name for name, _ in attrs]
        if len(set(names)) != len(names):
            self.doubtful.append(f"<{tag}> has an attribute twice")
        self.elements.append(
            Element(tag, {name: value or "" for name, value in attrs}, number, tuple(self._open), [])
        )
        if tag not in VOID:
            self._open.append(number)

    def handle_endtag(self, tag: str) -> None:
        while self._open and self.elements[self._open[-1]].tag != tag:
            other = self.elements[self._open.pop()].tag
            if other not in LOOSE:
                self.doubtful.append(f"</{tag}> closes <{other}>")
        if self._open:
            self._open.pop()
        else:
            self.doubtful.append(f"</{tag}> closes nothing")

    def handle_data(self, data: str) -> None:
        for number in self._open:
            self.elements[number].words.append(data)

    def all(self, tag: str = "", kind: str = "", inside: Element | None = None) -> list[Element]:
        """Elements of this tag and class."""
        own = -1 if inside is None else inside.number
        return [
            one
            for one in self.elements
            if (not tag or one.tag == tag)
            and (not kind or kind in one.classes)
            and (inside is None or own in one.inside)
        ]

    def one(self, tag: str = "", kind: str = "", inside: Element | None = None) -> Element:
        """The only such element."""
        (found,) = self.all(tag, kind, inside)
        return found

    def by_id(self, id: str) -> Element:
        (found,) = [one for one in self.elements if one.attributes.get("id") == id]
        return found

    def rows(self) -> list[dict[str, str]]:
        """The table of steps: of each row the texts by heading."""
        table = self.by_id("t")
        heads = [cell.text for cell in self.all("th", inside=self.all("thead", inside=table)[0])]
        body = self.all("tbody", inside=table)[0]
        found = []
        for row in self.all("tr", inside=body):
            cells = [one for one in self.elements if one.tag in ("td", "th") and self._is_cell_of(one, row)]
            found.append(dict(zip(heads, (cell.text for cell in cells), strict=False)))
        return found

    def _is_cell_of(self, one: Element, row: Element) -> bool:
        return self.elements[one.inside[-1]] is row

    def data(self) -> Any:
        """What the page's script is given."""
        return json.loads("".join(self.by_id("data").words))

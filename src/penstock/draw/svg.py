"""A graph as a picture: an SVG that stands by itself, without scripts, links or anything from elsewhere."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from penstock.core.outline import NodeStanding, Outline
from penstock.core.visible import one_line

from . import legend
from .boxes import Card, card, drawn_box, escaped
from .chart import Chart, chart
from .layout import Frame, Layout, Wire, layout
from .looks import Theme, style
from .widths import cut, width

_EDGE = 24  # around the picture
_HEAD = 34
_TITLES = 240  # the widest title of a frame
_LEAST = 240


def svg(
    outline: Outline,
    *,
    statuses: Mapping[str, NodeStanding] | None = None,
    group: bool | None = None,
    theme: Theme = "auto",
    ids_prefix: str = "",
    styled: bool = True,
) -> str:
    """The picture.

    Args:
        outline: The graph.
        statuses: How its steps stand in a run, by id: each is drawn in the colour and with the sign of its
            status. None draws the graph alone.
        group: True draws steps that are alike, sub-flows and maps as one box each, False every step; None
            takes together what makes a large graph readable.
        theme: ``light``, ``dark``, or ``auto`` for what the reader's machine prefers.
        ids_prefix: What the ids in it begin with, so that a page can hold several pictures; letters, digits,
            ``-`` and ``_`` only.
        styled: Have its style sheet in it; False for a page that has that of `looks.style` anyway.

    Raises:
        ValueError: The prefix has another character.
    """
    if not all(one.isascii() and (one.isalnum() or one in "-_") for one in ids_prefix):
        raise ValueError("ids_prefix may have letters, digits, '-' and '_' only")
    shown = chart(outline, statuses, group)
    cards = [card(box) for box in shown.boxes]
    titles = [cut(frame.text, 11, _TITLES) for frame in shown.frames]
    laid = layout(
        [(one.width, one.height) for one in cards],
        shown.edges,
        shown.inside,
        [
            Frame(frame.parent, (_title_width(title, frame.items), 16))
            for frame, title in zip(shown.frames, titles, strict=True)
        ],
    )
    whole = laid.frames[0]
    name = cut(one_line(outline.name), 16, max(_LEAST, whole.width))
    about = _about(outline, shown)
    entries = legend.entries(shown)
    wide = max(whole.width, _LEAST, width(name, 16), width(about, 11))
    lines, low = legend.drawn(entries, wide)
    high = _HEAD + 22 + whole.height + (low + 22 if entries else 0)
    shift = (wide - whole.width) // 2
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="pk" role="img" width="{wide + 2 * _EDGE}"'
        f' height="{high + 2 * _EDGE}" viewBox="{-_EDGE} {-_EDGE} {wide + 2 * _EDGE} {high + 2 * _EDGE}"'
        f' aria-labelledby="{ids_prefix}pk-title {ids_prefix}pk-desc">',
        f'<title id="{ids_prefix}pk-title">{escaped(outline.name)}</title>'
        f'<desc id="{ids_prefix}pk-desc">{escaped(_told(outline, about, statuses))}</desc>',
    ]
    if styled:
        parts.append(f"<style>{style(theme)}</style>")
    parts += [
        f'<rect class="pk-bg" x="{-_EDGE}" y="{-_EDGE}" width="{wide + 2 * _EDGE}"'
        f' height="{high + 2 * _EDGE}" rx="10"/>',
        f'<text class="pk-h" x="0" y="13">{escaped(name)}</text>',
        f'<text class="pk-s" x="0" y="31">{escaped(about)}</text>',
        f'<g transform="translate({shift} {_HEAD + 22})">',
        *_frames(shown, laid, titles),
        *wires(shown, laid),
        *boxes(shown, cards, laid),
        "</g>",
    ]
    if entries:
        parts += [f'<g transform="translate(0 {_HEAD + 44 + whole.height})">', *lines, "</g>"]
    return "\n".join([*parts, "</svg>"]) + "\n"


def _about(outline: Outline, shown: Chart) -> str:
    steps = len(outline.nodes)
    text = f"{steps:,} {'step' if steps == 1 else 'steps'}"
    boxes = len(shown.boxes)
    if boxes != steps:
        text += f", drawn as {boxes:,} {'box' if boxes == 1 else 'boxes'}"
    return f"{text}, all in {cut(shown.common[:-1], 11, _TITLES)}" if shown.common else text


def _told(outline: Outline, about: str, statuses: Mapping[str, NodeStanding] | None) -> str:
    """The picture in words, for who does not see it."""
    said = [f"A graph of {about}."]
    if statuses is not None:
        counts = Counter(statuses[node.id].status for node in outline.nodes if node.id in statuses)
        said.append(", ".join(f"{count:,} {status}" for status, count in counts.items()) + ".")
    taken = {id for node in outline.nodes for _, id in node.needs}
    first = [node.id for node in outline.nodes if not node.needs]
    last = [node.id for node in outline.nodes if node.id not in taken]
    for word, ids in (("begins with", first), ("ends with", last)):
        more = f" and {len(ids) - 5:,} more" if len(ids) > 5 else ""
        said.append(f"It {word} {', '.join(ids[:5])}{more}.")
    return " ".join(said)


# --- frames -----------------------------------------------------------------------------------------------


def _title_width(title: str, items: int) -> int:
    return width(title + _counted(items), 11)


def _counted(items: int) -> str:
    return f" · {items:,} {'item' if items == 1 else 'items'}" if items else ""


def _frames(shown: Chart, laid: Layout, titles: list[str]) -> Iterator[str]:
    for number, frame in enumerate(shown.frames[1:], 1):
        x, y, wide, high = laid.frames[number]
        tip = "" if titles[number] == frame.text else f"<title>{escaped(frame.text)}</title>"
        yield (
            f'<g class="pk-m">{tip}'
            f'<rect class="pk-f" x="{x}" y="{y}" width="{wide}" height="{high}" rx="12"/>'
            f'<text class="pk-s" x="{laid.titles[number]}" y="{y + 20}">'
            f"{escaped(titles[number] + _counted(frame.items))}</text></g>"
        )


# --- lines ------------------------------------------------------------------------------------------------

_KINDS = {"each": "pk-t", "gather": "pk-t", "after": "pk-e pk-d", "outcome": "pk-e pk-o"}


def wires(shown: Chart, laid: Layout) -> Iterator[str]:
    """The lines, one element for all of a lane."""
    lanes: dict[tuple[int, int], list[Wire]] = {}
    for wire in laid.wires:
        lanes.setdefault(wire.lane, []).append(wire)
    for (box, kind), mine in lanes.items():
        how = shown.kinds[kind]
        lines, heads = [], []
        fan = how == "each"
        for _, target, x, y, leave, arrive, to_x, to_y in mine:
            ends = target >= 0
            stop = to_y - (9 if fan else 6) if ends else to_y
            if x == to_x:
                lines.append(f"M{x} {y}V{stop}")
            else:
                to = min(arrive, stop)
                bend = (to - leave) * 5 // 9
                begin = f"M{x} {y}" if y == leave else f"M{x} {y}V{leave}"
                lines.append(f"{begin}C{x} {leave + bend} {to_x} {to - bend} {to_x} {to}")
                if to < stop:
                    lines.append(f"V{stop}")
            if ends:
                heads.append(_fan(to_x, to_y, -1) if fan else f"M{to_x - 4} {to_y - 8}h8l-4 8z")
        if how == "gather":
            place = laid.boxes[box]
            lines.append(_fan(place.x + place.width // 2, place.y + place.height, 1))
        if fan:
            lines += heads
        line = f'<path class="{_KINDS.get(how, "pk-e")}" d="{"".join(lines)}"/>'
        tips = f'<path class="pk-a" d="{"".join(heads)}"/>' if heads and not fan else ""
        yield f'<g class="pk-l">{line}{tips}</g>'


def _fan(x: int, y: int, way: int) -> str:
    """Three prongs at a border: many."""
    return f"M{x - 7} {y}L{x} {y + way * 10}L{x + 7} {y}M{x} {y}v{way * 10}"


# --- boxes ------------------------------------------------------------------------------------------------


def boxes(shown: Chart, cards: list[Card], laid: Layout) -> Iterator[str]:
    """The boxes."""
    for box, one, place in zip(shown.boxes, cards, laid.boxes, strict=True):
        yield drawn_box(box, one, place.x, place.y)

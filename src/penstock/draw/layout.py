"""Where everything in a picture goes: boxes in rows, frames around the boxes of a map, lines between.

A frame is laid out by itself and is one box to what is around it; a line that enters it has a *port* on its
border. Lines bend between rows only, and pass a row where a bend holds room for them, so none runs through a
box. Whole numbers in, whole numbers out: the same picture each time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from .layers import Edge, Rows, in_rows
from .places import places

Lane = tuple[int, int]
"""A value on its way: the box it comes from, and the kind of its edges."""

_PAD = 18  # inside of a frame
_TITLE = 28
_SLOT = 12  # between two lines that enter a box


class Frame(NamedTuple):
    """What stands around boxes.

    Attributes:
        parent: The frame it is in, a number less than its own; -1 of the first, which is the picture.
        title: Width and height of what is written at its top.
    """

    parent: int
    title: tuple[int, int] = (0, 0)


class Place(NamedTuple):
    """Where something is: its upper left corner, and its size."""

    x: int
    y: int
    width: int
    height: int


class Wire(NamedTuple):
    """A line from one row to the next: straight down, over to another column, and straight down.

    Attributes:
        lane: Of which lane it is a part.
        target: The box at its end; -1 where it goes on.
        x, y: Where it begins.
        leave, arrive: Heights between which it changes its column.
        to_x, to_y: Where it ends.
    """

    lane: Lane
    target: int
    x: int
    y: int
    leave: int
    arrive: int
    to_x: int
    to_y: int


class Layout(NamedTuple):
    """Where everything is.

    Attributes:
        boxes, frames: Their places; the first frame is the whole.
        titles: Left ends of the titles of frames.
        wires: The lines.
    """

    boxes: list[Place]
    frames: list[Place]
    titles: list[int]
    wires: list[Wire]


def layout(
    sizes: Sequence[tuple[int, int]],
    edges: Sequence[Edge],
    inside: Sequence[int] = (),
    frames: Sequence[Frame] = (Frame(-1),),
) -> Layout:
    """Lays out a picture.

    Args:
        sizes: Width and height of each box, the width even.
        edges: Triples (from, to, kind).
        inside: The frame of each box; by default all are in the first.
        frames: The frames, the first of which is the picture itself.
    """
    inside = inside or [0] * len(sizes)
    levels = _levels(edges, inside, frames)
    for box, frame in enumerate(inside):
        levels[frame].boxes.append(box)
    found = Layout(
        [Place(0, 0, *size) for size in sizes], [Place(0, 0, 0, 0)] * len(frames), [0] * len(frames), []
    )
    laid: list[_Laid] = [_Laid() for _ in frames]
    for number in range(len(frames) - 1, -1, -1):
        if number:
            levels[frames[number].parent].frames.append(number)
        laid[number] = _lay(number, levels[number], sizes, laid, frames)
    _settle(found, 0, laid, 0, 0)
    return found


# --- what is inside what ----------------------------------------------------------------------------------

Key = tuple[str, int, int]
"""What stands in a row of one frame: a box, a frame, or the port of a lane, ``in`` or ``out``."""


class _Level:
    """What stands directly in a frame."""

    def __init__(self) -> None:
        self.boxes: list[int] = []
        self.frames: list[int] = []
        self.edges: list[tuple[Key, Key, Lane]] = []


def _levels(edges: Sequence[Edge], inside: Sequence[int], frames: Sequence[Frame]) -> list[_Level]:
    """Each edge, cut where it crosses the border of a frame."""
    levels = [_Level() for _ in frames]
    for source, target, kind in edges:
        lane = (source, kind)
        before: Key = ("box", source, 0)
        after: Key = ("box", target, 0)
        one, other = inside[source], inside[target]
        while one != other:
            if one > other:
                levels[one].edges.append((before, ("out", *lane), lane))
                before, one = ("frame", one, 0), frames[one].parent
            else:
                levels[other].edges.append((("in", *lane), after, lane))
                after, other = ("frame", other, 0), frames[other].parent
        levels[one].edges.append((before, after, lane))
    return levels


# --- one frame --------------------------------------------------------------------------------------------


class _Laid:
    """A frame by itself, from 0, 0 at its upper left corner."""

    def __init__(self) -> None:
        self.width = self.height = self.title = 0
        self.at: list[tuple[Key, int, int]] = []  # corners of boxes and frames
        self.wires: list[Wire] = []
        self.ports: dict[Key, int] = {}


def _lay(
    number: int,
    level: _Level,
    sizes: Sequence[tuple[int, int]],
    laid: Sequence[_Laid],
    frames: Sequence[Frame],
) -> _Laid:
    keys: list[Key] = [("box", box, 0) for box in level.boxes]
    keys += [("frame", frame, 0) for frame in sorted(level.frames)]
    plain = len(keys)
    ports = dict.fromkeys(
        end for edge in level.edges for end in edge[:2] if number and end[0] in ("in", "out")
    )
    keys += ports
    index = {key: place for place, key in enumerate(keys)}
    lanes = list(dict.fromkeys(lane for _, _, lane in level.edges))
    lane_of = {lane: place for place, lane in enumerate(lanes)}
    rows = in_rows(
        len(keys),
        [(index[source], index[target], lane_of[lane]) for source, target, lane in level.edges],
        {index[key] for key in ports if key[0] == "in"},
        {index[key] for key in ports if key[0] == "out"},
    )
    own = [_size(key, sizes, laid) for key in keys]
    sides = [_sides(key, width, laid) for key, (width, _) in zip(keys, own, strict=True)]
    xs = places(rows, sides)
    made = _Laid()
    _frame(
        made,
        number,
        max([*xs, *map(_right, xs, sides)], default=0),
        xs,
        {key: xs[index[key]] for key in ports},
        frames,
    )
    for place, (left, right) in enumerate(sides):
        xs[place] += (right - left) // 2  # from the axis to the middle
    wires = _Wires(rows, xs, own, keys, laid, bool(number))
    made.height = wires.height
    made.wires = wires.drawn(lanes)
    made.at = [
        (key, xs[place] - own[place][0] // 2, wires.top[place]) for place, key in enumerate(keys[:plain])
    ]
    return made


def _size(key: Key, sizes: Sequence[tuple[int, int]], laid: Sequence[_Laid]) -> tuple[int, int]:
    kind, number, _ = key
    if kind == "box":
        return sizes[number]
    return (laid[number].width, laid[number].height) if kind == "frame" else (0, 0)


def _sides(key: Key, width: int, laid: Sequence[_Laid]) -> tuple[int, int]:
    """How far it reaches to both sides of its axis, which in a frame is that of a line that enters it."""
    if key[0] != "frame":
        return width // 2, width // 2
    ports = sorted(laid[key[1]].ports.items())
    axis = ports[len(ports) // 2][1] if len(ports) < 3 else width // 2
    return axis, width - axis


def _right(x: int, sides: tuple[int, int]) -> int:
    return x + sides[1]


def _frame(
    made: _Laid,
    number: int,
    most: int,
    xs: list[int],
    ports: dict[Key, int],
    frames: Sequence[Frame],
) -> None:
    """The width of a frame, and where its title stands: not where a line enters. Moves all to make room."""
    if not number:
        made.width = most
        return
    title = frames[number].title[0]
    shift, width = _PAD, max(most + 2 * _PAD, title + 2 * _PAD)
    shift += (width - most - 2 * _PAD) // 2
    entering = [x + shift for key, x in ports.items() if key[0] == "in"]
    made.title = _PAD
    if any(x < _PAD + title + 10 for x in entering):
        made.title = width - _PAD - title
        if any(x > made.title - 10 for x in entering):
            more = _PAD + title + 10 - min(entering)
            shift, width, made.title = shift + more, width + more, _PAD
    made.width = width + width % 2
    for place in range(len(xs)):
        xs[place] += shift
    made.ports = {key: x + shift for key, x in ports.items()}


class _Wires:
    """Heights of the rows of one frame, and its lines.

    Args:
        rows, xs, own: The rows, the middles of what is in them, and sizes.
        keys: What the boxes are.
        laid: The frames inside.
        framed: There is a frame around it.
    """

    def __init__(
        self,
        rows: Rows,
        xs: Sequence[int],
        own: Sequence[tuple[int, int]],
        keys: Sequence[Key],
        laid: Sequence[_Laid],
        framed: bool,
    ) -> None:
        self._rows, self._xs, self._own, self._keys, self._laid = rows, xs, own, keys, laid
        self.upper: list[int] = []
        self.lower: list[int] = []
        self.top = [0] * len(keys)
        self._measure(framed)

    def _measure(self, framed: bool) -> None:
        rows, xs, own = self._rows, self._xs, self._own
        spans = [0] * (len(rows.rows) + 1)
        for before, after, _ in rows.links:
            number = rows.row[after]
            spans[number] = max(spans[number], abs(xs[before] - xs[after]))
        y = 0
        for number, row in enumerate(rows.rows):
            high = max((own[box][1] for box in row if box < rows.boxes), default=0)
            if number:
                y += min(110, 34 + spans[number] // 9)
            elif framed and high:
                y += 2 * _PAD
            elif framed:
                high = _TITLE  # lines that enter go straight down beside the title
            self.upper.append(y)
            for box in row:
                if box < rows.boxes:
                    self.top[box] = y + (high - own[box][1]) // 2 if own[box][1] else y
            y += high
            self.lower.append(y)
        last = rows.rows[-1] if rows.rows else []
        ends_in_ports = bool(last) and last[0] < rows.boxes and self._keys[last[0]][0] == "out"
        self.height = y + (_PAD if framed and not ends_in_ports else 0)

    def drawn(self, lanes: Sequence[Lane]) -> list[Wire]:
        """All lines."""
        rows, xs, boxes = self._rows, self._xs, self._rows.boxes
        framing = any(key[0] == "frame" for key in self._keys)
        slots = self._slots(lanes, framing)
        found = []
        for before, after, lane in rows.links:
            leave, arrive = self.lower[rows.row[before]], self.upper[rows.row[after]]
            x, y, to_x, to_y, target = xs[before], self.upper[rows.row[before]], xs[after], arrive, -1
            if before < boxes:
                if framing:
                    x = self._port(before, ("out", *lanes[lane]))
                y = self.top[before] + self._own[before][1]
            if after < boxes:
                kind, number, _ = self._keys[after]
                to_x, to_y = slots[after, lane], self.top[after]
                target = number if kind == "box" else -1
            found.append(Wire(lanes[lane], target, x, y, leave, arrive, to_x, to_y))
        return found

    def _port(self, box: int, port: Key) -> int:
        """Where a lane crosses the border of what stands there."""
        kind, number, _ = self._keys[box]
        if kind != "frame":
            return self._xs[box]
        return self._xs[box] - self._own[box][0] // 2 + self._laid[number].ports[port]

    def _slots(self, lanes: Sequence[Lane], framing: bool) -> dict[tuple[int, int], int]:
        """Where each line enters its box: side by side, straight from above where that can be."""
        rows, xs, boxes = self._rows, self._xs, self._rows.boxes
        entering: dict[int, list[tuple[int, int]]] = {}
        slots: dict[tuple[int, int], int] = {}
        for before, after, lane in rows.links:
            if after >= boxes:
                continue
            if self._keys[after][0] != "box":
                slots[after, lane] = self._port(after, ("in", *lanes[lane]))
                continue
            x = self._port(before, ("out", *lanes[lane])) if framing and before < boxes else xs[before]
            entering.setdefault(after, []).append((x, lane))
        for box, lines in entering.items():
            if len(lines) == 1:
                slots[box, lines[0][1]] = xs[box]
                continue
            lines.sort()
            side_by_side = _two if len(lines) == 2 else _side_by_side
            places = side_by_side([x for x, _ in lines], xs[box], self._own[box][0] // 2 - 14)
            for (_, lane), x in zip(lines, places, strict=True):
                slots[box, lane] = x
        return slots


def _two(sources: Sequence[int], middle: int, half: int) -> Sequence[int]:
    """As `_side_by_side`, of two lines, which most boxes of a large graph have."""
    one, other = sources
    if abs(one - middle) <= half:
        if abs(other - middle) <= half:
            return sources if other - one >= _SLOT else _side_by_side(sources, middle, half)
        place = min(one, middle + half - _SLOT)
        return place, max(place + _SLOT, middle)
    if abs(other - middle) <= half:
        place = max(other, middle - half + _SLOT)
        return min(place - _SLOT, middle), place
    return middle - _SLOT // 2, middle + _SLOT // 2


def _side_by_side(sources: Sequence[int], middle: int, half: int) -> Sequence[int]:
    """Places on the upper border of a box, in the order of where the lines come from.

    Args:
        sources: Where they come from, in order.
        middle, half: The places lie no farther than `half` from the middle.
    """
    gap = min(_SLOT, 2 * half // (len(sources) - 1))
    blocks: list[list[int]] = []  # of each run of places: the sum of what is wanted, its weight, its size
    for number, x in enumerate(sources):
        straight = abs(x - middle) <= half
        weight = 1_000 if straight else 1
        wanted = (x if straight else middle) - number * gap
        blocks.append([wanted * weight, weight, 1])
        while len(blocks) > 1 and blocks[-2][0] * blocks[-1][1] > blocks[-1][0] * blocks[-2][1]:
            last = blocks.pop()
            blocks[-1] = [a + b for a, b in zip(blocks[-1], last, strict=True)]
    found: list[int] = []
    for total, weight, size in blocks:
        found += [(total + weight // 2) // weight + (len(found) + place) * gap for place in range(size)]
    over = max(0, found[-1] - middle - half)
    under = max(0, middle - half - found[0])
    if over and under:  # too many to move: all side by side
        return [middle - gap * (len(found) - 1) // 2 + place * gap for place in range(len(found))]
    low = middle - half
    found = [max(x, low + place * gap) for place, x in enumerate(found)]
    high = middle + half - (len(found) - 1) * gap
    return [min(x, high + place * gap) for place, x in enumerate(found)]


# --- all frames -------------------------------------------------------------------------------------------


def _settle(found: Layout, number: int, laid: Sequence[_Laid], x: int, y: int) -> None:
    """Moves a frame, and all that is in it, to its place."""
    mine = laid[number]
    found.frames[number] = Place(x, y, mine.width, mine.height)
    found.titles[number] = x + mine.title
    for (kind, one, _), left, top in mine.at:
        if kind == "box":
            size = found.boxes[one]
            found.boxes[one] = Place(x + left, y + top, size.width, size.height)
        else:
            _settle(found, one, laid, x + left, y + top)
    if x or y:
        found.wires.extend(
            Wire(lane, target, a + x, b + y, c + y, d + y, e + x, f + y)
            for lane, target, a, b, c, d, e, f in mine.wires
        )
    else:
        found.wires.extend(mine.wires)

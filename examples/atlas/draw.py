"""The figures, as SVG: each takes what it shows and the width it is drawn for. Colours are the page's."""

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from atlas.markup import Markup, joined, number, tag
from atlas.measure import Metrics
from atlas.relate import Loop

#: Mean complexity per function up to which a file gets each of the shades after the first.
SHADES = (1.25, 2.0, 3.0, 5.0)

#: Upper ends of the histogram's classes.
CLASSES = (1, 2, 3, 4, 5, 7, 10, 15, 20, 30, 50)

TESTS = {"test", "tests", "idle_test"}


@dataclass(frozen=True, slots=True)
class Box:
    x: float
    y: float
    width: float
    height: float

    @property
    def area(self) -> float:
        return self.width * self.height


def figure(width: float, height: float, says: str, *parts: object) -> Markup:
    # No <title> for the whole: it would be the tooltip of every spot that has none of its own.
    return tag("svg", *parts, viewBox=f"0 0 {number(width)} {number(height)}", role="img", aria_label=says)


def fits(text: str, room: float, size: float = 12.5) -> bool:
    """Whether a text has room, for letters of usual width: nobody measures them before the browser does."""
    return len(text) * size * 0.56 <= room


def shortened(text: str, room: float) -> str:
    while len(text) > 3 and not fits(text, room):
        text = text.removesuffix("…")[:-1] + "…"
    return text


def label(text: str, x: float, y: float, class_: str = "", anchor: str | None = None) -> Markup:
    return tag("text", text, x=x, y=y, class_=class_ or None, text_anchor=anchor)


def is_test(file: Metrics) -> bool:
    return not TESTS.isdisjoint(file.path.split("/"))


# --- Where the lines are


def treemap(files: Sequence[Metrics], width: float, height: float) -> Markup:
    groups = packages(files)
    boxes = squarify([sum(file.lines for file in group) for _, group in groups], Box(0, 0, width, height))
    parts = [package(name, group, box) for (name, group), box in zip(groups, boxes, strict=True)]
    return figure(width, height, f"Map of {len(files):,} files in {len(groups)} packages, by lines", *parts)


def packages(files: Sequence[Metrics]) -> list[tuple[str, list[Metrics]]]:
    """Files by their top folder, most lines first; folders too small to be seen share one box."""
    groups: dict[str, list[Metrics]] = defaultdict(list)
    for file in files:
        if not file.lines:
            continue
        folder, inner, _ = file.path.partition("/")
        groups[folder if inner else "single modules"].append(file)
    enough = sum(file.lines for file in files) / 200  # half a percent
    too_small = [name for name, group in groups.items() if sum(file.lines for file in group) < enough]
    if rest := [file for name in too_small for file in groups.pop(name)]:
        groups["small packages"] += rest
    return sorted(groups.items(), key=lambda item: -sum(file.lines for file in item[1]))


def package(name: str, group: Sequence[Metrics], box: Box) -> Markup:
    lines = sum(file.lines for file in group)
    inner = Box(box.x + 1.5, box.y + 1.5, max(box.width - 3, 0.5), max(box.height - 3, 0.5))
    parts = []
    if inner.height > 40 and inner.width > 36:
        text, room = f"{name}  {lines:,}", inner.width - 2
        text = text if fits(text, room) else shortened(name, room)
        parts.append(label(text, inner.x, inner.y + 13, "group"))
        inner = Box(inner.x, inner.y + 19, inner.width, inner.height - 19)
    # Boxes too small for a finger or an eye are drawn as one.
    files = sorted(group, key=lambda file: -file.lines)
    shown = [file for file in files if file.lines * inner.area / lines > 26]
    rest = files[len(shown) :]
    sizes = [file.lines for file in shown] + [sum(file.lines for file in rest)] * bool(rest)
    cells = squarify(sizes, inner)
    for file, cell in zip(shown, cells, strict=False):
        parts.append(cell_of(file, cell, file.path.removeprefix(name + "/")))
    if rest:
        says = f"{name}: {len(rest):,} smaller files, {sizes[-1]:,} lines"
        parts.append(tag("rect", tag("title", says), class_="rest", **place(cells[-1])))
    return joined(parts)


def cell_of(file: Metrics, cell: Box, name: str) -> Markup:
    mean = file.complexity / len(file.functions) if file.functions else 0.0
    shade = shade_of(mean)
    says = f"{file.path}\n{file.lines:,} lines, {len(file.functions):,} functions, mean complexity {mean:.1f}"
    rect = tag("rect", tag("title", says), class_=f"s{shade}", **place(cell))
    short = name.removesuffix("/__init__.py").removesuffix(".py")
    if cell.height > 18 and fits(short, cell.width - 7, 11):
        return joined([rect, label(short, cell.x + 4, cell.y + 13, f"in t{shade}")])
    return rect


def shade_of(mean: float) -> int:
    """0 for a file without functions, otherwise 1 to 5."""
    return 0 if not mean else 1 + sum(mean > end for end in SHADES)


def place(box: Box) -> dict[str, object]:
    """A rectangle's attributes, with a hair of space to its neighbours."""
    gap = 1.0 if min(box.width, box.height) > 3 else 0.3
    return {"x": box.x, "y": box.y, "width": max(box.width - gap, 0.3), "height": max(box.height - gap, 0.3)}


def squarify(sizes: Sequence[float], box: Box) -> list[Box]:
    """Cut the box into boxes of these sizes (largest first), as close to squares as rows allow."""
    boxes: list[Box] = []
    left = sum(sizes)
    at = 0
    while at < len(sizes) and left > 0:
        short = min(box.width, box.height)
        scale = box.area / left
        count, best = 0, math.inf
        while at + count < len(sizes):
            row = sizes[at : at + count + 1]
            depth = sum(row) * scale / short
            worst = max(max(depth / (size * scale / depth), size * scale / depth / depth) for size in row)
            if worst > best:
                break
            count, best = count + 1, worst
        row = sizes[at : at + count]
        depth = sum(row) * scale / short
        along = 0.0
        for size in row:
            length = size * scale / depth
            if box.width >= box.height:
                boxes.append(Box(box.x, box.y + along, depth, length))
            else:
                boxes.append(Box(box.x + along, box.y, length, depth))
            along += length
        if box.width >= box.height:
            box = Box(box.x + depth, box.y, max(box.width - depth, 1e-6), box.height)
        else:
            box = Box(box.x, box.y + depth, box.width, max(box.height - depth, 1e-6))
        left -= sum(row)
        at += count
    return boxes


# --- How complex it is


def histogram(files: Sequence[Metrics], width: float) -> Markup:
    counted = Counter(function.complexity for file in files for function in file.functions)
    total = sum(counted.values()) or 1
    rows, below = [], 0
    for end in (*CLASSES, max(counted, default=0)):
        if end > below:
            name = str(end) if end == below + 1 else f"{below + 1}–{end}"
            rows.append((name, sum(many for value, many in counted.items() if below < value <= end)))
            below = end
    most = max((many for _, many in rows), default=0) or 1
    parts = []
    for line, (name, many) in enumerate(rows):
        y = line * 27
        length = many / most * (width - 180)
        says = f"complexity {name}: {many:,} functions, {many / total:.2%}"
        bar = tag("rect", tag("title", says), class_="bar", x=58, y=y + 4, width=max(length, 1.0), height=17)
        share = f"{many:,}" + (f" · {many / total:.1%}" if many / total >= 0.001 else "")
        parts += [label(name, 48, y + 17, "axis", "end"), bar, label(share, 66 + length, y + 17, "value")]
    says = (
        f"Functions by complexity: {rows[0][1] / total:.0%} have no branch at all" if rows else "No functions"
    )
    return figure(width, max(len(rows) * 27, 1), says, *parts)


def scatter(files: Sequence[Metrics], width: float, height: float, touch: bool) -> Markup:
    """Lines against complexity, both logarithmic. With `touch` all dots of a kind are one path."""
    dots = [file for file in files if file.complexity and file.lines]
    left, bottom, top, right = 46.0, height - 44, 12.0, 12.0
    x_of = log_scale(max((file.lines for file in dots), default=10), left, width - right)
    y_of = log_scale(max((file.complexity for file in dots), default=10), bottom, top)
    parts: list[object] = []
    for tick in (1, 10, 100, 1_000, 10_000, 100_000):
        if left <= x_of(tick) <= width - right + 1:
            parts.append(tag("path", d=path("M", x_of(tick), top, "V", bottom), class_="grid"))
            parts.append(label(f"{tick:,}", x_of(tick), bottom + 18, "axis", "middle"))
        if top - 1 <= y_of(tick) <= bottom:
            parts.append(tag("path", d=path("M", left, y_of(tick), "H", width - right), class_="grid"))
            parts.append(label(f"{tick:,}", left - 8, y_of(tick) + 4, "axis", "end"))
    parts.append(label("lines", width - right, bottom + 37, "axis", "end"))
    parts.append(label("complexity", left + 6, top + 12, "axis"))
    for kind, chosen in (("dot test", True), ("dot code", False)):
        group = [file for file in dots if is_test(file) is chosen]
        if touch:
            stroke = "".join(path("M", x_of(file.lines), y_of(file.complexity), "h", 0) for file in group)
            parts.append(tag("path", d=stroke, class_=kind))
        else:
            parts.append(
                tag("g", *(dot(file, x_of(file.lines), y_of(file.complexity)) for file in group), class_=kind)
            )
    taken: list[tuple[float, float]] = []
    for file in sorted(dots, key=lambda file: -file.complexity)[:12]:
        x, y = x_of(file.lines), y_of(file.complexity)
        name = file.path.removesuffix("/__init__.py").rpartition("/")[2].removesuffix(".py")
        if len(taken) < 4 and not is_test(file) and all(abs(y - other) > 16 for _, other in taken):
            parts.append(label(name, x - 8, y + 4, "tag", "end"))
            taken.append((x, y))
    return figure(width, height, f"{len(dots):,} files by lines and complexity", *parts)


def dot(file: Metrics, x: float, y: float) -> Markup:
    return tag(
        "circle",
        tag("title", f"{file.path}\n{file.lines:,} lines, complexity {file.complexity:,}"),
        cx=x,
        cy=y,
        r=2.6,
    )


def log_scale(largest: float, start: float, end: float) -> Callable[[float], float]:
    span = math.log10(max(largest, 10)) + 0.04
    return lambda value: start + (end - start) * math.log10(max(value, 1)) / span


def path(*steps: object) -> str:
    return " ".join(str(number(step)) for step in steps)


# --- Who imports whom


def ring(loop: Loop, width: float, height: float, key: str) -> Markup:
    """A small loop with every name and arrow; `key` keeps its arrow head apart from other figures'."""
    count = len(loop.modules)
    spots = {}
    for position, module in enumerate(loop.modules):
        angle = math.tau * (position + (0.5 if count == 2 else 0)) / count - math.pi / 2
        reach = max(len(module) for module in loop.modules) * 4 + 16
        spots[module] = (
            width / 2 + (width / 2 - reach) * math.cos(angle),
            height / 2 + (height / 2 - 26) * math.sin(angle),
        )
    arrows = []
    for start, end in loop.edges:
        bend = 26 if (end, start) in loop.edges else 0
        line = tag(
            "path", tag("title", f"{start} imports {end}"), d=arc(spots[start], spots[end], bend, start, end)
        )
        arrows.append(line)
    head = tag("path", d="M0 0 8 4 0 8z", class_="head")
    marker = tag(
        "marker", head, id=f"head-{key}", viewBox="0 0 8 8", refX=7, refY=4, markerWidth=8, markerHeight=8,
        orient="auto", markerUnits="userSpaceOnUse",
    )  # fmt: skip
    names = [pill(module, *spot) for module, spot in spots.items()]
    edges = tag("g", *arrows, class_="arrow", marker_end=f"url(#head-{key})")
    says = f"Import loop of {count} modules: " + ", ".join(loop.modules)
    return figure(width, height, says, tag("defs", marker), edges, *names)


def pill(name: str, x: float, y: float) -> Markup:
    half = pill_half(name)
    rect = tag("rect", x=x - half, y=y - 14, width=half * 2, height=28, rx=14, class_="pill")
    return joined([rect, label(name, x, y + 4.5, "pill-name", "middle")])


def pill_half(name: str) -> float:
    return len(name) * 3.95 + 13


def arc(start: tuple[float, float], end: tuple[float, float], bend: float, first: str, second: str) -> str:
    """A curve from pill to pill, bent to its right so that the way back has a line of its own."""
    (ax, ay), (bx, by) = start, end
    length = math.dist(start, end) or 1
    mx, my = (ax + bx) / 2 - (by - ay) / length * bend, (ay + by) / 2 + (bx - ax) / length * bend
    ax, ay = border(start, (mx, my), pill_half(first) + 2, 16)
    bx, by = border(end, (mx, my), pill_half(second) + 4, 18)
    return path("M", ax, ay, "Q", mx, my, bx, by)


def border(
    centre: tuple[float, float], towards: tuple[float, float], half_width: float, half_height: float
) -> tuple[float, float]:
    """Where the way from a box's centre to a point leaves the box."""
    dx, dy = towards[0] - centre[0], towards[1] - centre[1]
    share = min(half_width / abs(dx) if dx else math.inf, half_height / abs(dy) if dy else math.inf, 1)
    return centre[0] + dx * share, centre[1] + dy * share


def knot(loop: Loop, deferred: set[tuple[str, str]], width: float, named: int) -> Markup:
    """A big loop as dots on a circle; on either side the `named` modules with most edges are written."""
    degree = Counter(module for edge in loop.edges for module in edge)
    middle = (len(loop.modules) + 1) // 2
    sides = [
        sorted(half, key=lambda module: -degree[module])[:named]
        for half in (loop.modules[:middle], loop.modules[middle:])
    ]
    margin = 124.0 if named else 8.0
    radius = width / 2 - margin
    height = 2 * radius + 24
    spots = {}
    for position, module in enumerate(loop.modules):
        angle = math.tau * (position + 0.5) / len(loop.modules) - math.pi / 2
        spots[module] = (width / 2 + radius * math.cos(angle), height / 2 + radius * math.sin(angle))
    parts: list[object] = []
    for kind, chosen in (("chord", False), ("chord late", True)):
        curves = [
            chord(spots[a], spots[b], width / 2, height / 2)
            for a, b in loop.edges
            if ((a, b) in deferred) is chosen
        ]
        parts.append(tag("path", d="".join(curves), class_=kind))
    for module, (x, y) in spots.items():
        says = f"{module}: {degree[module]} imports within the knot"
        size = 1.0 + math.sqrt(degree[module]) * 0.36
        parts.append(tag("circle", tag("title", says), cx=x, cy=y, r=size, class_="node"))
    for side, direction in zip(sides, (1, -1), strict=True):
        parts += beside({module: spots[module] for module in side}, width / 2, radius + 14, height, direction)
    return figure(
        width, height, f"Knot of {len(loop.modules)} modules and {len(loop.edges):,} imports", *parts
    )


def chord(start: tuple[float, float], end: tuple[float, float], cx: float, cy: float) -> str:
    mx, my = (start[0] + end[0]) / 2, (start[1] + end[1]) / 2
    return path("M", *start, "Q", cx + (mx - cx) * 0.35, cy + (my - cy) * 0.35, *end)


def beside(
    spots: dict[str, tuple[float, float]], middle: float, reach: float, height: float, direction: int
) -> list[Markup]:
    """Names in a column beside the circle, moved apart where they would touch, with a line to the dot."""
    column = sorted((y, x, name) for name, (x, y) in spots.items())
    lines = [y for y, _, _ in column]
    for index in range(1, len(lines)):
        lines[index] = max(lines[index], lines[index - 1] + 18)
    below = height - 8
    for index in reversed(range(len(lines))):
        lines[index] = min(lines[index], below)
        below = lines[index] - 18
    parts = []
    edge = middle + direction * reach
    for (y, x, name), line in zip(column, lines, strict=True):
        parts.append(tag("path", d=path("M", x, y, "L", edge - direction * 3, line), class_="leader"))
        short = shortened(name, middle - reach)
        parts.append(label(short, edge, line + 4, "value", None if direction > 0 else "end"))
    return parts

"""What the files have to do with each other: totals, imports and loops, hot spots, twins. Reads no file."""

from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from atlas.measure import Import, Metrics


@dataclass(frozen=True, slots=True)
class Unread:
    """A file that could not be measured, and why."""

    path: str
    error: str
    reason: str


@dataclass(frozen=True, slots=True)
class Survey:
    files: tuple[Metrics, ...]
    unread: tuple[Unread, ...]


@dataclass(frozen=True, slots=True)
class Totals:
    files: int
    unread: int
    lines: int
    code_lines: int
    classes: int
    functions: int
    definitions: int
    complexity: int
    imports: int


@dataclass(frozen=True, slots=True)
class ImportGraph:
    """Who imports whom, among the files measured; what lies outside of them is left out."""

    modules: tuple[str, ...]
    #: carried out as the importing module is imported
    edges: tuple[tuple[str, str], ...]
    #: carried out later or never: in functions, under TYPE_CHECKING, under __main__; none of `edges` again
    deferred: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Loop:
    """Modules of which each one imports, in the end, all others."""

    modules: tuple[str, ...]
    edges: tuple[tuple[str, str], ...]
    #: a shortest way round, its first module repeated at the end
    shortest: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Loops:
    #: biggest first
    found: tuple[Loop, ...]
    #: the biggest there would be if the deferred imports ran at once, too
    latent: Loop | None


@dataclass(frozen=True, slots=True)
class HotSpot:
    path: str
    name: str
    line: int
    lines: int
    complexity: int


@dataclass(frozen=True, slots=True)
class Twins:
    """Functions that are the same but for their names, docstrings and places."""

    statements: int
    lines: int
    #: (path, function, line)
    places: tuple[tuple[str, str, int], ...]

    @property
    def needless(self) -> int:
        return self.lines * (len(self.places) - 1)


def add_up(survey: Survey) -> Totals:
    files = survey.files
    return Totals(
        files=len(files) + len(survey.unread),
        unread=len(survey.unread),
        lines=sum(file.lines for file in files),
        code_lines=sum(file.code_lines for file in files),
        classes=sum(file.classes for file in files),
        functions=sum(len(file.functions) for file in files),
        definitions=sum(file.definitions for file in files),
        complexity=sum(file.complexity for file in files),
        imports=sum(len(file.imports) for file in files),
    )


def connect(files: Iterable[Metrics]) -> ImportGraph:
    by_module = {file.module: file for file in files}
    edges: set[tuple[str, str]] = set()
    deferred: set[tuple[str, str]] = set()
    for module, file in by_module.items():
        for line in file.imports:
            target = resolve(line, file, by_module)
            if target is not None and target != module:
                (deferred if line.deferred else edges).add((module, target))
    return ImportGraph(tuple(sorted(by_module)), tuple(sorted(edges)), tuple(sorted(deferred - edges)))


def resolve(line: Import, importer: Metrics, known: Mapping[str, Metrics]) -> str | None:
    """The module that an import means: the longest part of its dotted name that is one of ours."""
    home: list[str] = []
    if line.level:
        home = importer.module.split(".")
        up = line.level - importer.path.endswith("__init__.py")
        if up > len(home):
            return None
        home = home[: len(home) - up]
    parts = home + [part for part in (*line.module.split("."), line.name) if part]
    while parts:
        name = ".".join(parts)
        if name in known:
            return name
        parts.pop()
    return None


def loops(graph: ImportGraph) -> Loops:
    latent = loops_of(graph.modules, graph.edges + graph.deferred)
    return Loops(tuple(loops_of(graph.modules, graph.edges)), latent[0] if latent else None)


def loops_of(modules: Sequence[str], edges: Sequence[tuple[str, str]]) -> list[Loop]:
    found = []
    for knot in knots(modules, neighbours(edges)):
        inside = set(knot)
        within = tuple(sorted(edge for edge in edges if inside.issuperset(edge)))
        found.append(Loop(tuple(sorted(knot)), within, shortest_way_round(neighbours(within))))
    return sorted(found, key=lambda loop: (-len(loop.modules), loop.modules))


def neighbours(edges: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    onward: dict[str, list[str]] = defaultdict(list)
    for start, end in edges:
        onward[start].append(end)
    return dict(onward)


def knots(nodes: Sequence[str], onward: Mapping[str, Sequence[str]]) -> list[list[str]]:
    """The strongly connected components of more than one node (Tarjan's way, without recursion)."""
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    trail: list[str] = []  # visited, and not yet known to which component they belong
    on_trail: set[str] = set()
    found = []
    for root in nodes:
        if root in order:
            continue
        path: list[tuple[str, Iterator[str]]] = []
        ahead: str | None = root
        while True:
            if ahead is not None:
                order[ahead] = low[ahead] = len(order)
                trail.append(ahead)
                on_trail.add(ahead)
                path.append((ahead, iter(onward.get(ahead, ()))))
            node, rest = path[-1]
            ahead = None
            for end in rest:
                if end not in order:
                    ahead = end
                    break
                if end in on_trail:
                    low[node] = min(low[node], order[end])
            if ahead is not None:
                continue
            path.pop()
            if low[node] == order[node]:
                start = trail.index(node)
                if len(trail) - start > 1:
                    found.append(trail[start:])
                on_trail.difference_update(trail[start:])
                del trail[start:]
            if not path:
                break
            above = path[-1][0]
            low[above] = min(low[above], low[node])
    return found


def shortest_way_round(onward: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    best: tuple[str, ...] = ()
    for start in sorted(onward):
        came_from = {start: ""}
        queue = deque([start])
        while queue:
            node = queue.popleft()
            if start in onward.get(node, ()):
                way = [start]
                while node:
                    way.append(node)
                    node = came_from[node]
                if not best or len(way) < len(best):
                    best = tuple(reversed(way))
                break
            for end in onward.get(node, ()):
                if end not in came_from:
                    came_from[end] = node
                    queue.append(end)
    return best


def most_imported(graph: ImportGraph, top: int) -> list[tuple[str, int]]:
    counted = Counter(end for _, end in graph.edges)
    return sorted(counted.items(), key=lambda pair: (-pair[1], pair[0]))[:top]


def hottest(files: Iterable[Metrics], top: int) -> list[HotSpot]:
    spots = [
        HotSpot(file.path, function.name, function.line, function.lines, function.complexity)
        for file in files
        for function in file.functions
    ]
    spots.sort(key=lambda spot: (-spot.complexity, spot.path, spot.line))
    return spots[:top]


def twins(files: Iterable[Metrics]) -> list[Twins]:
    groups = defaultdict(list)
    for file in files:
        for function in file.functions:
            if function.digest:
                groups[function.digest].append((file.path, function))
    found = []
    for members in groups.values():
        if len(members) > 1:
            places = sorted((path, function.name, function.line) for path, function in members)
            shortest = min(function.lines for _, function in members)
            found.append(Twins(members[0][1].statements, shortest, tuple(places)))
    found.sort(key=lambda group: (-group.needless, group.places))
    return found

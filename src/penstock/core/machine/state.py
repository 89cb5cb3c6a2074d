"""The state of one run: arrays by node number. It knows how to number and find nodes, never what to do next.

Numbers below `total` are the nodes of the plan. Each element of a map adds a row of numbers behind them, one
per site of the map's scope; see `plan` for what a site and a group are. Only `apply` and `rows` write here.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Mapping, MutableMapping, Sequence
from typing import Any, Final

from ..limits import Gauges
from ..model import Abandoned, Failure, NodePath, NodeStatus, RunOptions, RunStarted
from ..plan import Plan
from ..queue import Queue

PENDING: Final = 0
READY: Final = 1
RUNNING: Final = 2
RETRYING: Final = 3
WAITING: Final = 4
SUCCEEDED: Final = 5  # of a group: closed, however its items ended
FAILED: Final = 6
SKIPPED: Final = 7
CANCELLED: Final = 8
STATUSES: Final = tuple(NodeStatus)

# How far the run is stopped; each one includes those before it.
GOING: Final = 0
DRAINING: Final = 1
STOPPING: Final = 2
CANCELLING: Final = 3


class Fan:
    """One opening of a map: the rows made for one source value."""

    __slots__ = (
        "broken", "elements", "keys", "listed", "low", "order", "outer", "path", "places", "queues", "rest",
        "rows", "scope", "sealed", "top",
    )  # fmt: skip

    def __init__(self, scope: int, outer: int, around: Fan | None, element: int, runners: int) -> None:
        self.scope = scope
        self.outer = outer  # first number of the row around
        top = around.top if around is not None else None
        self.path: tuple[int | str, ...] = (*around.path, around.key(element)) if around is not None else ()
        self.order: tuple[int, ...] = (*around.order, element) if around is not None else ()
        self.keys: list[int | str] | None = None  # of its elements, where they have any but their index
        self.places: dict[int | str, int] = {}  # by key
        self.rows: range | list[int] = range(0)  # first number of each row, by index of its element
        self.elements: Sequence[Any] = ()
        self.sealed = True  # no element will come any more
        self.broken: int | None = None  # the stream that failed before its end
        self.rest: tuple[int, int, int, int | None] | None = None  # of rows skipped as one; see `skip`
        self.low = 0  # rows below it have had their head begun (a stream's back-pressure)
        self.top: Fan = top or self  # the outermost map around it, whose queues all its items share
        if top is None:
            self.queues = [Queue() for _ in range(runners)]  # ready items, by runner
            self.listed = bytearray(runners)  # whether the run's queue of a runner knows of them

    def add_keys(self, keys: Iterable[int | str]) -> None:
        """Names the next elements."""
        if self.keys is None:
            self.keys = []
        for key in keys:
            self.places[key] = len(self.keys)
            self.keys.append(key)

    def key(self, element: int) -> int | str:
        """What tells an element from the others, in paths."""
        return element if self.keys is None else self.keys[element]


class State:
    """Where a run stands.

    Attributes (by number, one entry per node, item and group):
        site: Its site in the plan.
        status: One of the nine above.
        waits: Needs not yet ended; of a group, items not yet ended, plus one until all are known.
        hold: A need, or an item of the group, did not succeed: the fast path is closed.
        token: Attempts handed out so far.
        uses: Consumers that have not ended; at 0 the value may go.
        value: The value of a success.
        began: When its last attempt was handed out; once that has ended, when its first one began.
        ended: When its last attempt ended.
        fans, element: By number less `total`: the fan of its row, and its index in it.

    Attributes (sparse, by number):
        failures: Its failed attempts, in order.
        due: When its next attempt may start; of a gate, when it waits no longer.
        first: When its first attempt began, where there were several.
        answers: What conditions said, by (number, what).
        skips: (cause, because) of what was skipped.
        sources: How a success came about, where not by a run.
        returned: How many of its attempts were cut off or given back, and so are not charged.
        folded: Items that a fold has taken so far.
        lost, cut, left_out: Of a map with a quorum: items that failed, that the stop of the run kept from
            success, that a condition left out.
        broken: Maps whose quorum cannot be reached.
        lingering: Abandoned attempts that still hold limits, by (number, token).
        paused: Streams that gave back their slot, with their token.
        streams: Elements of what is mapped over; of a stream, those so far.

    Derived, rebuilt by a replay and not part of equality: the queues, `arrived`, `maps`, `alarms`, `asked`,
    `late`, `acquiring`, `granted`, `keyed`, `counts`, `allowed`, `ripe`, `slices`, `sweep`, `shrunk`.
    """

    __slots__ = (
        "abandoned", "acquiring", "alarms", "allowed", "answers", "arrived", "asked", "away", "began",
        "begun", "blocked", "broken", "cancelled", "counts", "culprit", "cut", "deadline", "due", "element",
        "ended", "expired", "failed", "failures", "fans", "finished", "first", "folded", "free",
        "free_total", "gauges", "grace", "grace_ends", "granted", "hold", "keyed", "late", "left_out",
        "lingering", "lost", "maps", "max_abandoned", "names", "on_failure", "open", "opened", "paused",
        "plan", "ready", "retried", "retry_budget", "returned", "ripe", "shared", "shrunk", "site", "skips",
        "slices", "slots", "slots_total", "sources", "status", "stopping", "streams", "sweep", "token",
        "total", "uses", "value", "waits",
    )  # fmt: skip

    def __init__(
        self,
        plan: Plan,
        options: RunOptions,
        capacities: Mapping[str, int] | None = None,
    ) -> None:
        self.plan = plan
        self.on_failure = options.on_failure
        self.grace = options.grace
        self.deadline = options.deadline
        self.retry_budget = options.retry_budget
        self.max_abandoned = options.max_abandoned
        self.total = total = len(plan.nodes)
        self.site: list[int] = plan.node if len(plan.levels) == 1 else plan.node[:total]
        self.status = bytearray(total)
        self.waits = plan.waits[:total]
        self.hold = bytearray(total)
        self.token = [0] * total
        self.uses = plan.uses[:total]
        self.value: list[Any] = [None] * total
        self.began: array[Any] = array("d", bytes(8 * total))
        self.ended = array("d", bytes(8 * total))
        self.fans: list[Fan] = []
        self.element = array("I")
        self.opened: dict[tuple[int, int], Fan] = {}  # by scope and first number of the row around

        self.begun: RunStarted | None = None
        self.finished: str | None = None
        self.stopping = GOING
        self.cancelled: str | None = None  # the reason that was given
        self.failed = False  # an untolerated failure was recorded before any cancel
        self.expired = False  # the deadline has stopped the run
        self.away = 0.0  # seconds in which nobody drove the run
        self.retried = 0  # retries so far
        self.abandoned = 0  # attempts abandoned so far
        self.culprit: int | None = None  # whose failure stopped the run
        self.open = total  # nodes (groups for mapped ones) not yet ended
        self.shared: MutableMapping[Any, Any] = {}  # what steps wrote, in the order of their commits

        self._make_sparse()
        self._make_slots(options, capacities or {})
        self._make_derived()

    def _make_sparse(self) -> None:
        self.failures: dict[int, list[Failure]] = {}
        self.due: dict[int, float] = {}
        self.first: dict[int, float] = {}
        self.answers: dict[tuple[int, int], bool] = {}
        self.skips: dict[int, tuple[int, int | None]] = {}
        self.sources: dict[int, str] = {}
        self.returned: dict[int, int] = {}
        self.folded: dict[int, int] = {}
        self.lost: dict[int, int] = {}
        self.cut: dict[int, int] = {}
        self.left_out: dict[int, int] = {}
        self.broken: set[int] = set()
        self.lingering: dict[tuple[int, int], Abandoned] = {}
        self.paused: dict[int, int] = {}
        self.streams: dict[int, list[Any]] = {}

    def _make_slots(self, options: RunOptions, wanted: Mapping[str, int]) -> None:
        plan, unbounded = self.plan, 1 << 60
        self.free_total = self.slots_total = options.max_concurrency or unbounded
        self.slots = [wanted.get(name, unbounded) for name in plan.runners]  # by runner: attempts it takes
        self.free = list(self.slots)  # by runner: attempts it would take now
        limits = {name: limit for name, limit in plan.graph.limits.items() if limit.scope == "run"}
        self.names = sorted(limits)  # of the run's own limits; alarms name them by position
        self.gauges = Gauges(limits.values(), plan.limits.values())

    def _make_derived(self) -> None:
        self.ready = [Queue() for _ in self.plan.runners]
        self.slices: list[int] = []  # folds that may go on
        self.arrived: list[int] = []  # nodes whose needs have ended and that need more than a slot
        self.maps: list[tuple[int, int]] = []  # (scope, row around) whose source has ended
        self.alarms: list[tuple[float, int, int, int]] = []  # heap of (when, what, number, token)
        self.asked: set[int] = set()  # nodes with a question on its way
        self.late: dict[int, str] = {}  # attempts past their time: by which field of `Timeout`
        self.acquiring: set[int] = set()  # nodes that wait for limits wider than the run
        self.granted: set[int] = set()  # nodes that have them and have not started yet
        self.keyed: dict[tuple[int, int], list[int | str]] = {}  # by scope and source: keys of a map to come
        self.counts: dict[int, tuple[int, int]] = {}  # (token, elements) of streams in this attempt
        self.allowed: dict[tuple[int, int], int] = {}  # by (number, token): up to where a stream may go
        self.ripe: dict[int, int] = {}  # items that a fold has taken or could take
        self.blocked = False  # an alarm is set for those who wait for what was abandoned
        self.grace_ends: float | None = None  # when what still runs after a stop is given up
        self.shrunk: set[int] = set()  # runners that take less than they did, and may have more than that
        self.sweep = False  # the run was just stopped: what runs must be told

    def path(self, number: int) -> NodePath:
        """The public name of a number."""
        if number < self.total:
            return (self.plan.paths or self.plan.make_paths())[number]
        node = self.plan.nodes[self.plan.node[self.site[number]]].id
        fan = self.fans[number - self.total]
        return NodePath(node, (*fan.path, fan.key(self.element[number - self.total])))

    def find(self, path: NodePath) -> int:
        """The number of a public name.

        Raises:
            KeyError: There is no such node, or the map it names has no such item.
        """
        plan = self.plan
        node = plan.index[path.node]
        if not path.items:
            return node
        row, site = 0, node
        for item in path.items:
            scope = plan.inner[site]
            fan = self.opened[scope, row]
            try:
                row = fan.rows[item if fan.keys is None else fan.places[item]]  # type: ignore[index]
            except (IndexError, KeyError, TypeError):
                raise KeyError(str(path)) from None
            level = plan.levels[scope]
            site = level.base + level.position[node]
        return row + plan.place[site]

    def skip(self, number: int) -> tuple[int, int | None] | None:
        """(cause, because) of what was skipped."""
        found = self.skips.get(number)
        if found is None and number >= self.total:
            rest = self.fans[number - self.total].rest  # (first row, row after the last, cause, because)
            if rest is not None and rest[0] <= self.element[number - self.total] < rest[1]:
                return rest[2:]
        return found

    def row(self, number: int) -> int:
        """First number of the row that this one stands in."""
        return number - self.plan.place[self.site[number]]

    def climb(self, number: int, rows: int) -> int:
        """First number of the row so many rows out."""
        if not rows:
            return self.row(number)
        outer = self.fans[number - self.total].outer
        for _ in range(rows - 1):
            outer = self.fans[outer - self.total].outer
        return outer

    def fan_of_group(self, group: int) -> Fan | None:
        """The opening that a group stands for, if it has come to one."""
        scope = self.plan.inner[self.site[group]]
        return self.opened.get((scope, self.row(group)))

    def folding(self, fold: int) -> tuple[Fan, int]:
        """The map that a fold takes, which must have opened, and the position of its items in their rows."""
        plan = self.plan
        (need,) = plan.needs_of(plan.node[self.site[fold]])[:1]
        group = self.climb(fold, need.climb) + need.position
        fan = self.fan_of_group(group)
        assert fan is not None
        return fan, plan.levels[fan.scope].position[plan.node[self.site[group]]]

    def items(self, group: int) -> Iterator[int]:
        """The items of a group in input order; for what never opened inside, the inner group itself."""
        plan = self.plan
        node = plan.node[self.site[group]]
        stack: list[Iterator[int]] = [iter((group,))]
        while stack:
            number = next(stack[-1], -1)
            if number < 0:
                stack.pop()
                continue
            scope = plan.inner.get(self.site[number])
            if scope is None:
                yield number
                continue
            fan = self.opened.get((scope, self.row(number)))
            if fan is None:
                if number != group:
                    yield number
                continue
            place = plan.levels[scope].position[node]
            stack.append(iter([row + place for row in fan.rows]))

"""The report of a run that is kept in a store."""

from __future__ import annotations

import json
import shlex
import time
from collections import deque
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from ..core.codec import preview
from ..core.errors import StoreDamaged
from ..core.model import NodeStatus, RunOptions, RunStatus
from ..core.standings import standings
from .analysis import critical, efficiency, levels, shortened
from .data import Command, Gate, Life, Line, Output, Report
from .forecast import forecast
from .steps import MOST_ROWS, Said, Steps, used_by
from .timing import Take, Timing

if TYPE_CHECKING:
    from ..core.history import StoredRun
    from ..core.outline import Outline
    from ..core.stored import StoredNode

MOST_LINES: Final = 50
"""Lines of one attempt that a report shows: the last ones."""

_ALL_LINES: Final = 3_000  # of all attempts
_LONG_LINE: Final = 2_000  # characters of one line
_WIDE: Final = 300  # characters of a preview
_MOST_VALUES: Final = 100  # inputs, or outputs, that are shown
_FEW: Final = 40  # nodes: the values of all of them are shown
_COMMANDS: Final = 20  # failures for which a command is printed


def collect(
    run: StoredRun, *, store: str = "", option: str = "", target: str | None = None, most: int = MOST_ROWS
) -> Report:
    """What a store knows of a run.

    Args:
        run: The run.
        store: Where it is kept, for people.
        option: What the commands need to find the store: `` --store NAME``; empty if they find it anyway.
        target: What they need to find the code; None if the run itself says so.
        most: Steps and items that are shown.

    Raises:
        StoreError: The run cannot be read.
    """
    nodes = {id: run.nodes[id] for id in run.nodes}
    outline, cut_off = run.outline, run.is_cut_off
    timing = Timing(outline)
    try:
        timing.hear(run.events(decode=False))
    except (LookupError, TypeError, ValueError, ArithmeticError, AttributeError) as error:
        raise StoreDamaged(f"run {run.run_id}: its journal says what cannot be ({error})") from None
    made, over = time.time(), bool(timing.finished)
    timing.close(over=over, cut_off=cut_off, now=made if run.is_driven else None)
    status = "cut off" if cut_off else run.status.value
    ended = timing.now
    lives = lives_of(timing, status)
    wall = sum(life.ended - life.began for life in lives)
    usage = used_by(timing, run.usage())
    busy = levels(timing.takes, ended)
    legs, on_path = critical(timing, ended)
    allowed = run.options.get("max_concurrency")
    workers = allowed if type(allowed) is int and allowed > 0 else None
    figures = efficiency(timing, wall, ended, busy, workers=workers, usage=usage)
    steps = Steps(nodes, timing, usage, on_path, most)
    said = _said_in(run, timing, steps)
    outputs = _outputs(run, outline, nodes, steps.dropped)
    return Report(
        run_id=run.run_id,
        flow=run.flow,
        status=status,
        reason=run.reason,
        made=made,
        created=run.created,
        began=timing.began,
        ended=ended,
        wall=wall,
        outline=outline,
        standings=standings(nodes),
        counts=steps.counts,
        steps=steps.made(lambda take: said.get(take, Said())),
        lives=lives,
        efficiency=figures,
        critical=shortened(legs),
        levels=busy,
        forecast=None if figures is None else forecast(timing, wall, figures.workers, on_path, busy),
        gates=_gates(run, timing),
        inputs=_inputs(run, steps.dropped),
        outputs=outputs,
        commands=tuple(_commands(run, steps.failed, status, option, target)),
        tags={str(name): str(text) for name, text in run.tags.items()},
        about={str(name): str(text) for name, text in run.about.items()},
        options=_options(run.options),
        target=run.target or "",
        parent=run.parent or "",
        store=store,
        warnings=tuple(_warnings(run, nodes)),
        dropped=tuple(steps.dropped),
    )


def lives_of(timing: Timing, status: str) -> tuple[Life, ...]:
    """The lives of a run.

    Args:
        timing: Of the run.
        status: Its own, in a word.
    """
    return tuple(
        Life(
            one.began,
            max(one.began, one.ended),
            one.away,
            one.crashed,
            status if one is timing.lives[-1] else one.end,
            one.undone,
            one.changed,
        )
        for one in timing.lives
    )


def _gates(run: StoredRun, timing: Timing) -> tuple[Gate, ...]:
    answered = {one.path for one in run.waiting if one.answered}
    found = []
    for asked in timing.gates:
        take = asked.take
        value = "" if asked.value is None or not asked.takes else preview(asked.value, _WIDE)
        assert take.began is not None
        found.append(
            Gate(
                str(take.path),
                asked.prompt,
                asked.takes,
                take.began,
                asked.due,
                take.ended,
                value,
                take.ended is None and str(take.path) in answered,
            )
        )
    return tuple(found)


def _inputs(run: StoredRun, dropped: list[str]) -> tuple[tuple[str, str], ...]:
    given = run.story.started["inputs"]
    if len(given) > _MOST_VALUES:
        dropped.append(f"{len(given) - _MOST_VALUES:,} of {len(given):,} inputs")
    return tuple((name, preview(data, _WIDE)) for name, data in list(given.items())[:_MOST_VALUES])


def _outputs(
    run: StoredRun, outline: Outline, nodes: Mapping[str, StoredNode], dropped: list[str]
) -> tuple[Output, ...]:
    """The values of all steps where there are few, and otherwise of those that no other step takes."""
    used = {need for node in outline.nodes for _, need in node.needs}
    few = len(outline.nodes) <= _FEW
    names = [name for name in run.outputs if few or name not in used]
    if len(names) > _MOST_VALUES:
        dropped.append(f"{len(names) - _MOST_VALUES:,} of {len(names):,} values")
    return tuple(
        Output(name, run.preview(name, _WIDE), nodes[name].counts is not None)
        for name in names[:_MOST_VALUES]
    )


def _said_in(run: StoredRun, timing: Timing, steps: Steps) -> dict[Take, Said]:
    """The last lines of attempts that went badly."""
    shown = set(steps.paths)
    wanted = {
        take
        for take in timing.takes
        if (take.failure is not None or take.outcome in ("interrupted", "cancelled"))
        and str(take.path) in shown
    }
    numbered: dict[str, dict[tuple[str, int], list[Take]]] = {take.path.node: {} for take in wanted}
    for take in timing.takes if wanted else ():
        if take.path.node in numbered:
            key = str(take.path), take.number
            numbered[take.path.node].setdefault(key, []).append(take)
    found: dict[Take, Said] = {}
    room = _ALL_LINES
    for id, takes in numbered.items():
        lines: dict[Take, deque[Line]] = {}
        many: dict[Take, int] = {}
        for one in run.logs(id) if room > 0 else ():
            whose = _whose(takes.get((one.path, one.attempt), ()), one.at)
            if whose in wanted:
                many[whose] = many.get(whose, 0) + 1
                lines.setdefault(whose, deque(maxlen=MOST_LINES)).append(
                    Line(one.at, one.level, one.origin, _cut(one.message), _fields(one.fields))
                )
        for take, some in lines.items():
            kept = tuple(some)[-max(0, room) :] if room > 0 else ()
            room -= len(kept)
            found[take] = Said(kept, many[take] - len(kept))
    return found


def _whose(takes: Sequence[Take], at: float) -> Take | None:
    """Of attempts of one number, each in a life of its own, the last that had been handed out by then."""
    before = [take for take in takes if take.handed is not None and take.handed <= at]
    return before[-1] if before else takes[0] if takes else None


def _cut(text: str) -> str:
    return text if len(text) <= _LONG_LINE else text[: _LONG_LINE - 1] + "…"


def _fields(fields: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    return tuple((str(name), _cut(_text(value))) for name, value in fields.items())


def _text(value: Any) -> str:
    """A value as JSON has it, for people."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


_USUAL: Final = RunOptions()


def _options(options: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """What was set otherwise than by default."""
    return tuple(
        (str(name), _cut(_text(value)))
        for name, value in options.items()
        if value is not None and value != getattr(_USUAL, str(name), None)
    )


def _commands(
    run: StoredRun, failed: Sequence[str], status: str, option: str, target: str | None
) -> list[Command]:
    """What can be done next."""

    def line(*words: str, more: str = "") -> str:
        return " ".join(map(shlex.quote, words)) + more + option

    code = () if target is None else (target,)
    found = []
    for gate in run.waiting:
        if not gate.answered:
            value = "" if gate.takes in ("bool", "") else " --value VALUE"
            what = f"answer gate {gate.path}"
            found.append(
                Command(line("penstock", "approve", run.run_id, gate.path, more=value), what, gate.path)
            )
    if status in ("failed", "cancelled", "cut off", "waiting"):
        found.append(Command(line("penstock", "resume", run.run_id, *code), "let the run go on"))
    for path in failed[:_COMMANDS]:
        what = f"call {path} again, with its arguments, in a debugger"
        found.append(Command(line("penstock", "debug", run.run_id, path, *code), what, path))
    return found


def _warnings(run: StoredRun, nodes: Mapping[str, StoredNode]) -> list[str]:
    found = []
    recoveries = run.entry.recoveries
    if recoveries and run.status is not RunStatus.SUCCEEDED:
        found.append(f"its process has died {recoveries} time{'' if recoveries == 1 else 's'} in a row")
    borne = [
        id
        for id, node in nodes.items()
        if run.status is RunStatus.SUCCEEDED and node.status is NodeStatus.FAILED
    ]
    if borne:
        some = ", ".join(borne[:5]) + (", …" if len(borne) > 5 else "")
        found.append(f"failures that were let pass: {some}")
    return found

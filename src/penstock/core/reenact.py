"""An attempt of the past, made ready once more: the same call, the same arguments, and nothing is recorded.

The journal up to the start of the attempt is copied into a store of its own. There it is a run that was cut
off at that moment, which the usual way of going on brings back: with its inputs, the values of its steps and
whatever its steps share as they were. Only the run itself does not begin.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from tempfile import TemporaryDirectory
from typing import Any, Final, NamedTuple

from .attempts import Attempts
from .bags import inputs_of
from .codec import secrets_in
from .entries import Entry, path_of, text_of
from .errors import InputError, InternalError, ValueLost
from .fingerprint import Fingerprints
from .graph import Graph
from .leases import LASTS
from .machine.state import READY, RETRYING, SUCCEEDED
from .model import Node, NodePath, NodeStatus, RunOptions
from .owners import here
from .resources import Keeper
from .resume import Story, parsed
from .secrets import Secret
from .stand_ins import STAND_INS
from .storage import Page, RunEntry, Store
from .stored import StoredAttempt

_NOT_GIVEN: Final = Secret("not given again")
"""Stands where a secret was that the step does not take."""

_BLOB: Final = re.compile(r'"\$blob":"([0-9a-f]{64})"')


class Chosen(NamedTuple):
    """The attempt that is meant.

    Attributes:
        path: Its step, or item, as text.
        number: Its number among the attempts of that, from 1.
        attempt: What is known of it.
        code: The fingerprint that its step had; empty where that is not known.
    """

    path: str
    number: int
    attempt: StoredAttempt
    code: str = ""


class Reenactment(NamedTuple):
    """An attempt that can be made once more.

    Attributes:
        node: Its step.
        path: Of the step, or the item.
        call: What is called.
        arguments: By name.
        keeper: Of resources that the call opens; None where it opens none.
        changed: The code of the step is not what it was then.
    """

    node: Node
    path: NodePath
    call: Callable[..., Any]
    arguments: Mapping[str, Any]
    keeper: Keeper | None
    changed: bool


class _Caught(BaseException):
    """A run that was put together and is not to begin; it goes past whoever would keep an error.

    Attributes:
        prepared: It.
    """

    def __init__(self, prepared: Any) -> None:
        super().__init__("a run was put together, and does not begin")
        self.prepared = prepared


class _Catch:
    """Stands in for nothing, but catches the run before it begins; see `StandIns`.

    Args:
        workdir: Where the attempt finds its folder.
    """

    def __init__(self, workdir: str) -> None:
        self._workdir = workdir

    def clock(self) -> Callable[[], float]:
        return time.time

    def options(self, options: RunOptions) -> RunOptions:
        known = {name: getattr(options, name) for name in RunOptions._fields}
        return RunOptions(**{**known, "on_change": "keep", "observers": (), "workdir": self._workdir})

    def runner(self, name: str, usual: Any) -> Any:
        return usual

    def ready(self, prepared: Any) -> None:
        raise _Caught(prepared)


def choose(run: Any, path: str, number: int | None = None) -> Chosen:
    """The attempt that is meant.

    Args:
        run: A `StoredRun`.
        path: A step's id, or an item's path; of a mapped step, its only failed item is meant.
        number: Of the attempt, from 1; None for the last that failed, or the last.

    Raises:
        KeyError: There is no such step.
        InputError: It has no such attempt.
    """
    node = run.node(path)
    if any(one.id == path.partition("[")[0] and one.kind == "gate" for one in run.outline.nodes):
        raise InputError(f"step {path!r} of run {run.run_id} is a gate, which calls nothing")
    if node.items is not None:
        path = _only_item(node, path)
        node = run.node(path)
    attempts = [one for one in run.attempts(path) if one.outcome not in ("interrupted", "waiting")]
    if not attempts:
        why = f": {node.reason}" if node.reason else ""
        status = f"never started, it is {node.status.value}"
        near = [id for id, one in run.nodes.items() if one.status is NodeStatus.FAILED]
        some = f" (failed: {', '.join(near[:8])}{' …' if len(near) > 8 else ''})" if near else ""
        raise InputError(f"step {path!r} of run {run.run_id} {status}{why}{some}")
    if number is None:
        failed = [at for at, one in enumerate(attempts) if one.outcome == "failed"]
        number = (failed or [len(attempts) - 1])[-1] + 1
    elif not 1 <= number <= len(attempts):
        raise InputError(
            f"step {path!r} of run {run.run_id} has attempts 1 to {len(attempts)}, and no {number}"
        )
    code = run.story.code.get(path.partition("[")[0] if path not in run.nodes else path, "")
    return Chosen(path, number, attempts[number - 1], code)


def _only_item(node: Any, path: str) -> str:
    failed = [one.path for one in node.items.failed()]
    if len(failed) == 1:
        return str(failed[0])
    count = len(node.items)
    items = f"{count:,} item{'' if count == 1 else 's'}"
    if failed:
        some = ", ".join(failed[:5]) + (" …" if len(failed) > 5 else "")
        raise InputError(f"{path!r} has {items}, of which {len(failed):,} failed; say which: {some}")
    if not count:
        raise InputError(f"{path!r} is mapped over nothing: it has no items")
    raise InputError(f"{path!r} has {items}, and none has failed; say which: {node.items[0].path}")


@contextmanager
def reenactment(
    again: Callable[..., object],
    inputs: Mapping[str, Any],
    graph: Graph,
    chosen: Chosen,
    kept: tuple[Store, Any],
    scratch: Store,
    say: Callable[[Any], None],
) -> Iterator[Reenactment]:
    """An attempt of a stored run, ready to be made once more. Nothing of it is written to the run.

    Args:
        again: The `run_with` of what the run was made of.
        inputs: What has to be given again.
        graph: What runs, as it is now.
        chosen: The attempt.
        kept: The store that the run is in, and the `StoredRun`.
        scratch: A store for this alone.
        say: Takes what the step says of itself.

    Raises:
        InputError: What it took cannot be had any more.
        GraphChanged: The step is not there any more, or is another thing.
        PenstockError: The run cannot be read, or not be put together again.
    """
    reader, run = kept
    spare = _spare_secrets(graph, run.story, chosen.path)
    path = _copy_until(reader, run.entry, chosen, scratch, spare)
    with TemporaryDirectory(prefix="penstock-") as folder:
        before = STAND_INS.set(_Catch(folder))
        try:
            again({**dict.fromkeys(spare, _NOT_GIVEN), **inputs}, store=scratch, run_id=run.run_id)
            raise InternalError(f"run {run.run_id} was to be put together, and was not")
        except _Caught as caught:
            made = _reenacted(caught.prepared, path, chosen.code, say)
        finally:
            STAND_INS.reset(before)
        yield made


def _spare_secrets(graph: Graph, story: Story, path: str) -> list[str]:
    """The inputs that were secret, and that one step can do without."""
    id = path if path in graph.index else path.rpartition("[")[0]
    if id not in graph.index:
        return []
    node = graph.nodes[graph.index[id]]
    takes = {name for _, name in node.inputs} | set(inputs_of(node.resources))
    given = story.started["inputs"].items()
    return [name for name, data in given if name in graph.inputs and name not in takes and secrets_in(data)]


def _copy_until(
    source: Store, entry: RunEntry, chosen: Chosen, into: Store, without: Sequence[str]
) -> NodePath:
    """Copies a run up to the start of an attempt into another store, where nobody drives it, without some of
    its inputs. Gives the path of the attempt."""
    entries: list[Entry] = []
    end, path = 0, NodePath(chosen.path)
    for number, text in enumerate(source.rows(entry.run_id), 1):
        for one in parsed(text, entry.run_id, number):
            entries.append(one)
            if one[0] == "start" and one[2] == chosen.attempt.token and str(path_of(one[1])) == chosen.path:
                end, path = len(entries), path_of(one[1])
    begun = entries[0][1]
    begun["inputs"] = {name: data for name, data in begun["inputs"].items() if name not in without}
    rows = [text_of([_moved(one, number)]) for number, one in enumerate(entries[:end], 1)]
    _copy_values(source, into, rows)
    copied = entry._replace(status="running", owner=None, expires=None, recoveries=0, rows=0, parent=None)
    into.release(into.create(copied, here(), LASTS, Page(1, rows)))
    return path


def _moved(entry: Entry, number: int) -> Entry:
    """An entry as it is in row `number`: the end of a run names its row. One that went on had ended."""
    return [*entry[:3], number, *entry[4:]] if entry[0] == "end" else entry


def _copy_values(source: Store, into: Store, rows: Sequence[str]) -> None:
    todo = [digest for text in rows for digest in _BLOB.findall(text)]
    seen: set[str] = set()
    while todo:
        digest = todo.pop()
        if digest in seen:
            continue
        seen.add(digest)
        with suppress(ValueLost):  # it may not be needed; if it is, that is said then
            body = source.get(digest)
            into.put(body)
            todo += _BLOB.findall(body.decode("ascii", "replace"))  # a large value may have large parts


def _reenacted(prepared: Any, path: NodePath, code: str, say: Callable[[Any], None]) -> Reenactment:
    """The attempt of a run of `_copy_until` that was put together and has not begun."""
    engine = prepared.engine
    state, options = engine.machine.state, engine.options
    started = engine.durable.take_up(engine.machine, engine.clock())
    i = state.find(path)
    node = state.plan.nodes[state.plan.node[state.site[i]]]
    if state.status[i] not in (READY, RETRYING):
        raise InputError(_lost(state, node, str(path)))
    attempts = Attempts(state, prepared.inputs, options, started.run_id, say, engine.clock)
    _, _, call, arguments, *_ = attempts.work(i, state.token[i] + 1, state.plan.index[node.id])
    changed = bool(code) and Fingerprints().of_node(node) != code
    return Reenactment(node, path, call, arguments, attempts.keeper, changed)


def _lost(state: Any, node: Node, path: str) -> str:
    """Which values are missing."""
    plan = state.plan
    gone = [need.node for need in node.needs if state.status[plan.index[need.node]] != SUCCEEDED]
    some = ", ".join(map(repr, dict.fromkeys(gone))) or "what it needs"
    return (
        f"step {path!r} cannot be called again: the value of {some} was not stored, or is lost; run it anew"
    )

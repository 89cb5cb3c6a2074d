"""How a run that a store knows goes on: checked against the code and the inputs of now, and replayed."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from .changed import changes, new_code, refuse
from .codec import Codec, preview, secrets_in
from .entries import SHED, Decode, Entry, fact_of, last_time, path_entry, path_of, started_of
from .errors import GraphChanged, InputError, PenstockError, RunExists, StoreDamaged, ValueLost, nearest
from .events import RunResumed
from .graph import Graph
from .leases import give_back
from .machine import Machine
from .machine.apply import apply
from .machine.facts import BEGUN
from .machine.state import State
from .model import NodePath, RunOptions, RunStarted
from .plan import Plan
from .resume import Story, Undone, below, undone, without
from .storage import Claim, Store

_NOTHING: Final = Undone((), ())


class Resumption:
    """A run of the store that is about to go on.

    Args:
        claim: The right to write to it; None to look only.
        story: What is known of it.
        started: How it began, its inputs decoded.
        entries: What still counts of it.
        again: What is to be done again.
        code: Fingerprints that have changed, by id.
        give_up: Why steps that were cut off are not tried again; empty where they are.

    Attributes:
        claim, started, entries, give_up: As given.
        rows: Rows in its journal.
        warnings: What should be known of its going on.
    """

    def __init__(
        self,
        claim: Claim | None,
        story: Story,
        started: RunStarted,
        entries: list[Entry],
        again: Undone = _NOTHING,
        code: Mapping[str, str] | None = None,
        give_up: str = "",
    ) -> None:
        self.warnings: list[str] = []
        self._claim = claim
        self.started = started
        self.entries = entries
        self.give_up = give_up
        self.rows = story.rows
        self._last = last_time(story.entries)  # what counts no more has taken its time
        self._crashed = story.entry.owner is not None
        self._again = again
        self._code = dict(code or {})

    @property
    def claim(self) -> Claim:
        assert self._claim is not None
        return self._claim

    def replay(self, state: State, decode: Decode) -> None:
        """Folds what counts into a fresh state; see `replay`."""
        replay(state, self.started, self.entries, decode)

    def event(self, now: float) -> RunResumed:
        """What is recorded of its going on."""
        away = max(0.0, now - (self.started.at if self._last is None else self._last))
        return RunResumed(now, away, self._again.drop, self._again.restart, self._code, self._crashed)

    def release(self, store: Store) -> None:
        """Gives it back without having gone on, as far as that is possible."""
        if self._claim is not None:
            give_back(store, self._claim)


def replay(
    state: State,
    started: RunStarted,
    entries: Sequence[Entry],
    decode: Decode,
    lost: list[NodePath] | None = None,
) -> None:
    """Folds the entries of a run into a fresh state.

    Args:
        state: Of a machine of the same graph.
        started: How the run began.
        entries: What followed.
        decode: Makes a value of its stored form.
        lost: Receives what has succeeded and whose value is gone; without it that is an error.

    Raises:
        GraphChanged: They speak of what the graph has not.
        StoreDamaged: They are none.
        CannotDecode: A value is of a type that is not known here.
        ValueLost: A large value is gone.
    """
    apply(state, (BEGUN, started))
    for entry in entries:
        try:
            try:
                fact = fact_of(state, entry, decode)
            except ValueLost:
                if lost is None or entry[0] != "ok":
                    raise
                lost.append(path_of(entry[1]))
                fact = fact_of(state, [*entry[:3], SHED, *entry[4:]], decode)
            apply(state, fact)
            if entry[0] == "fail" and len(entry) > 6:  # what it wrote nevertheless; see `Node.shared`
                state.shared.update(decode(entry[6]))
        except (LookupError, AttributeError) as error:
            where = entry[1] if len(entry) > 1 else entry[0]
            raise GraphChanged(
                f"run {started.run_id}: its journal speaks of {where!r} in a way that does not fit the flow "
                f"as it is now ({type(error).__name__}: {error})"
            ) from error
        except (TypeError, ValueError) as error:
            if isinstance(error, PenstockError):
                raise
            text = f"run {started.run_id}: {entry[0]!r} is no entry of a journal: {error}"
            raise StoreDamaged(text) from error


def known_inputs(story: Story, names: Collection[str], codec: Codec) -> dict[str, Any]:
    """Inputs that a run was given.

    Args:
        story: The run.
        names: Which of them.
        codec: Makes values of what is stored.

    Raises:
        InputError: One of them was a secret: it must be given again.
        CannotDecode: One is of a type that is not known here.
    """
    found: dict[str, Any] = {}
    for name in names:
        data = story.started["inputs"].get(name, _ABSENT)
        if data is _ABSENT:
            continue
        if secrets_in(data):
            raise InputError(
                f"run {story.entry.run_id!r}: the input {name!r} was a Secret, and those are never stored; "
                "give it again"
            )
        found[name] = codec.decode(data)
    return found


_ABSENT: Final = object()


def check_same(story: Story, flow: str, inputs: Mapping[str, Any], codec: Codec) -> None:
    """Lets a run pass that was given the same.

    Raises:
        RunExists: It is of another flow, or was given something else.
        NotStorable: What is given now could not have been given then.
    """
    id = story.entry.run_id
    if story.started["flow"] != flow:
        of = story.started["flow"]
        raise RunExists(f"run {id!r} is one of flow {of!r}, not of {flow!r}; give another run_id")
    before = story.started["inputs"]
    for name, value in inputs.items():
        if name not in before:
            continue
        now = json.loads(codec.encode(value, secrets="masked"))
        if _ordered(now) != _ordered(before[name]):  # 1 and true are equal in Python
            raise RunExists(
                f"run {id!r} was given other inputs: {name} is {preview(now, 60)}, and was "
                f"{preview(before[name], 60)}; give another run_id for a new run"
            )
    codec.blobs.clear()


def _ordered(data: Any) -> str:
    return json.dumps(data, sort_keys=True)


def resumption(
    story: Story,
    claim: Claim | None,
    plan: Plan,
    asked: tuple[Mapping[str, Any], RunOptions],
    codec: Codec,
    prints: Mapping[str, str],
) -> Resumption:
    """What is to be done to let a run go on.

    Args:
        story: What is known of it.
        claim: The right to go on; None to see what it came to.
        plan: The graph as it is now.
        asked: Its inputs, and how it goes on.
        codec: Makes values of what is stored.
        prints: Fingerprints of the graph, by id.

    Raises:
        GraphChanged: Its finished part was made by other code, and nothing was said of that.
        InputError: `rerun` names no step.
        CannotDecode, ValueLost: A value cannot be had.
    """
    inputs, options = asked
    graph, over = plan.graph, bool(story.ended)
    started = started_of(story.started, lambda _: None)._replace(inputs=inputs)
    if claim is None:
        return Resumption(None, story, started, story.entries)
    found = changes(story, graph, prints)
    rerun = _asked(options.rerun, graph)
    run_id = story.entry.run_id
    if options.on_change == "refuse":
        refuse(found.but(rerun, code=False), run_id)
    elif options.on_change == "rerun":
        rerun |= found.finished.keys() & graph.index.keys()
    gone = [NodePath(id) for id in found.gone]
    entries = story.entries
    if gone or rerun:  # they need not even fit the graph as it is now
        early = [path_entry(path) for path in (*gone, *below(graph, rerun))]
        entries = list(without(entries, early, (), over=False))
    volatile = {node.id for node in graph.nodes if node.volatile}
    again = _NOTHING
    if over or rerun or volatile or story.blobs:
        scratch = Machine(plan, options)
        lost: list[NodePath] = []
        replay(scratch.state, started, entries, codec.decode, lost)
        lost += [path_of(one[1]) for one in entries if one[0] == "ok" and path_of(one[1]).node in volatile]
        again = undone(scratch.state, over=over, rerun=rerun, gone=lost)
        drop, restart = ([path_entry(path) for path in paths] for paths in again)
        entries = list(without(entries, drop, restart, over=over))
    if options.on_change == "refuse":
        refuse(found.but({path.node for path in again.drop if not path.items}), run_id)
    code = new_code(story, graph, prints)
    again = Undone((*gone, *again.drop), again.restart)
    made = Resumption(claim, story, started, entries, again, code, _too_often(story, options))
    if found.others:
        made.warnings.append(f"steps not finished run the code of now: {', '.join(found.others[:10])}")
    return made


def _too_often(story: Story, options: RunOptions) -> str:
    """Why what was cut off is not tried again; empty if it is."""
    deaths = story.entry.recoveries + (story.entry.owner is not None)
    if deaths <= options.max_recoveries:
        return ""
    return (
        f"the process of the run has died {deaths} times, more than max_recoveries={options.max_recoveries}; "
        "this step was running at the time"
    )


def _asked(rerun: Collection[str], graph: Graph) -> set[str]:
    for id in rerun:
        if id not in graph.index:
            raise InputError(f"rerun: there is no step {id!r}{nearest(id, graph.index)}")
    return set(rerun)

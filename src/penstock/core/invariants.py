"""What must be true of a state after every event. Tests look here after every move; a run never does."""

from __future__ import annotations

from .machine.state import (
    CANCELLED,
    FAILED,
    PENDING,
    READY,
    RETRYING,
    RUNNING,
    SKIPPED,
    SUCCEEDED,
    WAITING,
    State,
)
from .plan import FOLD, GROUP, LIMITED


def check(s: State) -> list[str]:
    """The violations found; none in a legal state."""
    return [*_statuses(s), *_slots(s), *_limits(s), *_groups(s), *_idle(s)]


def _statuses(s: State) -> list[str]:
    found = []
    for i, status in enumerate(s.status):
        name = str(s.path(i))
        if s.plan.flags[s.site[i]] & GROUP:
            if status not in (PENDING, SUCCEEDED, SKIPPED):
                found.append(f"group {name} has the status of a node: {status}")
            continue
        fold = s.plan.flags[s.site[i]] & FOLD  # works in slices before its need has ended
        if status not in (PENDING, SKIPPED) and s.waits[i] and not fold:
            found.append(f"{name} has status {status} and waits for {s.waits[i]} needs")
        if s.waits[i] < 0 and status < SUCCEEDED:
            found.append(f"{name} waits for {s.waits[i]} needs")
        if (status == RETRYING) != (i in s.due) and status != WAITING:
            found.append(f"{name} has status {status}, and a retry is {'' if i in s.due else 'not '}due")
        if (status == SKIPPED) != (s.skip(i) is not None):
            found.append(f"{name} has status {status} without a cause, or a cause without the status")
        if status == FAILED and i not in s.failures:
            found.append(f"{name} failed without a failure")
        policy = s.plan.retry.get(s.plan.node[s.site[i]])
        if len(s.failures.get(i, ())) > (policy.max_attempts if policy is not None else 1):
            found.append(f"{name} has made more attempts than its policy allows")
        if status in (RUNNING, RETRYING) and not s.token[i]:
            found.append(f"{name} runs without a token")
    return found


def _slots(s: State) -> list[str]:
    """Permits and what is held make up the capacity."""
    found = []
    running = [i for i, status in enumerate(s.status) if status == RUNNING and i not in s.paused]
    if s.slots_total - s.free_total != len(running):
        found.append(f"{len(running)} attempts run, {s.slots_total - s.free_total} slots are taken")
    if s.free_total < 0:
        found.append("more attempts run than max_concurrency allows")
    for runner, free in enumerate(s.free):
        mine = sum(s.plan.runner[s.plan.node[s.site[i]]] == runner for i in running)
        if s.slots[runner] - free != mine:
            found.append(f"runner {runner}: {mine} attempts run, {s.slots[runner] - free} slots are taken")
        if free < 0 and runner not in s.shrunk:
            found.append(f"runner {runner} has more attempts than it takes")
    return found


def _limits(s: State) -> list[str]:
    found = []
    held = dict.fromkeys(s.gauges, 0)
    holders = [i for i, status in enumerate(s.status) if status == RUNNING and i not in s.paused]
    holders += [i for i, _ in s.lingering]
    for i in holders:
        if s.plan.flags[s.site[i]] & LIMITED:
            for name, weight in s.plan.limits[s.plan.node[s.site[i]]]:
                held[name] += weight
    for name, gauge in s.gauges.items():
        if gauge.capacity is not None and gauge.free + held[name] != gauge.capacity:
            found.append(f"limit {name}: {gauge.free} free and {held[name]} held of {gauge.capacity}")
        if gauge.free < 0:
            found.append(f"limit {name}: {gauge.free} free")
    return found


def _groups(s: State) -> list[str]:
    """A group has ended when all its items have, and not before; the run is open as long as a node is."""
    ended = (SUCCEEDED, FAILED, SKIPPED, CANCELLED)
    found = []
    for i, status in enumerate(s.status):
        if not s.plan.flags[s.site[i]] & GROUP or status == SKIPPED:
            continue
        fan = s.fan_of_group(i)
        if fan is None:
            if status != PENDING:
                found.append(f"group {s.path(i)} has ended and was never opened")
            continue
        place = s.plan.levels[fan.scope].position[s.plan.node[s.site[i]]]
        open_items = sum(s.status[row + place] not in ended for row in fan.rows)
        if s.waits[i] != open_items + (not fan.sealed):
            found.append(f"group {s.path(i)} waits for {s.waits[i]}, {open_items} of its items are open")
        if (status == SUCCEEDED) != (s.waits[i] == 0):
            found.append(f"group {s.path(i)} has status {status} and waits for {s.waits[i]}")
    still = sum(status not in ended for status in s.status[: s.total])
    if s.open != still:
        found.append(f"{still} nodes are open, {s.open} are counted")
    return found


def _idle(s: State) -> list[str]:
    """Nothing is ready, has a slot, takes no limit, and is idle; asked only of a state between two turns."""
    if s.arrived or s.maps or s.sweep or s.begun is None:
        return []  # in the middle of a turn
    found = []
    for i, status in enumerate(s.status):
        if status != READY or s.plan.flags[s.site[i]] & (LIMITED | GROUP):
            continue
        if s.free_total > 0 and s.free[s.plan.runner[s.plan.node[s.site[i]]]] > 0 and not s.finished:
            found.append(f"{s.path(i)} is ready, has a slot, and is idle")
    if s.finished and any(s.status.count(status) for status in (READY, RUNNING, RETRYING, WAITING)):
        found.append("the run has finished and something is not")
    return found


DERIVED = frozenset(
    [
        "acquiring",
        "alarms",
        "allowed",
        "arrived",
        "asked",
        "blocked",
        "counts",
        "fans",
        "free",
        "gauges",
        "grace_ends",
        "granted",
        "keyed",
        "late",
        "maps",
        "opened",
        "plan",
        "ready",
        "ripe",
        "shrunk",
        "slices",
        "slots",
        "sweep",
    ]
)
"""Parts of a state that a replay rebuilds in its own way; of maps, limits and slots what counts is."""


def _held(s: State) -> list[int]:
    """Slots that attempts hold, by runner: how many there are is the runner's to say, and no event."""
    return [slots - free for slots, free in zip(s.slots, s.free, strict=True)]


def differences(one: State, other: State) -> list[str]:
    """Names of the parts in which two states of one plan differ, the derived ones left out."""
    names = [name for name in State.__slots__ if name not in DERIVED]
    found = [name for name in names if getattr(one, name) != getattr(other, name)]
    if _held(one) != _held(other):
        found.append("slots")
    if one.opened.keys() != other.opened.keys():
        return [*found, "opened"]
    for key, fan in one.opened.items():
        twin = other.opened[key]
        mine = (list(fan.rows), fan.sealed, fan.broken, fan.keys, fan.rest)
        if mine != (list(twin.rows), twin.sealed, twin.broken, twin.keys, twin.rest):
            found.append(f"opened[{key}]")
    for name, gauge in one.gauges.items():
        if (gauge.free, gauge.stamps) != (other.gauges[name].free, other.gauges[name].stamps):
            found.append(f"limit {name}")
    return found

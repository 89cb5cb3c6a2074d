"""Workflows of one line: a chain, a row, a fan."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from penstock.core.amounts import shown

from .actions import Action, innermost
from .tasks import Task
from .workflow import Workflow


def chain(*actions: Action | Task, name: str = "chain") -> Workflow:
    """A workflow in which each action waits for the one before.

    Args:
        actions: Functions, or tasks, of which copies are taken. A function that requires one argument more
            than its dependency's name can fill is given the value of the one before.
        name: Of the workflow.
    """
    workflow = Workflow(name)
    before: tuple[str, ...] = ()
    for task in _tasks("chain", actions):
        workflow.add(_after(task, before, "one"))
        before = (task.name,)
    return workflow


def parallel(*actions: Action | Task, name: str = "parallel") -> Workflow:
    """A workflow of actions that do not wait for each other; see `chain`."""
    workflow = Workflow(name)
    for task in _tasks("parallel", actions):
        workflow.add(task)
    return workflow


def fan_out_fan_in(
    actions: Sequence[Action | Task], collect: Action | Task, name: str = "fan_out_fan_in"
) -> Workflow:
    """A workflow of actions that do not wait for each other, and one that waits for all of them.

    Args:
        actions: Functions or tasks, as for `chain`.
        collect: The last one. A function that requires one argument more than names can fill is given the
            list of all values, in the order of `actions`.
        name: Of the workflow.
    """
    if isinstance(actions, (str, Mapping)) or not isinstance(actions, Iterable):
        raise TypeError(f"fan_out_fan_in takes a list of actions, not {shown(actions)}")
    *wide, last = _tasks("fan_out_fan_in", (*actions, collect))
    workflow = Workflow(name)
    for task in wide:
        workflow.add(task)
    return workflow.add(_after(last, tuple(task.name for task in wide), "list"))


def _tasks(helper: str, actions: Sequence[Any]) -> list[Task]:
    """A task for each action, with a name of its own."""
    taken = {action.name for action in actions if isinstance(action, Task)}
    tasks = []
    for at, action in enumerate(actions, 1):
        if isinstance(action, Task):
            copy = replace(action)
            copy._feed = action._feed
            tasks.append(copy)
            continue
        if not callable(action):
            raise TypeError(f"{helper} takes functions and Tasks, not {shown(action)}")
        own = getattr(innermost(action), "__name__", "<lambda>")
        base = own if own != "<lambda>" else f"task_{at}"
        name, count = base, 1
        while name in taken:
            count += 1
            name = f"{base}_{count}"
        taken.add(name)
        task = Task(name, action)
        task._feed = "one"
        tasks.append(task)
    return tasks


def _after(task: Task, before: tuple[str, ...], feed: Literal["one", "list"]) -> Task:
    task.dependencies = [*task.dependencies, *before]
    wants = task._feed is not None and (before or feed == "list")
    task._feed = feed if wants else None
    return task

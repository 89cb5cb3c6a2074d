"""Whether the code is still what the finished part of a run was made with."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NamedTuple

from .entries import path_of, text_of
from .errors import GraphChanged
from .graph import Graph
from .resume import OF_THE_RUN, Story

OTHER_CODE = "has other code"
"""What is said of a step whose code alone has changed."""


class Changes(NamedTuple):
    """What has changed since a run was last driven.

    Attributes:
        finished: By id of a finished step, what is another thing now, in words.
        others: Ids of steps not finished whose code has changed: the new code is run.
        gone: Ids of steps that the journal speaks of and the graph has no more.
    """

    finished: Mapping[str, str]
    others: tuple[str, ...]
    gone: tuple[str, ...]

    def but(self, ids: Collection[str], *, code: bool = True) -> Changes:
        """The same without what is said of some steps; or of all whose code alone has changed."""
        kept = {
            id: what for id, what in self.finished.items() if id not in ids and (code or what != OTHER_CODE)
        }
        return self._replace(finished=kept)


def changes(story: Story, graph: Graph, prints: Mapping[str, str]) -> Changes:
    """Compares a graph with the one that a run was made with.

    Args:
        story: The run.
        graph: As it is now.
        prints: Fingerprints of its nodes, by id.
    """
    depths: dict[str, int] = {}
    seen: dict[str, None] = {}
    for entry in story.entries:
        if entry[0] not in OF_THE_RUN:
            path = path_of(entry[1])
            seen[path.node] = None
            if entry[0] in ("ok", "yield"):
                depths.setdefault(path.node, len(path.items))
    before = story.needs
    known, code = graph.index, story.code
    finished: dict[str, str] = {}
    others = []
    for id, digest in prints.items():
        if id not in depths:
            if id in code and code[id] != digest:
                others.append(id)
            continue
        position = known[id]
        needs = tuple(need.node for need in graph.nodes[position].needs)
        if graph.scopes[graph.scope_of[position]].depth != depths[id]:
            finished[id] = "is mapped another way"
        elif before.get(id, needs) != needs:
            words = [", ".join(some) or "nothing" for some in (needs, before[id])]
            finished[id] = f"needs {words[0]} (before: {words[1]})"
        elif code.get(id) != digest:
            finished[id] = OTHER_CODE
    strangers = dict.fromkeys(id for id in seen if id not in known)
    finished.update(dict.fromkeys(strangers.keys() & depths.keys(), "is not in the flow any more"))
    return Changes(finished, tuple(others), tuple(strangers))


def refuse(found: Changes, run_id: str) -> None:
    """Lets a run pass whose finished steps are what they were.

    Raises:
        GraphChanged: They are not.
    """
    if not found.finished:
        return
    lines = [f"step {id!r} {what}" for id, what in found.finished.items()]
    more = f"\n  and {len(lines) - 10} more" if len(lines) > 10 else ""
    raise GraphChanged(
        f"run {run_id}: the code has changed since these steps were finished:\n  "
        + "\n  ".join(lines[:10])
        + f"{more}\nsay on_change='keep' to keep what they made, on_change='rerun' to run them and all that "
        "follows from them again, or leave it as it is",
        lines,
    )


def new_code(story: Story, graph: Graph, prints: Mapping[str, str]) -> dict[str, str]:
    """What is to be recorded of code that has changed: fingerprints by id, each with what its node needs
    behind it, as JSON, where that has changed too."""
    before, needed = story.code, story.needs
    found = {}
    for id, digest in prints.items():
        needs = tuple(need.node for need in graph.nodes[graph.index[id]].needs)
        if needs != needed.get(id, ()):
            found[id] = digest + text_of(needs)
        elif before.get(id) != digest:
            found[id] = digest
    return found

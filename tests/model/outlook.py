"""What a graph alone tells: which failures are let pass, and which streams are never held back.

It must never import anything of the package under test.
"""

from __future__ import annotations

from tests.model import spec as given
from tests.model.spec import GraphSpec


def tolerated(spec: GraphSpec, node: str) -> bool:
    """Say whether a failure of this step is let pass: it neither fails nor stops the run.

    A quorum lets it pass here; whether it still can hold is judged as the items end.
    """
    steps = {step.id: step for step in spec.steps}
    if steps[node].optional:
        return True
    scope = given.scopes(spec)
    judges = _judges(spec, node, scope[node], own=not steps[node].stream)
    if steps[node].stream:  # it fails like one item more of each map that it feeds
        for head in [step.id for step in spec.steps if step.source == node]:
            judges += _judges(spec, head, scope[head], own=True)
    return bool(judges) and all(judges)


def _judges(spec: GraphSpec, node: str, home: given.Scope, *, own: bool) -> list[bool]:
    """Say of each need that a failure at `home` comes to whether it lets it pass.

    Without `own`, those that map over it are left to their maps.
    """
    scope = given.scopes(spec)
    reached, judges = [node], list[bool]()
    for parent in reached:  # grows while it is read
        below = [(step.id, need) for step in spec.steps for need in step.needs if need.parent == parent]
        for consumer, need in below:
            if need.accepts("F"):
                judges.append(True)
            elif need.how == "each" and parent == node and not own:
                continue
            elif need.how == "gather" and len(given.seen_at(need, scope[parent])) < len(home):
                judges.append(need.policy != "raise")
            elif need.is_data and not home:
                judges.append(False)
            elif need.is_data and consumer not in reached:
                reached.append(consumer)
    return judges


def unbounded(spec: GraphSpec) -> frozenset[str]:
    """Give the streams that may not be held back, or need not: those on a circle.

    A stream that is held back until the steps of its maps begin waits for what these need besides it; and
    whatever needs anything waits for that. Of a circle of two streams, one held back is enough.
    """
    scope = given.scopes(spec)
    heads = {step.id: step.source or "" for step in spec.steps if step.source is not None}
    streams = {step.id for step in spec.steps if step.stream}
    after: dict[str, set[str]] = {step.id: set() for step in spec.steps}
    for step in spec.steps:
        for need in step.needs:
            if need.how in ("gather", "after"):  # it waits for the ends of the streams that feed those maps
                after[step.id] |= {heads[head] for head in scope[need.parent]}
            if need.how != "each" or need.parent not in streams:  # else its items come before
                after[step.id].add(need.parent)
    waits = {node: set(needs) for node, needs in after.items()}
    for step in spec.steps:
        for head in scope[step.id]:
            if heads[head] in streams:
                waits[heads[head]] |= {parent for parent in after[step.id] if head not in scope[parent]}

    def reaches(node: str) -> bool:
        seen, todo = set[str](), list(waits[node])
        while todo:
            one = todo.pop()
            if one not in seen:
                seen.add(one)
                todo += waits[one]
        return node in seen

    return frozenset(node for node in streams if reaches(node))

"""What code a step runs, as a digest: the same in every process as long as the code is the same.

A function is what its syntax tree says and what it reaches in the project: functions that it calls, in
whatever file; what decorates it; constants; classes; values that it holds in its closure, its defaults or a
`partial`; of a bound method the class, as far as the method uses it, and the attributes of the object.
Layout, comments, docstrings and annotations do not count, nor does where it stands. Of a library only the
names that are used count, not its version. Of this library nothing counts: what wraps a step says by a
method ``__penstock_code__`` which objects matter, and a class by ``__penstock_options__`` which attributes of
its objects are options.

What a name means is read in the file that uses it, so that it depends neither on what has been imported so
far nor on what a run has done: a module's table that steps fill is the statement that made it. Where there
is no file, in a prompt or a notebook, the objects themselves are asked.

It does not see what is looked up by a computed name (`getattr`, a registry filled from another file), what is
read from files and the environment, and code that is no Python.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from .fingerprint_objects import Objects
from .fingerprint_parts import digest_of, settle
from .model import Node, Resource


def fingerprint(call: Callable[..., Any]) -> str:
    """The fingerprint of a function, or of any other object that can be called: 32 hexadecimal digits."""
    return Fingerprints().of(call)


class Fingerprints:
    """Fingerprints, each made once; for one run, as what objects hold may be other things later.

    Nothing is imported or called, but for methods ``__penstock_code__``, and nothing is raised.
    """

    def __init__(self) -> None:
        self._objects = Objects()
        self._done: dict[int, tuple[Any, str]] = {}  # with the object, so that no id is used twice

    def of(self, call: Callable[..., Any]) -> str:
        """The fingerprint of something that can be called."""
        found = self._done.get(id(call))
        if found is None:
            part = self._objects.part(call)
            settle(part)
            found = self._done[id(call)] = call, part.digest
        return found[1]

    def of_node(self, node: Node) -> str:
        """The fingerprint of all code of a node: its call, its conditions, what says whether to try again,
        keys of elements, its resources, and functions among its constants. Its options do not count."""
        retry, call = node.retry, node.call
        if (
            node.when is None
            and node.bound is None
            and not node.resources
            and type(node.trigger) is str
            and (retry is None or type(retry.retry_on) is tuple)
        ):
            for need in node.needs:
                if need.key is not None:
                    break
            else:
                found = self._done.get(id(call))
                return self.of(call) if found is None else found[1]
        return digest_of([text for word, one in _code_of(node) for text in (word, self.of(one))])

    def parts(self, call: Callable[..., Any]) -> dict[str, str]:
        """What a function is made of: digests by ``module:name``, each without what it leads to."""
        self.of(call)
        digests: dict[str, list[str]] = {}
        todo = [self._objects.part(call)]
        seen = set(todo)
        for part in todo:  # grows while it is read
            digests.setdefault(part.name, []).append(part.local)
            new = [one for one in dict.fromkeys(part.to) if one not in seen]
            seen.update(new)
            todo += new
        return {
            name: found[0] if len(found) == 1 else digest_of(sorted(found))
            for name, found in sorted(digests.items())
        }


def _code_of(node: Node) -> Iterator[tuple[str, Any]]:
    """All that a node calls, each with a word that says what for."""
    yield "call", node.call
    if node.when is not None:
        yield "when", node.when.call
    if not isinstance(node.trigger, str):
        yield "trigger", node.trigger.call
    if node.retry is not None and callable(node.retry.retry_on):
        yield "retry_on", node.retry.retry_on
    for need in node.needs:
        if need.key is not None:
            yield f"key {need.param}", need.key
    for name, value in sorted((node.bound or {}).items()):
        if callable(value):
            yield f"bound {name}", value
    todo: list[Resource] = [resource for _, resource in node.resources]
    for resource in todo:  # grows while it is read
        yield "resource", resource.call
        todo += [inner for _, inner in resource.resources]

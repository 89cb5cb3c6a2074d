"""Where a stored run stands, concluded from its entries alone: no graph and no code of the user's is needed.

What only the graph could tell follows from what happened: a node is mapped if it has items, and a failure was
let pass if what follows from it went on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .cells import OPEN, Cell, Cells, Skipped
from .entries import SHED
from .model import NodePath, NodeStatus, Skip, SkipCause
from .resume import Story
from .stored import Items, OpenGate, StoredAttempt, StoredItems, StoredNode


class Fold(Cells):
    """The entries of a run that count, folded.

    Args:
        story: The run.

    Raises:
        StoreDamaged: The entries say what cannot be.
    """

    def __init__(self, story: Story) -> None:
        super().__init__(story)
        self._heads_of: dict[str, list[str]] = {}
        self._used_by: dict[str, list[str]] | None = None

    # --- nodes --------------------------------------------------------------------------------------------

    def node(self, id: str) -> StoredNode:
        """How a node stands as a whole."""
        cells = self._cells.get(id, {})
        if not self._is_mapped(id):
            cell = cells.get(())
            return self._single(NodePath(id), cell if cell is not None else self._unheard())
        whole = cells.get(())
        items = {key: cell for key, cell in cells.items() if key}
        counts = Counter(cell.status for cell in items.values())
        counts[NodeStatus.SKIPPED] += sum(rest.size for rest in self._rests.get(id, ()))
        counts[NodeStatus.SKIPPED if self._over else NodeStatus.PENDING] += self._missing(id)
        times = [one for one in map(_times, items.values()) if one[0] is not None]
        took = [ended - began for began, ended in times if began is not None and ended is not None]
        status = whole.status if whole is not None and whole.status.ended else self._status(id, counts)
        key, skip = self._skip_that_counts(id, whole, items) if status is NodeStatus.SKIPPED else ((), None)
        ends = [ended for _, ended in times if ended is not None]
        return StoredNode(
            id,
            status,
            source="run" if status is NodeStatus.SUCCEEDED else None,
            skip=None if skip is None else _skip_of(skip),
            attempts=sum(map(_attempts, items.values())),
            duration=sum(took) if took else None,
            began=min((began for began, _ in times if began is not None), default=None),
            ended=max(ends, default=None) if status.ended else None,
            reason="" if skip is None else self._reason(NodePath(id, key), skip),
            counts={status: count for status, count in counts.items() if count},
            items=StoredItems(lambda: self._items(id), lambda: self._bad_items(id)),
        )

    def find(self, path: str) -> StoredNode | None:
        """A node by its id, or an item by its path as text."""
        if path in self._needs:
            return self.node(path)
        id = path.rpartition("[")[0]
        if id not in self._needs:
            return None
        found = next((item for item in self._cells.get(id, {}) if str(NodePath(id, item)) == path), None)
        if found is not None:
            return self._single(NodePath(id, found), self._cells[id][found])
        return next((one for one in self.node(id).items or () if one.path == path), None)

    def attempts(self, path: str) -> list[StoredAttempt]:
        """The attempts of a node, or of an item; of a mapped node those of all items, in their order."""
        if path in self._needs and self._is_mapped(path):
            keys = sorted(self._cells.get(path, {}), key=lambda items: self._rank(path, items))
            return [one for items in keys for one in self._attempts_of(NodePath(path, items))]
        if path in self._needs:
            return self._attempts_of(NodePath(path))
        id = path.rpartition("[")[0]
        found = (NodePath(id, items) for items in self._cells.get(id, {}))
        return next((self._attempts_of(one) for one in found if str(one) == path), [])

    def _attempts_of(self, path: NodePath) -> list[StoredAttempt]:
        cell = self._cells.get(path.node, {}).get(path.items)
        return [] if cell is None else [StoredAttempt(str(path), *attempt) for attempt in cell.attempts]

    def gates(self) -> Iterator[OpenGate]:
        """The gates that wait for an answer, in the order of definition."""
        for id in self.ids:
            cells = self._cells.get(id, {})
            for items in sorted(cells, key=lambda items: self._rank(id, items)):
                cell = cells[items]
                if (
                    cell.status is NodeStatus.WAITING
                    and cell.asked is not None
                    and (cell.asked[2] or cell.asked[3])
                ):
                    since, due, prompt, takes = cell.asked
                    yield OpenGate(str(NodePath(id, items)), prompt, takes, since, due)

    def is_gate(self, id: str) -> bool | None:
        """Whether a node is a gate that takes answers; None as long as nothing is known of it."""
        cells = [cell for cell in self._cells.get(id, {}).values() if cell.attempts]
        return any(cell.asked and cell.asked[3] for cell in cells) if cells else None

    def data(self, id: str) -> tuple[Any, bool]:
        """The stored form of a node's value, and whether it is a list of the values of items; only of one
        that has succeeded. `SHED` stands for what was not stored."""
        cells = self._cells.get(id, {})
        whole = cells.get(())
        if not self._is_mapped(id) or (whole is not None and whole.status is NodeStatus.SUCCEEDED):
            elements = self._elements.get(id, {}).get(())
            if elements is not None:
                return [elements[at] for at in sorted(elements)], False
            return (SHED if whole is None else whole.data), False
        found = []
        for items in sorted((items for items in cells if items), key=lambda items: self._rank(id, items)):
            cell = cells[items]
            if cell.status is NodeStatus.SUCCEEDED:
                elements = self._elements.get(id, {}).get(items)
                found.append(cell.data if elements is None else [elements[at] for at in sorted(elements)])
        return found, True

    # --- single nodes and items ---------------------------------------------------------------------------

    def _unheard(self) -> Cell:
        """What is to be said of a node that the journal does not speak of."""
        cell = Cell()
        if self._over:
            cell.status, cell.skip = NodeStatus.SKIPPED, (SkipCause.STOPPED, None)
        return cell

    def _single(self, path: NodePath, cell: Cell) -> StoredNode:
        began, over = _times(cell)
        failed = cell.status is NodeStatus.FAILED
        history = tuple(cell.failures)
        return StoredNode(
            str(path),
            cell.status,
            source=cell.source if cell.status is NodeStatus.SUCCEEDED else None,
            failure=history[-1] if failed else None,
            history=history[:-1] if failed else history,
            skip=_skip_of(cell.skip) if cell.status is NodeStatus.SKIPPED and cell.skip is not None else None,
            attempts=_attempts(cell),
            duration=None if began is None or over is None else over - began,
            began=began,
            ended=over,
            reason=str(history[-1]) if failed else self._reason(path, cell.skip) if cell.skip else "",
        )

    def _reason(self, path: NodePath, skip: Skipped) -> str:
        cause, because = skip
        if cause is SkipCause.STOPPED:
            if because is not None:
                return f"the run stopped: {because} failed"
            return (
                "the run's deadline passed"
                if self.reason == "its deadline passed"
                else "the run was cancelled"
            )
        if because is None:
            return ""
        if cause is SkipCause.UPSTREAM:
            return f"{because} failed"
        word = "condition" if because in self._said_no else "trigger"
        return f"its {word} said no" if because == path else f"the {word} of {because} said no"

    # --- maps ---------------------------------------------------------------------------------------------

    def _is_mapped(self, id: str) -> bool:
        if id in self._sizes or id in self._rests:
            return True
        cells = self._cells.get(id)
        if not cells:  # in a run that has ended every node is heard of, but for those in an empty map
            return bool(self._over) and not self._cut_short and self._is_in_empty_map(id)
        return any(cells.keys())

    def _is_in_empty_map(self, id: str) -> bool:
        heads = self._heads(id)
        return bool(heads) and not any(self._sizes[heads[0]].values())

    def _status(self, id: str, counts: Mapping[NodeStatus, int]) -> NodeStatus:
        for status in OPEN:
            if counts.get(status):
                return status
        if not self._over and not self._is_whole(id, counts):
            return (
                NodeStatus.RUNNING
                if any(counts[one] for one in counts if one is not NodeStatus.PENDING)
                else NodeStatus.PENDING
            )
        if counts.get(NodeStatus.FAILED) and not self._let_pass(id):
            return NodeStatus.FAILED
        cells = self._cells.get(id, {}).values()
        stopped = any(cell.skip is not None and cell.skip[0] is SkipCause.STOPPED for cell in cells) or any(
            rest.skip[0] is SkipCause.STOPPED for rest in self._rests.get(id, ())
        )
        only_skips = bool(counts.get(NodeStatus.SKIPPED)) and all(
            not counts[one] for one in counts if one is not NodeStatus.SKIPPED
        )
        if counts.get(NodeStatus.CANCELLED) or (stopped and not only_skips):
            return NodeStatus.CANCELLED
        return NodeStatus.SKIPPED if only_skips else NodeStatus.SUCCEEDED

    def _is_whole(self, id: str, counts: Mapping[NodeStatus, int]) -> bool:
        """Whether all items of a node that are to come have come, and ended."""
        head = next(iter(self._heads(id)), None)
        if head is None:
            return False
        sizes = self._sizes[head]
        ended = sum(count for status, count in counts.items() if status.ended)
        if any(size is None for size in sizes.values()):
            return False  # of a stream that may give more
        if ended < sum(size for size in sizes.values() if size is not None):
            return False
        return () in sizes or all(self.node(need).status.ended for need in self._needs[head])

    def _let_pass(self, id: str) -> bool:
        """Whether the failures of a map's items kept nobody outside the map from going on."""
        if self._over == "succeeded":
            return True
        if id in self._blame:
            return False
        seen, todo, depth = {id}, [id], self._depth(id)
        for one in todo:
            for user in self._users().get(one, ()):
                if user in seen:
                    continue
                seen.add(user)
                if self._depth(user) >= depth:
                    todo.append(user)  # a later step of the same item
                elif any(cell.attempts for cell in self._cells.get(user, {}).values()):
                    return True
        return False

    def _depth(self, id: str) -> int:
        return max(map(len, self._cells.get(id, ())), default=0)

    def _users(self) -> Mapping[str, Sequence[str]]:
        if self._used_by is None:
            self._used_by = {}
            for user, needs in self._needs.items():
                for need in needs:
                    self._used_by.setdefault(need, []).append(user)
        return self._used_by

    def _missing(self, id: str) -> int:
        """How many items of a map nothing is known of yet."""
        sizes = self._sizes.get(id)
        if not sizes:
            return 0
        have = Counter(items[:-1] for items in self._cells.get(id, ()) if items)
        for rest in self._rests.get(id, ()):
            have[rest.outer] += rest.size
        return sum(max(0, size - have[outer]) for outer, size in sizes.items() if size)

    def _items(self, id: str) -> list[StoredNode]:
        """All items of a map, in order."""
        cells = {items: cell for items, cell in self._cells.get(id, {}).items() if items}
        for rest in self._rests.get(id, ()):
            skipped = Cell()
            skipped.status, skipped.skip = NodeStatus.SKIPPED, rest.skip
            keys = self._keys(id, rest.outer)
            for place in range(rest.first, rest.first + rest.size):
                cells.setdefault((*rest.outer, place if keys is None else keys[place]), skipped)
        for outer, size in self._sizes.get(id, {}).items():
            for key in self._keys(id, outer) or range(size or 0):
                if (*outer, key) not in cells:
                    cells[*outer, key] = self._unheard()
        ordered = sorted(cells, key=lambda items: self._rank(id, items))
        return [self._single(NodePath(id, items), cells[items]) for items in ordered]

    def _bad_items(self, id: str) -> Iterator[StoredNode]:
        """The items of a map that failed, in order, without a look at the others."""
        bad = {
            items: cell for items, cell in self._cells.get(id, {}).items() if cell.status is NodeStatus.FAILED
        }
        for items in sorted(bad, key=lambda items: self._rank(id, items)):
            yield self._single(NodePath(id, items), bad[items])

    def _keys(self, id: str, outer: Items) -> list[int | str] | None:
        """The names of the items of a map, in order; None where they are numbers."""
        for head in self._heads(id):
            if outer in self._sizes[head]:
                places = self._places.get(head, {}).get(outer)
                return None if places is None else list(places)
        return None

    def _rank(self, id: str, items: Items) -> tuple[tuple[int, str], ...]:
        """Sorts items as they came."""
        found = []
        for level, key in enumerate(items):
            places = self._places_of(id, items[:level], key)
            place = places.get(key) if places else key if isinstance(key, int) else None
            found.append((-1, str(key)) if place is None else (place, ""))
        return tuple(found)

    def _places_of(self, id: str, outer: Items, key: int | str) -> dict[int | str, int] | None:
        for head in self._heads(id):
            sizes = self._sizes[head]
            if outer not in sizes:
                continue
            places = self._places.get(head, {}).get(outer)
            if places is None and sizes[outer] is None:
                named = (self._names.get((need, outer)) for need in self._needs[head])
                places = next((one for one in named if one), None)
            if places is None or key in places:
                return places
        return None

    def _heads(self, id: str) -> list[str]:
        """The heads of maps among a node and all that it needs, the nearest first."""
        found = self._heads_of.get(id)
        if found is None:
            seen, todo = {id}, [id]
            for one in todo:
                more = [need for need in self._needs.get(one, ()) if need not in seen]
                seen.update(more)
                todo += more
            found = self._heads_of[id] = [one for one in todo if self._sizes.get(one)]
        return found

    def _skip_that_counts(
        self, id: str, whole: Cell | None, items: Mapping[Items, Cell]
    ) -> tuple[Items, Skipped | None]:
        """Of the skips of a map the one that says why, and whose it is: a failure wins, then the first."""
        if whole is not None and whole.skip is not None:
            return (), whole.skip
        keys = [key for key, cell in items.items() if cell.skip is not None]
        found = [(key, items[key].skip) for key in sorted(keys, key=lambda key: self._rank(id, key))]
        found += [((*rest.outer, rest.first), rest.skip) for rest in self._rests.get(id, ())]
        for key, skip in found:
            if skip is not None and skip[0] is SkipCause.UPSTREAM:
                return key, skip
        return found[0] if found else ((), None)


def _times(cell: Cell) -> tuple[float | None, float | None]:
    """When the first attempt began, and when the last one ended."""
    began = next((attempt[1] for attempt in cell.attempts if attempt[3] != "interrupted"), None)
    if began is None:
        return None, None
    return began, cell.ended if cell.status.ended and cell.status is not NodeStatus.SKIPPED else None


def _attempts(cell: Cell) -> int:
    return sum(attempt[3] != "interrupted" for attempt in cell.attempts)


def _skip_of(skip: Skipped) -> Skip:
    return Skip(skip[0], None if skip[1] is None else str(skip[1]))

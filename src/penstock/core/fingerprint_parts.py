"""What code is made of: parts that lead to each other, and their digests."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from hashlib import sha256

MOST = 10_000
"""Values that count of one object: a table that somebody holds on to is data."""


class Part:
    """One thing that code is made of.

    Attributes:
        name: ``module:name``, or what it is.
        look: Says what it is; None once it has.
        local: Digest of what it is itself.
        to: The parts that it leads to, in the order of its text.
        digest: Of it and of all that it leads to; empty as long as nobody has asked.
    """

    __slots__ = ("_count", "_text", "digest", "level", "local", "look", "name", "to")

    def __init__(self, name: str, look: Callable[[Part], None], level: int = 0) -> None:
        self.name = name
        self.look: Callable[[Part], None] | None = look
        self.level = level
        self.local = ""
        self.digest = ""
        self.to: list[Part] = []
        self._text: list[str] = []
        self._count = 0

    def open(self) -> None:
        """Looks, if that has not been done."""
        look, self.look = self.look, None
        if look is None:
            return
        try:
            look(self)
        except Exception as error:  # somebody's own object, which may do anything
            self.say(f"unreadable: {type(error).__name__}")
        self.local = digest_of(self._text)
        self._text = []

    def say(self, text: str) -> None:
        """Adds to what it is."""
        self._text.append(text)

    def lead(self, part: Part) -> None:
        """Adds a part that it leads to."""
        self._text.append("->")
        self.to.append(part)

    def full(self) -> bool:
        """Whether it has said enough."""
        self._count += 1
        return self._count > MOST


def digest_of(texts: Iterable[str]) -> str:
    made = sha256()
    for text in texts:
        data = text.encode("utf-8", "surrogatepass")
        made.update(b"%d:" % len(data))
        made.update(data)
    return made.hexdigest()[:32]


def settle(root: Part) -> None:
    """Gives a part, and all that it leads to, their digests.

    A part's digest is that of its text and of the digests of the parts that it leads to. Parts that lead to
    each other have theirs together: from whichever one comes to them first, they are the same.
    """
    if root.digest:
        return
    root.open()
    if all(one.digest for one in root.to):
        _close([root])
        return
    order: dict[Part, int] = {root: 0}
    low = {root: 0}
    stack, on_stack = [root], {root}
    path = [(root, iter(root.to))]
    while path:
        part, rest = path[-1]
        for one in rest:
            if one.digest:
                continue
            if one not in order:
                one.open()
                order[one] = low[one] = len(order)
                stack.append(one)
                on_stack.add(one)
                path.append((one, iter(one.to)))
                break
            if one in on_stack:
                low[part] = min(low[part], order[one])
        else:
            path.pop()
            if path:
                above = path[-1][0]
                low[above] = min(low[above], low[part])
            if low[part] == order[part]:
                circle = stack[stack.index(part) :] if stack[-1] is not part else [part]
                del stack[-len(circle) :]
                on_stack.difference_update(circle)
                _close(circle)


def _close(circle: list[Part]) -> None:
    """Gives parts that lead to each other their digests."""
    if len(circle) == 1 and circle[0] not in circle[0].to:
        part = circle[0]
        part.digest = digest_of([part.local, *(one.digest for one in part.to)])
        return
    colours = {part: part.local for part in circle}
    while True:
        # Each takes in those that it leads to, until that tells no more of them apart.
        new = {
            part: digest_of([mine, *(colours.get(one) or one.digest for one in part.to)])
            for part, mine in colours.items()
        }
        done = len(set(new.values())) == len(set(colours.values()))
        colours = new
        if done:
            break
    whole = digest_of(sorted(colours.values()))
    for part, mine in colours.items():
        part.digest = digest_of([mine, whole])

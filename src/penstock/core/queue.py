"""A queue in order of rank that many join at once, and that is mostly popped."""

from __future__ import annotations

from heapq import heappop
from typing import Any


class Queue:
    """Numbers (or keys of items) in starting order: a heap, and a sorted front that is cheaper to pop.

    A front is made by sorting the heap whenever the old one is used up. Entries may be stale: whoever pops
    one asks the node's status first.
    """

    __slots__ = ("front", "heap")

    def __init__(self) -> None:
        self.front: list[Any] = []  # descending, so that pop() takes the least
        self.heap: list[Any] = []

    def __bool__(self) -> bool:
        return bool(self.front or self.heap)


def pop(queue: Queue) -> Any:
    """Takes the least entry of a queue that is not empty."""
    front, heap = queue.front, queue.heap
    if front:
        if heap and heap[0] < front[-1]:
            return heappop(heap)
        return front.pop()
    if len(heap) > 4:
        heap.sort(reverse=True)
        queue.front, queue.heap = heap, front
        return heap.pop()
    return heappop(heap)


def sort_all(queue: Queue) -> None:
    """Makes one front of a queue's front and heap."""
    heap = queue.heap
    heap += queue.front
    heap.sort(reverse=True)
    queue.front, queue.heap = heap, []


def peek(queue: Queue) -> Any:
    """The least entry of a queue that is not empty."""
    front, heap = queue.front, queue.heap
    if front and not (heap and heap[0] < front[-1]):
        return front[-1]
    return heap[0]

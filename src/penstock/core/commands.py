"""What the machine asks of the engine, and what it is told in return.

Both travel as plain tuples with a small integer in front: a run of 100,000 steps makes as many of each, and
a class of its own costs more than all the rest of a turn. `node` is always a number of the machine's own.

Commands                                  Replies
  (START, node, token, now)                 (BEGAN, node, token, at)
  (STOP, node, token, why)                  (YIELDED, node, token, element, keys)
  (ABANDON, node, token)                    (ENDED, node, token, result, payload, writes, began, ended)
  (DECIDE, node, what)                      (DECIDED, node, what, answer)
  (GO_ON, node, token)                      (ANSWERED, node, value)
  (ACQUIRE, node)                           (ASKED, reason)
                                            (GONE, node, token)
                                            (HURRIED,)
                                            (GRANTED, node)
                                            (IDLED, node, token)
                                            (FOLDED, node, token, upto, began, ended)
                                            (KEYED, node, scope, keys)
                                            (ROOM, runner, attempts)
"""

from __future__ import annotations

from typing import Any, Final

Command = tuple[Any, ...]
Reply = tuple[Any, ...]

START: Final = 0  # begin this attempt
STOP: Final = 1  # end this attempt soon; why is STOP_RUN or STOP_TIMEOUT
ABANDON: Final = 2  # the grace is over: reply ENDED now, whatever becomes of it
DECIDE: Final = 3  # ask the user's condition; what is TRIGGER or WHEN
GO_ON: Final = 4  # a paused stream may produce again
ACQUIRE: Final = 5  # take the limits that are wider than the run, all or none; the run's own come after

BEGAN: Final = 0  # the attempt really runs; arms its timeout, changes nothing else
ENDED: Final = 1  # the attempt is over; result is one of the four below
YIELDED: Final = 2  # a stream gave an element
DECIDED: Final = 3  # answer is a bool, or a Failure of kind "condition"
ANSWERED: Final = 4  # somebody answered a gate
ASKED: Final = 5  # somebody asked to cancel the run
GONE: Final = 6  # an abandoned attempt ended at last
HURRIED: Final = 7  # what was asked to stop is to be given up now
GRANTED: Final = 8  # the limits wider than the run are held for this node
IDLED: Final = 9  # the attempt has shown no sign of life for as long as it may
FOLDED: Final = 10  # a slice of a fold is done: all items before `upto` are in it
KEYED: Final = 11  # the keys of the elements that the node's value, which follows, brings to a map
ROOM: Final = 12  # the runner of this name takes another number of attempts at a time from now on

OK: Final = 0  # payload is the value, writes a mapping or None
FAILED: Final = 1  # payload is a Failure
CANCELLED: Final = 2  # it was stopped; payload is (name, stack) of what was abandoned, or None
RETURNED: Final = 3  # it was never begun and is given back

STOP_RUN: Final = 0
STOP_TIMEOUT: Final = 1

TRIGGER: Final = 0
WHEN: Final = 1

# How an attempt is to be called; bits.
TIMED: Final = 1  # somebody wants to know when it really begins
PURE: Final = 2  # the call only makes a coroutine: no code of the user runs before it is awaited
STREAM: Final = 4  # the call gives an iterator, or an async one, of elements
STAYS: Final = 8  # its value may stay with the engine that makes it; see `staying`

"""The machine: where a run stands, what its events change, what is to be done next.

state (arrays and numbering) < facts (tuples and events) < queues, judge (reads) < apply (the only writer)
< dispatch, decide (choices), recover < core (the machine itself).

Pure: no clock, no chance, no thread, no user code. `now` is an argument.
"""

from .core import Machine

__all__ = ["Machine"]

"""Processes that die, stores that fail: a run loses nothing, and does nothing twice that it need not."""

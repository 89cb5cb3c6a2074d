"""Runs in one SQLite file: they survive the death of the process and, where asked, the loss of power."""

from .salvage import salvage
from .store import SqliteStore

__all__ = ["SqliteStore", "salvage"]

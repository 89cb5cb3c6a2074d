"""The command line. It must never know a face by its class: what it runs satisfies `core.ports.Runnable`."""

from __future__ import annotations


def main() -> int:
    """The program ``penstock``; gives its exit code."""
    import sys

    from .app import command
    from .streams import make_steady

    make_steady()
    return command(sys.argv[1:])

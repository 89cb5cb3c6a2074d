"""The command line. It must never know a face by its class: what it runs satisfies `core.ports.Runnable`."""

from __future__ import annotations


def main() -> int:
    """The program ``penstock``; gives its exit code."""
    import sys

    from .app import command
    from .exits import FAILED, SUCCEEDED
    from .streams import lost, make_steady, show

    make_steady()
    code = command(sys.argv[1:])
    show("")  # what a step printed may still be on its way
    return FAILED if code == SUCCEEDED and lost() else code

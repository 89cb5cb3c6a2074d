"""The runner that makes its attempts in processes. Names are found on use: a worker needs few of them."""

from typing import TYPE_CHECKING

__all__ = ["ProcessPool", "ProcessRunner", "check_function", "own_runner", "processes"]

if TYPE_CHECKING:
    from .pool import ProcessPool, ProcessRunner, own_runner, processes
    from .reference import check_function
else:  # hidden from type checkers, to which a module with __getattr__ has every name, misspelt ones too

    def __getattr__(name):
        if name == "check_function":
            from .reference import check_function as found
        elif name in __all__:
            from . import pool

            found = getattr(pool, name)
        else:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        globals()[name] = found
        return found

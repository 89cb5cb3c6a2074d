"""How runs go where nothing else is said: ``[tool.penstock]`` of pyproject.toml, and ``PENSTOCK_*``.

It must never be read by a run: whoever wants it asks for it, and hands it on (docs/decisions/0017).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from penstock.core.amounts import shown
from penstock.core.errors import InputError, nearest
from penstock.core.model import OnFailure, RunOptions
from penstock.core.ports import RUNNERS, check_runner
from penstock.core.record import Record

FILE = "pyproject.toml"
TABLE = "[tool.penstock]"
PREFIX = "PENSTOCK_"

OF_THE_TESTS = frozenset({
    "PENSTOCK_CHAOS", "PENSTOCK_FLIPS", "PENSTOCK_GRAPH", "PENSTOCK_GRAPHS", "PENSTOCK_LIFE",
    "PENSTOCK_LIVES", "PENSTOCK_MUTANTS", "PENSTOCK_REQUIRE_ALL", "PENSTOCK_SHARED",
})  # fmt: skip
"""Variables that this project's own tests and benchmarks read: runs are made beneath them."""

_WORDS = frozenset({"runner", "on_failure", "values", "workdir"})
_SWITCHES = frozenset({"capture", "profile"})  # the rest are numbers


class Config(Record):
    """What is configured. A field is None where nothing is.

    Attributes:
        runner: Of the steps that name none: ``aio``, ``inline``, ``processes``, ``threads``, or an engine:
            ``dask``, ``dask://host:port``, ``ray``, ``ray://host:port``.
        on_failure, max_concurrency, deadline, grace: As of `RunOptions`.
        retry_budget, max_abandoned, values, seed, workdir, durability, max_recoveries: The same.
        capture, profile: The same.

    Raises:
        InputError: A value is none that the option can have.
    """

    runner: str | None = None
    on_failure: OnFailure | None = None
    max_concurrency: int | None = None
    deadline: float | None = None
    grace: float | None = None
    retry_budget: int | None = None
    max_abandoned: int | None = None
    values: Literal["shared", "copied"] | None = None
    seed: int | None = None
    workdir: str | None = None
    durability: Literal["process", "power"] | None = None
    max_recoveries: int | None = None
    capture: bool | None = None
    profile: bool | None = None

    def __post_init__(self) -> None:
        for name in OPTIONS:
            if getattr(self, name) is not None:
                _check(name, getattr(self, name), f"Config: {name}")

    def options(self, **explicit: Any) -> RunOptions:
        """What is configured as options of a run; what is given here wins over it, None too.

        Args:
            explicit: Fields of `RunOptions`.

        Raises:
            TypeError: There is no such field.
            ValueError: A value is none that it can have.
        """
        return RunOptions(**{**self._configured(), **explicit})

    def how(self, **explicit: Any) -> dict[str, Any]:
        """The `runner` and the `options` of a run call: ``flow.run(**config.load().how(), path="x")``.

        Args:
            explicit: `runner`, and fields of `RunOptions`. They win over what is configured, None too.

        Raises:
            TypeError: There is no such field.
            ValueError: A value is none that it can have.
        """
        runner = explicit.pop("runner", self.runner)
        said = {**self._configured(), **explicit}
        return {"runner": runner, "options": RunOptions(**said) if said else None}

    def _configured(self) -> dict[str, Any]:
        """Options only; those of the defaults that a dialect has for itself must stay unsaid."""
        found = {name: getattr(self, name) for name in OPTIONS if name != "runner"}
        return {name: value for name, value in found.items() if value is not None}


OPTIONS: tuple[str, ...] = Config._fields
"""The names of all that can be configured, as in Python; with ``-`` in the file, and in capitals in the
environment."""


def load(folder: str | os.PathLike[str] | None = None, environ: Mapping[str, str] | None = None) -> Config:
    """Reads what is configured: the environment wins over the file. Nothing of it is kept.

    Args:
        folder: Where the file is looked for, and in the folders above until there is one; by default the
            working directory.
        environ: The environment; by default that of the process.

    Raises:
        InputError: The file cannot be read, an option does not exist, or a value is none that it can have;
            the message says where.
    """
    found = {**_of_file(folder), **_of_environment(os.environ if environ is None else environ)}
    return Config(**found)


# --- the file ---------------------------------------------------------------------------------------------


def _of_file(folder: str | os.PathLike[str] | None) -> dict[str, Any]:
    file = _nearest(folder)
    if file is None:
        return {}
    where = _shown(file)
    keys = {name.replace("_", "-"): name for name in OPTIONS}
    found: dict[str, Any] = {}
    for key, value in _table(file, where).items():
        name = keys.get(key)
        if name is None:
            raise InputError(f"{where}: {TABLE}: {_no_option(key, key.lower(), keys)}")
        _check(name, value, f"{where}: {TABLE} {key}")
        found[name] = value
    if "workdir" in found:
        found["workdir"] = os.path.join(file.parent, found["workdir"])
    return found


def _nearest(folder: str | os.PathLike[str] | None) -> Path | None:
    if folder is None:
        try:
            folder = os.getcwd()
        except FileNotFoundError:  # it has been removed
            return None
    here = Path(os.path.realpath(folder))
    if not here.is_dir():
        raise InputError(f"there is no folder {str(folder)!r}")
    return next((one / FILE for one in (here, *here.parents) if os.path.lexists(one / FILE)), None)


def _table(file: Path, where: str) -> dict[str, Any]:
    import tomllib

    try:
        if not file.is_file():
            raise InputError(f"{where}: it is not a file")
        text = file.read_text("utf-8-sig")
    except OSError as error:
        raise InputError(f"{where}: it cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InputError(f"{where}: it is not UTF-8") from None
    try:
        tool = tomllib.loads(text).get("tool", {})
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where}: it is not TOML: {error}") from None
    if not isinstance(tool, dict):
        raise InputError(f"{where}: tool must be a table, not {shown(tool)}")
    table = tool.get("penstock", {})
    if not isinstance(table, dict):
        raise InputError(f"{where}: tool.penstock must be a table, not {shown(table)}; write {TABLE}")
    return table


def _shown(file: Path) -> str:
    """The path as a reader finds it best: from here, where it is here or below."""
    try:
        return str(file.relative_to(os.getcwd()))
    except (ValueError, OSError):
        return str(file)


# --- the environment --------------------------------------------------------------------------------------


def _of_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    variables = {f"{PREFIX}{name.upper()}": name for name in OPTIONS}
    found: dict[str, Any] = {}
    for variable in sorted(environ):
        if not variable.startswith(PREFIX) or variable in OF_THE_TESTS:
            continue
        name = variables.get(variable)
        if name is None:
            raise InputError(f"environment: {_no_option(variable, variable.upper(), variables)}")
        text = environ[variable]
        if text:  # a variable is often set to nothing by whoever has nothing to say
            value = text if name in _WORDS else _switch(text) if name in _SWITCHES else _number(text)
            _check(name, value, f"environment: {variable}")
            found[name] = value
    return found


def _number(text: str) -> int | float | str:
    """The number that a text says; what says none stays as it is, and is refused by its check."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _switch(text: str) -> bool | str:
    """The truth value that a text says; what says none stays as it is, and is refused by its check."""
    return {"true": True, "1": True, "false": False, "0": False}.get(text.lower(), text)


# --- mistakes ---------------------------------------------------------------------------------------------


def _check(name: str, value: Any, where: str) -> None:
    """Whether an option can have a value.

    Args:
        name: Of the option.
        value: What it is given.
        where: Where that stands, with the name as it is spelt there.

    Raises:
        InputError: It cannot.
    """
    if name == "runner":
        if not isinstance(value, str):
            raise InputError(
                f"{where} is the name of a runner (one of {', '.join(RUNNERS)}), not {shown(value)}"
            )
        try:
            check_runner(value)
        except InputError as error:
            raise InputError(f"{where}: {error}") from None
        return
    try:
        RunOptions(**{name: value})
    except ValueError as error:
        raise InputError(f"{where} {str(error).removeprefix(f'RunOptions: {name} ')}") from None


def _no_option(key: str, spelt: str, known: Mapping[str, str]) -> str:
    """What is wrong with a key that is none: it can be said in Python only, or has a near miss, or neither.

    Args:
        key: As it stands there.
        spelt: In small letters or capitals, like those that are known.
        known: Options by key.
    """
    name = spelt.removeprefix(PREFIX).replace("-", "_").lower()
    if name in RunOptions._fields and name not in OPTIONS:
        return f"{key!r} cannot be configured; say it in Python: config.load().how({name}=...)"
    near = nearest(name, OPTIONS) and nearest(spelt, known)  # the prefix alone makes all of them alike
    return f"there is no option {key!r}" + (near or f" (one of {', '.join(known)})")

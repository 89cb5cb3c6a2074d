"""The inputs of a run, from ``--input`` and ``--input-file``. What does not fit is said with an example."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from penstock.core.errors import nearest
from penstock.core.model import NOTHING, Input
from penstock.core.secrets import Secret

from .exits import Misuse
from .types import Misfit, NotWritable, convert, example, is_text, members, name_of, secret, shown

_LOOSE: tuple[Any, ...] = (None, Any, object)

OTHERS = "**"
"""An input of this name says that any other name is taken as well, as ``**kwargs`` does in Python."""

CONTEXT = "context"
"""The input that ``--context`` gives, for it is an object of which no text can tell."""


def inputs(known: Sequence[Input], pairs: Sequence[str], file: str | None) -> dict[str, Any]:
    """The inputs that were given, checked and converted; a pair wins over the file.

    Raises:
        Misuse: A pair has no ``=``, an input is unknown, given twice or does not fit; the file cannot be
            read.
    """
    by_name = {one.name: one for one in known}
    given: dict[str, Any] = {}
    if file is not None:
        for name, value in _read(Path(file)).items():
            given[name] = _from_file(_find(name, by_name, file), value, file)
    seen: set[str] = set()
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals or not name:
            raise Misuse(f"--input takes NAME=VALUE, not {shown(pair)}")
        if name in seen:
            raise Misuse(f"the input {name!r} is given twice")
        seen.add(name)
        given[name] = from_text(_find(name, by_name), text)
    return given


def missing(known: Sequence[Input], given: Mapping[str, Any]) -> str:
    """How to give what has no default and was not given; empty where nothing is missing."""
    names = [one for one in known if one.default is NOTHING and one.name not in {*given, OTHERS}]
    return " ".join(_option(one) for one in names[:3]) + (" …" if len(names) > 3 else "")


def from_text(one: Input, text: str) -> Any:
    """One input from the text of its pair: as it is where it is annotated so, otherwise JSON."""
    if (inside := secret(one.type)) is not None:
        try:
            return Secret(from_text(one._replace(type=inside), text))
        except Misuse:  # its text shows what was given
            raise Misuse(
                f"input {one.name!r} takes {name_of(one.type)}, and was given something else"
            ) from None
    if one.type in _LOOSE:
        try:
            return _json(text)
        except ValueError:
            return text
    try:
        return _typed(text, one.type)
    except Misfit as error:
        raise Misuse(_wrong(one, text, str(error))) from None
    except NotWritable as error:
        raise Misuse(_unwritable(one, str(error))) from None


def _typed(text: str, type_: Any) -> Any:
    options = members(type_)
    texts = [one for one in options if is_text(one)]
    if str in options and len(options) == 1:
        return text
    others = [one for one in options if one not in texts]
    trouble = None
    if others:
        try:
            value = _json(text)
        except ValueError:
            if not texts:
                raise Misfit("that is not JSON") from None
        else:
            for one in sorted(others, key=lambda one: one is not type(value)):
                try:
                    return convert(value, one)
                except Misfit as error:
                    trouble = trouble or error
    for one in texts:
        try:
            return text if one is str else convert(_unquoted(text), one)
        except Misfit as error:
            trouble = trouble or error
    raise trouble or Misfit("")


def _unquoted(text: str) -> str:
    """The text, or what a JSON string of it says: a path may be written either way."""
    if text[:1] == '"':
        try:
            value = _json(text)
        except ValueError:
            return text
        if isinstance(value, str):
            return value
    return text


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("too deep") from None


def _find(name: str, known: Mapping[str, Input], file: str | None = None) -> Input:
    if name in known:
        return known[name]
    if OTHERS in known:
        return Input(name)
    where = f"{file}: " if file is not None else ""
    raise Misuse(f"{where}there is no input {name!r}{nearest(name, known) or f'; it takes {listed(known)}'}")


def listed(names: Iterable[str]) -> str:
    """The names of inputs, as an error text gives them."""
    takes = list(names)
    return f"{', '.join(takes[:8])}{' …' if len(takes) > 8 else ''}" if takes else "none"


def fits(value: Any, one: Input) -> bool:
    """Whether a value that was not written here is of the input's type, as far as Python can tell."""
    types = members(one.type)
    if one.type in _LOOSE or not all(isinstance(type_, type) for type_ in types):
        return True
    try:
        return isinstance(value, types)
    except TypeError:  # a protocol of which it cannot be told
        return True


def _from_file(one: Input, value: Any, file: str) -> Any:
    if one.type in _LOOSE:
        return value
    try:
        return convert(value, one.type)
    except Misfit as error:
        if secret(one.type) is not None:
            raise Misuse(
                f"{file}: input {one.name!r} takes {name_of(one.type)}, and it is something else"
            ) from None
        raise Misuse(f"{file}: input {one.name!r} takes {name_of(one.type)}: {error}") from None
    except NotWritable as error:
        raise Misuse(_unwritable(one, str(error))) from None


def _read(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text("utf-8-sig")
    except FileNotFoundError:
        raise Misuse(f"there is no file {str(path)!r}") from None
    except OSError as error:
        raise Misuse(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise Misuse(f"{path}: it is not UTF-8") from None
    form = "TOML" if path.suffix == ".toml" else "JSON"
    try:
        if form == "TOML":
            import tomllib

            return tomllib.loads(text)
        value = json.loads(text, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise Misuse(f"{path}: it is not {form}: {error}") from None
    if not isinstance(value, dict):
        raise Misuse(f"{path}: it holds {shown(value)}; an object with the inputs by name is wanted")
    return value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{next(name for name in names if names.count(name) > 1)!r} is in it twice")
    return found


def _wrong(one: Input, text: str, trouble: str) -> str:
    what = f": {trouble}" if trouble else ""
    return (
        f"input {one.name!r} takes {name_of(one.type)}, not {shown(text)}{what}\nfor example: {_option(one)}"
    )


def _unwritable(one: Input, name: str) -> str:
    other = "give it with: --context MODULE:FACTORY" if one.name == CONTEXT else "run the flow from Python"
    return f"input {one.name!r} takes {name}, which cannot be written here; {other}"


def _option(one: Input) -> str:
    """An example of the option that gives this input, as a shell takes it."""
    if one.type in _LOOSE:
        return f"--input {one.name}=VALUE"
    value = example(one.type)
    if one.name == CONTEXT and value is None:
        return "--context MODULE:FACTORY"
    plain = isinstance(value, str)
    return f"--input {shlex.quote(f'{one.name}={value if plain else json.dumps(value)}')}"

"""What a store knows of runs, for people and programs: nothing of it needs the code that made them.

A `StoredRun` is as the store was when it was asked for. Whoever drives a run is the only one to write to it:
what is asked of a run from here is left as a letter, or, if nobody drives it, done in its place.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import timedelta
from functools import partial
from itertools import islice
from os import PathLike
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Literal, Self, overload

from .amounts import is_whole, shown
from .cells import checked
from .codec import Codec, preview
from .entries import SHED, event_of, last_time, path_entry, text_of
from .errors import (
    CannotDecode,
    InputError,
    NotStorable,
    PenstockError,
    RunBusy,
    RunNotFound,
    StoreDamaged,
    nearest,
)
from .events import Event, RunResumed
from .leases import LASTS
from .listed import ListedRun
from .model import Failure, NodeStatus, RunStatus
from .owners import here
from .resume import ENDED, Story, parsed, story_of, without
from .standing import Fold
from .storage import Page, RunEntry, Store
from .stored import OpenGate, StoredAttempt, StoredNode, is_plain
from .takes import fits

if TYPE_CHECKING:
    from .following import Position
    from .inside import Usage
    from .kept_notes import LogLine
    from .outline import Outline
    from .stream import Item, Progress, Told, Update, ValueOf

_RECENT: Final = 1_000
"""Runs among which the near miss of an id is looked for."""

_PAGE: Final = 500
"""Runs that are read, or forgotten, at a time."""

_SHOWN: Final = 20
"""Nodes that a repr shows."""

_AGES: Final = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


class History:
    """The runs of a store; made by `penstock.open`.

    Args:
        store: Where they are.
        codec: Makes values of what is stored.
        types: Classes that it knows.
        writable: Opens the store for writing, when something is asked of a run; None if it may be written.
        owned: The store was opened for this, and is closed with it.

    Attributes:
        url: What opens the store again.
        types, codec: As given.
        reader: The store, to be read.
    """

    def __init__(
        self,
        store: Store,
        codec: Codec,
        *,
        types: Iterable[type] = (),
        writable: Callable[[], Store] | None = None,
        owned: bool = False,
    ) -> None:
        self.url = store.url
        self.types = tuple(types)
        self.codec = codec
        self.reader = store
        self._writable = writable
        self._writer: Store | None = store if writable is None else None
        self._owned = owned

    def __repr__(self) -> str:
        return f"<history of {self.url}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self.close()

    def close(self) -> None:
        """Gives back what was opened for it. It may be called twice."""
        if self._owned:
            self.reader.close()
        if self._writer is not None and self._writer is not self.reader:
            self._writer.close()

    @property
    def where(self) -> str:
        """The store, for people."""
        return self.url.removeprefix("sqlite:///")

    def runs(
        self,
        *,
        tag: str | Mapping[str, str] | None = None,
        flow: str | None = None,
        status: RunStatus | str | None = None,
        limit: int | None = 50,
        before: StoredRun | str | None = None,
    ) -> list[StoredRun]:
        """Runs, the newest first. Their journals are not read.

        Args:
            tag: With this one, as ``"name=value"``, or with all of a mapping.
            flow: Of the flow of this name.
            status: Of this status; ``running`` is also that of a run that was cut off.
            limit: As many at most; None for all.
            before: Only those made before this one, given as itself or by its id: the next page.

        Raises:
            InputError: An argument is none that it can be.
            RunNotFound: There is no run `before`.
        """
        if limit is not None and (not is_whole(limit) or limit < 0):
            raise InputError(f"limit is a number of runs, or None for all, not {shown(limit)}")
        last = self.run(before) if isinstance(before, str) else before
        found = self.reader.runs(
            tags=_tags(tag),
            flow=flow,
            status=_status(status),
            before=None if last is None else last.entry.number,
            limit=limit,
        )
        return [StoredRun(self, entry) for entry in found]

    def run(self, run_id: str) -> StoredRun:
        """The run of this id.

        Raises:
            RunNotFound: There is none.
        """
        entry = self.reader.find(run_id) if isinstance(run_id, str) else None
        if entry is None:
            known = [one.run_id for one in self.reader.runs(limit=_RECENT)]
            near = nearest(run_id, known) if isinstance(run_id, str) else ""
            raise RunNotFound(f"there is no run {run_id!r} in {self.where}{near}")
        return StoredRun(self, entry)

    def prune(
        self, keep: str | int | timedelta, *, waiting: bool = False, dry_run: bool = False
    ) -> list[StoredRun]:
        """Deletes old runs. One that is driven is never among them.

        Args:
            keep: What stays: as many of the newest runs, or those whose status has changed since so long ago:
                ``"30d"``, ``"12h"``, or a timedelta.
            waiting: Those that wait for an answer may go too.
            dry_run: Delete nothing.

        Returns:
            The runs that are gone, or would be, the newest first.

        Raises:
            InputError: `keep` is none of these.
        """
        newest, since = _kept(keep)
        gone: list[StoredRun] = []
        seen, before = 0, None
        while page := self.reader.runs(before=before, limit=_PAGE):
            before = page[-1].number
            for entry in page:
                seen += 1
                one = StoredRun(self, entry)
                if seen <= newest or entry.updated >= since or one.is_driven:
                    continue
                if waiting or one.status is not RunStatus.WAITING:
                    gone.append(one)
        if not dry_run:
            for at in range(0, len(gone), _PAGE):
                self.writer.forget([one.run_id for one in gone[at : at + _PAGE]])
        return gone

    def export(self, run_id: str, path: str | PathLike[str]) -> None:
        """Writes a run with all its values into one file, which `import_` reads.

        Raises:
            RunNotFound: There is no such run.
            RunBusy: It is driven.
            StoreError: There is a file already, or it cannot be written; or the run cannot be read whole.
        """
        from .export import write

        run = self.run(run_id)
        if run.is_driven:
            raise RunBusy(f"{run.owner} drives run {run_id!r}: export it when it is over", run.owner)
        write(self.reader, run.entry, path)

    def import_(self, path: str | PathLike[str]) -> StoredRun:
        """Adds the run of a file that `export` has written. Everything in it is checked before.

        Raises:
            RunExists: There is a run of its id.
            StoreError: It is not such a file, or was changed, or the run cannot be written.
        """
        from .export import read

        return self.run(read(self.writer, path))

    # --- for runs -----------------------------------------------------------------------------------------

    @property
    def writer(self) -> Store:
        """The store, to be written to."""
        if self._writer is None:
            assert self._writable is not None
            self._writer = self._writable()
        return self._writer


class StoredRun(ListedRun):
    """One run of a store, as it was when it was first looked into; for news, `watch` it, or ask the history
    again. What the catalog says of it, `ListedRun` has.
    """

    def __init__(self, history: History, entry: RunEntry) -> None:
        super().__init__(entry)
        self._history = history
        self._read: tuple[Story, Fold] | None = None

    # --- read from the journal ----------------------------------------------------------------------------

    @property
    def inputs(self) -> Mapping[str, Any]:
        """Its inputs by name; each is decoded when it is asked for.

        Raises:
            CannotDecode: Of one that is asked for: it is of a class that is not known here.
        """
        data = self.story.started["inputs"]
        return _Values(tuple(data), data.__getitem__, lambda name: f"the input {name!r}", self._history.codec)

    @property
    def outputs(self) -> Mapping[str, Any]:
        """The values of all steps that have succeeded, by id, each decoded when it is asked for; of a mapped
        step the list of its successes, in input order.

        Raises:
            KeyError: Of one that is asked for: there is no such step, or it has no value.
            CannotDecode: It is of a class that is not known here.
            ValueLost: It is a large value that is gone.
        """
        fold = self._fold
        ids = tuple(id for id in fold.ids if _has_value(fold, id))
        return _Values(ids, self._data, lambda id: f"step {id!r}", self._history.codec)

    def _data(self, id: str) -> Any:
        fold = self._fold
        if id not in fold.ids:
            raise _NoValue(f"there is no step {id!r} in run {self.run_id}{nearest(id, fold.ids)}")
        data, _ = fold.data(id)
        if data == SHED or (type(data) is list and SHED in data):
            node = fold.node(id)
            if node.status is NodeStatus.SUCCEEDED:
                raise _NoValue(f"the value of step {id!r} was not stored: it is volatile")
            reason = f": {node.reason}" if node.reason else ""
            raise _NoValue(f"step {id!r} has no value, it is {node.status.value}{reason}")
        return data

    def preview(self, name: str, width: int = 80) -> str:
        """An output, or else an input, as a short text on one line. No class of it is needed."""
        fold = self._fold
        if name in fold.ids and _has_value(fold, name):
            data, mapped = fold.data(name)
            how_many = f"{len(data):,} item{'' if len(data) == 1 else 's'}: " if mapped else ""
            return how_many + preview(data, max(width - len(how_many), 1))
        data = self.story.started["inputs"].get(name, SHED)
        return "" if data == SHED else preview(data, width)

    @property
    def nodes(self) -> Mapping[str, StoredNode]:
        """Its nodes by id, in the order of definition."""
        return _Nodes(self._fold)

    def node(self, path: str) -> StoredNode:
        """A node by its id, or an item by its path: ``parse[3]``.

        Raises:
            KeyError: There is none.
        """
        found = self._fold.find(path)
        if found is None:
            raise _NoValue(f"there is no step {path!r} in run {self.run_id}{nearest(path, self._fold.ids)}")
        return found

    def attempts(self, path: str) -> list[StoredAttempt]:
        """The attempts of a node, or of an item, in order; of a mapped node those of all its items.

        Raises:
            KeyError: There is no such node.
        """
        self.node(path)
        return self._fold.attempts(path)

    def events(self, *, decode: bool = True) -> Iterator[Event]:
        """All that has happened, in order, also what does not count any more since the run went on again.

        Args:
            decode: Make values of what is stored; otherwise they are as `json.loads` gives them.

        Raises:
            CannotDecode: A value is of a class that is not known here.
        """
        for number, text in enumerate(self._history.reader.rows(self.run_id), 1):
            yield from self._events_in(decode, number, text)

    def _events_in(self, decode: bool, number: int, text: str) -> Iterator[Event]:
        """The events of one row of its journal."""
        read = self._history.codec.decode if decode else _as_it_is
        for entry in parsed(text, self.run_id, number):
            try:
                event = event_of(entry, read)
                if isinstance(getattr(event, "failure", None), Failure):
                    checked(event.failure)  # type: ignore[union-attr]
            except (LookupError, TypeError, ValueError, AttributeError) as error:
                raise StoreDamaged(
                    f"run {self.run_id}: row {number} of its journal says what cannot be ({error})"
                ) from None
            except CannotDecode as error:
                raise _hinted(error, f"run {self.run_id}, row {number}") from None
            yield event

    @overload
    def watch(
        self, view: Literal["all"] = ..., *, follow: bool = ..., decode: bool = ...
    ) -> Iterator[Told]: ...
    @overload
    def watch(
        self, view: Literal["values"], *, follow: bool = ..., decode: bool = ...
    ) -> Iterator[ValueOf]: ...
    @overload
    def watch(
        self, view: Literal["updates"], *, follow: bool = ..., decode: bool = ...
    ) -> Iterator[Update]: ...
    @overload
    def watch(
        self, view: Literal["progress"], *, follow: bool = ..., decode: bool = ...
    ) -> Iterator[Progress]: ...
    @overload
    def watch(self, view: str, *, follow: bool = ..., decode: bool = ...) -> Iterator[Item]: ...
    def watch(self, view: str = "all", *, follow: bool = True, decode: bool = True) -> Iterator[Any]:
        """All that has happened, and what its steps say, and then what comes, as it comes. It ends when the
        run has ended, or waits for an answer, or its process has died; whoever drives it does not notice.

        Args:
            view: ``all`` events, or ``values``, ``updates`` or ``progress``; see `penstock.core.stream`.
            follow: Wait for what is to come; otherwise it ends with what there is.
            decode: Make values of what is stored; otherwise they are as `json.loads` gives them.

        Raises:
            InputError: There is no such view.
            RunNotFound: The run was deleted meanwhile.
            CannotDecode: A value is of a class that is not known here.
        """
        from .following import START
        from .stream import viewed

        return self._sound(viewed(self._coming(START, follow=follow, decode=decode), view, self.outline))

    def _sound(self, items: Iterator[Any]) -> Iterator[Any]:
        """The items of a view, which does not look whether an event says what can be."""
        try:
            yield from items
        except PenstockError:
            raise
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise StoreDamaged(f"run {self.run_id}: its journal says what cannot be ({error})") from None

    def _coming(self, since: Position, *, follow: bool, decode: bool) -> Iterator[Any]:
        from .following import follow as coming

        read = partial(self._events_in, decode)
        return coming(self._history.reader, self.run_id, read, since, on=follow)

    def logs(self, step: str | None = None, *, after: int = 0, limit: int | None = None) -> list[LogLine]:
        """What its steps have said, in order: through `Context.log`, `logging` and by printing.

        Args:
            step: Of this step only, or of this item: ``parse[3]``.
            after: The id of the last line that is known.
            limit: As many at most.

        Raises:
            KeyError: There is no such step.
        """
        from .kept_notes import log_lines

        found = list(log_lines(self._history.reader, self.run_id, step, after=after, limit=limit))
        if not found and step is not None:
            self.node(step)
        return found

    def usage(self) -> dict[tuple[str, int], Usage]:
        """What attempts have used, by path and token as `StoredAttempt` has them; only of runs that were made
        with ``profile=True``."""
        from .kept_notes import usage_in

        return usage_in(self._history.reader, self.run_id)

    @property
    def outline(self) -> Outline:
        """Its graph, without the code."""
        from .outline import from_data

        try:
            started = self._started()
            return from_data(self.flow, started["shape"], started.get("outline") or {})
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise StoreDamaged(f"run {self.run_id}: its journal says what cannot be ({error})") from None

    @property
    def reason(self) -> str:
        """Why it was cancelled, or that its deadline passed; empty where neither is so."""
        return self._fold.reason

    @property
    def options(self) -> Mapping[str, Any]:
        """How it was to go: fields of `RunOptions`."""
        return dict(self.story.started["options"])

    @property
    def targets(self) -> tuple[str, ...] | None:
        """What it was restricted to, else None."""
        targets = self.story.started["targets"]
        return None if targets is None else tuple(targets)

    @property
    def waiting(self) -> list[OpenGate]:
        """The gates that are open."""
        letters = self._history.reader.letters(self.run_id)
        answered = {letter.node for letter in letters if letter.kind == "answer"}
        return [gate._replace(answered=gate.path in answered) for gate in self._fold.gates()]

    @property
    def story(self) -> Story:
        """Its journal, as far as it counts."""
        return self._known()[0]

    @property
    def _fold(self) -> Fold:
        return self._known()[1]

    def _known(self) -> tuple[Story, Fold]:
        if self._read is None:
            story = self._story_now()
            self._read = story, Fold(story)
        return self._read

    def _started(self) -> Mapping[str, Any]:
        """The fields of its first entry; the rest of the journal is not read for it."""
        if self._read is not None:
            return self._read[0].started
        for text in self._history.reader.rows(self.run_id):
            for word, *fields in parsed(text, self.run_id, 1):
                if word == "run":
                    started: Mapping[str, Any] = fields[0]
                    return started
            break
        return self.story.started  # which says what is wrong

    def _story_now(self) -> Story:
        """The journal and the entry as they are now, which must be of one moment."""
        reader = self._history.reader
        while True:
            now = self._history.run(self.run_id).entry
            try:
                story = story_of(reader, now)
            except StoreDamaged:
                if reader.find(self.run_id) == now:
                    raise
                continue  # it went on, or ended, meanwhile
            except (LookupError, TypeError, ValueError, AttributeError) as error:
                raise StoreDamaged(f"run {self.run_id}: its journal says what cannot be ({error})") from None
            self.entry = now
            return story

    # --- what may be asked of it --------------------------------------------------------------------------

    def answer(self, gate: str, value: Any) -> None:
        """Leaves an answer to a gate, which need not be open yet. The run takes the first one that fits: now,
        if a process drives it, otherwise when it is resumed.

        Args:
            gate: Its path, as in `waiting`.
            value: The answer.

        Raises:
            InputError: There is no such gate, it takes another kind of answer, or the run is over.
        """
        fold = self._fold
        if self.status.value in ENDED:
            raise InputError(f"run {self.run_id} has {self.status.value}: its gates take no answers")
        opened = {one.path: one for one in fold.gates()}
        id = gate if gate in fold.ids else gate.rpartition("[")[0]
        if id not in fold.ids:
            some = f" (open gates: {', '.join(opened)})" if opened else ""
            raise InputError(f"there is no gate {gate!r} in run {self.run_id}{nearest(gate, fold.ids)}{some}")
        if fold.is_gate(id) is False:
            raise InputError(f"step {id!r} of run {self.run_id} is no gate, and takes no answer")
        node = fold.find(gate)
        if node is not None and node.status.ended and node.counts is None:
            raise InputError(f"gate {gate!r} of run {self.run_id} is not open any more: {node.status.value}")
        takes = opened[gate].takes if gate in opened else ""
        if not fits(value, takes):
            raise InputError(f"gate {gate!r} takes {takes}, not {shown(value)}")
        try:  # whole, in the letter: nobody else would speak of a value beside it
            body = Codec(types=self._history.types, inline=1 << 62).encode(value)
        except NotStorable as error:
            raise InputError(f"the answer to {gate!r} cannot be stored: {error}") from None
        self._history.writer.post(self.run_id, "answer", gate, body)

    def cancel(self, reason: str = "") -> bool:
        """Cancels it.

        Args:
            reason: Why, for people.

        Returns:
            Whether it is cancelled now; False if a process drives it, which will do it within seconds.

        Raises:
            InputError: It is over already.
        """
        store = self._history.writer
        now = store.find(self.run_id)
        if now is not None and now.owner is None and now.status in ENDED:
            raise InputError(f"run {self.run_id} has {now.status} already")
        try:
            claim, entry = store.claim(self.run_id, here(), LASTS)
        except RunBusy:
            store.post(self.run_id, "cancel", "", reason)
            return False
        try:
            story = story_of(store, entry)
            if story.ended:
                raise InputError(f"run {self.run_id} has {story.ended} already")
            at = max(time.time(), last_time(story.entries) or 0.0)
            row = text_of([["cancel", reason, at], ["end", "cancelled", at, story.rows + 1]])
            store.append(claim, Page(story.rows + 1, (row,), "power", "cancelled"))
        except BaseException:
            store.release(claim)
            raise
        return True


def plain(run: StoredRun, id: str) -> tuple[Any] | None:
    """An output as JSON has it, in a tuple; None if JSON has no words for all of it.

    Raises:
        KeyError: There is none.
    """
    data = run.outputs.data(id)  # type: ignore[attr-defined]
    return (data,) if is_plain(data) else None


def counting(story: Story, resumed: RunResumed) -> Iterator[Event]:
    """The events that counted when a run went on, with values as `events` gives them undecoded.

    Args:
        story: The run as it was before.
        resumed: How it went on.
    """
    drop, restart = ([path_entry(path) for path in paths] for paths in (resumed.drop, resumed.restart))
    for entry in without(story.entries, drop, restart, over=bool(story.ended)):
        yield event_of(entry, _as_it_is)


def coming(run: StoredRun, since: Position) -> Iterator[Any]:
    """What happens to a run from there on, as it comes, with values as `events` gives them undecoded."""
    return run._coming(since, follow=True, decode=False)


class _NoValue(KeyError):
    """There is no value to be had, and its text says why; it is shown as it is, not as a repr."""

    def __str__(self) -> str:
        return str(self.args[0])


class _Values(Mapping[str, Any]):
    """Stored values by name, decoded when they are asked for."""

    def __init__(
        self, names: tuple[str, ...], data: Callable[[str], Any], called: Callable[[str], str], codec: Codec
    ) -> None:
        self._names = names
        self.data = data
        self._called = called
        self._codec = codec
        self._made: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._made:
            try:
                self._made[name] = self._codec.decode(self.data(name))
            except CannotDecode as error:
                raise _hinted(error, self._called(name)) from None
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __len__(self) -> int:
        return len(self._names)

    def __repr__(self) -> str:
        return f"<values of {', '.join(self._names)}>"


class _Nodes(Mapping[str, StoredNode]):
    """Nodes by id, made when they are looked at."""

    def __init__(self, fold: Fold) -> None:
        self._fold = fold

    def __getitem__(self, id: str) -> StoredNode:
        if id not in self._fold.ids:
            raise _NoValue(f"there is no step {id!r}{nearest(id, self._fold.ids)}")
        return self._fold.node(id)

    def __iter__(self) -> Iterator[str]:
        return iter(self._fold.ids)

    def __len__(self) -> int:
        return len(self._fold.ids)

    def __repr__(self) -> str:
        more = ", ..." if len(self) > _SHOWN else ""
        return f"{{{', '.join(repr(self[id]) for id in islice(self, _SHOWN))}{more}}}"


def _has_value(fold: Fold, id: str) -> bool:
    data, mapped = fold.data(id)
    if mapped:
        return SHED not in data and (bool(data) or fold.node(id).status is NodeStatus.SUCCEEDED)
    return bool(data != SHED)


def _as_it_is(data: Any) -> Any:
    return data


def _hinted(error: CannotDecode, what: str) -> CannotDecode:
    """The error, with what mends it here."""
    tag = error.tag
    if not tag:
        return CannotDecode(f"{what}: {error}")
    name = tag.rpartition(":")[2].rpartition(".")[2]
    return CannotDecode(
        f"{what}: it is of the class {tag!r}, which is not known here; it is still stored: "
        f"say penstock.open(store, types=[{name}])",
        tag,
    )


def _tags(tag: str | Mapping[str, str] | None) -> dict[str, str] | None:
    if tag is None:
        return None
    if isinstance(tag, str):
        name, equals, value = tag.partition("=")
        if not equals or not name:
            raise InputError(f"tag is 'name=value', or a mapping, not {shown(tag)}")
        return {name: value}
    if not isinstance(tag, Mapping):
        raise InputError(f"tag is 'name=value', or a mapping, not {shown(tag)}")
    return dict(tag)


def _status(status: RunStatus | str | None) -> str | None:
    if status is None or isinstance(status, RunStatus):
        return None if status is None else status.value
    known = [one.value for one in RunStatus]
    if status not in known:
        near = nearest(status, known) if isinstance(status, str) else ""
        raise InputError(f"there is no status {shown(status)}{near} (one of {', '.join(known)})")
    return status


def _kept(keep: str | int | timedelta) -> tuple[int, float]:
    """How many of the newest runs stay, and since when a run must have changed to stay."""
    if isinstance(keep, str):
        text = keep.strip()
        found = re.fullmatch(r"(\d{1,9})([mhdw]?)", text, re.ASCII)
        if found is not None:
            count = int(found[1])
            keep = timedelta(**{_AGES[found[2]]: min(count, 1_000_000)}) if found[2] else count
    if isinstance(keep, timedelta) and keep >= timedelta(0):
        return 0, time.time() - keep.total_seconds()
    if is_whole(keep) and keep >= 0:  # type: ignore[operator]
        return keep, float("inf")  # type: ignore[return-value]
    raise InputError(f"keep is an age such as '30d' or '12h', or a number of runs, not {shown(keep)}")

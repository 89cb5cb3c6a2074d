"""A run that is written down: from its claim on the store to the moment when it gives it back."""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from . import leases
from .answers import Answer, Answers
from .codec import Codec
from .commands import ASKED, Reply
from .entries import Entry, path_of, started_text, text_of
from .errors import CannotDecode, InputError, NotStorable, RunBusy, RunExists, StoreError, ValueLost
from .leases import Helper
from .machine import Machine
from .machine.facts import FINISHED, Fact
from .machine.state import State
from .model import RunStarted
from .noter import Noter
from .outline import data_of, outline_of
from .owners import here
from .recorder import Recorder, patiently
from .storage import Claim, Letter, Level, Page, RunEntry, Store

if TYPE_CHECKING:
    from .mailbox import Mailbox
    from .takeup import Resumption


class Durable:
    """The written side of one run.

    Args:
        store: Where it is kept.
        codec: Makes texts of values, and values of texts.
        level: What a commit must survive.
        code: Fingerprints of the graph's nodes, by id.
        target, about: For the catalog; see `RunEntry`.
        resumed: What is known of the run so far; None for a new one.
        owned: The store was opened for this run, and is closed after it.

    Attributes:
        parked: It waits for an answer, and nobody drives it any more.
        awaits_commits: The engine lives on a loop that is not its own, and may not keep it waiting long.
        elsewhere: Makes a commit outside of the engine's thread, and calls what comes then in it; None if
            the engine waits for its commits.
        noter: Takes down what steps say, once the run has begun.
        warnings: What should be known of it.
    """

    def __init__(
        self,
        store: Store,
        codec: Codec,
        *,
        level: Level,
        code: Mapping[str, str],
        target: str | None = None,
        about: Mapping[str, str] | None = None,
        resumed: Resumption | None = None,
        owned: bool = False,
    ) -> None:
        self.store = store
        self.parked = False
        self.elsewhere: Callable[[Callable[[], None], Callable[[], None]], None] | None = None
        self.warnings: list[str] = [] if resumed is None else list(resumed.warnings)
        self._resumed = resumed
        self._codec = codec
        self._level: Level = level
        self._code = code
        self._target = target
        self._about = dict(about or {})
        self._owned = owned
        self.awaits_commits = False
        self._mail: deque[Letter] = deque()
        self._recorder: Recorder | None = None
        self._helper: Helper | None = None
        self.noter: Noter | None = None

    @property
    def is_new(self) -> bool:
        """Nothing is known of the run yet."""
        return self._resumed is None

    def create(self, state: State, event: RunStarted, override: Mapping[str, Any]) -> None:
        """Records a new run, and claims it.

        Raises:
            RunExists: There is one of this id.
            InputError: An input, or a value given in place of a step, cannot be stored.
            StoreError: The store cannot be written to.
        """
        inputs = self._texts("the input", event.inputs, secrets="masked")
        self._texts("override:", override)
        now = time.time()
        entry = RunEntry(
            event.run_id, event.flow, "running", now, now, dict(event.tags), event.parent, self._target,
            self._about,
        )  # fmt: skip
        outline = data_of(outline_of(state.plan.graph))
        row = f"[{started_text(event, inputs, self._code, outline)}]"
        page = Page(1, (row,), self._level, blobs=tuple(self._codec.blobs))
        try:
            claim = patiently(partial(self.store.create, entry, here(), leases.LASTS, page))
        except RunExists:
            claim = self._created(entry, row)
        self._codec.blobs.clear()
        self._recorder = Recorder(self.store, claim, self._codec, state, level=self._level, row=2)

    def _created(self, entry: RunEntry, row: str) -> Claim:
        """The claim of a run that is there already, if it is this one and the answer was lost."""
        found = patiently(partial(self.store.find, entry.run_id))
        ours = found is not None and (found.owner, found.epoch, found.created) == (here(), 1, entry.created)
        if found is not None and ours and patiently(lambda: [*self.store.rows(entry.run_id)]) == [row]:
            return Claim(entry.run_id, found.number, 1)
        if found is not None and found.owner is not None:
            owner = str(found.owner)
            raise RunBusy(f"{owner} drives run {entry.run_id!r}, and has just begun it", owner)
        raise RunExists(f"there is a run {entry.run_id!r} in the store already")

    def check(self, what: str, values: Mapping[str, Any]) -> None:
        """Lets values pass that can be stored; from any thread.

        Raises:
            InputError: One cannot.
        """
        self._texts(what, values)

    def _texts(
        self, what: str, values: Mapping[str, Any], secrets: Literal["refused", "masked"] = "refused"
    ) -> dict[str, str]:
        texts: dict[str, str] = {}
        for name, value in values.items():
            try:
                texts[name] = self._codec.encode(value, secrets=secrets)
            except NotStorable as error:
                raise InputError(f"{what} {name!r} cannot be stored: {error}") from error
        return texts

    def take_up(self, machine: Machine, now: float) -> RunStarted:
        """Brings a machine to where the journal ends, and lets it go on from there.

        Returns:
            How the run once began: what an observer hears first.
        """
        resumed = self._resumed
        assert resumed is not None
        resumed.replay(machine.state, self._codec.decode)
        self._recorder = Recorder(
            self.store, resumed.claim, self._codec, machine.state, level=self._level, row=resumed.rows + 1
        )
        event = resumed.event(now)
        self._remember_streams(machine.state, resumed.entries)
        machine.resume(event)
        machine.recover(now, resumed.give_up)
        return resumed.started

    def _remember_streams(self, state: State, entries: Iterable[Entry]) -> None:
        assert self._recorder is not None
        given: dict[int, list[str]] = {}
        for entry in entries:
            if entry[0] == "yield":
                given.setdefault(state.find(path_of(entry[1])), []).append(text_of(entry[4]))
        for stream, texts in given.items():
            self._recorder.know(stream, texts)

    def watch(self, mailbox: Mailbox) -> None:
        """Begins to renew the claim and to look for letters."""
        recorder = self._recorder
        assert recorder is not None

        def deliver(letters: list[Letter]) -> None:
            self._mail.extend(letters)
            mailbox.ring()

        def lose(error: StoreError) -> None:
            recorder.lost = error
            mailbox.ring()

        self.noter = Noter(self.store, recorder.claim.run_id)
        self._helper = Helper(self.store, recorder.claim, deliver, lose, self.noter.write)
        if self._resumed is not None:
            patiently(self._helper.read)  # what was answered meanwhile comes before what is overdue by now
        self._helper.start()

    def heard(
        self, batch: Iterable[Reply], stop: Callable[[int, int], None], answers: Answers | None
    ) -> list[Reply]:
        """The replies as the machine is to have them (see `Recorder.heard`), and those of letters."""
        assert self._recorder is not None
        out = self._recorder.heard(batch, stop)
        while self._mail:
            letter = self._mail.popleft()
            if letter.kind == "cancel":
                out.append((ASKED, letter.body))
                self._recorder.read.append(letter.id)
            elif answers is not None:
                try:
                    answers.give(Answer(letter.node, self._codec.decode(json.loads(letter.body)), letter.id))
                except (InputError, CannotDecode, ValueLost, ValueError, RecursionError) as error:
                    self.warnings.append(f"an answer was refused: {error}")
        return out

    def answered(self, i: int, answer: Answer) -> None:
        """An answer is about to be taken."""
        assert self._recorder is not None
        self._recorder.answered(i, answer)

    def record(self, facts: Sequence[Fact], then: Callable[..., None], *more: Any) -> bool:
        """Writes down the facts of a turn, in one transaction.

        Args:
            facts: In order.
            then: Called with `more` when they are written down, if that takes its time.
            more: See there.

        Returns:
            Whether they are written down already.

        Raises:
            StoreError: They are not; nothing may follow from them.
        """
        assert self._recorder is not None
        page = self._recorder.page(facts)
        if page is None:
            return True
        if self.noter is not None and facts[-1][0] == FINISHED:
            self.noter.write()  # who follows the run from elsewhere has heard everything when it ends
        if self.elsewhere is not None and page.level == "power":
            self.elsewhere(partial(self._recorder.commit, page), partial(then, *more))
            return False
        self._recorder.commit(page)
        return True

    def park(self) -> bool:
        """Puts the run down, for it waits for answers and nothing else; says whether it did. It does not if
        there are letters that it has not read."""
        assert self._recorder is not None
        assert self._helper is not None
        if patiently(self._helper.read) or self._mail:
            return False
        self._recorder.park()
        self.parked = True
        return True

    def forked(self) -> None:
        """In a forked process: the run belongs to the other one."""
        self._helper = self.noter = None
        self.store.forked()

    def close(self) -> None:
        """Gives the run back, whatever has become of it."""
        if self._helper is not None:
            self._helper.stop()
        if self.noter is not None:
            self.noter.close()
            self.warnings += self.noter.warnings
        if self._recorder is None:
            if self._resumed is not None:
                self._resumed.release(self.store)
        elif not self._recorder.over:
            self._recorder.release()
        if self._recorder is not None:
            self.warnings += self._recorder.warnings
        self.warnings += getattr(self.store, "warnings", ())
        if self._owned:
            self.store.close()

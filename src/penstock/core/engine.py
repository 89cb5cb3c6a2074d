"""The hands of the machine: one turn, and the two shells that wait between turns.

A turn is: take the replies, let the machine step, answer what it asks of user code, tell the observers what
is now recorded, and only then carry the commands out.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextvars import copy_context
from functools import partial
from threading import get_ident
from typing import TYPE_CHECKING, Any

from . import commands, forks
from .answers import Answer, Answers
from .attempts import Attempts
from .commands import (
    ABANDON,
    ACQUIRE,
    ENDED,
    FAILED,
    GO_ON,
    START,
    STOP,
    STOP_TIMEOUT,
    Command,
    Reply,
)
from .context import CURRENT, RunLink
from .elements import Elements
from .errors import InputError
from .events import Measured
from .failures import RetryOn, failure_of, said_by
from .machine import Machine
from .machine import facts as facts_of
from .machine.state import READY, RETRYING, WAITING
from .mailbox import Mailbox
from .model import Abandoned, RunOptions, RunStarted
from .plan import Plan
from .ports import LOCAL, Observer, Runner
from .questions import Questions
from .usercode import UserCode

if TYPE_CHECKING:
    from .attendance import Attendance
    from .durable import Durable
    from .inside import Usage
    from .permits import Permits


def wall_anchored_clock() -> Callable[[], float]:
    """A clock that shows the wall's time at its start and then never jumps."""
    offset = time.time() - time.monotonic()
    monotonic = time.monotonic
    return lambda: offset + monotonic()


LONGEST = 3600.0
"""Seconds of one wait: a timeout may be infinite, a lock's may not."""

Make = Callable[[int, int, Callable[..., Any], dict[str, Any], RetryOn, float], Reply]
"""Makes an attempt (node, token, call, arguments, retry_on, now) in this thread and gives its ending."""


class Engine:
    """One run of one plan.

    Args:
        plan: What runs.
        inputs: The run's inputs, checked.
        options: How it runs.
        runners: By the names that the plan uses.
        run_id: Of this run.
        given: What else it was asked for: values of nodes that do not run; and, for the record, what the run
            was restricted to.
        clock: Seconds; replaced in tests.
        durable: Its written side; None if it is kept in memory only.

    Attributes:
        questions: Puts those of the machine to user code.
        lone: Makes an attempt in the engine's thread: for a step that is alone in a moment, so that nothing
            is waited for meanwhile, and a hop to another thread would only cost time. None if none may.
        attended: Whether it is driven by more than what runners reply, and asks for a look at every turn.
        answers: To its gates; None if it has none.
        machine: Where the run stands.
        mailbox: Where replies are posted.
        warnings: What observers raised, and the like.
        abandoned: What could not be stopped.
        is_forked: This is a copy, in a forked process; the run goes on in the other one.
        longest_wait: Seconds after which a sleeping shell looks around, whatever it was told.
        skip: Asked before a shell sleeps, with the seconds until the next alarm, whether time has moved, so
            that it need not. Only a clock that does not go by itself has one; see `stand_ins`.
    """

    def __init__(
        self,
        plan: Plan,
        inputs: Mapping[str, Any],
        options: RunOptions,
        runners: Mapping[str, Runner],
        run_id: str,
        *,
        given: tuple[Mapping[str, Any] | None, Sequence[str] | None] = (None, None),
        clock: Callable[[], float] | None = None,
        durable: Durable | None = None,
    ) -> None:
        # No more than 30 attributes: beyond that CPython is slower at every one of them.
        self.plan = plan
        self.options = options
        self.run_id = run_id
        self.clock = clock or wall_anchored_clock()
        self._given_clock = clock
        self._permits: Permits | None = None
        self.mailbox = Mailbox()
        self.machine = Machine(plan, options, {name: runner.capacity for name, runner in runners.items()})
        self.warnings: list[str] = []
        self.abandoned: list[Abandoned] = []
        self.longest_wait = LONGEST
        self.skip: Callable[[float | None], bool] | None = None
        self.is_forked = False
        self._runners = [runners[name] for name in plan.runners]
        self._inputs = inputs
        self.link = RunLink(run_id, CURRENT.get())
        self._user = UserCode(self.link)
        self._attempts = Attempts(self.machine.state, inputs, options, run_id, self.say, self.clock)
        self._elements = Elements(self.machine, self._go_on, self._end_stream, self._user)
        self.questions = Questions(self.machine, self._attempts, self._user, self.mailbox)
        self._observers: tuple[Observer, ...] = tuple(options.observers)
        self._attempts.attendance = attendance = _attendance(self, durable is not None)
        plain = options.values == "shared" and (attendance is None or attendance.is_plain)
        self._simple = plan.simple if plain else bytes(len(plan.nodes))
        if plain and attendance is not None:
            self._simple = _at_hand(plan)
        holders = [name for name, runner in runners.items() if getattr(runner, "holds", False)]
        if holders and durable is None and options.values == "shared":
            from .staying import staying

            self._attempts.kind = staying(plan, holders)
        override, targets = given[0] or {}, given[1]
        chosen = None if targets is None else tuple(targets)
        self._asked_for = (override, self._elements.given(override), chosen)
        self.durable = durable
        gates = any(node.kind == "gate" for node in plan.nodes)
        self.answers = Answers(self.machine.state) if gates else None
        self.attended = plan.attended or durable is not None or gates
        self._said: deque[Any] = deque()
        self._thread = get_ident()
        self._submit = [runner.submit for runner in self._runners]
        self.lone: Make | None = None

    @property
    def usage(self) -> Mapping[tuple[str, int], Usage]:
        """What attempts have used, by path and token, if the run was to be profiled."""
        attendance = self._attempts.attendance
        return {} if attendance is None else attendance.usage

    @property
    def finished(self) -> bool:
        return self.machine.state.finished is not None

    def begin(self) -> None:
        """Opens the runners and records the run's start."""
        self._thread = get_ident()
        try:
            self._begin_machine()
            if self.durable is not None:
                self.durable.watch(self.mailbox)
            self._open_all()
        except BaseException:
            if self.durable is not None:
                self.durable.close()
            raise
        forks.watch(self)

    def _open_all(self) -> None:
        if self.plan.wide:
            from .permits import LOOK_AROUND, Permits
            from .shared import registry_of

            self.longest_wait = min(self.longest_wait, LOOK_AROUND)
            registry = registry_of(self._given_clock)
            self._permits = self._attempts.permits = Permits(self.machine.state, self.mailbox, registry)
        for runner in self._runners:
            self.open(runner)
        if self._attempts.attendance is not None:
            self._attempts.attendance.open()

    def _begin_machine(self) -> None:
        """Brings the machine to where the run begins, or goes on."""
        override, given, targets = self._asked_for
        if self.durable is not None and not self.durable.is_new:
            started = self.durable.take_up(self.machine, self.clock())
            self.mailbox.replies.extend(self._elements.replayed())
            for observer in self._observers:
                self._tell(observer, started)
            return
        seed = self.options.seed if self.options.seed is not None else int.from_bytes(os.urandom(4))
        shape = self.plan.graph.shape() if self._observers or self.durable is not None else ()
        options = {
            "on_failure": self.options.on_failure,
            "max_concurrency": self.options.max_concurrency,
            "deadline": self.options.deadline,
            "grace": self.options.grace,
            "retry_budget": self.options.retry_budget,
            "max_abandoned": self.options.max_abandoned,
            "values": self.options.values,
            "durability": self.options.durability,
            "max_recoveries": self.options.max_recoveries,
        }
        event = RunStarted(
            self.run_id, self.plan.graph.name, shape, seed, self._inputs, targets, tuple(override), options,
            self.options.tags, self.link.parent and self.link.parent.run_id, self.clock(),
        )  # fmt: skip
        if self.durable is not None:
            self.durable.create(self.machine.state, event, override)
        self.machine.begin(event, override)
        self.mailbox.replies.extend(given)

    def open(self, runner: Runner) -> None:
        """Opens a runner in a context in which its steps find themselves to be in this run."""
        variables = copy_context()
        variables.run(CURRENT.set, self.link)
        variables.run(runner.open, self.mailbox, self.clock)

    def turn(self, batch: list[Reply] | None = None, now: float | None = None) -> None:
        """One turn, or as many as follow from steps that are alone. In the engine's thread only.

        Args:
            batch: Replies that did not come through the mailbox.
            now: The time, if the caller has only just asked the clock.
        """
        machine, replies, clock = self.machine, self.mailbox.replies, self.clock
        state, lone = machine.state, self.lone
        while self._said:
            self._pass_on(self._said.popleft())
        if batch is None:
            batch = []
        if now is None:
            now = clock()
        rare = self.attended
        if rare and self._permits is not None:
            self._permits.poll()
        while replies:
            batch.append(replies.popleft())
        while True:
            if rare:
                batch = self._heard(batch, now)
            todo = machine.step(batch, now)
            if todo and todo[0][0] != START:
                todo = self.questions.put(todo, self.clock)
            if self._observers or self.durable is not None or state.failures or state.stopping:
                if not self._record(todo):
                    return
            else:
                machine.log.clear()
            if (
                lone is None
                or len(todo) != 1
                or todo[0][0] != START
                or state.free_total != state.slots_total - 1
                or state.alarms
                or state.asked
            ):
                break
            batch = self._alone(todo[0], lone, now)
            if not batch:
                todo = []
                break
            now = batch[0][-1]
        if todo:
            self._carry_out(todo)
        if rare:
            self._settle()

    def _settle(self) -> None:
        """What a turn has to see to besides, in runs that ask for more than most."""
        if self._elements.pouring:
            self._elements.grant()
        if self._permits is not None:
            self._permits.tidy()
        if self.answers is not None:
            self.mailbox.replies.extend(self._answered())

    def _answered(self) -> list[Reply]:
        """What gates that are open now have been answered."""
        assert self.answers is not None
        due = self.answers.due()
        if self.durable is not None:
            for reply, answer in due:
                self.durable.answered(reply[1], answer)
        return [reply for reply, _ in due]

    def answer(self, gate: str, value: Any) -> None:
        """Answers a gate, which may not be open yet; from any thread.

        Raises:
            InputError: There is no such gate, or it takes another kind of answer.
        """
        if self.answers is None:
            raise InputError(f"there is no gate {gate!r} in this run; it has none")
        if self.durable is not None:
            self.durable.check("the answer to", {gate: value})
        self.answers.give(Answer(gate, value))
        self.mailbox.ring()

    def parks(self) -> bool:
        """Puts the run down, if it waits for answers and nothing else can go on, and is kept somewhere."""
        state = self.machine.state
        if self.durable is None or not self.durable.store.durable or self.mailbox.replies:
            return False
        if not self._rests or state.status.count(READY) or state.status.count(RETRYING):
            return False
        nodes, at = self.plan.nodes, state.status.find(WAITING)
        if at < 0:
            return False
        while at >= 0:
            if at in state.due and nodes[self.plan.node[state.site[at]]].timeout is None:
                return False  # it sleeps, and will wake by itself
            at = state.status.find(WAITING, at + 1)
        return self.durable.park()

    def next_alarm(self) -> float | None:
        """Seconds until the run wants a turn by itself; None if it does not."""
        when = self.machine.next_alarm()
        if self._attempts.idle:
            silent = self._attempts.idle.next_time()
            when = silent if when is None or (silent is not None and silent < when) else when
        wait = None if when is None else max(0.0, when - self.clock())
        if self._permits is not None:
            delay = self._permits.delay()
            wait = delay if wait is None or (delay is not None and delay < wait) else wait
        return wait

    def cancel(self, reason: str = "") -> None:
        """Asks for the run to be cancelled; from any thread, and from a signal handler."""
        self.mailbox.post((commands.ASKED, reason))

    def hurry(self) -> None:
        """Gives up at once what was asked to end: the second Ctrl-C. From any thread."""
        self.mailbox.post((commands.HURRIED,))
        if self._attempts.keeper is not None:
            self._attempts.keeper.hurry()

    def add_observer(self, observer: Observer, *, instead_of: Sequence[Observer] = ()) -> None:
        """One more to be told, or one that tells these; before the run begins."""
        gone = {id(one) for one in instead_of}
        self._observers = (*(one for one in self._observers if id(one) not in gone), observer)

    def say(self, event: Any) -> None:
        """Tells the observers something that the machine need not know; from any thread.

        Observers are only ever called in the engine's thread, so they need no locks.
        """
        if self.is_forked:
            raise RuntimeError(forks.refusal(self.run_id))
        if self.durable is not None and self.durable.noter is not None:
            self.durable.noter(event)
        if not self._observers:
            return
        if get_ident() != self._thread:
            self._said.append(event)
            if type(event) is not Measured:  # an attempt's end follows, and rings by itself
                self.mailbox.ring()
            return
        self._pass_on(event)

    def _pass_on(self, event: Any) -> None:
        for observer in self._observers:
            self._tell(observer, event)

    def note_slow(self, i: int, token: int, seconds: float) -> None:
        """An async step has kept the event loop to itself for so long."""
        path = self.machine.state.path(i)
        self.warnings.append(
            f"step {path} kept the event loop for {seconds:.1f} s without an await, and nothing else "
            "could go on: let it await asyncio.to_thread(...), or make it a plain function"
        )

    def forked(self) -> None:
        """In a forked process: whichever way a step, a condition or an observer comes back, it ends there."""
        self.is_forked = True
        end: Any = partial(forks.leave, self.run_id)
        self.turn = self._record = self._carry_out = self._alone = end  # type: ignore[method-assign]
        self._observers = ()
        for runner in self._runners:
            getattr(runner, "forked", bool)()
        if self.durable is not None:
            self.durable.forked()
        mailbox = self.mailbox
        mailbox.replies.append((commands.HURRIED,))  # a step that is alone looks here before it goes on
        mailbox.bell, mailbox.sleeping = end, True

    def close(self) -> None:
        """Closes the runners."""
        forks.forget(self)
        for runner in self._runners:
            runner.close()
        if self._attempts.attendance is not None:
            self._attempts.attendance.close()
        if self._permits is not None:
            self._permits.close()
        self.warnings += self._attempts.close()

    def close_resources(self) -> None:
        """Closes what the run has opened, after its runners."""
        if self._attempts.keeper is not None:
            self.warnings += self._attempts.keeper.close()
        self._give_back()

    async def aclose_resources(self) -> None:
        """The same on the event loop."""
        if self._attempts.keeper is not None:
            self.warnings += await self._attempts.keeper.aclose()
        self._give_back()

    def _give_back(self) -> None:
        if self.durable is not None:
            self.durable.close()
            self.warnings += self.durable.warnings

    def _heard(self, batch: list[Reply], now: float) -> list[Reply]:
        """The replies as the machine is to have them."""
        if self.plan.attended:
            attempts = self._attempts
            if attempts.busy:
                batch = [attempts.heard(reply) for reply in batch]
            if attempts.idle:
                attempts.idle.hear(batch, now)
                batch += attempts.idle.overdue(now, self.machine.state.paused)
            if self.plan.opens:
                batch = self._elements.checked(batch)
        if self.durable is not None:
            batch = self.durable.heard(batch, self._end_stream, self.answers)
        return batch if self.answers is None else batch + self._answered()

    def _record(self, todo: list[Command]) -> bool:
        """Writes down what is now a fact, and tells the observers.

        Returns:
            Whether it is written down; if not, `todo` is carried out when it is.
        """
        log = self.machine.drain()
        if self.durable is not None and not self.durable.record(log, self._recorded, log, todo):
            return False
        if self._observers or self.machine.state.failures or self.machine.state.stopping:
            self._tell_all(log)
        return True

    def _recorded(self, log: list[facts_of.Fact], todo: list[Command]) -> None:
        """The rest of a turn whose commit was awaited."""
        self._tell_all(log)
        if todo:
            self._carry_out(todo)
        self._settle()

    def _tell_all(self, log: list[facts_of.Fact]) -> None:
        state = self.machine.state
        if state.failures or state.stopping:
            self._note_abandoned(log)
        if not self._observers:
            return
        from .machine.words import to_event

        for fact in log:
            event = to_event(state, fact)
            for observer in self._observers:
                self._tell(observer, event)

    def _tell(self, observer: Observer, event: Any) -> None:
        try:
            observer(event)
        except BaseException as error:
            self._drop(observer, error)

    def _note_abandoned(self, log: list[facts_of.Fact]) -> None:
        for fact in log:
            if fact[0] in (facts_of.FAILED, facts_of.RETRYING):
                left = fact[3].abandoned
            elif fact[0] == facts_of.CANCELLED:
                left = fact[3]
            else:
                continue
            if left is not None:
                self.abandoned.append(left)

    def _drop(self, observer: Observer, error: BaseException) -> None:
        """An observer has raised: it is named, and told nothing more."""
        self._observers = tuple(each for each in self._observers if each is not observer)
        name = getattr(observer, "__qualname__", type(observer).__qualname__)
        self.warnings.append(f"observer {name} raised {said_by(error)}; it is told nothing more")

    def _carry_out(self, todo: list[Command]) -> None:
        state, plan = self.machine.state, self.plan
        site, total, value, node_of = state.site, state.total, state.value, plan.node
        nodes, wires, simple, runner = plan.nodes, plan.wires, self._simple, plan.runner
        hold, kinds, pours = state.hold, self._attempts.kind, plan.has_streams
        submit, elements, shares = self._submit, plan.elements, plan.shares
        attendance = self._attempts.attendance
        param: str | None
        for command in todo:
            if command[0] != START:
                self._stop(command)
                continue
            _, i, token, _ = command
            node = node_of[site[i]]
            if pours and nodes[node].stream:
                self._elements.started(i, token)
            lean = simple[node]
            if lean == 1 or (lean == 2 and not hold[i]):
                of = nodes[node]
                arguments = {}
                for param, step in wires[node]:
                    arguments[param] = value[i + step]
                if i >= total and (param := elements.get(node)) is not None:
                    arguments[param] = state.fans[i - total].elements[state.element[i - total]]
                if shares and (param := shares.get(node)) is not None:
                    arguments[param] = state.shared
                retry = of.retry
                retry_on = None if retry is None else retry.retry_on
                call = of.call
                if attendance is not None:
                    call = attendance.plain(i, len(state.failures.get(i, ())) + 1, token, of)
                submit[runner[node]]((i, token, call, arguments, retry_on, None, kinds[node]))
                continue
            try:
                submit[runner[node]](self._attempts.work(i, token, node))
            except BaseException as error:
                self.mailbox.post(self._no_arguments(i, token, error))

    def _alone(self, command: Command, make: Make, now: float) -> list[Reply]:
        """Makes the one attempt there is in this thread; no reply if it must go to its runner after all.

        It is the one: whatever else is ready would have been started with it, if it had room.
        """
        _, i, token, _ = command
        state, plan = self.machine.state, self.plan
        node = plan.node[state.site[i]]
        of = plan.nodes[node]
        if of.is_async or of.stream or of.timeout is not None or of.runner not in (None, "inline"):
            self._carry_out([command])
            return []
        lean = self._simple[node]
        if i < state.total and (lean == 1 or (lean == 2 and not state.hold[i])):
            arguments = {}
            for param, step in plan.wires[node]:
                arguments[param] = state.value[i + step]
            if of.shared is not None:
                arguments[of.shared] = state.shared
            retry = of.retry
            retry_on = None if retry is None else retry.retry_on
            call = of.call
            if (attendance := self._attempts.attendance) is not None:
                call = attendance.plain(i, len(state.failures.get(i, ())) + 1, token, of)
            reply = make(i, token, call, arguments, retry_on, now)
        else:
            try:
                _, _, call, arguments, retry_on, *_ = self._attempts.work(i, token, node)
            except BaseException as error:
                return [self._no_arguments(i, token, error)]
            reply = make(i, token, call, arguments, retry_on, now)
        if self.mailbox.replies:  # something came meanwhile, and came first
            self.mailbox.replies.append(reply)
            return []
        return [reply]

    def _no_arguments(self, i: int, token: int, error: BaseException) -> Reply:
        now = self.clock()
        return (ENDED, i, token, FAILED, failure_of(error), None, now, now)

    def _stop(self, command: Command) -> None:
        kind, i = command[:2]
        if self._permits is not None and kind in (ACQUIRE, GO_ON):
            if kind == ACQUIRE:
                self._permits.acquire(i)
            else:
                self._permits.resume(i, command[2])
            return
        runner = self._runner_of(i)
        if kind == STOP:
            runner.stop(i, command[2], timeout=command[3] == STOP_TIMEOUT)
        elif kind == ABANDON:
            runner.abandon(i, command[2])

    def _runner_of(self, i: int) -> Runner:
        return self._runners[self.plan.runner[self.plan.node[self.machine.state.site[i]]]]

    def _go_on(self, i: int, token: int, upto: int) -> None:
        self._runner_of(i).go_on(i, token, upto)

    def _end_stream(self, i: int, token: int) -> None:
        self._runner_of(i).stop(i, token, timeout=False)

    @property
    def busy(self) -> bool:
        """Whether user code that is no step runs in this very thread: an interrupt may be raised in it."""
        keeper = self._attempts.keeper
        return self._user.busy or (keeper is not None and keeper.bag.busy)

    @property
    def unsaid(self) -> bool:
        """Somebody has said something that the observers have not been told yet."""
        return bool(self._said)

    @property
    def idle(self) -> bool:
        """Nothing runs, lingers, is asked or awaited: if the run has not ended, it never will."""
        return self._rests and not self.machine.state.status.count(WAITING)

    @property
    def _rests(self) -> bool:
        """The same, but for gates that are open."""
        state = self.machine.state
        busy = state.free_total < state.slots_total or state.asked or state.lingering or state.acquiring
        return not busy


def _attendance(engine: Engine, kept: bool) -> Attendance | None:
    """What attends to the attempts of a run, if anybody asks for it."""
    options = engine.options
    capture = kept if options.capture is None else options.capture
    doors = [door for one in options.observers if (door := getattr(one, "door", None)) is not None]
    if not (capture or options.profile or doors):
        return None
    from .attendance import Attendance

    find = engine.machine.state.path
    return Attendance(engine.run_id, engine.say, find, capture=capture, profile=options.profile, doors=doors)


def _at_hand(plan: Plan) -> bytes | bytearray:
    """Of a plan's simple nodes those that are called in this process, and give one value."""
    local = [name in LOCAL for name in plan.runners]
    if all(local) and not plan.has_streams:
        return plan.simple
    return bytes([
        simple if local[runner] and not node.stream else 0
        for simple, runner, node in zip(plan.simple, plan.runner, plan.nodes, strict=True)
    ])  # fmt: skip

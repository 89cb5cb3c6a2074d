"""Attempts that ask for more than values of their own row: what is to be called, and with what."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from .binding import Arguments, Binder
from .commands import CANCELLED, ENDED, FAILED, GONE, OK, Reply
from .context import Context
from .failures import failure_of
from .folds import Folds, fold_slice
from .idle import IdleWatch
from .machine.state import State
from .model import Condition, Need, Node, NodePath, RunOptions
from .ports import LOCAL, Work

if TYPE_CHECKING:
    from .attendance import Attendance
    from .permits import Permits
    from .resources import Keeper
    from .workdir import Workdir, Workdirs


class Attempts:
    """Makes the attempts of one run, but for the plainest, which the engine makes itself.

    Args:
        state: The run's state; read only.
        inputs: The run's inputs, by name.
        options: How it runs.
        run_id: Of this run.
        say: Tells the run's observers something, from any thread.
        clock: The run's clock.

    Attributes:
        binder: Makes arguments of what the needs brought.
        folds: What the folds have so far.
        idle: Who must show signs of life.
        kind: By node: how it is to be called, as bits of `commands`.
        keeper: The run's resources; None as long as nobody has asked for any.
        permits: Of limits wider than the run; None where it takes none.
        attendance: Attends to what surrounds each attempt; None where nobody asks for that.
    """

    __slots__ = (
        "_clock", "_copied", "_folders", "_inputs", "_lent", "_plan", "_run_id", "_say", "_state", "_workdir",
        "_workdirs", "attendance", "binder", "folds", "idle", "keeper", "kind", "permits",
    )  # fmt: skip

    def __init__(
        self,
        state: State,
        inputs: Mapping[str, Any],
        options: RunOptions,
        run_id: str,
        say: Callable[[Any], None],
        clock: Callable[[], float],
    ) -> None:
        self._state = state
        self._plan = state.plan
        self.kind: bytes | bytearray = state.plan.kind
        self._copied = options.values == "copied"
        self._run_id = run_id
        self._say = say
        self._clock = clock
        self._workdir = options.workdir
        self._workdirs: Workdirs | None = None
        self._folders: dict[tuple[int, int], Workdir] = {}
        self._inputs = inputs
        self.binder = Binder(state, inputs)
        self.folds = Folds(state)
        self.idle = IdleWatch()
        self.keeper: Keeper | None = None
        self.permits: Permits | None = None
        self.attendance: Attendance | None = None
        self._lent: dict[int, Callable[..., Any]] = {}

    def work(self, i: int, token: int, node: int) -> Work:
        """An attempt with all that a step may ask for.

        Raises:
            BaseException: Whatever the values that it takes raise: a part that is not there, a copy that
                cannot be made.
        """
        made = self._work(i, token, node, self._plan.nodes[node])
        return made if self.attendance is None else self._attended(made, node, self.attendance)

    def _attended(self, work: Work, node: int, attendance: Attendance) -> Work:
        """The attempt, with what surrounds it."""
        i, token, call, arguments, retry_on, context, kind = work
        of, path, attempt = self._plan.nodes[node], self._state.path(i), self._attempt(i)
        if self._plan.runners[self._plan.runner[node]] in LOCAL:
            here = attendance.around(path, attempt, token, call)
            call = here.wrapped(is_async=of.is_async, stream=of.stream)
        else:
            context = context or Context(self._run_id, path, attempt, self._say)
            context.attended = attendance.travelling(path, attempt, token)
        return (i, token, call, arguments, retry_on, context, kind)

    def _attempt(self, i: int) -> int:
        return len(self._state.failures.get(i, ())) + 1

    def _work(self, i: int, token: int, node: int, of: Node) -> Work:
        if of.kind == "gather":
            arguments = self.folds.arguments(i, token, of)
            if self._copied:
                arguments.update(self._own({"items": arguments["items"]}, [("items", of.needs[0])]))
            return (i, token, fold_slice, arguments, None, None, self.kind[node])
        arguments = self.binder.arguments(i)
        if self._copied:
            arguments = self._own(arguments, [(need.param, need) for need in of.needs])
        if of.shared is not None:
            arguments[of.shared] = self._shared(of.shared)
        context = None
        if of.context is not None:
            context = arguments[of.context] = self._context(i, token, of)
        if of.timeout is not None and of.timeout.idle is not None:
            self.idle.watch(i, token, of.timeout.idle)
        call = self._lend(node, of) if of.resources else of.call
        if self.permits is not None and node in self._plan.wide:
            runner = self._plan.runners[self._plan.runner[node]]
            call = self.permits.lend(i, token, of, call, runner)
        retry_on = of.retry.retry_on if of.retry is not None else None
        return (i, token, call, arguments, retry_on, context, self.kind[node])

    def question(self, i: int, condition: Condition, *, outcomes: bool) -> Arguments:
        """The arguments of a condition; see `Binder.question`.

        Raises:
            BaseException: As of `work`.
        """
        arguments = self.binder.question(i, condition, outcomes=outcomes)
        if self._copied:
            needs = self._plan.nodes[self._plan.node[self._state.site[i]]].needs
            arguments = self._own(arguments, [(param, needs[index]) for param, index in condition.needs])
        if condition.shared is not None:
            arguments[condition.shared] = self._shared(condition.shared)
        return arguments

    def _shared(self, param: str) -> Any:
        return _copy(self._state.shared, param) if self._copied else self._state.shared

    @property
    def busy(self) -> bool:
        """Whether any attempt is out whose ending `heard` must see."""
        return bool(self.folds or self._folders)

    def heard(self, reply: Reply) -> Reply:
        """The ending of an attempt as the machine is to have it. Its folder is published, or removed."""
        if reply[0] == GONE:
            self._let_go(reply, good=False)
        if reply[0] != ENDED:
            return reply
        if (reply[1], reply[2]) in self._folders:
            try:
                self._let_go(reply, good=reply[3] == OK)
            except OSError as error:
                return (*reply[:3], FAILED, failure_of(error), None, *reply[6:])
        return self.folds.heard(reply)

    def _let_go(self, reply: Reply, *, good: bool) -> None:
        """What an abandoned attempt still writes is removed when it ends at last."""
        key = (reply[1], reply[2])
        left_behind = reply[0] == ENDED and reply[3] == CANCELLED and reply[4] is not None
        folder = self._folders.get(key) if left_behind else self._folders.pop(key, None)
        if folder is None:
            return
        if good:
            folder.publish()
        else:
            folder.discard()

    def _own(self, arguments: Arguments, needs: Iterable[tuple[str | None, Need]]) -> Arguments:
        """Copies of arguments, for one consumer alone; what is volatile is handed on as it is."""
        nodes, index = self._plan.nodes, self._plan.index
        as_it_is = {param for param, need in needs if nodes[index[need.node]].volatile}
        return {
            param: value if param in as_it_is else _copy(value, param) for param, value in arguments.items()
        }

    def _context(self, i: int, token: int, of: Node) -> Context:
        path: NodePath = self._state.path(i)
        if self._workdirs is None:
            from .workdir import Workdirs

            self._workdirs = Workdirs(self._workdir, self._run_id)
        folder = self._folders[i, token] = self._workdirs.folder(path, token)
        beat = None
        if of.timeout is not None and of.timeout.idle is not None:
            beat = partial(self._beat, i)
        return Context(self._run_id, path, self._attempt(i), self._say, beat=beat, folder=folder)

    def _lend(self, node: int, of: Node) -> Callable[..., Any]:
        """The call of a node, which opens the node's resources first."""
        if self.keeper is None:
            from .resources import Keeper

            self.keeper = Keeper(self._inputs)
        call = self._lent.get(node)
        if call is None:
            call = self.keeper.lend(of.call, of.resources, is_async=of.is_async, stream=of.stream)
            self._lent[node] = call
        return call

    def close(self) -> list[str]:
        """Removes what attempts have left behind; says what went wrong."""
        return [] if self._workdirs is None else self._workdirs.close()

    def _beat(self, i: int) -> None:
        self.idle.beat(i, self._clock())


def _copy(value: Any, param: str) -> Any:
    from copy import deepcopy

    try:
        return deepcopy(value)
    except Exception as error:
        raise TypeError(
            f"values='copied', and the value for {param!r} cannot be copied: {type(error).__name__}: {error}"
        ) from error

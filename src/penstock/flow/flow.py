"""A flow: steps by name, the calls that define them, and the calls that run them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from types import FunctionType, MappingProxyType
from typing import Any, ParamSpec, Protocol, TypeVar, Unpack, overload

from penstock.core.errors import GraphError
from penstock.core.graph import Graph
from penstock.core.model import Input, RunOptions
from penstock.core.names import normal_id
from penstock.core.ports import Runner
from penstock.core.result import RunResult

from . import binding, request
from .later import refuse, refuse_storage
from .markers import Source
from .options import OPTIONS, StepOptions, checked
from .result import FlowHandle, FlowResult
from .signature import Facts, call_name, read
from .step import NONE, AnyStep, Step, Template, check_names

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


class StepDecorator(Protocol):
    """What `flow.step(...)` with options returns: it makes a step of the function it is put on."""

    @overload
    def __call__(
        self, function: Callable[P, Coroutine[Any, Any, T]], /
    ) -> Step[P, Coroutine[Any, Any, T], T]: ...
    @overload
    def __call__(self, function: Callable[P, Awaitable[T]], /) -> Step[P, Awaitable[T], T]: ...
    @overload
    def __call__(self, function: Callable[P, T], /) -> Step[P, T, T]: ...


class Flow:
    """Steps that belong together, and the way their values take.

    Args:
        name: What people call it.
        doc: One line for people.

    Attributes:
        name, doc: As given.
    """

    __slots__ = ("__weakref__", "_graph", "_known", "_steps", "doc", "name")

    def __init__(self, name: str, *, doc: str = "") -> None:
        self.name = normal_id(name, "flow")
        self.doc = doc
        self._steps: dict[str, AnyStep] = {}
        self._graph: Graph | None = None
        # Facts by the identity of a function, or of the code that many lambdas share; the object is kept
        # beside them, so that no other can come to the same identity.
        self._known: dict[int, tuple[Any, Facts]] = {}

    def __repr__(self) -> str:
        return f"<flow {self.name!r}: {len(self._steps)} steps>"

    @property
    def steps(self) -> Mapping[str, AnyStep]:
        """All steps by id, in the order of definition; it cannot be written to."""
        return MappingProxyType(self._steps)

    # --- definition ---------------------------------------------------------------------------------------

    @overload
    def step(
        self, function: Callable[P, Coroutine[Any, Any, T]], /
    ) -> Step[P, Coroutine[Any, Any, T], T]: ...
    @overload
    def step(self, function: Callable[P, Awaitable[T]], /) -> Step[P, Awaitable[T], T]: ...
    @overload
    def step(self, function: Callable[P, T], /) -> Step[P, T, T]: ...
    @overload
    def step(self, /, **options: Unpack[StepOptions]) -> StepDecorator: ...
    def step(self, function: Any = None, /, **options: Any) -> Any:
        """Makes a step of a function: ``@flow.step``, or ``@flow.step(retry=..., timeout=...)``.

        Its parameters are wired by their defaults (`use`, `each`, `gather`, ...) and names: one named like a
        step takes that step's value, any other is an input of the run.

        Args:
            function: What an attempt calls; may be a coroutine function.
            options: See `StepOptions`.

        Returns:
            The step: it can be called like the function, and stands for its value in markers.

        Raises:
            GraphError: It cannot be a step, its name is taken, or an option is wrong.
            NotImplementedError: It is a generator function, or an option is not there yet.
        """
        if function is not None:
            return self._decorate(function, options)
        return lambda function: self._decorate(function, options)

    def _decorate(self, function: Any, options: dict[str, Any]) -> AnyStep:
        if isinstance(function, str):
            raise GraphError(
                f"flow.step takes a function, not {function!r}; say @flow.step(name={function!r})"
            )
        name = options.get("name")
        step = self._add(function, name, NONE, {word: options[word] for word in options if word != "name"})
        for word in ("__module__", "__name__", "__qualname__", "__doc__"):
            step.__dict__[word] = getattr(function, word, None)
        step.__dict__["__wrapped__"] = step.function
        return step

    @overload
    def add(
        self,
        function: Step[P, R, T],
        /,
        *,
        name: str | None = None,
        bind: Mapping[str, Any] | None = None,
        **options_and_bindings: Any,
    ) -> Step[P, R, T]: ...
    @overload
    def add(
        self,
        function: Template[R, T],
        /,
        *,
        name: str | None = None,
        bind: Mapping[str, Any] | None = None,
        **options_and_bindings: Any,
    ) -> Step[..., R, T]: ...
    @overload
    def add(
        self,
        function: Callable[P, Coroutine[Any, Any, T]],
        /,
        *,
        name: str | None = None,
        bind: Mapping[str, Any] | None = None,
        **options_and_bindings: Any,
    ) -> Step[P, Coroutine[Any, Any, T], T]: ...
    @overload
    def add(
        self,
        function: Callable[P, Awaitable[T]],
        /,
        *,
        name: str | None = None,
        bind: Mapping[str, Any] | None = None,
        **options_and_bindings: Any,
    ) -> Step[P, Awaitable[T], T]: ...
    @overload
    def add(
        self,
        function: Callable[P, T],
        /,
        *,
        name: str | None = None,
        bind: Mapping[str, Any] | None = None,
        **options_and_bindings: Any,
    ) -> Step[P, T, T]: ...
    def add(
        self,
        function: Any,
        /,
        *,
        name: str | None = None,
        bind: Mapping[str, Any] | None = None,
        **options_and_bindings: Any,
    ) -> Any:
        """Adds a step: one function may be added many times, under different names.

        Args:
            function: Any callable; a step, or what `Step.bind` returned, comes with its options and bindings.
            name: Id of the step; the function's name by default.
            bind: Markers or constant values by parameter, for parameters that are named like an option.
            options_and_bindings: Options (see `StepOptions`), and markers or constant values by parameter.

        Raises:
            GraphError: It cannot be a step, its name is taken, there is no such option or parameter, or an
                option is wrong.
            NotImplementedError: It is a generator function, another flow, or an option is not there yet.
        """
        known = self._known.get(id(function))
        if known is None or bind is not None or not OPTIONS.isdisjoint(options_and_bindings):
            options = {word: options_and_bindings.pop(word) for word in OPTIONS & options_and_bindings.keys()}
            return self._add(function, name, {**(bind or {}), **options_and_bindings}, options)
        facts = known[1]
        if name is None:
            name = facts.name
        # The short way, for loops that add a step in a microsecond; `_add` says what is wrong.
        if name.__class__ is not str or name in self._steps or not name.isidentifier() or not name.isascii():
            return self._add(function, name, options_and_bindings, NONE)
        if not options_and_bindings.keys() <= facts.names:
            check_names(f"step {name!r}", facts, options_and_bindings, call_name(function), OPTIONS)
        step: AnyStep = Step(self, name, function, facts, options_and_bindings, NONE)
        self._steps[name] = step
        self._graph = None
        return step

    def _add(
        self, function: Any, name: str | None, bindings: Mapping[str, Any], options: Mapping[str, Any]
    ) -> AnyStep:
        if isinstance(function, Flow):
            refuse("flow.add(other_flow)")
        base: Mapping[str, Any] = NONE
        label = f"step {name!r}" if name is not None else f"step {getattr(function, '__name__', '?')!r}"
        if isinstance(function, (Step, Template)):
            facts, base = function.facts, function.options
            bindings = {**function.bindings, **bindings}
            function = function.function
        else:
            facts = self._facts(function, label)
        if name is None:
            name = facts.name
            if name is None:
                what = call_name(function).replace("<lambda>", "a lambda")
                raise GraphError(f"{what} has no name of its own; say flow.add(..., name='...')")
        name = normal_id(name)
        label = f"step {name!r}"
        check_names(label, facts, bindings, call_name(function), OPTIONS)
        if options or base:
            options = {**base, **checked(label, options, facts)}
        if name in self._steps:
            raise self._taken(name, function)
        step: AnyStep = Step(self, name, function, facts, bindings, options)
        self._steps[name] = step
        self._graph = None
        return step

    def _facts(self, function: Any, label: str) -> Facts:
        key = function
        if (
            type(function) is FunctionType
            and function.__code__.co_name == "<lambda>"
            and not (function.__defaults__ or function.__kwdefaults__ or function.__dict__)
        ):
            key = function.__code__  # the lambda of a loop is a new function each time, of the same code
        known = self._known.get(id(key))
        if known is None:
            if not callable(function):
                raise _not_callable(function)
            known = self._known[id(key)] = (key, read(function, label))
        return known[1]

    def _taken(self, name: str, function: Any) -> GraphError:
        before = self._steps[name]
        if before.function is function:
            return GraphError(
                f"there is a step {name!r} already; to use a function again say flow.add(..., name='...')"
            )
        where = f" (one is at {before.facts.origin})" if before.facts.origin else ""
        return GraphError(
            f"there are two steps called {name!r}{where}; give one another name with name='...'"
        )

    # --- compilation --------------------------------------------------------------------------------------

    def graph(self) -> Graph:
        """The graph as it would run now; built once, and again after a step was added.

        Raises:
            GraphError: It is not valid: names, types, circles, maps or options do not fit.
        """
        graph = self._graph
        if graph is None:
            steps = tuple(self._steps.values())
            graph = binding.build(self.name, self, steps)
            if len(steps) == len(self._steps):  # another thread may have added one meanwhile
                self._graph = graph
        return graph

    def inputs(self) -> Sequence[Input]:
        """The inputs that a run takes, in the order in which steps ask for them.

        Raises:
            GraphError: The graph is not valid.
        """
        return tuple(self.graph().inputs.values())

    def explain_wiring(self) -> str:
        """A table of every step and parameter, and where it comes from; at most 100 columns wide.

        Raises:
            GraphError: The graph is not valid.
        """
        from .explain import table

        return table(self.graph(), self._steps)

    # --- runs ---------------------------------------------------------------------------------------------

    def run(
        self,
        /,
        *,
        store: Any = None,
        run_id: str | None = None,
        targets: request.Targets = None,
        override: request.Override = None,
        runner: str | Runner | None = None,
        options: RunOptions | None = None,
        **inputs: Any,
    ) -> FlowResult:
        """Runs the flow to its end, in the caller's thread.

        Args:
            store: Reserved.
            run_id: Reserved.
            targets: Steps, or their ids: only they and what they need are run.
            override: Values by step or id, taken in place of running it.
            runner: Default of the steps that name none: ``inline``, ``threads``, ``aio`` or a runner.
            options: How the run goes.
            inputs: The inputs of the run.

        Returns:
            The result, of a failed run too: see `RunResult.raise_for_failure`.

        Raises:
            GraphError: The graph is not valid.
            InputError: The inputs, targets or overrides do not fit it.
            NotImplementedError: `store` or `run_id` was given.
        """
        from penstock import wiring

        refuse_storage(store, run_id)
        asked = request.of(self, inputs, targets, override)
        done = wiring.run(*asked.what, **asked.how, runner=runner, options=options)
        return FlowResult(done, self)

    async def arun(
        self,
        /,
        *,
        store: Any = None,
        run_id: str | None = None,
        targets: request.Targets = None,
        override: request.Override = None,
        runner: str | Runner | None = None,
        options: RunOptions | None = None,
        **inputs: Any,
    ) -> FlowResult:
        """The same as `run` on the running event loop: coroutine steps are tasks of that loop."""
        from penstock import wiring

        refuse_storage(store, run_id)
        asked = request.of(self, inputs, targets, override)
        done = await wiring.arun(*asked.what, **asked.how, runner=runner, options=options)
        return FlowResult(done, self)

    def start(
        self,
        /,
        *,
        store: Any = None,
        run_id: str | None = None,
        targets: request.Targets = None,
        override: request.Override = None,
        runner: str | Runner | None = None,
        options: RunOptions | None = None,
        **inputs: Any,
    ) -> FlowHandle:
        """Starts a run and returns at once; arguments as of `run`.

        Returns:
            A handle: its events as they come, cancel, and the result.
        """
        from penstock import wiring

        refuse_storage(store, run_id)
        asked = request.of(self, inputs, targets, override)
        handle = wiring.start(*asked.what, **asked.how, runner=runner, options=options)
        return FlowHandle(handle, self)

    def run_with(
        self,
        inputs: Mapping[str, Any],
        *,
        targets: Sequence[str] | None = None,
        options: RunOptions | None = None,
    ) -> RunResult:
        """The same as `run`, with the inputs as a mapping: what the command line calls."""
        from penstock import wiring

        asked = request.of(self, inputs, targets, None)
        return FlowResult(wiring.run(*asked.what, **asked.how, runner=None, options=options), self)


def _not_callable(function: Any) -> GraphError:
    if isinstance(function, Coroutine):
        function.close()
        name = getattr(function, "__name__", "it")
        return GraphError(f"a step is made of a function, and {name!r} was called; leave out the ()")
    what = repr(function) if isinstance(function, Source) else f"a value of type {type(function).__name__}"
    return GraphError(f"a step is made of a function, not of {what}")

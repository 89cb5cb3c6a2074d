"""A flow: steps by name, the calls that define them, and the calls that run them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from types import FunctionType, MappingProxyType
from typing import TYPE_CHECKING, Any, ParamSpec, Protocol, TypeVar, Unpack, overload

from penstock.core.amounts import is_number
from penstock.core.checks import APART
from penstock.core.errors import GraphError
from penstock.core.graph import Graph
from penstock.core.model import NOTHING, Input, RunOptions
from penstock.core.names import normal_id
from penstock.core.result import RunResult

from . import binding, request
from .gates import GateFacts, Sleep, check_until, new_gate
from .markers import Marker, Source, Use
from .options import OF_GATES, OPTIONS, StepOptions, checked, checked_defaults, merged
from .result import FlowHandle, FlowResult
from .signature import Facts, read
from .step import NONE, AnyStep, Step, Template, check_names
from .subflow import Layout, SubFlow, sub_flow
from .switches import Choice
from .words import call_name, in_cell

if TYPE_CHECKING:
    from penstock.core.hooks import Hook
    from penstock.core.ports import RunsOn
    from penstock.core.storage import StoreWord

    from .resources import AnyResource, Declare

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")
H = TypeVar("H", bound=Callable[[FlowResult], Any])


class StepDecorator(Protocol):
    """What `flow.step(...)` with options returns: it makes a step of the function it is put on."""

    @overload
    def __call__(
        self, function: Callable[P, Coroutine[Any, Any, T]], /
    ) -> Step[P, Coroutine[Any, Any, T], T]: ...
    @overload
    def __call__(self, function: Callable[P, Awaitable[T]], /) -> Step[P, Awaitable[T], T]: ...
    @overload
    def __call__(self, function: Callable[P, AsyncIterator[T]], /) -> Step[P, AsyncIterator[T], list[T]]: ...
    @overload
    def __call__(self, function: Callable[P, Iterator[T]], /) -> Step[P, Iterator[T], list[T]]: ...
    @overload
    def __call__(self, function: Callable[P, T], /) -> Step[P, T, T]: ...


class Flow:
    """Steps that belong together, and the way their values take.

    Args:
        name: What people call it.
        doc: One line for people.
        defaults: Options of all its steps, where a step says nothing else; None on a step switches one off.

    Attributes:
        name, doc: As given.

    Raises:
        GraphError: A default is wrong, or is for one step only.
    """

    __slots__ = (
        "__weakref__",
        "_changes",
        "_defaults",
        "_flat",
        "_graph",
        "_hooks",
        "_known",
        "_laid",
        "_parts",
        "_resources",
        "_stamped",
        "_subs",
        "doc",
        "name",
    )  # fmt: skip

    def __init__(self, name: str, *, doc: str = "", defaults: StepOptions | None = None) -> None:
        self.name = normal_id(name, "flow")
        self.doc = doc
        self._defaults = checked_defaults(self.name, defaults) if defaults is not None else {}
        self._parts: dict[str, Any] = {}
        self._resources: dict[str, AnyResource] = {}
        self._subs: list[SubFlow] = []
        self._flat = True  # there is nothing in it but steps
        self._changes = 0
        self._graph: Graph | None = None
        self._stamped: Any = None  # what the graph was built of, where that may change without this flow
        self._laid: tuple[Any, Layout] | None = None
        self._hooks: list[Hook] = []
        # Facts by the identity of a function, or of the code that many lambdas share; the object is kept
        # beside them, so that no other can come to the same identity.
        self._known: dict[int, tuple[Any, Facts]] = {}

    def __repr__(self) -> str:
        return f"<flow {self.name!r}: {len(self.steps)} steps>"

    @property
    def steps(self) -> Mapping[str, AnyStep]:
        """All steps by id, those of sub-flows included, in the order of definition; not to be written to."""
        return MappingProxyType(self._parts if self._flat else self._layout().steps)

    @property
    def parts(self) -> Mapping[str, Any]:
        """Its own steps, sub-flows and switches by id, in the order of definition; not to be written to."""
        return MappingProxyType(self._parts)

    @property
    def resources(self) -> Mapping[str, AnyResource]:
        """Its resources by name, in the order of definition; it cannot be written to."""
        return MappingProxyType(self._resources)

    # --- definition ---------------------------------------------------------------------------------------

    @overload
    def step(
        self, function: Callable[P, Coroutine[Any, Any, T]], /
    ) -> Step[P, Coroutine[Any, Any, T], T]: ...
    @overload
    def step(self, function: Callable[P, Awaitable[T]], /) -> Step[P, Awaitable[T], T]: ...
    @overload
    def step(self, function: Callable[P, AsyncIterator[T]], /) -> Step[P, AsyncIterator[T], list[T]]: ...
    @overload
    def step(self, function: Callable[P, Iterator[T]], /) -> Step[P, Iterator[T], list[T]]: ...
    @overload
    def step(self, function: Callable[P, T], /) -> Step[P, T, T]: ...
    @overload
    def step(self, /, **options: Unpack[StepOptions]) -> StepDecorator: ...
    def step(self, function: Any = None, /, **options: Any) -> Any:
        """Makes a step of a function: ``@flow.step``, or ``@flow.step(retry=..., timeout=...)``.

        Its parameters are wired by their defaults (`use`, `each`, `gather`, ...) and names: one named like a
        step takes that step's value, any other is an input of the run.

        Args:
            function: What an attempt calls; may be a coroutine function. A generator function, sync or async,
                gives its elements one by one, and its value is the list of them.
            options: See `StepOptions`.

        Returns:
            The step: it can be called like the function, and stands for its value in markers.

        Raises:
            GraphError: It cannot be a step, its name is taken, or an option is wrong.
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
        step: AnyStep = self._add(
            function, name, NONE, {word: options[word] for word in options if word != "name"}
        )
        for word in ("__module__", "__name__", "__qualname__", "__doc__"):
            step.__dict__[word] = getattr(function, word, None)
        step.__dict__["__wrapped__"] = step.function
        return step

    @overload
    def add(
        self,
        function: Flow,
        /,
        *,
        name: str | None = None,
        bind: Mapping[str, Any] | None = None,
        **options_and_bindings: Any,
    ) -> SubFlow: ...
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
        function: Callable[P, AsyncIterator[T]],
        /,
        *,
        name: str | None = None,
        bind: Mapping[str, Any] | None = None,
        **options_and_bindings: Any,
    ) -> Step[P, AsyncIterator[T], list[T]]: ...
    @overload
    def add(
        self,
        function: Callable[P, Iterator[T]],
        /,
        *,
        name: str | None = None,
        bind: Mapping[str, Any] | None = None,
        **options_and_bindings: Any,
    ) -> Step[P, Iterator[T], list[T]]: ...
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

        Another flow becomes a part of this one: ``sub = flow.add(other, name="sub", path=use(load))``. Its
        steps are then called ``sub/step``, and ``sub[step]`` stands for each in markers. The bindings are by
        its inputs; those left out become inputs of this flow. An ``each`` among them maps all of it. Of the
        options it takes ``when``, ``trigger``, ``optional`` and ``after``.

        Raises:
            GraphError: It cannot be a step, its name is taken, there is no such option or parameter, or an
                option is wrong; or the other flow contains this one.
        """
        known = None if self._defaults or bind is not None else self._known.get(id(function))
        if known is None or not OPTIONS.isdisjoint(options_and_bindings):
            options = {word: options_and_bindings.pop(word) for word in OPTIONS & options_and_bindings.keys()}
            return self._add(function, name, {**(bind or {}), **options_and_bindings}, options)
        facts = known[1]
        if name is None:
            name = facts.name
        # The short way, for loops that add a step in a microsecond; `_add` says what is wrong.
        if name.__class__ is not str or name in self._parts or not name.isidentifier() or not name.isascii():
            return self._add(function, name, options_and_bindings, NONE)
        if not options_and_bindings.keys() <= facts.names:
            check_names(f"step {name!r}", facts, options_and_bindings, call_name(function), OPTIONS)
        step: AnyStep = Step(self, name, function, facts, options_and_bindings, NONE)
        self._parts[name] = step
        self._graph = None
        return step

    def _add(
        self, function: Any, name: str | None, bindings: Mapping[str, Any], options: Mapping[str, Any]
    ) -> Any:
        if isinstance(function, Flow):
            sub = sub_flow(self, function, name, bindings, options)
            self._put(sub.id, sub)
            self._subs.append(sub)
            return sub
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
        if options or base or self._defaults:
            options = merged(label, self._defaults, {**base, **checked(label, options, facts)}, facts)
        if name in self._parts:
            raise self._taken(name, function)
        step: AnyStep = Step(self, name, function, facts, bindings, options)
        self._parts[name] = step
        self._graph = None
        return step

    def _put(self, id: str, part: SubFlow | Choice[Any]) -> None:
        """Adds what is more than a step.

        Raises:
            GraphError: Its name is wrong, or taken.
        """
        what = "sub-flow" if isinstance(part, SubFlow) else "switch"
        if normal_id(id, what) in self._parts:
            raise GraphError(
                f"{what} {id!r}: flow {self.name!r} has something of that name already; "
                f"give it another name with name='...'{self._again()}"
            )
        self._parts[id] = part
        self._flat = False
        self._graph = None

    def _change(self, step: AnyStep, options: Mapping[str, Any]) -> None:
        """Gives a step other options: it is repeated from here on."""
        step.options = options
        self._changes += 1
        self._graph = None

    @property
    def resource(self) -> Declare:
        """Makes a resource of a function: ``@flow.resource``, or ``@flow.resource(scope="worker")``; see
        `Declare`."""
        from .resources import Declare

        return Declare(self, self._add_resource)

    def _add_resource(self, resource: AnyResource) -> None:
        self._resources[resource.id] = resource
        self._changes += 1
        self._graph = None

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
        before = self._parts[name]
        if isinstance(before, SubFlow):
            return GraphError(
                f"there is a sub-flow {name!r} already; give the step another name='...'{self._again()}"
            )
        if before.function is function:
            return GraphError(
                f"there is a step {name!r} already; to use a function again say flow.add(..., name='...')"
                f"{self._again()}"
            )
        where = f" (one is at {before.facts.origin})" if before.facts.origin else ""
        return GraphError(
            f"there are two steps called {name!r}{where}; "
            f"give one another name with name='...'{self._again()}"
        )

    def _again(self) -> str:
        """The way out for who has run a cell of a notebook once more."""
        if not in_cell():
            return ""
        return (
            ";\nif this cell was run again, "
            f"run the one with Flow({self.name!r}) first: it begins an empty flow"
        )

    @overload
    def on_end(self, hook: H, /, *, timeout: float = 30.0) -> H: ...
    @overload
    def on_end(self, /, *, timeout: float = 30.0) -> Callable[[H], H]: ...
    def on_end(self, hook: Any = None, /, *, timeout: float = 30.0) -> Any:
        """Has a function called with the result of every run of this flow, after its end: ``@flow.on_end``.

        Hooks are called in the order in which they were given, each in a thread of its own. They change
        nothing about the run: one that raises, or takes too long, is one of the result's `warnings`. Those of
        a sub-flow are not called.

        Args:
            hook: Takes the result; may be async.
            timeout: Seconds after which it is left behind.

        Returns:
            The function itself.

        Raises:
            GraphError: It is no function, or `timeout` is not more than 0.
        """
        if hook is None:
            return lambda hook: self.on_end(hook, timeout=timeout)
        from penstock.core.hooks import Hook

        if isinstance(hook, Source) or not callable(hook):
            raise GraphError(f"flow.on_end takes a function of the result, not {hook!r}")
        if not is_number(timeout) or not timeout > 0:
            raise GraphError(f"flow.on_end: timeout must be more than 0 s, not {timeout!r}")

        def told(result: RunResult) -> Any:
            return hook(FlowResult(result, self))

        told.__qualname__ = getattr(hook, "__qualname__", call_name(hook))
        self._hooks.append(Hook(told, timeout))
        return hook

    @overload  # the first of the two, for the other one's `more` would take a type too
    def gate(
        self,
        name: str,
        /,
        *,
        type: type[T],
        prompt: str = "",
        timeout: float | None = None,
        default: T = ...,
        **more: Any,
    ) -> Source[T]: ...
    @overload
    def gate(
        self,
        name: str,
        /,
        *,
        prompt: str = "",
        timeout: float | None = None,
        default: bool = ...,
        **more: Any,
    ) -> Source[bool]: ...
    def gate(
        self,
        name: str,
        /,
        *,
        prompt: str = "",
        type: Any = bool,
        timeout: float | None = None,
        default: Any = NOTHING,
        **more: Any,
    ) -> Any:
        """Adds a step that waits for an answer from outside: ``ok = flow.gate("approve", prompt="Really?")``.

        It is answered by `FlowHandle.answer`, by ``penstock approve``, or through `penstock.open`; an answer
        may come before the gate is open. With a store, a run that waits for nothing else is put down, and its
        status is WAITING; it goes on when it is resumed.

        Args:
            name: Its id.
            prompt: What is asked.
            type: What an answer must be: a type such as str, or ``Literal["yes", "no"]``.
            timeout: Seconds that it waits, whether the run is driven or not; then it fails, or gives
                `default`. None for as long as it takes.
            default: The answer when the time is over.
            more: The options ``when``, ``trigger``, ``after``, ``optional`` and ``keep`` (see `StepOptions`);
                and values to be seen by whoever answers, by name: ``total=use(total)``.

        Returns:
            The step: it gives the answer.

        Raises:
            GraphError: Its name is taken, or an option is wrong.
        """
        asked = new_gate(f"gate {name!r}", prompt, type, timeout, default)
        return self._add_gate(name, asked, type, prompt, more)

    def sleep_until(self, name: str, when: Any, /, **more: Any) -> Source[None]:
        """Adds a step that waits for a time: ``flow.sleep_until("night", use(nightfall))``.

        The time is kept with the run: one that is resumed does not sleep longer.

        Args:
            name: Its id.
            when: A datetime; a timedelta, from the moment when it begins to wait; or what ``use(step)`` or
                ``param(...)`` brings of these.
            more: The options of a `gate`.

        Raises:
            GraphError: Its name is taken, or an option is wrong.
        """
        check_until(when, f"step {name!r}")
        when = Use(when) if isinstance(when, Source) and not isinstance(when, Marker) else when
        step: Source[None] = self._add_gate(name, Sleep(), None, "", {**more, "until": when})
        return step

    def _add_gate(self, name: str, asked: Any, returns: Any, doc: str, more: dict[str, Any]) -> Any:
        label = f"gate {name!r}"
        options = {word: more.pop(word) for word in OPTIONS & more.keys()}
        for word in options.keys() - OF_GATES:
            raise GraphError(f"{label}: {word!r} is an option of steps that call something; it only waits")
        facts = GateFacts(list(more), returns, doc)
        name = normal_id(name)
        if name in self._parts:
            raise self._taken(name, asked)
        step: AnyStep = Step(self, name, asked, facts, more, checked(label, options, facts))
        self._parts[name] = step
        self._graph = None
        return step

    # --- compilation --------------------------------------------------------------------------------------

    def graph(self) -> Graph:
        """The graph as it would run now; built once, and again after a step was added.

        Raises:
            GraphError: It is not valid: names, types, circles, maps or options do not fit.
        """
        graph = self._graph
        stamp = self._stamp() if self._subs else None
        if graph is not None and self._stamped == stamp:
            return graph
        steps = tuple(self._parts.values())
        graph = binding.build(self.name, self, steps if self._flat else None)
        if any(node.runner in APART for node in graph.nodes):
            from penstock.wiring import check_processes

            check_processes(graph)
        if len(steps) == len(self._parts):  # another thread may have added one meanwhile
            self._stamped = stamp
            self._graph = graph
        return graph

    def _stamp(self) -> Any:
        """Equal as long as nothing has been added to the flow, nor to one inside it."""
        return len(self._parts), self._changes, *(sub.inner._stamp() for sub in self._subs)

    def _layout(self) -> Layout:
        stamp = self._stamp()
        if self._laid is None or self._laid[0] != stamp:
            self._laid = stamp, Layout(self)
        return self._laid[1]

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

        graph = self.graph()
        if not self._flat:
            self._layout().bind()  # so that its steps say where their parameters come from
        return table(graph, self.steps)

    def draw(self, form: str = "text") -> str:
        """The graph drawn as ``text``, ``mermaid``, ``dot`` or ``svg``; no step is run.

        Raises:
            GraphError: It is not valid.
            InputError: There is no such form.
        """
        from penstock.wiring import drawing

        return drawing(self.graph(), form)

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        """What a notebook shows."""
        from penstock.wiring import pictured

        return pictured(self, self.graph)

    # --- runs ---------------------------------------------------------------------------------------------

    def run(
        self,
        /,
        *,
        store: StoreWord = None,
        run_id: str | None = None,
        targets: request.Targets = None,
        override: request.Override = None,
        runner: RunsOn = None,
        options: RunOptions | None = None,
        **inputs: Any,
    ) -> FlowResult:
        """Runs the flow to its end, in the caller's thread.

        Args:
            store: Where the run is kept: a path, ``"sqlite:///runs.db"``, ``"memory:"``, or a store. Without
                one it is in memory only, and dies with its process.
            run_id: Its id. A run that the store knows goes on from where it was; of one that has succeeded
                the recorded result is given. Without it a new run is begun.
            targets: Steps, or their ids: only they and what they need are run.
            override: Values by step or id, taken in place of running it.
            runner: Default of the steps that name none: ``inline``, ``threads``, ``processes``, ``aio``, a
                runner, or a pool such as `processes` makes.
            options: How the run goes.
            inputs: The inputs of the run.

        Returns:
            The result, of a failed run too: see `RunResult.raise_for_failure`.

        Raises:
            GraphError: The graph is not valid.
            InputError: The inputs, targets or overrides do not fit it.
            StoreError: The store cannot be used; the run was cut off, and can be resumed.
            RunBusy: Another process drives this run.
            RunExists: There is such a run, with other inputs.
            GraphChanged: The code has changed since a part of the run was finished.
        """
        from penstock import wiring

        asked = request.of(self, inputs, targets, override, goes_on=run_id is not None)
        how = {**asked.how, "runner": runner, "options": options, "store": store, "run_id": run_id}
        return FlowResult(wiring.run(*asked.what, **how, hooks=tuple(self._hooks)), self)

    async def arun(
        self,
        /,
        *,
        store: StoreWord = None,
        run_id: str | None = None,
        targets: request.Targets = None,
        override: request.Override = None,
        runner: RunsOn = None,
        options: RunOptions | None = None,
        **inputs: Any,
    ) -> FlowResult:
        """The same as `run` on the running event loop: coroutine steps are tasks of that loop."""
        from penstock import wiring

        asked = request.of(self, inputs, targets, override, goes_on=run_id is not None)
        how = {**asked.how, "runner": runner, "options": options, "store": store, "run_id": run_id}
        return FlowResult(await wiring.arun(*asked.what, **how, hooks=tuple(self._hooks)), self)

    def start(
        self,
        /,
        *,
        store: StoreWord = None,
        run_id: str | None = None,
        targets: request.Targets = None,
        override: request.Override = None,
        runner: RunsOn = None,
        options: RunOptions | None = None,
        **inputs: Any,
    ) -> FlowHandle:
        """Starts a run and returns at once; arguments as of `run`.

        Returns:
            A handle: its events as they come, cancel, and the result.
        """
        from penstock import wiring

        asked = request.of(self, inputs, targets, override, goes_on=run_id is not None)
        how = {**asked.how, "runner": runner, "options": options, "store": store, "run_id": run_id}
        return FlowHandle(wiring.start(*asked.what, **how, hooks=tuple(self._hooks)), self)

    def run_with(
        self,
        inputs: Mapping[str, Any],
        *,
        targets: Sequence[str] | None = None,
        runner: str | None = None,
        options: RunOptions | None = None,
        store: StoreWord = None,
        run_id: str | None = None,
        target: str | None = None,
    ) -> RunResult:
        """The same as `run`, with the inputs as a mapping: what the command line calls. With the run it keeps
        the `target` that it was given."""
        from penstock import wiring

        asked = request.of(self, inputs, targets, None, goes_on=run_id is not None)
        how = {**asked.how, "runner": runner, "options": options, "store": store, "run_id": run_id}
        return FlowResult(wiring.run(*asked.what, **how, target=target, hooks=tuple(self._hooks)), self)


def _not_callable(function: Any) -> GraphError:
    if isinstance(function, Coroutine):
        function.close()
        name = getattr(function, "__name__", "it")
        return GraphError(f"a step is made of a function, and {name!r} was called; leave out the ()")
    what = repr(function) if isinstance(function, Source) else f"a value of type {type(function).__name__}"
    return GraphError(f"a step is made of a function, not of {what}")

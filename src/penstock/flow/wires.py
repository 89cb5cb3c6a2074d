"""Where each parameter of a step comes from: a marker, a name, a constant, or the inputs of the run.

It decides nothing about types (`edges.py`), nor about conditions (`conditions.py`), and makes no nodes of
steps (`binding.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from penstock.core.errors import GraphError
from penstock.core.model import NOTHING, Accepts, Need, Node

from .asked import Inputs
from .edges import Edges
from .markers import Fold, Lent, Marker, Param, Source, Use
from .pairs import fold_node, pair_up
from .signature import ABSENT, Parameter
from .step import AnyStep, FlowLike, Template
from .words import slot

if TYPE_CHECKING:
    from .resources import Lender

Wired = tuple[list[Need], tuple[tuple[str, str], ...], dict[str, Any] | None, str | None]
"""What a step takes: needs, pairs (parameter, input), constants, and the parameter of the `Context`."""

fast = tuple.__new__
"""Makes a named tuple of all its fields at half the price; the tests compare what it makes."""

_CONTAINERS = (list, tuple, dict, set)
_LOOK = 1000
"""How many elements of a constant are looked at, in search of misplaced markers."""


def identity(value: Any) -> Any:
    """What the node of an input calls."""
    return value


class Wires:
    """The state of one build.

    Attributes:
        flow: The flow that is built.
        steps: Its steps by id.
        nodes: The nodes so far.
        inputs: The inputs asked for so far.
        edges: The type checks of this build.
        by_name: Needs that a name alone made: (step, parameter, id of the source, whose it is), in order.
        mapped: Whether any step has an `each`.
        hidden: Ids of nodes that belong to a step without being it: of its folds, of its pairs.
        lender: Gives steps their resources; None as long as none takes any.
    """

    __slots__ = (
        "by_name", "edges", "flow", "hidden", "inputs", "lender", "mapped", "name", "nodes", "sources",
        "steps",
    )  # fmt: skip

    def __init__(self, name: str, flow: FlowLike, steps: Sequence[AnyStep]) -> None:
        self.name = name
        self.flow = flow
        self.steps = {step.id: step for step in steps}
        self.nodes: list[Node] = []
        self.inputs = Inputs(name, self.steps)
        self.edges = Edges()
        self.by_name: list[tuple[AnyStep, str, str, str]] = []
        self.mapped = False
        self.hidden: set[str] = set()
        self.lender: Lender | None = None
        self.sources: dict[str, Param[Any]] = {}

    def of(self, step: AnyStep) -> Wired:
        """All that a step takes. Inputs that it is the first to map over become nodes.

        Raises:
            GraphError: A marker, name or constant does not fit.
        """
        facts = step.facts
        if not facts.resolved:
            facts.resolve()
        bindings = step.bindings
        needs: list[Need] = []
        inputs: list[tuple[str, str]] = []
        bound: dict[str, Any] | None = None
        context: str | None = None
        for param in facts.params:
            value = bindings.get(param.name, ABSENT)
            if value is ABSENT:
                value = param.default
                if not isinstance(value, Marker):
                    if param.context:
                        if context is not None:
                            both = f"{context!r} and {param.name!r}"
                            raise GraphError(f"step {step.id!r}: {both} are both Contexts; one is enough")
                        context = param.name
                    elif not param.fixed:
                        self._by_name(step, param, needs, inputs)
                    continue
            if type(value) is Use and self._uses(step, param, value, needs):
                continue
            if isinstance(value, Marker):
                self.take(step, param, value, needs, inputs)
                continue
            bound = self._constant(step, param, value, bound)
        if facts.open:
            bound = self._extra(step, needs, inputs, bound)
        if "pair" in step.options:
            self._hide(step, *pair_up(step, needs))
        return needs, tuple(inputs), bound, context

    def _uses(self, step: AnyStep, param: Parameter, use: Use, needs: list[Need]) -> bool:
        """The same as `take`, for the marker that loops are made of; whether it is no more than that."""
        source = use.source
        if source.flow is not self.flow or source is step:
            return False
        if param.type is not None:
            self.edges.check(step, param, use, source)
        fields = (source.id, "use", param.name, param.accepts, NOTHING, None, "raise", 1, None)
        needs.append(fast(Need, fields))
        return True

    def take(
        self,
        step: AnyStep,
        param: Parameter,
        marker: Marker,
        needs: list[Need],
        inputs: list[tuple[str, str]],
        to: str | None = "",
    ) -> None:
        """Turns a marker into a need, or into an input where it is no more than one.

        Args:
            step: The step whose parameter it is.
            param: The parameter.
            marker: Where its value comes from.
            needs, inputs: Those of the step so far; the new one goes to one of them.
            to: What the need fills: the parameter, or None for one that only a condition wants.
        """
        source: Source[Any] = marker.source
        if source.lent:
            self.lend(step, param, marker, to)
            return
        name = param.name if to == "" else to
        if source.flow is not self.flow:
            if not isinstance(source, Param):
                raise self.foreign(step, param.name, source)
            if marker.word == "use" and marker.part is None:
                self.edges.check(step, param, marker, source)
                self.inputs.ask(source.id, step, param, source.type, source.default)
                inputs.append((param.name, source.id))
                return
            self._input_node(step, param, source)
        elif source is step:
            raise GraphError(
                f"step {step.id!r}: its parameter {param.name!r} takes {marker!r}: it would wait for itself"
            )
        accepts, default = marker.accepts, marker.default
        if isinstance(marker, Fold):
            self.edges.check_fold(step, param, marker, source)
            node = fold_node(step, param, marker)
            self._hide(step, node)
            needs.append(Need(node.id, "use", name, param.accepts, NOTHING))
            return
        if marker.how == "each":
            self.mapped = True
            for need in needs if "pair" not in step.options else ():
                if need.how == "each":
                    raise GraphError(
                        f"step {step.id!r}: its parameters {need.param!r} and {param.name!r} "
                        "are both each(), which leaves open how items pair;\n"
                        "say pair='zipped' or pair='product' on the step,\n"
                        f"or map over one and give the other whole: {param.name}=use({source.id})"
                    )
        elif accepts is Accepts.NOTHING:
            accepts = param.accepts
        self.edges.check(step, param, marker, source)
        needs.append(
            Need(
                node=source.id,
                how=marker.how,
                param=name,
                accepts=accepts,
                default=default,
                part=marker.part,
                failures=marker.failures,
                levels=marker.levels,
                key=marker.key,
            )
        )

    def lend(self, step: AnyStep, param: Parameter, marker: Marker, to: str | None = "") -> None:
        """Gives a parameter a resource; the arguments are those of `take`.

        Raises:
            GraphError: It cannot be given one.
        """
        if self.lender is None:
            from .resources import Lender

            self.lender = Lender(self)
        self.lender.give(step, param, marker, to)

    def _hide(self, step: AnyStep, *nodes: Node) -> None:
        """Adds nodes that a step needs beside itself.

        Raises:
            GraphError: One has the id of something else.
        """
        for node in nodes:
            if node.id in self.steps or node.id in self.hidden:
                raise GraphError(
                    f"step {step.id!r} brings a node of its own called {node.id!r}, "
                    "and there is a step of that name; rename that one"
                )
            self.hidden.add(node.id)
            self.nodes.append(node)

    def _by_name(
        self, step: AnyStep, param: Parameter, needs: list[Need], inputs: list[tuple[str, str]]
    ) -> None:
        """A parameter that nothing was said about: a step of its name, or else an input of the run."""
        name = param.name
        source = self.steps.get(name)
        if param.default is not ABSENT:
            _check_constant(step, name, param.default)
        if source is None:
            resource = self.flow.resources.get(name)
            if resource is not None:
                self.lend(step, param, Lent(resource))
                return
            self.inputs.ask(name, step, param, param.type, param.default)
            inputs.append((name, name))
            return
        needs.append(self.need_by_name(step, param, source))

    def need_by_name(self, step: AnyStep, param: Parameter, source: AnyStep, word: str = "") -> Need:
        """The need that a name makes: that of a parameter of the step, or of its `word` (``when``).

        Raises:
            GraphError: The step is itself the one of that name, or the types do not fit.
        """
        if source is step:
            raise GraphError(
                f"{slot(step, param.name)} has the step's own name, so it would wait for itself;\n"
                "rename the parameter, or the step with name='...'"
            )
        self.by_name.append((step, param.name, source.id, word))
        self.edges.check_by_name(step, param, source)
        return Need(source.id, "use", None if word else param.name, param.accepts, NOTHING)

    def _extra(
        self, step: AnyStep, needs: list[Need], inputs: list[tuple[str, str]], bound: dict[str, Any] | None
    ) -> dict[str, Any] | None:
        """Bindings that only ``**keywords`` can take."""
        for name, value in step.bindings.items():
            if name in step.facts.names:
                continue
            param = Parameter(name)
            if type(value) is Use and self._uses(step, param, value, needs):
                continue
            if isinstance(value, Marker):
                self.take(step, param, value, needs, inputs)
                continue
            bound = self._constant(step, param, value, bound)
        return bound

    def _constant(
        self, step: AnyStep, param: Parameter, value: Any, bound: dict[str, Any] | None
    ) -> dict[str, Any]:
        _check_constant(step, param.name, value)
        self.edges.constant(step, param, value)
        if bound is None:
            return {param.name: value}
        bound[param.name] = value
        return bound

    def _input_node(self, step: AnyStep, param: Parameter, source: Param[Any]) -> None:
        """An input that is mapped over, or taken apart, becomes a node that hands it on."""
        name = source.id
        self.inputs.ask(name, step, param, source.type, source.default)
        if name in self.steps:
            raise GraphError(
                f"{slot(step, param.name)} takes the input {name!r}, and a step has that name too; rename one"
            )
        if name not in self.sources:
            self.sources[name] = source
            self.nodes.append(
                Node(
                    id=name,
                    call=identity,
                    inputs=(("value", name),),
                    runner="inline",
                    doc="an input of the run",
                )
            )

    def foreign(self, step: AnyStep, param: str, source: Any) -> GraphError:
        """The error for a source that belongs to another flow."""
        where = param if param == "after" else f"its parameter {param!r}"
        mend = f"add its function to {self.name!r}"
        for id, part in self.flow.parts.items():
            if getattr(part, "inner", None) is source.flow:
                mend = f"that is in the sub-flow {id!r}, so say {id}[{source.id}]"
        return GraphError(
            f"step {step.id!r}: {where} takes step {source.id!r} of another flow, {source.flow.name!r}; "
            f"{mend}"
        )


def _check_constant(step: AnyStep, name: str, value: Any) -> None:
    """Refuses a constant that is a step, or holds a marker: the function would receive just that."""
    if isinstance(value, Template):
        raise GraphError(f"step {step.id!r}: {name}={value!r} is no step; flow.add() it, then use() it")
    if isinstance(value, Source) and value.lent:
        raise GraphError(f"step {step.id!r}: for the resource {value.id!r} say {name}=use({value.id})")
    if isinstance(value, Source):
        raise GraphError(
            f"step {step.id!r}: {name}={value.id} does not say what to take of it; "
            f"say {name}=use({value.id}), each({value.id}) or gather({value.id})"
        )
    if type(value) not in _CONTAINERS or not 0 < len(value) <= _LOOK:
        return
    for one in value.values() if type(value) is dict else value:
        if isinstance(one, (Marker, Source)):
            raise GraphError(
                f"{slot(step, name)} has {one!r} inside a {type(value).__name__}, where nothing fills it;\n"
                "give each marker a parameter of its own: a function with **values takes any number of them"
            )

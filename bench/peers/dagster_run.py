"""Dagster in one process: `python -m bench.peers.dagster_run SHAPE ephemeral|sqlite STEPS PATH`.

``ephemeral`` keeps its records in memory, ``sqlite`` in its usual files, with values in files too. A job's
steps are ops, of which a graph has many nodes; a map is its dynamic outputs. Its log is of errors only.
"""

# Dagster reads the types of functions, and wants them as types: no annotations from the future here.

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from typing import Any

from dagster import (
    DagsterInstance,
    DependencyDefinition,
    DynamicOut,
    DynamicOutput,
    FilesystemIOManager,
    GraphDefinition,
    In,
    JobDefinition,
    MultiDependencyDefinition,
    NodeInvocation,
    OpDefinition,
    OpExecutionContext,
    job,
    mem_io_manager,
    op,
)

from bench import graphs
from bench.floors import Dag
from bench.peers.apart import WARM_UP, Asked, asked, report


@op
def none() -> Any:
    return 1


@op
def one(x: Any) -> Any:
    return x + 1


@op
def two(x: Any, y: Any) -> Any:
    return (x + 2 * y + 1) & 0xFFFF


@op
def many(values: Any) -> Any:
    return sum(values)


KINDS = {
    graphs.SYNC.none: none,
    graphs.SYNC.one: one,
    graphs.SYNC.two: two,
    graphs.SYNC.many_by_position: many,
}


def graph(dag: Dag) -> JobDefinition:
    """A job with a node for each step."""
    ops, nodes = [], {}
    for step, needs in dag.needs.items():
        call = dag.calls[step]
        kind = sleeper(step, call) if isinstance(call, partial) else KINDS[call]
        ops.append(kind)
        wires: dict[str, Any] = {"xy"[at]: DependencyDefinition(need) for at, need in enumerate(needs[:2])}
        if kind is many or isinstance(call, partial):
            wires = {"values": MultiDependencyDefinition([DependencyDefinition(need) for need in needs])}
        nodes[NodeInvocation(kind.name, alias=step)] = wires if needs else {}
    made = GraphDefinition(
        "graph", node_defs=list({one.name: one for one in ops}.values()), dependencies=nodes
    )
    return made.to_job()


def sleeper(step: str, call: partial[float]) -> OpDefinition:
    """An op that sleeps."""

    @op(name=f"wait_{step}", ins={"values": In(default_value=[])})
    def compute(values: Any) -> Any:
        return call()

    return compute


@op(out=DynamicOut(), config_schema={"n": int})
def numbers(context: OpExecutionContext) -> Iterator[Any]:
    for value in graphs.numbers(context.op_config["n"]):
        yield DynamicOutput(value, mapping_key=str(value))


@job
def mapped() -> None:
    many(numbers().map(one).collect())


def run_of(asked_for: Asked, steps: int, **given: Any) -> Callable[[], Any]:
    """What runs a job, and gives what the run is checked by."""
    config: dict[str, Any] = {"loggers": {"console": {"config": {"log_level": "ERROR"}}}}
    if asked_for.shape == "map":
        config["ops"] = {"numbers": {"config": {"n": steps}}}
        return lambda: mapped.execute_in_process(config, **given).output_for_node("many")
    dag = graphs.dag(asked_for.shape, steps)
    made = graph(dag)

    def run() -> Any:
        result = made.execute_in_process(config, **given)
        return sum([result.output_for_node(step) for step in graphs.sinks(dag.needs)])

    return run


def main() -> None:
    asked_for = asked()
    folder = str(asked_for.path.parent)
    with ExitStack() as stack:
        if asked_for.how == "sqlite":
            kept = DagsterInstance.local_temp(folder, {"telemetry": {"enabled": False}})
            manager: Any = FilesystemIOManager(base_dir=folder)
        else:
            kept, manager = DagsterInstance.ephemeral(), mem_io_manager
        given = {"instance": stack.enter_context(kept), "resources": {"io_manager": manager}}
        run_of(asked_for, WARM_UP, **given)()
        report(asked_for, run_of(asked_for, asked_for.steps, **given), ("dagster",))


if __name__ == "__main__":
    main()

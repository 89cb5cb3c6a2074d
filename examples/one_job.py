"""One job in five vocabularies: an invoice, at a rate that the bank tells when it is asked twice.

python examples/one_job.py

It needs the extra [definitions]. The job is a diamond, the same each time: orders come first; then the rate
is asked for, with one more try, beside a count of the pieces; the invoice takes both.
"""

import asyncio
from typing import Any

from penstock import Flow, RetryPolicy
from penstock.dialects import definitions, steps
from penstock.dialects.pipelines import PipelineBuilder
from penstock.dialects.workflow import Workflow

busy = [ConnectionError("the line is busy")]  # what the bank says first


def get_orders() -> dict[str, int]:
    return {"pump": 2, "valve": 10}


def get_rate(orders: dict[str, int]) -> float:
    if busy:
        raise busy.pop()
    return 1.25


def get_count(orders: dict[str, int]) -> int:
    return sum(orders.values())


def get_invoice(rate: float, count: int) -> str:
    return f"{count} pieces at {rate} make {count * rate:.2f}"


# ----------------------------------------------------------------------------------------------------------
# Natively: parameters are edges
# ----------------------------------------------------------------------------------------------------------

flow = Flow("invoice")


@flow.step
def orders() -> dict[str, int]:
    return get_orders()


@flow.step(retry=RetryPolicy(max_attempts=2, initial_delay=0.01))
def rate(orders: dict[str, int]) -> float:
    return get_rate(orders)


@flow.step
def count(orders: dict[str, int]) -> int:
    return get_count(orders)


@flow.step
def invoice(rate: float, count: int) -> str:
    return get_invoice(rate, count)


def natively() -> str:
    return flow.run()[invoice]


# ----------------------------------------------------------------------------------------------------------
# Pipelines: stages, and one context
# ----------------------------------------------------------------------------------------------------------

pipeline = (
    PipelineBuilder("invoice", max_workers=2)
    .stage("orders", lambda context: get_orders())
    .stage("rate", lambda context: get_rate(context["stage_orders_output"]), ["orders"], retry_count=1)
    .stage("count", lambda context: get_count(context["stage_orders_output"]), ["orders"])
    .stage(
        "invoice",
        lambda context: get_invoice(context["stage_rate_output"], context["stage_count_output"]),
        ["rate", "count"],
    )
    .build()
)


def as_pipeline() -> Any:
    return pipeline.run().stages[-1].output


# ----------------------------------------------------------------------------------------------------------
# Definitions: stages that are objects, and results
# ----------------------------------------------------------------------------------------------------------


class Orders:
    async def execute(self, input: Any, context: definitions.PipelineContext) -> Any:
        return definitions.StageResult.success(get_orders())


class Rate:
    async def execute(self, input: Any, context: definitions.PipelineContext) -> Any:
        return definitions.StageResult.success(get_rate(input))


class Count:
    async def execute(self, input: Any, context: definitions.PipelineContext) -> Any:
        return definitions.StageResult.success(get_count(input))


class Invoice:
    async def execute(self, input: Any, context: definitions.PipelineContext) -> Any:
        return definitions.StageResult.success(get_invoice(**input))


once_more = definitions.RetryConfig(max_attempts=2, initial_delay_ms=10)
definition = definitions.PipelineDefinition(
    "invoice",
    [
        definitions.StageDefinition("orders", Orders()),
        definitions.StageDefinition("rate", Rate(), inputs=["orders"], retry_config=once_more),
        definitions.StageDefinition("count", Count(), inputs=["orders"]),
        definitions.StageDefinition("invoice", Invoice(), inputs=["rate", "count"]),
    ],
)


def as_definition() -> Any:
    return asyncio.run(definitions.PipelineExecutor().execute(definition)).outputs["invoice"]


# ----------------------------------------------------------------------------------------------------------
# Workflow: tasks, added in any order
# ----------------------------------------------------------------------------------------------------------

workflow = Workflow("invoice")
workflow.add_task("invoice", get_invoice, dependencies=["rate", "count"])
workflow.add_task("count", get_count, dependencies=["orders"])
workflow.add_task("rate", get_rate, dependencies=["orders"], retry_policy=RetryPolicy(2, 0.01))
workflow.add_task("orders", get_orders)


def as_workflow() -> Any:
    return workflow.run()["invoice"].value


# ----------------------------------------------------------------------------------------------------------
# Steps: functions under a decorator
# ----------------------------------------------------------------------------------------------------------

executor = steps.PipelineExecutor(steps.PipelineConfig(name="invoice"))
executor.step("orders")(get_orders)
executor.step("rate", depends_on=["orders"], retries=1, retry_delay=0.01)(get_rate)
executor.step("count", depends_on=["orders"])(get_count)
executor.step("invoice", depends_on=["rate", "count"])(get_invoice)


def as_steps() -> Any:
    return executor.run_sync()["invoice"].output


if __name__ == "__main__":
    for face in (natively, as_pipeline, as_definition, as_workflow, as_steps):
        busy[:] = [ConnectionError("the line is busy")]
        print(f"{face.__name__:<14} {face()}")

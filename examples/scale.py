"""How many tills does a shop need? Days of queueing, simulated. One file, from one process to a cluster:

    penstock run examples/scale.py
    penstock run examples/scale.py --runner processes --input days=500
    penstock run examples/scale.py --runner dask
    penstock run examples/scale.py --runner dask://127.0.0.1:8786

Nothing in it says where its steps run, and it comes to the same everywhere. It has a bit of all that a job
has: a stream, maps in maps, a part that is a flow of its own, what each worker opens once, a service that
answers only when it is asked again, a line that cannot be read, and a question that decides what is done.
"""

import asyncio
import heapq
from collections.abc import Iterator
from random import Random
from typing import NamedTuple

from penstock import Context, Flow, RetryPolicy, each, gather, optional, use

CROWDS = [12, 30, 55, 80, 95, 70, 60, 85, 110, 75, 40, 18]
"""Customers by the hour, as the counter at the door has written them down."""


class Hour(NamedTuple):
    """Customers of one hour of a day."""

    hour: int
    customers: int


class Day(NamedTuple):
    """How long customers waited on one day, in seconds."""

    customers: int
    mean: float
    longest: float


class Plan(NamedTuple):
    """What is to be expected of so many tills."""

    tills: int
    mean: float
    longest: float


# ----------------------------------------------------------------------------------------------------------
# One plan: many days with the same number of tills
# ----------------------------------------------------------------------------------------------------------

plan = Flow("plan")


@plan.resource(scope="worker")
def service_times() -> Iterator[list[float]]:
    """How long customers take at a till. Stands for what takes a while to load, such as a model."""
    random = Random(1909)
    yield sorted(random.lognormvariate(4, 0.6) for _ in range(10_000))


@plan.step
def seeds(days: int = 20) -> list[int]:
    return [1000 + day for day in range(days)]


@plan.step
def simulate(
    tills: int, crowds: list[Hour], service: list[float] = use(service_times), seed: int = each(seeds)
) -> Day:
    """One day: whoever comes goes to the till that is free first."""
    random = Random(seed)
    free_at = [0.0] * tills
    waits = []
    for hour, customers in crowds:
        for arrival in sorted(random.uniform(hour, hour + 1) * 3600 for _ in range(customers)):
            start = max(arrival, heapq.heappop(free_at))
            heapq.heappush(free_at, start + random.choice(service))
            waits.append(start - arrival)
    return Day(len(waits), sum(waits) / len(waits), max(waits))


@plan.step
def expect(context: Context, tills: int, days: list[Day] = gather(simulate)) -> Plan:
    mean = sum(day.mean for day in days) / len(days)
    context.log("a plan is done", tills=tills, days=len(days), mean=round(mean))
    return Plan(tills, round(mean, 1), round(max(day.longest for day in days), 1))


# ----------------------------------------------------------------------------------------------------------
# All of it
# ----------------------------------------------------------------------------------------------------------

flow = Flow("scale", doc="How many tills does a shop need?")


@flow.step
def lines(context: Context) -> Iterator[str]:
    """What the counter at the door has written, line by line. It was cleaned at noon."""
    for number, customers in enumerate(CROWDS):
        context.progress(number, len(CROWDS))
        yield f"{8 + number}:00 {customers}"
        if number == 4:
            yield "12:30 E-07"


@flow.step(optional=True)
def parse(line: str = each(lines)) -> Hour:
    """An hour. What is none fails this line, and nothing else."""
    time, count = line.split()
    return Hour(int(time.partition(":")[0]), int(count))


@flow.step(retry=RetryPolicy(max_attempts=3, initial_delay=0.01))
def growth(context: Context) -> float:
    """From a service that has to be asked twice."""
    if context.attempt == 1:
        raise ConnectionError("the line is busy")
    return 1.2


@flow.step(optional=True)
def weather() -> float:
    """From a service that has gone out of business."""
    raise LookupError("no such host")


@flow.step
async def holidays() -> list[int]:
    """Waits for others, so it is a coroutine, and stays on the run's event loop wherever the rest goes."""
    await asyncio.sleep(0)
    return [12, 13]


@flow.step
def crowds(
    growth: float,
    hours: list[Hour] = gather(parse, failures="drop"),
    busy: list[int] = use(holidays),
    weather: float | None = optional(weather, default=None),
) -> list[Hour]:
    """What is to be expected of a day before a holiday."""
    more = growth * (weather or 1.0)
    return [Hour(hour, round(count * more * (1.5 if hour in busy else 1))) for hour, count in hours]


@flow.step
def sizes(most: int = 5) -> list[int]:
    return list(range(1, most + 1))


plans = flow.add(plan, name="plans", tills=each(sizes), crowds=use(crowds))


@flow.step
def choose(plans: list[Plan] = gather(plans[expect]), patience: int = 120) -> Plan:
    """The smallest number of tills at which the mean wait is bearable, or else the largest."""
    return next((one for one in plans if one.mean <= patience), plans[-1])


@flow.step(when=lambda choose, patience: choose.mean > patience)
def warn(choose: Plan, patience: int = 120) -> str:
    return f"even {choose.tills} tills are too few: {choose.mean:.0f} s, and {patience} s are bearable"


@flow.step
def answer(choose: Plan, warn: str = "") -> str:
    return warn or f"{choose.tills} tills: {choose.mean:.0f} s on average, {choose.longest:.0f} s at worst"


if __name__ == "__main__":
    print(flow.run()[answer])

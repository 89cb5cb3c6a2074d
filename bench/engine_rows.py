"""Rows about other engines: Penstock on Dask and on Ray against their bare clients, on the same warm cluster.

The bare client submits each call by itself and collects the results, which is what a program does that has
its own graph. Where the engine has a way of its own to batch, there is a row for it, which only informs.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Any

from bench.measure import Line, Scale, compare
from penstock import Flow, dask, each, param, ray, use

WORKERS = 2
STEPS = 2_000
ITEMS = 20_000
CHAIN = 50
SECTION = "Other engines, beside the bare client"


def increased(x: int) -> int:
    return x + 1


def engines(scale: Scale) -> Iterator[Line]:
    """Dask and Ray, as far as they are installed."""
    few = scale.name == "quick"
    steps, items = (STEPS // 4, ITEMS // 8) if few else (STEPS, ITEMS)
    often, seldom = (1, 1) if few else (5, 2)  # 20,000 calls, each by itself, take Dask most of a minute
    for name, module, clients in (("Dask", "distributed", _on_dask), ("Ray", "ray", _on_ray)):
        if find_spec(module) is None:
            continue
        with clients() as (pool, bare):
            wide, mapped, chain = _wide(pool, steps), _map(pool, items), _chain(pool)
            yield _row(f"{name}: {steps:,} independent tiny steps", bare.each, wide, steps, often, 1 / 0.9)
            work = f"{name}: map of {items:,} tiny items"
            yield _row(work, bare.each, mapped, items, seldom, 1 / 5, 1 / 20)
            if bare.batched is not None:
                yield _row(f"{work}, beside {bare.how}", bare.batched, mapped, items, 1, None)
            yield _row(f"{name}: chain of {CHAIN}", bare.chain, chain, CHAIN, often, None)


def _row(
    work: str,
    bare: Callable[[int], Any],
    own: Callable[[], Any],
    many: int,
    pairs: int,
    must: float | None,
    aim: float | None = None,
) -> Line:
    own()  # the children of the workers start, and the pool learns how long a call takes
    return compare(
        SECTION,
        work,
        lambda: bare(many),
        own,
        steps=many,
        pairs=pairs,
        clock="wall",
        must=must,
        aim=aim,
        agree=lambda one, other: bool(one == other),
    )


class Bare:
    """What a program does that uses the engine by itself.

    Attributes:
        each: So many calls, each submitted by itself; their results.
        chain: So many calls, each of the result of the one before; the last result.
        batched: So many calls in batches that the engine makes; None if it makes none.
        how: What that is called.
    """

    def __init__(
        self,
        each: Callable[[int], list[int]],
        chain: Callable[[int], int],
        batched: Callable[[int], list[int]] | None = None,
        how: str = "",
    ) -> None:
        self.each = each
        self.chain = chain
        self.batched = batched
        self.how = how


class _on_dask:  # noqa: N801 - read as a with statement
    def __enter__(self) -> tuple[Any, Bare]:
        from distributed import Client, LocalCluster

        self.cluster = LocalCluster(
            n_workers=WORKERS, threads_per_worker=1, host="127.0.0.1", dashboard_address=None, silence_logs=50
        )
        self.client = client = Client(self.cluster, set_as_default=False)
        self.pool = dask(client)

        def each_alone(many: int) -> list[int]:
            found: list[int] = client.gather([client.submit(increased, x, pure=False) for x in range(many)])
            return found

        def batched(many: int) -> list[int]:
            found: list[int] = client.gather(client.map(increased, range(many), pure=False, batch_size=500))
            return found

        def chain(many: int) -> int:
            value = 0
            for _ in range(many):
                value = client.submit(increased, value, pure=False).result()
            return value

        return self.pool, Bare(each_alone, chain, batched, "client.map(batch_size=500)")

    def __exit__(self, *_: object) -> None:
        self.pool.close()
        self.client.close()
        self.cluster.close()


class _on_ray:  # noqa: N801 - read as a with statement
    def __enter__(self) -> tuple[Any, Bare]:
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
        import ray as engine

        engine.init(
            num_cpus=WORKERS,
            include_dashboard=False,
            log_to_driver=False,
            logging_level="ERROR",
            _node_ip_address="127.0.0.1",
        )
        self.engine, self.pool = engine, ray()
        task = engine.remote(increased)

        def each_alone(many: int) -> list[int]:
            found: list[int] = engine.get([task.remote(x) for x in range(many)])
            return found

        def chain(many: int) -> int:
            value: int = 0
            for _ in range(many):
                value = engine.get(task.remote(value))
            return value

        return self.pool, Bare(each_alone, chain)

    def __exit__(self, *_: object) -> None:
        self.pool.close()
        self.engine.shutdown()


def _wide(pool: Any, many: int) -> Callable[[], list[int]]:
    flow = Flow("wide")
    steps: list[Any] = [flow.add(increased, name=f"s{x}", bind={"x": x}) for x in range(many)]

    def run() -> list[int]:
        result = flow.run(runner=pool)
        return [result[step] for step in steps]

    return run


def _map(pool: Any, many: int) -> Callable[[], list[int]]:
    flow = Flow("map")
    step: Any = flow.add(increased, name="step", x=each(param("values", list)))
    return lambda: flow.run(runner=pool, values=list(range(many))).items(step)


def _chain(pool: Any) -> Callable[[], int]:
    flow = Flow("chain")
    last: Any = flow.add(increased, name="s0", x=0)
    for turn in range(1, CHAIN):
        last = flow.add(increased, name=f"s{turn}", x=use(last))
    return lambda: flow.run(runner=pool)[last]

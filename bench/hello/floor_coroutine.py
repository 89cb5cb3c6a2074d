import asyncio
from graphlib import TopologicalSorter


async def load():
    return [1, 2, 3]


async def double(values):
    return [value * 2 for value in values]


async def total(values):
    return sum(values)


CALLS = {"load": load, "double": double, "total": total}
NEEDS = {"load": (), "double": ("load",), "total": ("double",)}


async def main():
    values = {}
    sorter = TopologicalSorter(NEEDS)
    sorter.prepare()

    async def work(step):
        values[step] = await CALLS[step](*[values[need] for need in NEEDS[step]])
        sorter.done(step)
        for ready in sorter.get_ready():
            group.create_task(work(ready))

    async with asyncio.TaskGroup() as group:
        for ready in sorter.get_ready():
            group.create_task(work(ready))
    return values


print(asyncio.run(main())["total"])

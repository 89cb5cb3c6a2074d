from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from graphlib import TopologicalSorter


def load():
    return [1, 2, 3]


def double(values):
    return [value * 2 for value in values]


def total(values):
    return sum(values)


CALLS = {"load": load, "double": double, "total": total}
NEEDS = {"load": (), "double": ("load",), "total": ("double",)}

values = {}
running = {}
sorter = TopologicalSorter(NEEDS)
sorter.prepare()
with ThreadPoolExecutor(4) as pool:
    while sorter.is_active():
        for step in sorter.get_ready():
            running[pool.submit(CALLS[step], *[values[need] for need in NEEDS[step]])] = step
        for future in wait(running, return_when=FIRST_COMPLETED).done:
            step = running.pop(future)
            values[step] = future.result()
            sorter.done(step)

print(values["total"])

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
for step in TopologicalSorter(NEEDS).static_order():
    values[step] = CALLS[step](*[values[need] for need in NEEDS[step]])

print(values["total"])

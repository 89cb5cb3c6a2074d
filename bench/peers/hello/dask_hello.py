from dask.threaded import get


def load():
    return [1, 2, 3]


def double(values):
    return [value * 2 for value in values]


print(get({"load": (load,), "double": (double, "load"), "total": (sum, "double")}, "total"))

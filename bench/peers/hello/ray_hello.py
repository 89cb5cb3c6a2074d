import ray


@ray.remote
def load():
    return [1, 2, 3]


@ray.remote
def double(values):
    return [value * 2 for value in values]


@ray.remote
def total(values):
    return sum(values)


ray.init(include_dashboard=False, log_to_driver=False, logging_level="ERROR", _node_ip_address="127.0.0.1")
print(ray.get(total.remote(double.remote(load.remote()))))

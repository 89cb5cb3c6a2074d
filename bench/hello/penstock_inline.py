from penstock import Flow

flow = Flow("hello")


@flow.step
def load():
    return [1, 2, 3]


@flow.step
def double(load):
    return [value * 2 for value in load]


@flow.step
def total(double):
    return sum(double)


print(flow.run(runner="inline")[total])

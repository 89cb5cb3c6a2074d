from prefect import flow, task


@task
def load():
    return [1, 2, 3]


@task
def double(values):
    return [value * 2 for value in values]


@task
def total(values):
    return sum(values)


@flow
def hello():
    return total(double(load()))


print(hello())

from dagster import job, op


@op
def load():
    return [1, 2, 3]


@op
def double(values):
    return [value * 2 for value in values]


@op
def total(values):
    return sum(values)


@job
def hello():
    total(double(load()))


quiet = {"loggers": {"console": {"config": {"log_level": "ERROR"}}}}
print(hello.execute_in_process(quiet).output_for_node("total"))

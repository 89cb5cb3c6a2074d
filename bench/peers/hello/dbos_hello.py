from dbos import DBOS

DBOS(config={"name": "hello", "system_database_url": "sqlite:///hello.db", "log_level": "ERROR"})


@DBOS.step()
def load():
    return [1, 2, 3]


@DBOS.step()
def double(values):
    return [value * 2 for value in values]


@DBOS.step()
def total(values):
    return sum(values)


@DBOS.workflow()
def hello():
    return total(double(load()))


DBOS.launch()
print(hello())
DBOS.destroy()

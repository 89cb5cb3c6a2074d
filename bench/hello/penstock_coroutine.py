from penstock import Flow

flow = Flow("hello")


@flow.step
async def load():
    return [1, 2, 3]


@flow.step
async def double(load):
    return [value * 2 for value in load]


@flow.step
async def total(double):
    return sum(double)


print(flow.run()[total])

import time

from penstock import Flow, Timeout

flow = Flow("hung")


@flow.step(timeout=Timeout(attempt=0.2))
def asleep():
    time.sleep(3600)


print(flow.run().status.value)

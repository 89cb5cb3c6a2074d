import threading
import time


def asleep():
    time.sleep(3600)


thread = threading.Thread(target=asleep, daemon=True)
thread.start()
thread.join(0.2)
print("failed" if thread.is_alive() else "succeeded")

"""Resources: a pool of two connections, a share of the memory, and at most four calls a second."""

import threading
import time

from dirigent import Workflow

lock = threading.Lock()
connected = most_connected = 0


def query(number: int) -> int:
    global connected, most_connected
    with lock:
        connected += 1
        most_connected = max(most_connected, connected)
    time.sleep(0.05)
    with lock:
        connected -= 1
    return number


workflow = Workflow("pool", resources={"connections": 2, "memory_gb": 8, "api": "4/s"})
for number in range(6):
    workflow.add_task(f"query {number}", query, args=[number], pool="connections")
for number in range(3):
    workflow.add_task(f"sort {number}", lambda: time.sleep(0.05), resources={"memory_gb": 3.5})
for number in range(6):
    workflow.add_task(f"call {number}", lambda: None, pool="api", priority=1)

run = workflow.run_sync().raise_for_failures()
print("connections in use at once:", most_connected)

names, events = list(run.tasks), run.events()
for event in events:
    if event["kind"] == "attempt_started" and names[event["task"]].startswith("call"):
        print(f"{names[event['task']]} started after {event['at_ms'] - events[0]['at_ms']} ms")

"""Progress: told by a callback as it happens, and kept as events."""

from collections.abc import Mapping
from typing import Any

from dirigent import RetryPolicy, TaskContext, Workflow


def unsteady(context: TaskContext) -> None:
    if context.attempt == 1:
        raise TimeoutError("try again")


def tell(task: str, status: str, details: Mapping[str, Any]) -> None:
    print(f"{task}: {status} ({details['kind']})")


workflow = Workflow("progress", progress_callback=tell)
workflow.add_task("unsteady", unsteady, retry_policy=RetryPolicy(initial_delay=0.05))
workflow.add_map("squares", lambda number: number**2, over=[1, 2, 3], dependencies=["unsteady"])

# The other way: a handle, whose events can be iterated over while the run goes on.
handle = workflow.start()
kinds = [event["kind"] for event in handle.events()]
run = handle.wait()

print(f"{len(kinds)} events, from {kinds[0]} to {kinds[-1]}")
assert [event["kind"] for event in run.events()] == kinds
print(run.summary()["counts"])

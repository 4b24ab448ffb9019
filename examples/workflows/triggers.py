"""Triggers: after a failure nothing new starts but what waits for failures."""

from dirigent import Workflow


def load() -> None:
    raise OSError("the disk is full")


workflow = Workflow("triggers")
workflow.add_task("extract", lambda: [1, 2, 3])
workflow.add_task("load", load, dependencies=["extract"])
workflow.add_task("publish", lambda: "published", dependencies=["load"])
workflow.add_task("roll back", lambda: "rolled back", dependencies=["load"], trigger="any_failed")
workflow.add_task("tell", lambda: "told", dependencies=["publish", "roll back"], trigger="always")

run = workflow.run_sync()
for name, result in run.tasks.items():
    print(f"{name} {result.sentence}")

assert not run.ok
print("failed:", [result.name for result in run.failed])
print("values:", dict(run))

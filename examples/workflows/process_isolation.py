"""Process isolation: a function that takes its whole process down is a failed task, and nothing else."""

import os
import signal

from dirigent import Workflow


def crash() -> None:
    os.kill(os.getpid(), signal.SIGKILL)  # as the kernel does when memory has run out


def compute(limit: int) -> int:
    return sum(range(limit))


def where() -> int:
    return os.getpid()


# With fail_fast, nothing new would start after the crash.
workflow = Workflow("isolation", fail_fast=False)
workflow.add_task("crash", crash, isolation="process")
workflow.add_task("compute", compute, args=[1000], isolation="process")
workflow.add_task("elsewhere", where, isolation="process")
workflow.add_task("here", where)

run = workflow.run_sync()
print("crash:", run.tasks["crash"].error)
print("compute:", run["compute"])
assert run["here"] == os.getpid() != run["elsewhere"]
print("the program goes on")

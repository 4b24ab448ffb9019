"""Conditions: a task whose condition does not hold is skipped, with what depends on it, and the run is still a success."""

from collections.abc import Mapping

from dirigent import TaskResult, TaskSkippedError, Workflow


def count_orders() -> int:
    return 0


def print_invoices() -> None:
    raise AssertionError("there is nothing to print")


def post_invoices() -> None:
    raise AssertionError("there is nothing to post")


def there_are_orders(results: Mapping[str, TaskResult]) -> bool:
    return bool(results["orders"].value > 0)


workflow = Workflow("invoices")
workflow.add_task("orders", count_orders)
workflow.add_task("print", print_invoices, dependencies=["orders"], condition=there_are_orders)
workflow.add_task("post", post_invoices, dependencies=["print"])
workflow.add_task("close the day", lambda: "closed", dependencies=["post"], trigger="none_failed")

run = workflow.run_sync()
for name, result in run.tasks.items():
    print(f"{name} {result.sentence}")
print("ok:", run.ok)

try:
    print(run["post"])
except TaskSkippedError as error:
    print("a skipped task has no value:", error)

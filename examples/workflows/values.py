"""Values: a function gets what its dependencies returned, as parameters with their names."""

from dirigent import Workflow


def read() -> list[str]:
    return ["12.5", "oops", "3.5"]


def numbers(read: list[str]) -> list[float]:
    return [float(text) for text in read if text.replace(".", "", 1).isdigit()]


def report(read: list[str], numbers: list[float], unit: str) -> str:
    return f"{len(numbers)} of {len(read)} readings, {sum(numbers)} {unit} in all"


workflow = (
    Workflow("values")
    .add_task("read", read)
    .add_task("numbers", numbers, dependencies=["read"])
    .add_task("report", report, dependencies=["read", "numbers"], kwargs={"unit": "kWh"})
)

run = workflow.run_sync().raise_for_failures()
print(run["report"])
print(dict(run))

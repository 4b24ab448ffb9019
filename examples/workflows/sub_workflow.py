"""Sub-workflows: a workflow as one task of another, as often as wanted."""

from dirigent import Workflow


def region(name: str, sales: list[int]) -> Workflow:
    """What is done for every region."""
    workflow = Workflow(name)
    workflow.add_task("sales", lambda: sales)
    workflow.add_task("sum", lambda sales: sum(sales), dependencies=["sales"])
    workflow.add_task("best", lambda sales: max(sales), dependencies=["sales"])
    return workflow


def compare(north: dict[str, int], south: dict[str, int]) -> str:
    return "north" if north["sum"] > south["sum"] else "south"


workflow = Workflow("regions")
workflow.add_workflow("north", region("north", [4, 8, 1]))
workflow.add_workflow("south", region("south", [5, 5, 5]))
workflow.add_task("winner", compare, dependencies=["north", "south"])

run = workflow.run_sync().raise_for_failures()
print("winner:", run["winner"])
for name, value in run.items():
    print(f"{name}: {value}")

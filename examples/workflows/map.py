"""Fan-out and fan-in: one task for each file, however many there are, then one for all."""

from pathlib import Path

from dirigent import Workflow

HERE = Path(__file__).resolve().parent


def find() -> list[Path]:
    return sorted(HERE.glob("*.py"))


def count_lines(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


def table(files: list[Path], lines: list[int]) -> str:
    rows = [f"{count:5} {path.name}" for path, count in zip(files, lines, strict=True)]
    return "\n".join([*rows, f"{sum(lines):5} in all"])


workflow = Workflow("lines")
workflow.add_task("files", find)
workflow.add_map("lines", count_lines, over="files", limit=4)
workflow.add_task("table", table, dependencies=["files", "lines"])

run = workflow.run_sync().raise_for_failures()
print(run["table"])
print("one of the calls:", run.tasks["lines[0]"].name, "took", run.tasks["lines[0]"].execution_time, "s")

"""Commands: programs, lines of shell and scripts as tasks; their values are exit code and output."""

from pathlib import Path

from dirigent import CommandResult, Workflow

SCRIPTS = Path(__file__).resolve().parent.parent / "scripts"


def summary(numbers: CommandResult, search: CommandResult) -> str:
    count = len(numbers.stdout.split())
    found = "something" if search.exit_code == 0 else "nothing"
    return f"{count} numbers, and grep found {found}"


workflow = Workflow("commands", fail_fast=False)
# No shell reads this: $HOME stays as it is.
workflow.add_command("literal", ["echo", "$HOME", "*"])
workflow.add_shell("numbers", "seq $COUNT | sort -rn", env={"COUNT": "5"})
workflow.add_shell("search", "echo haystack | grep needle", allowed_exit_codes=[0, 1])
workflow.add_script("hello", SCRIPTS / "hello.py", env={"GREETING": "hello"}, timeout=30)
workflow.add_task("summary", summary, dependencies=["numbers", "search"])
workflow.add_shell("broken", "echo 'no such table' >&2; exit 3")

run = workflow.run_sync()
for name in ("literal", "numbers", "hello"):
    print(f"{name}: {run[name].stdout.split()}")
print("summary:", run["summary"])

broken = run.tasks["broken"]
assert broken.log is not None
print("broken", broken.sentence, "and said:", (broken.log / "stderr.log").read_text().strip())

"""Teardown: what was set up is taken down, whether the work in between succeeded, failed or was cancelled."""

import shutil
import tempfile
from pathlib import Path

from dirigent import Workflow


def set_up() -> Path:
    return Path(tempfile.mkdtemp(prefix="dirigent-example-"))


def work(folder: Path) -> None:
    (folder / "half.txt").write_text("half of it")
    raise RuntimeError("the other half is missing")


def take_down(folder: Path) -> str:
    left = [path.name for path in folder.iterdir()]
    shutil.rmtree(folder)
    return f"removed {folder.name} with {left}"


workflow = Workflow("teardown")
workflow.add_task("folder", set_up)
workflow.add_task("work", work, dependencies=["folder"])
workflow.add_task("take down", take_down, dependencies=["folder", "work"], teardown=True)
# Without dependencies: when all tasks have ended that clean nothing up.
workflow.add_task("goodbye", lambda: "everything has ended", teardown=True)

run = workflow.run_sync()
print("work", run.tasks["work"].sentence)
print(run["take down"])
print(run["goodbye"])
assert not run["folder"].exists()

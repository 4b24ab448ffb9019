"""What need not be done again: a task with a cache runs when its code, its arguments, what it needs or its files change."""

import tempfile
from pathlib import Path

from dirigent import Cache, Workflow

FOLDER = Path(tempfile.mkdtemp(prefix="dirigent-example-"))
SOURCE, SORTED = FOLDER / "words.txt", FOLDER / "sorted.txt"


def longest(order: object) -> str:
    return max(SORTED.read_text(encoding="utf-8").split(), key=len)


def words() -> Workflow:
    wf = Workflow("words")
    wf.add_command(
        "order",
        ["sort", "-o", str(SORTED), str(SOURCE)],
        cache=Cache(inputs=[SOURCE], outputs=[SORTED]),
    )
    return wf.add_task("longest", longest, ["order"], cache=Cache(inputs=[SORTED]))


for text in ("pear\napple\n", "pear\napple\n", "pear\nfig\n"):
    SOURCE.write_text(text, encoding="utf-8")
    run = words().run_sync().raise_for_failures()
    told = ", ".join(
        f"{name} {'ran' if result.attempts else 'was known'}" for name, result in run.tasks.items()
    )
    print(f"{text.split()}: the longest is {run['longest']} ({told})")

"""Coroutines: they run on the loop that awaits the run, many at once; plain functions run in threads beside it."""

import asyncio
import time

from dirigent import Workflow


async def fetch(number: int) -> int:
    await asyncio.sleep(0.2)  # stands for a request
    return number * number


def total(squares: list[int]) -> int:
    return sum(squares)


async def main() -> None:
    workflow = Workflow("async", max_concurrency=100)
    workflow.add_map("squares", fetch, over=range(100))
    workflow.add_task("total", total, dependencies=["squares"])

    since = time.monotonic()
    run = await workflow.run()
    seconds = time.monotonic() - since
    print(f"a hundred requests of 0.2 s took {seconds:.1f} s; the total is {run['total']}")


asyncio.run(main())

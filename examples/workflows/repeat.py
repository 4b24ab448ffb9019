"""Repeating: a task is carried out again until its value is what was waited for."""

from itertools import count

from dirigent import Workflow

states = iter(["queued", "running", "running", "done"])
guesses = count()

workflow = Workflow("repeat", fail_fast=False)
workflow.add_task(
    "job",
    lambda: next(states),
    repeat_until=lambda state: state == "done",
    repeat_delay=0.05,
    max_repeats=10,
)
workflow.add_task("hopeless", lambda: next(guesses), repeat_until=lambda guess: guess < 0, max_repeats=3)

run = workflow.run_sync()
print(f"the job is {run['job']} after {run.tasks['job'].attempts} looks")
print(f"hopeless: {run.tasks['hopeless'].status} after {run.tasks['hopeless'].attempts}")

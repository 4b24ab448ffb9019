"""Tasks that consist of tasks: what takes their place when their turn comes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from dirigent._carry import HANDED_ON

if TYPE_CHECKING:
    from dirigent._context import Attempt
    from dirigent._workflow import Workflow

Carry = Callable[["Attempt", Any, Any, Any], object]


def into_workflow(workflow: Workflow) -> Carry:
    """The tasks of a workflow take the place of one task, under longer names."""

    def carry(around: Attempt, *_: Any) -> object:
        # In a workflow that is a task of another, it has a longer name than where it was declared.
        plan = workflow._plan.prefixed(f"{around.session.name(around.task)}/")
        around.session.expand(around.task, around.attempt, plan, False)
        return HANDED_ON

    return carry


def into_calls(
    outer: Workflow, name: str, action: Callable[..., object], over: str | list[object], every: dict[str, Any]
) -> Carry:
    """Calls of a function take the place of one task, one for each item; ``over`` may name the task whose value they are."""

    def carry(around: Attempt, _function: Any, _args: Any, values: Any) -> object:
        from dirigent._workflow import Workflow

        items = list(values[over]) if isinstance(over, str) else over
        own = around.session.name(around.task)
        inner = Workflow(name).like(outer)
        for number, item in enumerate(items):
            inner.add_task(f"{own}[{number}]", action, args=(item,), **every)
        around.session.expand(around.task, around.attempt, inner._plan, True)
        return HANDED_ON

    return carry

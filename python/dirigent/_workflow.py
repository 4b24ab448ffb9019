"""Declaring a workflow: tasks, what they need, and under which conditions they run."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dirigent import _native
from dirigent._options import (
    OF_CALLS,
    OF_COMMANDS,
    OUTPUT_LIMIT_BYTES,
    PARTS,
    SCHEDULING,
    Condition,
    RetryPolicy,
    Task,
    did_you_mean,
    environment,
    interpreter,
    misused,
    no_more,
    only,
    policy_of,
    resource,
    seconds,
    secret_variables,
)
from dirigent._runnable import Runnable

if TYPE_CHECKING:
    from dirigent._run import RunHandle

Progress = Callable[[str, str, Mapping[str, Any]], object]


#: Commands at once where nobody says otherwise.
_CORES = os.cpu_count() or 1
_NOTHING: Mapping[int, int] = {}


class Workflow(Runnable):
    """A named graph of tasks.

    Adding is immediate, checking is early: a wrong option raises here, a wrong name or a cycle before anything runs.

    >>> wf = Workflow("sum")
    >>> _ = wf.add_task("one", lambda: 1)
    >>> _ = wf.add_task("two", lambda one: one + 1, dependencies=["one"])
    >>> run = wf.run_sync()
    >>> run["two"]
    2

    Args:
        name: What it is called in reports.
        timeout: Seconds for a whole run; ``None`` for no limit.
        fail_fast: After a failure start nothing new but what waits for failures.
        progress_callback: Called with a task's name, its new status and details, in order, on a thread of its own. What it
            raises does not hurt the run.
        max_concurrency: How many tasks run at once; by default 32, or 1000 where all functions are coroutine functions,
            and as many commands as there are cores.
        resources: What there is only so much of, by name: ``{"cpu": 4, "mem_mb": 8000, "api": "10/s"}``. A task says
            with ``resources`` or ``pool`` what it takes while it runs; of a rate it takes for good.
        secrets: Values by name that are recorded nowhere: commands get those they name, and ``***`` stands wherever
            a task prints one.
    """

    def __init__(
        self,
        name: str,
        timeout: float | None = None,
        fail_fast: bool = True,
        progress_callback: Progress | None = None,
        max_concurrency: int | None = None,
        *,
        resources: Mapping[str, float | str] | None = None,
        secrets: Mapping[str, str] | None = None,
    ) -> None:
        if max_concurrency is not None and max_concurrency < 1:
            raise misused(f"max_concurrency is 1 or more, not {max_concurrency}")
        self.name = name
        self.timeout = seconds(timeout, "timeout")
        self.fail_fast = fail_fast
        self.progress_callback = progress_callback
        self.max_concurrency = max_concurrency
        self.secrets = None if secrets is None else _native.Secrets(dict(secrets))
        self._plan = _native.Plan()
        self._tasks: dict[str, Task] = {}
        self._policies: dict[object, int] = {}
        self._functions: dict[int, tuple[int, str | None]] = {}
        # The first is there in every workflow, so that places are the same in those that are put into others.
        commands = _CORES if max_concurrency is None else max_concurrency
        self._resources = [resource("(commands)", commands)]
        self._resources += [resource(name, amount) for name, amount in (resources or {}).items()]
        self._places = {resource["name"]: place for place, resource in enumerate(self._resources)}
        self._has_threads = False
        self._has_loop = False
        self._inner: list[Workflow] = []
        self._running: RunHandle | None = None

    # --- declaring ---

    def add_task(
        self,
        name: str,
        action: Callable[..., object],
        dependencies: Sequence[str] = (),
        args: Sequence[object] = (),
        kwargs: Mapping[str, object] | None = None,
        timeout: float | None = None,
        retry_policy: RetryPolicy | None = None,
        condition: Condition | None = None,
        transform_result: Callable[[Any], object] | None = None,
        tags: Iterable[str] = (),
        metadata: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> Workflow:
        """Add a task that calls a function and return the workflow, so that calls chain.

        Args:
            name: Unique in this workflow.
            action: A function or coroutine function. It gets the values of its dependencies as keyword arguments named
                after them, where it has such parameters, and a :class:`TaskContext` as the parameter annotated with it.
            dependencies: Names of tasks that must complete first; they may be added later.
            args: Positional arguments.
            kwargs: Keyword arguments.
            timeout: Seconds for one attempt; ``None`` for no limit.
            retry_policy: How often and how far apart to try again; ``None`` for one attempt.
            condition: Called with the results of the run so far once the dependencies are done; the task is skipped
                where it returns false, and fails where it raises.
            transform_result: Called with what the function returned; the task's value is what this returns.
            tags: Words to find the task by.
            metadata: Whatever its author wants to keep with it.
            **options: ``cache``: ``True`` or a :class:`Cache`, where it need not run again while nothing changes;
                ``trigger``, ``priority``, ``pool``, ``resources``, ``teardown``, ``isolation``, ``repeat_until``,
                ``max_repeats``, ``repeat_delay``: see :meth:`add_command` and the documentation.

        Raises:
            DuplicateTaskError: The name is taken (code ``workflow.duplicate_task``).
            UsageError: An option makes no sense, or is none.
            TypeError: The action cannot be called.
        """
        if isinstance(args, str):
            raise misused("args is a list of arguments, not a text", f"write [{args!r}]")
        if options.get("isolation") == "process":
            function = self._function(action, isolated=True)
        else:
            function = self._functions.get(id(action)) or self._function(action)
        number, context_parameter = function
        if (
            timeout is None
            and retry_policy is None
            and condition is None
            and transform_result is None
            and not options
            and context_parameter is None
        ):
            policy, extras = self._policies.get(None), None
            if policy is None:
                policy = self._policy(None, {})
        else:
            task = Task(
                name,
                action,
                dependencies=dependencies,
                timeout=seconds(timeout, "timeout"),
                retry_policy=retry_policy,
                condition=condition,
                transform_result=transform_result,
                tags=tags,
                metadata=metadata,
            )
            task.context_parameter = context_parameter
            policy = self._options(task, options)
            no_more(options)
            extras = task
        self._plan.add_function(
            name,
            dependencies or None,
            number,
            tuple(args) if args else None,
            dict(kwargs) if kwargs else None,
            policy,
            extras,
        )
        if extras is not None:
            self._tasks[name] = extras
        elif tags or metadata:
            self._tasks[name] = Task(name, action, dependencies=dependencies, tags=tags, metadata=metadata)
        return self

    def add_tasks(self, tasks: Iterable[tuple[str, Callable[..., object], Sequence[str]]]) -> Workflow:
        """Add many tasks at once, each as ``(name, action, dependencies)``: the quick way to a big graph.

        Raises:
            DuplicateTaskError: A name is taken; the tasks before it were added.
            UsageError: A function wants a :class:`TaskContext`: add such a task by itself.
        """
        rows = list(tasks)
        numbers: dict[int, int] = {}
        for action in {id(row[1]): row[1] for row in rows}.values():
            number, context_parameter = self._functions.get(id(action)) or self._function(action)
            if context_parameter is not None:
                raise misused("a function that wants a TaskContext is added with add_task")
            numbers[id(action)] = number
        policy = self._policies.get(None)
        self._plan.add_functions(rows, numbers, self._policy(None, {}) if policy is None else policy)
        return self

    def add_command(
        self,
        name: str,
        argv: Sequence[str | os.PathLike[str]],
        dependencies: Sequence[str] = (),
        *,
        cwd: str | os.PathLike[str] | None = None,
        env: Mapping[str, str | None] | None = None,
        secrets: Iterable[str] | Mapping[str, str] = (),
        timeout: float | None = None,
        retry_policy: RetryPolicy | None = None,
        condition: Condition | None = None,
        allowed_exit_codes: Iterable[int] = (0,),
        memory_limit_mb: int | None = None,
        tags: Iterable[str] = (),
        metadata: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> Workflow:
        """Add a task that runs a program. Its value is a :class:`CommandResult`.

        Args:
            name: Unique in this workflow.
            argv: The program and its arguments, which no shell sees.
            dependencies: Names of tasks that must complete first.
            cwd: The working directory; by default the one the workflow is declared in.
            env: Variables to set, or to remove where the value is ``None``.
            secrets: The workflow's secrets that it gets as variables: their names, or variables with the names of theirs.
            timeout: Seconds for one attempt, after which its whole process tree is ended.
            retry_policy: How often and how far apart to try again.
            condition: As in :meth:`add_task`.
            allowed_exit_codes: Exit codes that count as success.
            memory_limit_mb: How much memory its process tree may use, in MiB.
            tags: Words to find the task by.
            metadata: Whatever its author wants to keep with it.
            **options: ``trigger``: when it starts, as its dependencies end (``all_success``, ``all_done``,
                ``any_success``, ``any_failed``, ``none_failed``, ``always``); ``priority``: of the tasks that could
                start, those with more go first; ``pool`` or ``resources``: what it takes of the workflow's resources;
                ``teardown``: it runs when its dependencies (without any: all other tasks) have ended, whatever happened.

        Raises:
            DuplicateTaskError: The name is taken.
            UsageError: An option makes no sense, or is none.
        """
        if isinstance(argv, str):
            raise misused("argv is a list of words, not a line", f"write {argv.split()!r}, or use add_shell")
        words = [os.fspath(word) for word in argv]
        if not words or not words[0]:
            raise misused(f"the command of task `{name}` is empty")
        hidden = secret_variables(self.name, name, secrets, self.secrets)
        codes = list(allowed_exit_codes)
        task, policy = self._process(
            name,
            words,
            dependencies,
            timeout,
            retry_policy,
            condition,
            codes,
            memory_limit_mb,
            tags,
            metadata,
            options,
        )
        folder = os.path.abspath(cwd) if cwd is not None else os.getcwd()
        self._plan.add_command(
            name, dependencies or None, words, folder, environment(env), hidden, policy, task
        )
        self._tasks[name] = task
        return self

    def add_shell(self, name: str, line: str, dependencies: Sequence[str] = (), **options: Any) -> Workflow:
        """Add a task that runs a line of shell, with ``/bin/sh``. Options are those of :meth:`add_command`.

        What goes into the line is read by the shell: values from elsewhere belong into ``env``.
        """
        return self.add_command(name, ["/bin/sh", "-c", line], dependencies, **options)

    def add_script(
        self,
        name: str,
        path: str | os.PathLike[str],
        dependencies: Sequence[str] = (),
        args: Sequence[str] = (),
        *,
        cwd: str | os.PathLike[str] | None = None,
        env: Mapping[str, str | None] | None = None,
        secrets: Iterable[str] | Mapping[str, str] = (),
        timeout: float | None = None,
        retry_policy: RetryPolicy | None = None,
        condition: Condition | None = None,
        allowed_exit_codes: Iterable[int] = (0,),
        memory_limit_mb: int | None = None,
        tags: Iterable[str] = (),
        metadata: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> Workflow:
        """Add a task that runs a script: Python with this interpreter, shell with ``sh``, others by their first line.

        Options are those of :meth:`add_command`.
        """
        file = os.path.abspath(path)
        if not os.path.isfile(file):
            raise misused(f"the script of task `{name}` is not there: {file}")
        hidden = secret_variables(self.name, name, secrets, self.secrets)
        codes = list(allowed_exit_codes)
        task, policy = self._process(
            name,
            file,
            dependencies,
            timeout,
            retry_policy,
            condition,
            codes,
            memory_limit_mb,
            tags,
            metadata,
            options,
        )
        folder = os.path.abspath(cwd) if cwd is not None else os.getcwd()
        argv = [*interpreter(file), file, *args]
        variables = environment(env)
        self._plan.add_script(name, dependencies or None, file, argv, folder, variables, hidden, policy, task)
        self._tasks[name] = task
        return self

    def add_workflow(
        self, name: str, workflow: Workflow, dependencies: Sequence[str] = (), **options: Any
    ) -> Workflow:
        """Add a task that is a workflow of its own. Its value is a dictionary of its tasks' values.

        Its tasks are named ``name/task`` in the run. They share the limits of the run; the inner workflow's own
        ``timeout``, ``max_concurrency`` and ``resources`` are those of runs of its own, and do not count here.
        """
        only("a task that is a workflow", options, SCHEDULING)
        if self in workflow._all_inner():
            raise misused(f"workflow `{workflow.name}` cannot be a task of itself")
        if len(workflow._resources) > 1:
            raise misused(
                f"workflow `{workflow.name}` has resources of its own: give them to the outer workflow"
            )

        from dirigent._expand import into_workflow

        workflow.validate()
        if workflow.secrets is not None:
            own, inner = {} if self.secrets is None else self.secrets.reveal(), workflow.secrets.reveal()
            other = next((it for it in inner if own.get(it, inner[it]) != inner[it]), None)
            if other is not None:
                raise misused(
                    f"workflow `{workflow.name}` has another secret `{other}`: give one another name"
                )
            self.secrets = _native.Secrets({**own, **inner})
        self._inner.append(workflow)
        self._has_loop |= workflow._has_loop
        whole = {"of": "workflow"}
        return self._expanding(
            name, workflow, into_workflow(workflow), dependencies, options, workflow, whole
        )

    def add_map(
        self,
        name: str,
        action: Callable[..., object],
        over: str | Iterable[object],
        dependencies: Sequence[str] = (),
        *,
        kwargs: Mapping[str, object] | None = None,
        timeout: float | None = None,
        retry_policy: RetryPolicy | None = None,
        limit: int | None = None,
        **options: Any,
    ) -> Workflow:
        """Add a task that calls a function once for each item, each call a task of its own. Its value is the list of theirs.

        Args:
            name: Unique in this workflow; the calls are named ``name[0]``, ``name[1]`` and so on.
            action: A function of one argument, the item.
            over: The items, or the name of the task whose value they are; they are counted when that has completed.
            dependencies: Names of further tasks that must complete first.
            kwargs: Further keyword arguments of every call.
            timeout: Seconds for one attempt of one call.
            retry_policy: How often and how far apart to try one call again.
            limit: How many calls run at once.
            **options: As in :meth:`add_command`.
        """
        needs = [over, *dependencies] if isinstance(over, str) else list(dependencies)
        items: str | list[object] = over if isinstance(over, str) else list(over)
        if limit is not None:
            place = f"{name}[]"
            self._places[place] = len(self._resources)
            self._resources.append(resource(place, limit))
        self._function(action)

        from dirigent._expand import into_calls

        only("a map", options, (*SCHEDULING, *OF_CALLS))
        every: dict[str, Any] = {"kwargs": kwargs, "timeout": timeout, "retry_policy": retry_policy}
        every |= {option: options.pop(option) for option in OF_CALLS if option in options}
        if limit is not None:
            every["resources"] = {**every.get("resources", {}), f"{name}[]": 1}
        self.__class__("a try").like(self).add_task(name, action, args=(None,), **every)
        carry = into_calls(self, name, action, items, every)
        whole = {"of": "items"} if isinstance(items, str) else {"of": "items", "count": len(items)}
        return self._expanding(name, action, carry, needs, options, (action, items, kwargs), whole)

    def add_approval(
        self,
        name: str,
        prompt: str,
        dependencies: Sequence[str] = (),
        timeout: float | None = None,
        **options: Any,
    ) -> Workflow:
        """Add a task that waits until somebody answers: :meth:`RunHandle.approve` or :meth:`RunHandle.reject`.

        It takes no slot. Rejected it fails; unanswered after ``timeout`` seconds it has run out of time.
        """
        only("an approval", options, SCHEDULING)
        condition = options.pop("condition", None)
        limit = seconds(timeout, "timeout")
        task = Task(name, prompt, dependencies=dependencies, timeout=limit, condition=condition)
        policy = self._options(task, options)
        no_more(options)
        extras = task if task.condition is not None else None
        self._plan.add_approval(name, dependencies or None, prompt, policy, extras)
        self._tasks[name] = task
        return self

    # --- looking ---

    @property
    def tasks(self) -> dict[str, Task]:
        """The tasks by name, in the order in which they were added."""
        for name in self._plan.names():
            if name not in self._tasks:
                action, needs = self._plan.action(name), self._plan.needs(name) or ()
                self._tasks[name] = Task(name, action, dependencies=needs)
        return {name: self._tasks[name] for name in self._plan.names()}

    def __len__(self) -> int:
        return len(self._plan)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name in self._plan

    def __repr__(self) -> str:
        return f"Workflow({self.name!r}, {len(self)} tasks)"

    def validate(self) -> None:
        """Check the whole; a run does so first.

        Raises:
            CycleError: Tasks wait for each other; the message and ``cycle`` name the shortest circle.
            UnknownTaskError: A dependency is no task; the message says which one was probably meant.
            WorkflowError: A task is triggered by failures and has no dependencies (code ``workflow.never_starts``).
        """
        self._plan.validate()

    # --- inside ---

    def _function(self, action: Callable[..., object], isolated: bool = False) -> tuple[int, str | None]:
        from dirigent._signature import look_at

        if not callable(action):
            raise TypeError(f"an action is a function, not {action!r}")
        looked = look_at(action)
        # In a process of its own a coroutine function has a loop of its own.
        is_on_loop = looked.is_async and not isolated
        number = self._plan.function(action, looked.shown, looked.parameters, is_on_loop)
        self._has_loop |= is_on_loop
        self._has_threads |= not is_on_loop
        found = (number, looked.context_parameter)
        if not isolated:
            # The plan keeps the function, so that its id stays its own.
            self._functions[id(action)] = found
        return found

    def _process(
        self,
        name: str,
        action: object,
        dependencies: Sequence[str],
        timeout: float | None,
        retry_policy: RetryPolicy | None,
        condition: Condition | None,
        codes: list[int],
        memory_limit_mb: int | None,
        tags: Iterable[str],
        metadata: Mapping[str, Any] | None,
        options: dict[str, Any],
    ) -> tuple[Task, int]:
        task = Task(
            name,
            action,
            dependencies=dependencies,
            timeout=seconds(timeout, "timeout"),
            retry_policy=retry_policy,
            condition=condition,
            tags=tags,
            metadata=metadata,
        )
        only("a command", options, OF_COMMANDS)
        memory = None if memory_limit_mb is None else memory_limit_mb << 20
        more = {"memory_bytes": memory, "output_bytes": OUTPUT_LIMIT_BYTES}
        policy = self._options(task, options, {0: PARTS}, allowed_exit_codes=codes, **more)
        no_more(options)
        return task, policy

    def _expanding(
        self,
        name: str,
        action: object,
        carry: Callable[..., Any],
        dependencies: Sequence[str],
        options: dict[str, Any],
        made_of: object,
        whole: Mapping[str, object],
    ) -> Workflow:
        task = Task(name, action, dependencies=dependencies, condition=options.pop("condition", None))
        task.carry, task.made_of = carry, made_of
        policy = self._options(task, options, whole=whole)
        no_more(options)
        anything = self._plan.function(_nothing, getattr(action, "__qualname__", name), None, False)
        self._plan.add_function(name, dependencies or None, anything, None, None, policy, task)
        self._tasks[name] = task
        return self

    def like(self, other: Workflow) -> Workflow:
        """Take the resources of another workflow for one's own, and return the workflow."""
        self._places, self._resources = other._places, other._resources
        return self

    def _all_inner(self) -> list[Workflow]:
        """This workflow and all that are tasks of it, however deep."""
        return [self, *(deeper for inner in self._inner for deeper in inner._all_inner())]

    def _options(
        self, task: Task, options: dict[str, Any], claimed: Mapping[int, int] = _NOTHING, **more: Any
    ) -> int:
        """Take the options that every kind of task has, and return the number of the policy they make."""
        claims = dict(claimed)
        if "pool" in options:
            claims[self._place(task, options.pop("pool"))] = PARTS
        for name, amount in options.pop("resources", {}).items():
            claims[self._place(task, name)] = round(amount * PARTS)
        for place, amount in claims.items():
            most = self._resources[place]["capacity"]
            if amount > most:
                name = self._resources[place]["name"]
                wanted = f"{amount / PARTS:g} of `{name}`"
                raise misused(f"task `{task.name}` wants {wanted}, and there is only {most / PARTS:g}")
        policy = policy_of(task, options, claims, more)
        return self._policy(json.dumps(policy), policy)

    def _place(self, task: Task, name: str) -> int:
        place = self._places.get(name)
        if place is None:
            hint = did_you_mean(name, self._places)
            raise misused(f"task `{task.name}` wants `{name}`, which is no resource of this workflow", hint)
        return place

    def _policy(self, key: str | None, policy: dict[str, Any]) -> int:
        number = self._policies.get(key)
        if number is None:
            whole = {"limits": {"grace_ms": 5000}, "lost_attempts_allowed": 2, **policy}
            number = self._policies[key] = self._plan.policy(json.dumps(whole))
        return number


def _nothing(**_: object) -> None:
    """Stands for what is carried out by other tasks; takes the values of all dependencies."""

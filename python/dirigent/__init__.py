"""dirigent: scripts, commands and functions as one graph of tasks on your own machine.

Names are loaded when they are first used, so that the import itself costs next to nothing.
"""

from typing import TYPE_CHECKING

from dirigent._native import version as _version

if TYPE_CHECKING:
    from dirigent import aio as aio
    from dirigent._attached import AttachedRun as AttachedRun
    from dirigent._context import TaskContext as TaskContext
    from dirigent._documentation import generate_script_documentation as generate_script_documentation
    from dirigent._errors import BusyError as BusyError
    from dirigent._errors import ConfigError as ConfigError
    from dirigent._errors import CycleError as CycleError
    from dirigent._errors import DirigentError as DirigentError
    from dirigent._errors import DuplicateTaskError as DuplicateTaskError
    from dirigent._errors import InternalError as InternalError
    from dirigent._errors import NotFoundError as NotFoundError
    from dirigent._errors import StorageError as StorageError
    from dirigent._errors import TaskCancelledError as TaskCancelledError
    from dirigent._errors import TaskError as TaskError
    from dirigent._errors import TaskFailedError as TaskFailedError
    from dirigent._errors import TaskInterrupt as TaskInterrupt
    from dirigent._errors import TaskSkippedError as TaskSkippedError
    from dirigent._errors import TaskTimeoutError as TaskTimeoutError
    from dirigent._errors import UnknownTaskError as UnknownTaskError
    from dirigent._errors import UntrustedError as UntrustedError
    from dirigent._errors import UsageError as UsageError
    from dirigent._errors import ValueNotKeptError as ValueNotKeptError
    from dirigent._errors import WorkerDiedError as WorkerDiedError
    from dirigent._errors import WorkflowChangedError as WorkflowChangedError
    from dirigent._errors import WorkflowError as WorkflowError
    from dirigent._flow import Flow as Flow
    from dirigent._flow import flow as flow
    from dirigent._flow import task as task
    from dirigent._function import run_function as run_function
    from dirigent._future import Future as Future
    from dirigent._guarded import retry as retry
    from dirigent._guarded import timeout as timeout
    from dirigent._history import RecordedRun as RecordedRun
    from dirigent._history import RecordedRuns as RecordedRuns
    from dirigent._history import attach as attach
    from dirigent._history import runs as runs
    from dirigent._magics import load_ipython_extension as load_ipython_extension
    from dirigent._options import Cache as Cache
    from dirigent._options import RetryPolicy as RetryPolicy
    from dirigent._options import Task as Task
    from dirigent._options import set_total_concurrency as set_total_concurrency
    from dirigent._pipe import pipe as pipe
    from dirigent._profile import Profile as Profile
    from dirigent._result import CommandResult as CommandResult
    from dirigent._result import TaskResult as TaskResult
    from dirigent._result import TaskStatus as TaskStatus
    from dirigent._run import Run as Run
    from dirigent._run import RunHandle as RunHandle
    from dirigent._scripts import SKIP_DIRS as SKIP_DIRS
    from dirigent._scripts import SKIP_PATTERNS as SKIP_PATTERNS
    from dirigent._scripts import discover_scripts as discover_scripts
    from dirigent._scripts import generate_report as generate_report
    from dirigent._scripts import get_script_config as get_script_config
    from dirigent._scripts import load_config as load_config
    from dirigent._scripts import run_orchestrator as run_orchestrator
    from dirigent._scripts import run_script as run_script
    from dirigent._scripts import save_log as save_log
    from dirigent._shortcuts import batch as batch
    from dirigent._shortcuts import chain_scripts as chain_scripts
    from dirigent._shortcuts import run as run
    from dirigent._shortcuts import shell as shell
    from dirigent._steps import Steps as Steps
    from dirigent._steps import chain as chain
    from dirigent._steps import fan_out_fan_in as fan_out_fan_in
    from dirigent._steps import parallel as parallel
    from dirigent._steps import step as step
    from dirigent._table import Table as Table
    from dirigent._workflow import Workflow as Workflow

__version__: str = _version()

_HOMES = {
    "_attached": ("AttachedRun",),
    "_context": ("TaskContext",),
    "_documentation": ("generate_script_documentation",),
    "_errors": (
        "BusyError",
        "ConfigError",
        "CycleError",
        "DirigentError",
        "DuplicateTaskError",
        "InternalError",
        "NotFoundError",
        "StorageError",
        "TaskCancelledError",
        "TaskError",
        "TaskFailedError",
        "TaskInterrupt",
        "TaskSkippedError",
        "TaskTimeoutError",
        "UnknownTaskError",
        "UntrustedError",
        "UsageError",
        "ValueNotKeptError",
        "WorkerDiedError",
        "WorkflowChangedError",
        "WorkflowError",
    ),
    "_flow": ("Flow", "flow", "task"),
    "_function": ("run_function",),
    "_future": ("Future",),
    "_guarded": ("retry", "timeout"),
    "_history": ("RecordedRun", "RecordedRuns", "attach", "runs"),
    "_magics": ("load_ipython_extension",),
    "_options": ("Cache", "RetryPolicy", "Task", "set_total_concurrency"),
    "_pipe": ("pipe",),
    "_profile": ("Profile",),
    "_result": ("CommandResult", "TaskResult", "TaskStatus"),
    "_run": ("Run", "RunHandle"),
    "_scripts": (
        "SKIP_DIRS",
        "SKIP_PATTERNS",
        "discover_scripts",
        "generate_report",
        "get_script_config",
        "load_config",
        "run_orchestrator",
        "run_script",
        "save_log",
    ),
    "_shortcuts": ("batch", "chain_scripts", "run", "shell"),
    "_steps": ("Steps", "chain", "fan_out_fan_in", "parallel", "step"),
    "_table": ("Table",),
    "_workflow": ("Workflow",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "SKIP_DIRS",
    "SKIP_PATTERNS",
    "BusyError",
    "CommandResult",
    "ConfigError",
    "CycleError",
    "DirigentError",
    "DuplicateTaskError",
    "Flow",
    "Future",
    "InternalError",
    "NotFoundError",
    "RetryPolicy",
    "Run",
    "RunHandle",
    "Steps",
    "StorageError",
    "Task",
    "TaskCancelledError",
    "TaskContext",
    "TaskError",
    "TaskFailedError",
    "TaskInterrupt",
    "TaskResult",
    "TaskSkippedError",
    "TaskStatus",
    "TaskTimeoutError",
    "UnknownTaskError",
    "UntrustedError",
    "UsageError",
    "WorkerDiedError",
    "Workflow",
    "WorkflowError",
    "__version__",
    "aio",
    "batch",
    "chain",
    "chain_scripts",
    "discover_scripts",
    "fan_out_fan_in",
    "flow",
    "generate_report",
    "generate_script_documentation",
    "get_script_config",
    "load_config",
    "parallel",
    "pipe",
    "retry",
    "run",
    "run_function",
    "run_orchestrator",
    "run_script",
    "save_log",
    "shell",
    "step",
    "task",
    "timeout",
]


def __getattr__(name: str) -> object:
    home = _HOME_OF.get(name)
    if name == "aio":
        return __import__("dirigent.aio", fromlist=[name])
    if home is None:
        raise AttributeError(f"module 'dirigent' has no attribute {name!r}")
    value = getattr(__import__(f"dirigent.{home}", fromlist=[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)

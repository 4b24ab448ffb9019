"""Retries: a service that is down twice. Each attempt has its number and its own log."""

from dirigent import RetryPolicy, TaskContext, Workflow


def fetch(context: TaskContext) -> str:
    # A service that remembers the key can tell a second try from a second order.
    print(f"attempt {context.attempt}, idempotency key {context.idempotency_key}")
    if context.attempt < 3:
        raise ConnectionError("the service is down")
    return "the answer"


patient = RetryPolicy(max_attempts=5, initial_delay=0.05, exponential_base=2, retry_on=(ConnectionError,))
run = Workflow("retry").add_task("fetch", fetch, retry_policy=patient).run_sync()

result = run.tasks["fetch"]
print(f"{result.value} after {result.attempts} attempts")
assert result.log is not None
for log in sorted(result.log.parent.glob("*/stdout.log")):
    print(f"logged by attempt {log.parent.name}: {len(log.read_text())} characters")

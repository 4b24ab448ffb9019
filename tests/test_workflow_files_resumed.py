"""Runs of workflow files whose engine is killed, asked to stop or answered while it is gone, and that go on afterwards."""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.children import DEADLINE_S, wait_for
from tests.oracle import check
from tests.workflow_files import Place


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.setenv("SIGNED", str(tmp_path / "signed"))
    monkeypatch.setenv("USER", "kim")
    return Place(tmp_path)


#: By this an attempt signs as the one that is carried out.
SIGN = 'echo "$DIRIGENT_IDEMPOTENCY_KEY $DIRIGENT_ATTEMPT $(cut -d" " -f1,22 /proc/$$/stat)" >> $SIGNED'

#: Signs, says so, and ends only once somebody says so.
HOLD = f"{SIGN}; echo $N >> begun; while ! test -e go; do sleep 0.02; done; echo $N >> done; echo $N"


def begun(place: Place, count: int) -> None:
    wait_for(f"{count} that have begun", lambda: len(place.lines("begun")) >= count)


def go(place: Place) -> None:
    (place.folder / "go").touch()


# --- killed ---------------------------------------------------------------------------------------


def test_a_fan_out_goes_on_where_it_was(place: Place) -> None:
    engine = place.start(f"""
jobs: 2
tasks:
  list: {{shell: '{SIGN}; echo list >> done; echo "[1, 2, 3, 4, 5, 6]"', output: json}}
  fan:
    each: "${{{{ tasks.list.value }}}}"
    needs: list
    shell: '{SIGN}; echo $N >> begun; while test $N -ge 3 && ! test -e go; do sleep 0.02; done; echo $N >> done; echo $N'
    env: {{N: "${{{{ item }}}}"}}
    output: json
  sum: {{run: [echo, "${{{{ tasks.fan.value | sum }}}}"], needs: fan, output: json}}
""")
    begun(place, 4)
    place.cut(engine)
    go(place)
    ran = place.resume()
    assert ran.value("sum") == 21
    assert sorted(place.lines("done")) == ["1", "2", "3", "4", "5", "6", "list"]
    assert [ran.attempts(f"fan[{n}]") for n in (1, 2, 3, 4, 5, 6)] == [1, 1, 2, 2, 1, 1]


def test_a_file_in_a_file_goes_on_where_it_was(place: Place) -> None:
    place.write(
        "inner.yaml",
        f"""
params: {{n: 0}}
tasks:
  one: {{shell: '{SIGN}; echo one >> done; echo $N', env: {{N: "${{{{ params.n }}}}"}}, output: json}}
  two: {{shell: '{HOLD}', env: {{N: "${{{{ tasks.one.value + 1 }}}}"}}, output: json, needs: one}}
  three: {{run: [echo, "${{{{ tasks.two.value + 1 }}}}"], output: json, needs: two}}
""",
    )
    engine = place.start(
        "tasks: {s: {each: [10], workflow: inner.yaml, with: {n: '${{ item }}'}}, end: {run: [echo, "
        "'${{ tasks.s.value[0].three }}'], output: json, needs: s}}"
    )
    begun(place, 1)
    place.cut(engine)
    go(place)
    ran = place.resume()
    assert ran.value("end") == 12
    assert place.lines("done") == ["one", "11"]


def test_a_delay_before_another_try_is_kept(place: Place) -> None:
    engine = place.start(
        f"tasks: {{t: {{shell: '{SIGN}; echo x >> begun; test $(wc -l < begun) -ge 2', retry: {{attempts: 3, "
        f"backoff: 2s, jitter: 0}}}}}}"
    )
    place.until("t", status="retrying")
    place.cut(engine)
    ran = place.resume()
    assert (ran.statuses["t"], ran.attempts("t")) == ("completed", 2)
    first, second = ran.of("t", "attempt_started")
    assert second["at_ms"] - first["at_ms"] >= 2000


def test_the_file_may_change_while_nobody_runs_it(place: Place) -> None:
    place.write(
        "inner.yaml",
        f"params: {{n: 1}}\ntasks: {{one: {{shell: '{HOLD}', env: {{N: one}}, output: text}}, "
        f"two: {{run: [echo, '${{{{ params.n }}}}'], needs: one, output: json}}}}",
    )
    engine = place.start(
        f"params: {{n: 1}}\ntasks: {{t: {{shell: '{HOLD}', env: {{N: t}}, output: text}}, "
        f"i: {{workflow: inner.yaml, with: {{n: '${{{{ params.n + 1 }}}}'}}}},"
        " late: {run: [echo, '${{ tasks.t.value }} ${{ params.n }} ${{ tasks.i.value.two }}'], needs: [t, i], output: text},"
        " again: {workflow: inner.yaml, needs: late}}",
        "--param", "n=5",
    )  # fmt: skip
    begun(place, 2)
    place.cut(engine)
    go(place)
    place.write("flow.yaml", "nonsense")
    place.write("inner.yaml", "tasks: {none: {run: [false]}}")
    ran = place.resume()
    assert ran.value("late") == "t 5 6"
    assert ran.value("again/two") == 1


def test_the_file_may_be_gone_while_nobody_runs_it(place: Place) -> None:
    place.write("inner.yaml", f"tasks: {{one: {{shell: '{HOLD}', env: {{N: one}}, output: text}}}}")
    engine = place.start("tasks: {i: {workflow: inner.yaml}, j: {workflow: inner.yaml, needs: i}}")
    begun(place, 1)
    place.cut(engine)
    go(place)
    (place.folder / "inner.yaml").unlink()
    (place.folder / "flow.yaml").unlink()
    assert set(place.resume().statuses.values()) == {"completed"}


def test_a_repetition_goes_on(place: Place) -> None:
    engine = place.start(
        f"tasks: {{t: {{shell: '{SIGN}; echo x >> begun; wc -l < begun', output: json, "
        f"repeat: {{until: value >= 4 and attempt >= 4, times: 9, every: 300ms}}}}}}"
    )
    begun(place, 2)
    place.cut(engine)
    ran = place.resume()
    assert ran.statuses["t"] == "completed" and ran.value("t") >= 4


# --- answered -------------------------------------------------------------------------------------

ASKED = """
tasks:
  a: {run: [echo, "5"], output: json}
  ok: {approval: "Go on with ${{ tasks.a.value }}?", needs: a}
  which: {signal: "Which?", needs: a}
  end: {run: [echo, "${{ tasks.which.value }}"], needs: [ok, which], output: text}
"""


def test_an_answer_says_who_gave_it_and_when(place: Place) -> None:
    engine = place.start(ASKED)
    place.until("ok", "which")
    told = place.say("approve", "last", code=2)
    assert "several tasks wait: ok, which" in told.stderr
    assert "waits for a value" in place.say("approve", "last", "which", code=2).stderr
    assert "not for a value" in place.say("signal", "last", "ok", "1", code=2).stderr
    assert "waits for no answer: it is completed" in place.say("approve", "last", "a", code=2).stderr
    before = time.time() * 1000
    place.say("approve", "last", "ok", "--comment", "as discussed")
    place.say("signal", "last", "which", "a text, no JSON")
    assert engine.wait(DEADLINE_S) == 0
    ran = place.last()
    assert ran.value("end") == "a text, no JSON"
    [answer] = ran.of("ok", "wait_answered")
    assert answer["approved"] and answer["comment"] == "as discussed"
    assert answer["actor"].startswith("kim@")
    assert before - 1000 <= answer["at_ms"] <= time.time() * 1000 + 1000
    assert "waits for no answer" in place.say("approve", "last", "ok", code=2).stderr


def test_what_is_rejected_fails_and_nothing_behind_it_runs(place: Place) -> None:
    engine = place.start(ASKED)
    place.until("ok", "which")
    place.say("reject", "last", "ok", "--comment", "not today")
    assert engine.wait(DEADLINE_S) == 1
    ran = place.last()
    assert ran.statuses["ok"] == "failed" and ran.statuses["end"] == "skipped"
    assert ran.sentences["ok"] == "was rejected: not today"


def test_an_answer_counts_that_was_given_while_the_engine_was_gone(place: Place) -> None:
    engine = place.start(ASKED)
    place.until("ok", "which")
    place.cut(engine)
    assert "it counts when the run goes on" in place.say("approve", "last", "ok").stderr
    place.say("signal", "last", "which", '"x"')
    ran = place.resume()
    assert ran.value("end") == "x"
    assert len(ran.of("ok", "wait_started")) == len(ran.of("ok", "wait_answered")) == 1


# --- stopped --------------------------------------------------------------------------------------


def test_a_run_that_was_stopped_goes_on_and_hears_that_only_once(place: Place) -> None:
    engine = place.start(f"""
tasks:
  one: {{shell: '{SIGN}; echo one >> done'}}
  two: {{shell: '{HOLD}', env: {{N: two}}, needs: one, grace: 200ms}}
  ok: {{approval: "Go on?", needs: two}}
finally:
  clean: {{shell: 'echo clean >> done'}}
""")
    begun(place, 1)
    place.say("cancel", "last")
    assert engine.wait(DEADLINE_S) == 143
    assert place.last().shown["verdict"] == "cancelled"
    go(place)
    place.engine = subprocess.Popen(
        place.command("resume"), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )
    place.until("ok")
    # Its first end no longer counts, also for whoever looks at it after another death.
    place.cut(place.engine)
    place.say("approve", "last")
    ran = place.resume()
    assert ran.statuses == {"one": "completed", "two": "completed", "ok": "completed", "clean": "completed"}
    assert [event["kind"] for event in ran.events].count("cancel_requested") == 1
    assert place.lines("done") == ["one", "clean", "two", "clean"]
    assert check(place.state, ran.id, place.folder / "signed") == "succeeded"


def test_what_was_interrupted_goes_on(place: Place) -> None:
    engine = place.start(
        f"tasks: {{one: {{shell: '{SIGN}; echo one >> done'}}, two: {{shell: '{HOLD}', env: {{N: two}}, "
        f"needs: one, grace: 200ms}}}}"
    )
    begun(place, 1)
    engine.send_signal(signal.SIGINT)
    assert engine.wait(DEADLINE_S) == 130
    go(place)
    ran = place.resume()
    assert set(ran.statuses.values()) == {"completed"} and place.lines("done") == ["one", "two"]


# --- again ----------------------------------------------------------------------------------------


def test_what_failed_is_run_again_and_what_completed_is_not(place: Place) -> None:
    place.write("inner.yaml", f"tasks: {{x: {{shell: '{SIGN}; echo x >> done; echo 1', output: json}}}}")
    ran = place.run(
        f"""
fail_fast: false
params: {{n: 1}}
tasks:
  fan: {{each: [1, 2, 3], shell: '{SIGN}; echo $N >> done; echo $N', env: {{N: "${{{{ item }}}}"}}, output: json}}
  sub: {{workflow: inner.yaml}}
  half: {{each: [1, 2], shell: '{SIGN}; echo half$N >> done; test $N = 1 || test -e go', env: {{N: "${{{{ item }}}}"}}}}
  end: {{run: [echo, "${{{{ tasks.fan.value | sum }}}} ${{{{ tasks.sub.value.x }}}} ${{{{ params.n }}}}"],
        needs: [fan, sub, half], output: text}}
""",
        "--param",
        "n=4",
        code=1,
    )
    assert ran.statuses["half"] == "failed" and ran.statuses["end"] == "skipped"
    go(place)
    place.write("flow.yaml", "nonsense")
    place.say("retry")
    again = place.last()
    assert again.id != ran.id and again.value("end") == "6 1 4"
    assert again.reused() == {"fan", "sub"}
    assert sorted(place.lines("done")) == ["1", "2", "3", "half1", "half1", "half2", "half2", "x"]
    told = place.say("retry", code=3)
    assert "every task completed" in told.stderr
    assert check(place.state, again.id, place.folder / "signed") == "succeeded"

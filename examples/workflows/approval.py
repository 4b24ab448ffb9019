"""Approvals: a run in the background that waits for a person, without taking a slot."""

from dirigent import Workflow

workflow = Workflow("release")
workflow.add_task("build", lambda: "release 1.2")
workflow.add_approval("ok", "Publish release 1.2?", dependencies=["build"], timeout=3600)
workflow.add_task("publish", lambda build: f"published {build}", dependencies=["build", "ok"])

handle = workflow.start()
for event in handle.events():
    if event["kind"] == "wait_started":
        # Here a person would be asked, by mail or on a page; any thread may answer.
        print("ok", handle.tasks["ok"].sentence)
        handle.approve("ok", comment="looks good")
    elif event["kind"] == "wait_answered":
        print("answered:", event["comment"])

run = handle.wait()
print(run["publish"])

"""DAGs in a real Airflow, on a real stack."""

import asyncio
import json
from types import SimpleNamespace
from typing import Any, cast

import pytest
from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowFailException

import muster
from muster_airflow.operators import MusterImportOperator
from muster_airflow.triggers import MusterJobTrigger
from tests.conftest import Airflow, Stack


def test_dag_of_the_tutorial_imports_exports_and_verifies_without_occupying_workers(
    stack: Stack, airflow: Airflow
) -> None:
    stack.put("members/2026-12-01.csv", "email,plan", "ann@example.org,gold", "bob@example.org,silver")
    run = airflow.run("loyalty", "2026-12-01")
    assert run.ended() == {"import": ("success", 1), "export": ("success", 1), "verify": ("success", 1)}
    receipt, export = run.xcom("import"), run.xcom("export")
    assert (receipt["state"], receipt["rows"], receipt["members"]) == ("READY", 2, 2)
    assert (export["outcome"]["version"], export["outcome"]["digest"]) == (receipt["version"], receipt["digest"])
    assert run.xcom("verify") == 2
    assert (run.deferrals("import"), run.deferrals("export"), run.deferrals("verify")) == (1, 1, 0)
    with muster.Client(stack.access) as client:
        notes = [entry["arguments"].get("as") for entry in client.audit("default", job=receipt["job"])]
    assert "Airflow, loyalty.import" in notes


def test_refused_file_fails_without_a_retry(stack: Stack, airflow: Airflow) -> None:
    stack.put("members/2026-12-02.csv", "email,plan", ",gold", "bob@example.org,silver")
    run = airflow.run("loyalty", "2026-12-02")
    ended = run.ended()
    assert (ended["import"], ended["export"][0]) == (("failed", 1), "upstream_failed")
    with muster.Client(stack.access) as client:
        job = client.find_job(run.xcom("import", "job"))
    assert job["error"] is not None
    assert (job["state"], job["error"]["code"]) == ("FAILED", "TOO_MANY_REJECTS")


def test_retry_after_a_lost_answer_continues_the_job(stack: Stack, airflow: Airflow) -> None:
    stack.put("retried.csv", "email", "ann@example.org")
    run = airflow.run("retries", "2026-12-03")
    assert run.ended() == {"import": ("success", 2), "count": ("success", 1)}
    started = (airflow.home / "dags" / "lost").read_text()
    with muster.Client(stack.access) as client:
        jobs = [job.get("job") for job in client.jobs("default", audience="retried")]
    assert jobs == [run.xcom("import")["job"]] == [started]
    assert run.xcom("count") == [{"users": 1, "day": "2026-12-03"}]


def test_stopped_task_cancels_its_job(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    connection = {"conn_type": "muster", "host": stack.access.url, "password": stack.access.token}
    monkeypatch.setenv("AIRFLOW_CONN_MUSTER_DEFAULT", json.dumps(connection))
    stack.put("stopped.csv", "email", *(f"{user}@example.org" for user in range(100_000)))
    task = MusterImportOperator(task_id="import", audience="stopped", source="s3://shop/stopped.csv")
    context = cast(Context, {"ti": SimpleNamespace(dag_id="loyalty", task_id="import")})

    async def fired(trigger: MusterJobTrigger) -> Any:
        await trigger.on_kill()
        return (await anext(aiter(trigger.run()))).payload

    with muster.Client(stack.access) as client:
        settings = {"id_column": "email"}
        job = client.start_import("default", audience="stopped", source="s3://shop/stopped.csv", settings=settings)[
            "job"
        ]
        event = asyncio.run(
            fired(MusterJobTrigger(muster_conn_id="muster_default", tenant="default", job=job, note=""))
        )
        assert event == {"job": job, "error": None}
        assert client.find_job(job)["state"] == "CANCELLED"
        with pytest.raises(AirflowFailException, match="was cancelled"):
            task.complete(context, event)
        key = "the key of the task"
        first = task._begin(client, key, earlier_tries=0)
        assert task._begin(client, key, earlier_tries=1) == first
        task._access, task._job = stack.access, first
        task.on_kill()
        assert client.wait(first)["state"] == "CANCELLED"
        second = task._begin(client, key, earlier_tries=1)
        assert second != first
        assert task._begin(client, key, earlier_tries=2) == second

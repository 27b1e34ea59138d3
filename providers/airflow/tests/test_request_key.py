from typing import Any

import pytest

from muster_airflow.request_key import key_after, request_key

TASK: dict[str, Any] = {
    "dag_id": "loyalty",
    "task_id": "import",
    "run_id": "scheduled__2026-12-01",
    "map_index": -1,
    "request": {"audience": "loyalty", "source": "s3://shop/members.csv"},
}


def test_the_key_of_a_task_stays_the_same_over_releases() -> None:
    assert request_key(**TASK) == "airflow-d53f613c4c11cab4e4be73d61bcdd638393c788a811c347c9fe316b641b210fe"


@pytest.mark.parametrize(
    "other",
    [
        {"dag_id": "other"},
        {"task_id": "other"},
        {"run_id": "scheduled__2026-12-02"},
        {"map_index": 0},
        {"request": {"audience": "loyalty", "source": "s3://shop/other.csv"}},
    ],
    ids=lambda other: next(iter(other)),
)
def test_another_task_has_another_key(other: dict[str, Any]) -> None:
    assert request_key(**{**TASK, **other}) != request_key(**TASK)


def test_names_that_run_together_have_different_keys() -> None:
    assert request_key(**{**TASK, "dag_id": "a", "task_id": "bc"}) != request_key(
        **{**TASK, "dag_id": "ab", "task_id": "c"}
    )


def test_each_job_that_ended_in_vain_is_followed_by_a_key_of_its_own() -> None:
    key = request_key(**TASK)
    assert (
        len({key, key_after(key, "job-1"), key_after(key, "job-2"), key_after(key_after(key, "job-1"), "job-2")}) == 4
    )

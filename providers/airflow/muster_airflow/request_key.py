"""The key of a task's request: the same in every try, so that a retry after a lost answer starts nothing."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final

PREFIX: Final = "airflow-"


def request_key(*, dag_id: str, task_id: str, run_id: str, map_index: int, request: Mapping[str, Any]) -> str:
    """The key of a task's request, without the number of the try.

    `request`: what is asked for. An edited task that is cleared asks for something else, which is a request of its own:
    the service refuses another one under a key that it knows.
    """
    return _digest([dag_id, task_id, run_id, map_index, request])


def key_after(key: str, job: str) -> str:
    """The key of the request that starts anew after this job, which an earlier try has started, was in vain."""
    return _digest([key, job])


def _digest(parts: list[Any]) -> str:
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"))
    return PREFIX + hashlib.sha256(text.encode()).hexdigest()

"""Who may talk to the engine: only requests that the stack signed, and no web page (docs/security.md, canary 33)."""

import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from orchestration.local.answering import HEALTH_PATH
from orchestration.local.engine.deploy import state_machine_arn
from orchestration.local.engine.ecs_tasks import TASK_RULES
from orchestration.workflow.resources import CLUSTER, TASK_FAMILY
from tests.engine.support import Engine

pytestmark = pytest.mark.integration

LIST = {"X-Amz-Target": "AWSStepFunctions.ListStateMachines", "Content-Type": "application/x-amz-json-1.0"}


def ask(engine: Engine, headers: Mapping[str, str], body: bytes = b"{}", path: str = "/", method: str = "POST") -> int:
    """Status of the answer."""
    request = urllib.request.Request(engine.settings.engine_url + path, data=body, headers=dict(headers), method=method)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as exc:
        with exc:
            return exc.code


def signed(engine: Engine, *, secret: str | None = None, age: timedelta = timedelta()) -> dict[str, str]:
    """Headers of ListStateMachines, signed as boto3 does."""
    keys = engine.settings.engine_keys()
    request = AWSRequest(method="POST", url=engine.settings.engine_url + "/", headers=LIST, data=b"{}")
    signer = SigV4Auth(
        Credentials(keys["aws_access_key_id"], secret or keys["aws_secret_access_key"]), "states", "us-east-1"
    )
    request.context["timestamp"] = (datetime.now(UTC) - age).strftime("%Y%m%dT%H%M%SZ")
    signer._modify_request_before_signing(request)  # type: ignore[attr-defined]
    canonical = signer.canonical_request(request)
    signature = signer.signature(signer.string_to_sign(request, canonical), request)
    signer._inject_signature_to_request(request, signature)  # type: ignore[attr-defined]
    return dict(request.headers.items())


def test_signed_request_is_served(engine: Engine) -> None:
    assert ask(engine, signed(engine)) == 200
    assert ask(engine, {}, path=HEALTH_PATH, method="GET", body=b"") == 200


def test_unsigned_request_is_refused(engine: Engine) -> None:
    good = signed(engine)
    other_name = dict(good, Authorization=good["Authorization"].replace("=muster/", "=root/"))
    for headers in (
        LIST,
        {**LIST, "Authorization": "Bearer x", "X-Amz-Date": good["X-Amz-Date"]},
        {**LIST, "Authorization": "AWS4-HMAC-SHA256 nonsense", "X-Amz-Date": good["X-Amz-Date"]},
        other_name,
        signed(engine, secret="local"),
        signed(engine, age=timedelta(hours=1)),
        signed(engine, age=timedelta(hours=-1)),
        {**good, "X-Amz-Target": "AWSStepFunctions.DeleteStateMachine"},
    ):
        assert ask(engine, headers) == 403
    assert ask(engine, good, body=b'{"maxResults": 1}') == 403
    assert ask(engine, {**good, "X-Amz-Content-SHA256": "UNSIGNED-PAYLOAD"}, body=b'{"maxResults": 1}') == 403


@pytest.mark.parametrize(
    "page",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Host": "evil.example"},
        {"Host": "127.0.0.1.evil.example:18180"},
    ],
    ids=str,
)
def test_web_page_is_refused_even_if_signed(engine: Engine, page: dict[str, str]) -> None:
    assert ask(engine, {**signed(engine), **page}) == 403
    assert ask(engine, page, path=HEALTH_PATH, method="GET", body=b"") == 403
    preflight = {**page, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "x-amz-target"}
    assert ask(engine, preflight, method="OPTIONS", body=b"") == 403


@pytest.mark.parametrize("path", ["/moto-api/reset", "/moto-api/data.json", "/moto-api/config", "/moto-api/"])
def test_the_engines_own_pages_are_closed(engine: Engine, path: str) -> None:
    assert ask(engine, {}, path=path, body=b"") == 404
    assert state_machine_arn(engine.settings) in str(engine.sfn.list_state_machines())


def test_task_accepts_only_task_commands_and_variables() -> None:
    def broken(**override: Any) -> str | None:
        return TASK_RULES.broken_by({"containerOverrides": [{"name": "muster", **override}]})

    place = [{"name": "MUSTER_PLACE", "value": "task"}]
    assert broken(command=["task", "verify", "j", "e"], environment=place) is None
    assert TASK_RULES.broken_by(None) is None
    assert broken(command=["sh", "-c", "id"]) == "a task runs task, not 'sh'"
    for name in ("PYTHONPATH", "LD_PRELOAD", "MUSTER_CATALOG_URL"):
        assert name in (broken(command=["task"], environment=[{"name": name, "value": "x"}]) or "")
    assert broken(environmentFiles=[{"value": "arn", "type": "s3"}]) is not None


def test_engine_refuses_an_unknown_task_command(shipped_engine: Engine) -> None:
    for override in (
        {"command": ["sh", "-c", "id"]},
        {"command": ["task", "verify"], "environment": [{"name": "PYTHONPATH", "value": "/tmp"}]},
    ):
        with pytest.raises(ClientError, match="InvalidParameterException"):
            shipped_engine.client("ecs").run_task(
                cluster=CLUSTER,
                taskDefinition=TASK_FAMILY,
                overrides={"containerOverrides": [{"name": "muster", **override}]},
            )
    assert json.dumps(shipped_engine.client("ecs").list_tasks(cluster=CLUSTER)["taskArns"]) == "[]"

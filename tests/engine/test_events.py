"""Events: which events of the inbox start an execution, and which messages are not events."""

import json
import urllib.error
import urllib.request
from typing import Any

import pytest
from botocore.exceptions import ClientError

from orchestration.local.answering import HEALTH_PATH
from orchestration.local.engine.deploy import deploy, state_machine_arn
from orchestration.local.engine.eventbridge import transform
from orchestration.local.home import Home
from orchestration.local.seaweedfs import WEBHOOK_PATH, webhook_token
from tests.engine.support import FUNCTIONS, STARTED_BY_EVENT, Engine

pytestmark = pytest.mark.integration


def test_an_object_in_the_inbox_starts_the_import_with_the_event_as_input(engine: Engine) -> None:
    before = started(engine)
    detail = {"bucket": {"name": "inbox"}, "object": {"key": "acme/vip/people.csv", "size": 10}}
    other = {"bucket": {"name": "lake"}, "object": {"key": "acme/vip/people.csv", "size": 10}}
    entries = [{"Source": "aws.s3", "DetailType": "Object Created", "Detail": json.dumps(d)} for d in (detail, other)]
    events = engine.client("events")
    events.put_rule(Name="timer", ScheduleExpression="rate(1 day)")  # has no pattern, and takes no event
    events.put_targets(Rule="timer", Targets=[{"Id": "timer", "Arn": next(iter(engine.values.values()))}])

    events.put_events(Entries=entries)

    [execution] = started(engine) - before
    event = json.loads(engine.sfn.describe_execution(executionArn=execution)["input"])
    assert (event["detail-type"], event["detail"]) == ("Object Created", detail)


def test_deploying_twice_changes_nothing(engine: Engine) -> None:
    again = deploy(engine.settings, functions=FUNCTIONS, machines=[STARTED_BY_EVENT])

    assert again == engine.values


def test_an_input_transformer_inserts_json_ortext_of() -> None:
    transformer = {"InputPathsMap": {"k": "$.key", "n": "$.n"}, "InputTemplate": '{"key": <k>, "note": "<k> has <n>"}'}

    assert json.loads(transform(transformer, {"key": "a", "n": 3})) == {"key": "a", "note": "a has 3"}


def log_since(engine: Engine, start: int) -> str:
    return Home(path=engine.settings.home).log_file("engine").read_text()[start:]


def healthy(engine: Engine) -> bool:
    return bool(urllib.request.urlopen(engine.settings.engine_url + HEALTH_PATH, timeout=30).status == 200)


def started(engine: Engine) -> set[str]:
    machine = state_machine_arn(engine.settings)
    return {e["executionArn"] for e in engine.sfn.list_executions(stateMachineArn=machine)["executions"]}


@pytest.mark.parametrize("detail", ["[]", '["inbox"]', '"inbox"', "7", "null", "{", "\\u0000", '{"bucket": "inbox"}'])
def test_event_without_an_inbox_object_is_logged_and_starts_nothing(engine: Engine, detail: str) -> None:
    before, mark = started(engine), len(log_since(engine, 0))
    entry = {"Source": "aws.s3", "DetailType": "Object Created", "Detail": detail}

    engine.client("events").put_events(Entries=[entry])

    assert started(engine) == before
    assert "event of aws.s3" in log_since(engine, mark)
    assert healthy(engine)


@pytest.mark.parametrize(
    "detail", [{}, {"object": None}, {"object": []}, {"object": {"key": ["a"], "size": "x"}}], ids=str
)
def test_an_event_of_the_inbox_with_missing_fields_is_the_input_of_an_execution(
    engine: Engine, detail: dict[str, Any]
) -> None:
    """The shipped definition then notifies the operators."""
    given = {"bucket": {"name": "inbox"}, **detail}
    entry = {"Source": "aws.s3", "DetailType": "Object Created", "Detail": json.dumps(given)}
    before = started(engine)

    engine.client("events").put_events(Entries=[entry])

    [execution] = started(engine) - before
    assert engine.finish(execution)["output"]["detail"] == given


def test_oversized_event_is_refused_with_an_error(engine: Engine) -> None:
    detail = {"bucket": {"name": "inbox"}, "object": {"key": "x" * 262_144}}
    entry = {"Source": "aws.s3", "DetailType": "Object Created", "Detail": json.dumps(detail)}

    with pytest.raises(ClientError):
        engine.client("events").put_events(Entries=[entry])

    assert healthy(engine)


def announce(engine: Engine, body: bytes) -> int:
    """Status of the answer to a message of the S3 server."""
    headers = {"Authorization": f"Bearer {webhook_token(engine.settings)}"}
    request = urllib.request.Request(engine.settings.engine_url + WEBHOOK_PATH, data=body, headers=headers)
    try:
        return int(urllib.request.urlopen(request, timeout=30).status)
    except urllib.error.HTTPError as exc:
        return exc.code


ENTRY = b'{"event_type": "create", "key": "/buckets/inbox/f", "message": {"new_entry": {"attributes": %s}}}'


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"[]",
        b'"text"',
        b"7",
        b"null",
        b"[" * 100_000,
        ENTRY % b'{"mtime": "noon"}',
        ENTRY % b'{"mtime": 1e999}',
        ENTRY % b'{"mtime": 1, "file_size": []}',
    ],
    ids=lambda body: body[-40:].decode("ascii", "replace"),
)
def test_malformed_message_is_refused_and_logged(engine: Engine, body: bytes) -> None:
    before, mark = started(engine), len(log_since(engine, 0))

    assert announce(engine, body) == 400

    assert started(engine) == before
    assert "webhook message not understood" in log_since(engine, mark)
    assert healthy(engine)


@pytest.mark.parametrize("body", [b"{}", b'{"key": 7}', ENTRY % b"[]"], ids=str)
def test_message_about_other_things_is_accepted(engine: Engine, body: bytes) -> None:
    assert announce(engine, body) == 200

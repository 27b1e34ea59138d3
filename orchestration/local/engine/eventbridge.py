"""EventBridge: S3's events on the default bus, and state machines as targets of rules, which moto does not support.

AWS refuses PutEvents with a source of `aws.*`; here the bridge takes the place of S3.
"""

import copy
import importlib
import json
import logging
import re
import threading
import time
import uuid
from collections.abc import Mapping
from typing import Any, Final, TypeAlias

from orchestration.local.engine.s3_events import ObjectCreated
from orchestration.platform.settings import Settings

ENTRIES_MAX: Final = 10
PLACEHOLDER: Final = re.compile(r'("?)<([\w-]+)>("?)')

Execution: TypeAlias = Any
"""moto's."""
log = logging.getLogger("muster.engine.events")
_started = threading.local()


def put_object_created(settings: Settings, event: ObjectCreated) -> list[Execution]:
    """Put the event of a new object on the default bus. Returns the executions that its rules started."""
    _started.executions = []
    entry = {
        "Source": "aws.s3",
        "DetailType": "Object Created",
        "Resources": [f"arn:aws:s3:::{event.bucket}"],
        "Detail": json.dumps(event.detail()),
    }
    (result,) = (
        _moto("moto.events.models").events_backends[settings.account_id][settings.aws_region].put_events([entry])
    )
    if "ErrorCode" in result:
        raise ValueError(f"event of {event.bucket}/{event.key} was refused: {result}")
    executions: list[Execution] = _started.executions
    return executions


def registered(execution: Execution) -> bool | None:
    """Whether the first state of an execution has returned a job: the catalog then knows its input.

    None: not yet. False: it has ended without a job, and its object must be offered again.
    """
    environment = execution.exec_worker.env if execution.exec_worker else None
    # Not its history as a whole, which is copied: in a burst, a thousand are asked.
    events = () if environment is None else list(environment.event_manager._history_event_list)  # noqa: SLF001
    for event in events:
        if event["type"] == "TaskStateExited":
            output = json.loads(event["stateExitedEventDetails"].get("output") or "null")
            if isinstance(output, dict) and "job_id" in output:
                return True
            break
    return None if execution.status == "RUNNING" else False


def install() -> None:
    """Let a rule start state machines. Errors reach the sender of the event; moto would swallow them."""
    rule, responses = _moto("moto.events.models").Rule, _moto("moto.stepfunctions.responses")
    send = rule.send_to_targets

    def send_to_targets(self: Any, original_event: Any, transform_input: bool = True) -> None:  # noqa: FBT001, FBT002
        pattern = self.event_pattern
        # To moto, a rule with a schedule and no pattern matches every event.
        if self.state != "ENABLED" or not pattern.get_pattern() or not pattern.matches_event(original_event):
            return
        _started.matched = True
        targets = list(self.targets)  # another thread may add some meanwhile
        machines = [t for t in targets if ":stateMachine:" in t["Arn"]]
        for target in machines:
            document = _as_sent(original_event)
            transformer = target.get("InputTransformer")
            text = transform(transformer, document) if transformer else target.get("Input") or json.dumps(document)
            name = str(uuid.uuid4())
            backend = responses.get_backend(self.account_id, target["Arn"].split(":")[3])
            execution = backend.start_execution(target["Arn"], name, text)
            if hasattr(_started, "executions"):
                _started.executions.append(execution)
        if others := [t for t in targets if t not in machines]:
            rest = copy.copy(self)
            rest.targets = others
            send(rest, original_event, transform_input)

    rule.send_to_targets = send_to_targets
    backend = _moto("moto.events.models").EventsBackend
    put = backend.put_events

    def put_events(self: Any, events: list[dict[str, Any]]) -> list[dict[str, Any]]:
        if len(events) > ENTRIES_MAX:
            return list(put(self, events))  # which refuses them
        results: list[dict[str, Any]] = []
        for event in events:
            _started.matched = False
            results += put(self, [event])
            if "ErrorCode" in results[-1]:
                log.warning("event of %s was refused: %s", event.get("Source"), results[-1]["ErrorMessage"])
            elif not _started.matched:
                log.warning("event of %s matched no rule: %.200s", event.get("Source"), event["Detail"])
        return results

    backend.put_events = put_events


def transform(transformer: Mapping[str, Any], event: Mapping[str, Any]) -> str:
    """EventBridge's input transformer: a bare <x> becomes JSON, a "<x>" within quotes becomes text."""
    json_path = _moto("moto.stepfunctions.parser.asl.utils.json_path")

    def replacement(match: re.Match[str]) -> str:
        found = json_path.parse(transformer["InputPathsMap"][match[2]]).find(event)
        value = found[0].value if found else None
        if not match[1] and not match[3]:
            return json.dumps(value)
        return match[1] + (value if isinstance(value, str) else json.dumps(value)) + match[3]

    return PLACEHOLDER.sub(replacement, transformer["InputTemplate"])


def _moto(name: str) -> Any:
    return importlib.import_module(name)


def _as_sent(event: Mapping[str, Any]) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(json.dumps(event, default=str))
    if isinstance(document.get("time"), int | float):
        document["time"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(document["time"]))
    document.pop("ingestion-time", None)
    return document

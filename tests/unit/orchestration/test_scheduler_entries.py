"""What a schedule is in EventBridge Scheduler: held against the API's own model, and the same request as here."""

import json
from typing import Any

import boto3
import botocore.session
import pytest
from botocore.validate import ParamValidator
from moto import mock_aws

from orchestration.catalog.schedules import Schedule
from orchestration.operations.scheduler_entries import SchedulerArns, scheduler_entry
from orchestration.steps.scheduled import event_of, resolve
from tests.contract.test_schedules import NIGHTLY

MACHINE = "arn:aws:states:eu-central-1:123456789012:stateMachine:"
ARNS = SchedulerArns(
    state_machines={
        "import": f"{MACHINE}ImportAudience",
        "export": f"{MACHINE}ExportAudience",
        "snapshot": f"{MACHINE}ImportAudience",
    },
    role="arn:aws:iam::123456789012:role/muster-scheduler",
)
DUE = "2026-11-26T05:00:00Z"


def made(**changes: Any) -> Schedule:
    request = {"tenant": "acme", "audience": "vip", "bucket": "crm", "key": "vip-{date}.csv", "overrides": {}}
    values = {name: getattr(NIGHTLY, name) for name in NIGHTLY.__dataclass_fields__}
    return Schedule(**{**values, "request": request, "created_at_ms": 1_795_597_200_000, **changes})


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"expression": "rate(5 minutes)", "timezone": "UTC", "enabled": False},
        {"expression": "at(2027-01-01T00:00:00)", "kind": "export", "name": "n" * 63},
        {"timezone": "America/Argentina/ComodRivadavia"},
    ],
)
def test_an_entry_is_what_create_schedule_takes_and_gives_back(changes: dict[str, Any]) -> None:
    entry = scheduler_entry(made(**changes), ARNS)
    model = botocore.session.get_session().get_service_model("scheduler").operation_model("CreateSchedule")
    assert model.input_shape is not None
    report = ParamValidator().validate(entry, model.input_shape)
    assert not report.has_errors(), report.generate_report()
    with mock_aws():
        scheduler = boto3.client(
            "scheduler", region_name="eu-central-1", aws_access_key_id="x", aws_secret_access_key="x"
        )
        scheduler.create_schedule(**entry)
        kept = scheduler.get_schedule(Name=entry["Name"])
    assert {name: kept[name] for name in entry} == entry


def test_an_entry_says_when_and_what_in_the_words_of_the_schedule() -> None:
    entry = scheduler_entry(made(), ARNS)
    assert entry["Target"].pop("Input") == json.dumps(event_of(made(), None), sort_keys=True)
    assert entry == {
        "Name": f"muster-{NIGHTLY.schedule_id}",
        "Description": "import nightly of acme",
        "ScheduleExpression": "cron(0 6 * * ? *)",
        "ScheduleExpressionTimezone": "Europe/Berlin",
        "State": "ENABLED",
        "FlexibleTimeWindow": {"Mode": "OFF"},
        "Target": {
            "Arn": f"{MACHINE}ImportAudience",
            "RoleArn": "arn:aws:iam::123456789012:role/muster-scheduler",
            "RetryPolicy": {"MaximumEventAgeInSeconds": 86_400, "MaximumRetryAttempts": 185},
        },
    }


def test_scheduler_starts_with_the_same_input_as_the_relay() -> None:
    given = scheduler_entry(made(), ARNS)["Target"]["Input"].replace("<aws.scheduler.scheduled-time>", DUE)
    assert json.loads(given) == event_of(made(), 1_795_669_200_000)
    event, occasion = resolve(json.loads(given), "import")
    assert occasion is not None
    assert event == {
        "import": {
            **made().request,
            "job_id": occasion.run_id,
            "key": "vip-2026-11-26.csv",
        }
    }


@pytest.mark.parametrize(
    ("expression", "age_s"),
    [("rate(1 minute)", 60), ("rate(2 hours)", 7200), ("rate(7 days)", 86_400), ("at(2027-01-01T00:00:00)", 86_400)],
)
def test_a_start_is_tried_until_the_next_one_is_due(expression: str, age_s: int) -> None:
    entry = scheduler_entry(made(expression=expression), ARNS)
    assert entry["Target"]["RetryPolicy"]["MaximumEventAgeInSeconds"] == age_s

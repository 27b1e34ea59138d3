"""Notifications in the whole stack: real imports, a real mail server, a real receiver that is away at first."""

import time

import pytest

from orchestration.notifications.signing import signing_key
from orchestration.operations.notifying import set_recipients
from schemas.ids import TenantName
from tests.fakes.webhook_check import CHECK
from tests.faults.waiting import until
from tests.integration.whole.conftest import Whole
from tests.integration.whole_imports import ended, job_of
from tests.servers.webhooks import receiver

pytestmark = pytest.mark.integration
TENANT = TenantName("notified")


def test_every_outcome_reaches_its_recipients_despite_an_outage(whole: Whole) -> None:
    context, mailbox, operator = whole.context, whole.mailbox, whole.operator
    with receiver() as customer:
        context.audiences.add_tenant(TENANT, 1)
        earlier = len(operator.requests)
        set_recipients(
            TENANT,
            None,
            emails=["crm@example.com"],
            webhooks=[customer.url],
            recipients=context.recipients,
            settings=context.settings,
        )
        customer.answers = [500, 302, 503]
        inbox = context.settings.inbox_bucket
        context.objects.put(inbox, f"{TENANT}/good/people.csv", b"user_id\nu1\nu2\n")
        good = ended(context, job_of(context, "good", TENANT))
        context.objects.put(inbox, f"{TENANT}/bad/people.csv", b"name\nu1\n")
        bad = ended(context, job_of(context, "bad", TENANT))
        assert (good.state, bad.state) == ("READY", "FAILED")
        context.workflow.start_execution(
            stateMachineArn=context.engine.machine_arn(), name="not-an-import", input='{"import": {}}'
        )
        keys = {
            customer.url: signing_key(context.settings.webhook_secret, TENANT).reveal(),
            operator.url: signing_key(context.settings.webhook_secret, None).reveal(),
        }
        assert {mail["Subject"] for mail in mailbox.wait_for(2, "crm@example.com")} == {
            "[Muster] notified/good is ready, version 1",
            "[Muster] notified/bad: the file was refused (MISSING_COLUMN)",
        }
        seen: set[str] = set()
        messages = [
            message
            for request in customer.wait_for(5)
            if (
                message := CHECK.verify(
                    [keys[customer.url]], request.headers, request.body, now_s=time.time(), seen=seen
                )
            )
        ]
        by_outcome = {message["outcome"]: message for message in messages}
        assert set(by_outcome) == {"ready", "user-error"}
        assert by_outcome["ready"]["counts"] == {
            "rows": 2,
            "accepted": 2,
            "rejected": 0,
            "duplicates": 0,
            "distinct": 2,
            "members": 2,
        }
        assert by_outcome["user-error"]["cause"]["code"] == "MISSING_COLUMN"

        def operator_notices() -> set[str]:
            requests, fresh = operator.requests[earlier:], set[str]()
            messages = [
                CHECK.verify([keys[operator.url]], r.headers, r.body, now_s=time.time(), seen=fresh) for r in requests
            ]
            return {message["outcome"] for message in messages if message is not None}

        until(lambda: "not-registered" in operator_notices(), "a notice to the operator")

        def delivery() -> set[str]:
            return {row.state for job in (good, bad) for row in context.outbox.by_subject(job.job_id)}

        until(lambda: delivery() == {"delivered"}, "the delivery of all notifications")

"""Notifications in the whole stack: real imports, a real mail server, a real receiver that is away at first."""

import time
from pathlib import Path

import pytest

from orchestration.context import Context
from orchestration.notifications.receiving import verify
from orchestration.notifications.signing import signing_key
from orchestration.operations.notifying import set_recipients
from schemas.ids import TenantName
from tests.conftest import StartStack
from tests.integration.whole_imports import ended, job_of
from tests.servers.mail import mail_server
from tests.servers.webhooks import receiver

pytestmark = pytest.mark.integration
TENANT = TenantName("default")


def test_every_outcome_reaches_those_whom_it_concerns_though_a_receiver_is_away_at_first(
    start_stack: StartStack, tmp_path: Path
) -> None:
    with mail_server(tmp_path / "mail") as mailbox, receiver() as customer, receiver() as operator:
        settings = start_stack(
            parts=None,
            smtp_host="127.0.0.1",
            smtp_port=mailbox.port,
            smtp_security="none",
            smtp_from="muster@example.com",
            operator_webhooks=operator.url,
            notify_first_retry_s=1,
            webhook_private_targets="127.0.0.1",
        )
        context = Context(settings)
        context.audiences.add_tenant(TENANT, 1)
        set_recipients(context, TENANT, None, emails=["crm@example.com"], webhooks=[customer.url], nobody=False)
        customer.answers = [500, 302, 503]
        inbox = settings.inbox_bucket
        context.objects.put(inbox, "default/good/people.csv", b"user_id\nu1\nu2\n")
        good = ended(context, job_of(context, "good"))
        context.objects.put(inbox, "default/bad/people.csv", b"name\nu1\n")
        bad = ended(context, job_of(context, "bad"))
        assert (good.state, bad.state) == ("READY", "FAILED")
        context.workflow.start_execution(
            stateMachineArn=context.machine_arn(), name="not-an-import", input='{"import": {}}'
        )
        keys = {
            customer.url: signing_key(settings.webhook_secret, TENANT).reveal(),
            operator.url: signing_key(settings.webhook_secret, None).reveal(),
        }
        assert {mail["Subject"] for mail in mailbox.wait_for(2, "crm@example.com")} == {
            "[Muster] default/good is ready, version 1",
            "[Muster] default/bad: the file was refused (MISSING_COLUMN)",
        }
        seen: set[str] = set()
        messages = [
            message
            for request in customer.wait_for(5)
            if (message := verify([keys[customer.url]], request.headers, request.body, now_s=time.time(), seen=seen))
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
        [request] = operator.wait_for(1, timeout_s=120)
        unregistered = verify([keys[operator.url]], request.headers, request.body, now_s=time.time(), seen=seen)
        assert unregistered is not None
        assert unregistered["outcome"] == "not-registered"
        for job in (good, bad):
            deadline = time.monotonic() + 60
            while {row.state for row in context.outbox.of(job.job_id)} != {"delivered"}:
                assert time.monotonic() < deadline, context.outbox.of(job.job_id)
                time.sleep(0.1)
        context.database.close()

"""From the end of a job to its recipients: the step, the outbox, the control plane's deliveries."""

import logging
import random
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orchestration.catalog import migrate
from orchestration.catalog.operations import Operation
from orchestration.catalog.records import JobError
from orchestration.composition import control_plane
from orchestration.composition.context import Context
from orchestration.control.delivery import Delivery
from orchestration.kinds.unregistered import notify_unregistered
from orchestration.notifications.courier import Backoff, Courier
from orchestration.notifications.notices import outcome_of
from orchestration.notifications.signing import signing_key
from orchestration.operations.notifying import hints, resend, set_recipients, webhook_key
from orchestration.platform.clock import fresh_id, now_ms
from orchestration.platform.settings import Secret, Settings
from schemas.errors import UserError
from schemas.ids import JobId, TenantName
from tests.contract.test_catalog import ACME, AUDIENCE_ID, VIP, job_number, new_job
from tests.fakes.catalog import catalog_in
from tests.fakes.webhook_check import CHECK
from tests.servers.mail import mail_server
from tests.servers.silent import dribbling_server
from tests.servers.webhooks import receiver

SECRET = Secret("webhook secret")
FAULT = JobError(kind="user", code="EMPTY_FILE", message="the file is empty", detail={})
OUTAGE = JobError(kind="system", code="NOT_RECONCILED", message="after 3 attempts", detail={})


@pytest.fixture(autouse=True)
def patient(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Long deadlines, so that a machine that stalls for seconds blocks no channel."""
    if request.function is not test_hanging_mail_server_does_not_delay_the_step:
        monkeypatch.setattr(Courier.deliver_at_once, "__defaults__", (60.0,))


@pytest.fixture
def context(tmp_path: Path) -> Iterator[Context]:
    made = make_context(tmp_path)
    yield made
    made.database.close()


def make_context(home: Path, **settings: Any) -> Context:
    url = catalog_in(home)
    listed = "127.0.0.1"
    made = Context(
        Settings(home=home, catalog_url=url, webhook_secret=SECRET, webhook_private_targets=listed, **settings)
    )
    made.audiences.add_tenant(ACME, 1)
    made.audiences.ensure(ACME, VIP, new_id=AUDIENCE_ID, now_ms=1)
    return made


def add_recipients(context: Context, *, emails: tuple[str, ...] = (), webhooks: tuple[str, ...] = ()) -> None:
    set_recipients(
        ACME,
        AUDIENCE_ID,
        emails=emails,
        webhooks=webhooks,
        recipients=context.recipients,
        settings=context.settings,
    )


def ended(context: Context, error: JobError | None = FAULT, number: int = 1, now_ms: int = 2) -> JobId:
    context.jobs.register(new_job(number, f"{number:064}"))
    job_id = job_number(number)
    if error is not None:
        context.jobs.fail(job_id, error, now_ms=now_ms)
    else:
        for state in ("VERIFYING", "IMPORTING", "AWAITING", "PUBLISHING"):
            context.jobs.move(job_id, state, now_ms=1)
        context.jobs.move(job_id, "READY", now_ms=now_ms, outcome={"version": 7, "members": 3})
    return job_id


def states(context: Context, job_id: str) -> dict[str, tuple[str, int]]:
    return {f"{r.channel} {r.address}".strip(): (r.state, r.attempts) for r in context.outbox.by_subject(job_id)}


def test_version_notifies_recipients_of_audience_and_tenant(tmp_path: Path) -> None:
    with mail_server(tmp_path / "mail") as mailbox, receiver() as hook:
        context = make_context(
            tmp_path,
            smtp_host="127.0.0.1",
            smtp_port=mailbox.port,
            smtp_security="none",
            smtp_from="muster@example.com",
            operator_emails="ops@example.com",
        )
        add_recipients(context, emails=("vip@example.com",), webhooks=(hook.url,))
        set_recipients(
            ACME,
            None,
            emails=["acme@example.com"],
            webhooks=[],
            recipients=context.recipients,
            settings=context.settings,
        )
        job_id = ended(context, None)
        context.import_records.notify(context.notices, job_id, "ready")
        assert {mail["To"] for mail in mailbox.mails()} == {"vip@example.com", "acme@example.com"}
        [request] = hook.requests
        message = CHECK.verify(
            [signing_key(SECRET, ACME).reveal()], request.headers, request.body, now_s=time.time(), seen=set()
        )
        assert message is not None
        assert (message["job"], message["outcome"], message["tenant"], message["audience"], message["version"]) == (
            job_id,
            "ready",
            "acme",
            "vip",
            7,
        )
        assert {state for state, _ in states(context, job_id).values()} == {"delivered"}
        context.import_records.notify(context.notices, job_id, "ready")  # the step again, after a crash
        assert (len(mailbox.mails()), len(hook.requests)) == (2, 1)
        context.database.close()


def test_system_error_notifies_operators_not_the_customer(tmp_path: Path) -> None:
    with receiver() as customer, receiver() as operator:
        context = make_context(tmp_path, operator_webhooks=operator.url)
        add_recipients(context, webhooks=(customer.url,))
        context.import_records.notify(context.notices, ended(context, OUTAGE), "system-error")
        notify_unregistered(
            context.notices,
            {"detail": {"bucket": {"name": "inbox"}, "object": {"key": "x"}}},
            {"Error": "KeyError"},
            "arn:e",
        )
        key = signing_key(SECRET, None).reveal()
        first, second = (
            CHECK.verify([key], r.headers, r.body, now_s=time.time(), seen=set()) or {} for r in operator.requests
        )
        assert customer.requests == []
        assert first["cause"] == {"kind": "system", "code": "NOT_RECONCILED", "message": "after 3 attempts"}
        assert (second["job"], second["source"], second["cause"]["code"]) == ("arn:e", "s3://inbox/x", "KeyError")
        context.database.close()


def test_file_error_notifies_the_customer_not_operators(tmp_path: Path) -> None:
    with receiver() as customer, receiver() as operator:
        context = make_context(tmp_path, operator_webhooks=operator.url)
        add_recipients(context, webhooks=(customer.url,))
        context.import_records.notify(context.notices, ended(context, FAULT), "user-error")
        assert (len(customer.requests), operator.requests) == (1, [])
        context.database.close()


def test_hanging_mail_server_does_not_delay_the_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with dribbling_server() as port, receiver() as hook:
        context = make_context(
            tmp_path, smtp_host="127.0.0.1", smtp_port=port, smtp_security="none", smtp_from="muster@example.com"
        )
        add_recipients(context, emails=("a@b", "c@d"), webhooks=(hook.url,))
        job_id = ended(context)
        began = time.monotonic()
        assert context.import_records.notify(context.notices, job_id, "user-error")["state"] == "FAILED"
        assert time.monotonic() - began < 60  # 5 s by design; the server would never end
        assert states(context, job_id)["email c@d"] == ("waiting", 0)
        # The channel is known to be blocked by now: the next job does not try it at all.
        monkeypatch.setattr(Courier.deliver_at_once, "__defaults__", (60.0,))
        other = ended(context, number=2)
        context.import_records.notify(context.notices, other, "user-error")
        assert states(context, other)["email a@b"] == ("waiting", 0)
        assert states(context, other)[f"webhook {hook.url}"] == ("delivered", 1)
        context.database.close()


def test_step_without_the_secrets_leaves_mails_and_webhooks_to_the_control_plane(tmp_path: Path) -> None:
    with mail_server(tmp_path / "mail") as mailbox, receiver() as hook:
        context = make_context(
            tmp_path,
            smtp_host="127.0.0.1",
            smtp_port=mailbox.port,
            smtp_security="none",
            smtp_from="muster@example.com",
        )
        add_recipients(context, emails=("vip@example.com",), webhooks=(hook.url,))
        job_id = ended(context, None)
        step = context.settings.with_(webhook_secret=Secret(""), smtp_user_holder="x", webhook_secret_holder="x")
        context.import_records.notify(replace(context.notices, settings=step), job_id, "ready")
        assert states(context, job_id) == {
            "log": ("delivered", 1),
            "email vip@example.com": ("waiting", 0),
            f"webhook {hook.url}": ("waiting", 0),
        }
        Delivery(context.notices, context.jobs, context.exports).tick(now_ms())
        assert {state for state, _ in states(context, job_id).values()} == {"delivered"}
        context.database.close()


def test_failed_delivery_is_retried_later(context: Context) -> None:
    with receiver() as hook:
        add_recipients(context, webhooks=(hook.url,))
        job_id = ended(context)
        hook.answers = [503]
        context.import_records.notify(context.notices, job_id, "user-error")
        assert states(context, job_id)[f"webhook {hook.url}"] == ("waiting", 1)
        [row] = [row for row in context.outbox.by_subject(job_id) if row.channel == "webhook"]
        assert row.last_error == "WEBHOOK_FAILED: 127.0.0.1 answered 503"
        assert row.next_attempt_at_ms is not None
        assert context.outbox.due(row.next_attempt_at_ms - 1) == []
        [due] = context.outbox.due(row.next_attempt_at_ms)
        assert courier(context).deliver(due)
        assert states(context, job_id)[f"webhook {hook.url}"] == ("delivered", 2)
        first, second = hook.requests
        assert first.headers["Idempotency-Key"] == second.headers["Idempotency-Key"]
        assert first.body == second.body


def courier(context: Context, tries: int = 12) -> Courier:
    return Courier(context.outbox, context.settings, backoff=Backoff(tries=tries), dice=random.Random(1))


def test_notification_is_abandoned_after_the_last_try_and_can_be_resent(context: Context) -> None:
    with receiver() as hook:
        add_recipients(context, webhooks=(hook.url,))
        hook.answers = [500] * 3
        job = context.jobs.get(ended(context))
        context.notices.write_for_job(job, "user-error", 5)
        for _ in range(3):
            [row] = [r for r in context.outbox.by_subject(job.job_id) if r.channel == "webhook"]
            assert not courier(context, tries=3).deliver(row)
        assert states(context, job.job_id)[f"webhook {hook.url}"] == ("given up", 3)
        assert [r.notification_id for r in context.outbox.due(10**15) if r.channel == "webhook"] == []
        assert resend(context.outbox, (), given_up=True) == 1
        [row] = [r for r in context.outbox.due(10**15) if r.channel == "webhook"]
        assert courier(context).deliver(row)
        with pytest.raises(UserError, match="DELIVERED"):
            resend(context.outbox, [row.notification_id], given_up=False)


def test_lease_limits_a_row_to_one_courier(context: Context) -> None:
    with receiver() as hook:
        add_recipients(context, webhooks=(hook.url,))
        job = context.jobs.get(ended(context))
        [row] = [r for r in context.notices.write_for_job(job, "user-error", 5) if r.channel == "webhook"]
        with ThreadPoolExecutor(8) as pool:
            delivered = list(pool.map(lambda _: courier(context).deliver(row), range(8)))
        assert (sum(delivered), len(hook.requests)) == (1, 1)


def test_next_courier_delivers_after_a_dead_one(context: Context) -> None:
    with receiver() as hook:
        add_recipients(context, webhooks=(hook.url,))
        job = context.jobs.get(ended(context))
        [row] = [r for r in context.notices.write_for_job(job, "user-error", 5) if r.channel == "webhook"]
        assert context.outbox.claim(row, 1_000)
        assert [r for r in context.outbox.due(60_000) if r.channel == "webhook"] == []
        [again] = [r for r in context.outbox.due(61_000) if r.channel == "webhook"]
        assert courier(context).deliver(again)
        assert len(hook.requests) == 1


def test_pauses_double_up_to_an_hour_and_differ() -> None:
    backoff, dice = Backoff(), random.Random(7)
    pauses = [backoff.pause_ms(attempts, dice) for attempts in range(1, 13)]
    assert pauses[-1] is None
    for n, pause in enumerate(pauses[:-1]):
        whole = min(3600, 30 * 2**n) * 1000
        assert pause is not None
        assert whole / 2 <= pause <= whole
    assert len({backoff.pause_ms(12 - 1, dice) for _ in range(10)}) == 10


def test_relay_notifies_about_a_silently_ended_workflow(context: Context) -> None:
    with receiver() as hook:
        add_recipients(context, webhooks=(hook.url,))
        job_id = ended(context, now_ms=1_000_000)
        cancelled = job_number(2)
        context.jobs.register(new_job(2, "2" * 64))
        context.jobs.move(cancelled, "CANCELLED", now_ms=1_000_000)
        notifier = control_plane.delivery(context)
        notifier.tick(1_059_000)
        assert hook.requests == []  # the job's own workflow has a minute
        for _ in range(2):
            notifier.tick(1_061_000)
        assert len(hook.requests) == 1
        assert states(context, job_id) == {"log": ("delivered", 1), f"webhook {hook.url}": ("delivered", 1)}
        assert states(context, cancelled) == {}


@pytest.mark.parametrize(("error", "outcome"), [(None, "ready"), (FAULT, "user-error"), (OUTAGE, "system-error")])
def test_outcome_follows_from_the_final_state(context: Context, error: JobError | None, outcome: str) -> None:
    assert outcome_of(context.jobs.get(ended(context, error))) == outcome


def test_jobs_ended_before_the_feature_are_not_notified(tmp_path: Path) -> None:
    context = make_context(tmp_path)
    job_id = ended(context)
    url = context.settings.catalog_url
    migrate.downgrade(url, "0002")
    migrate.upgrade(url)
    assert context.outbox.unnotified(finished_before_ms=10**15, finished_after_ms=0) == []
    assert [(r.channel, r.state) for r in context.outbox.by_subject(job_id)] == [("log", "delivered")]
    context.database.close()


def test_invalid_recipients_are_refused_without_changes(context: Context) -> None:
    add_recipients(context, emails=("a@b",))
    for emails, webhooks in ((["c@d", "x\r\ny@z"], []), ([], ["http://acme.example/"])):
        with pytest.raises(UserError, match="BAD_RECIPIENT"):
            set_recipients(
                ACME,
                AUDIENCE_ID,
                emails=emails,
                webhooks=webhooks,
                recipients=context.recipients,
                settings=context.settings,
            )
    assert [r.address for r in context.recipients.get(ACME, AUDIENCE_ID)] == ["a@b"]
    with pytest.raises(UserError, match="UNKNOWN_TENANT"):
        set_recipients(
            TenantName("nobody"),
            None,
            emails=["a@b"],
            webhooks=[],
            recipients=context.recipients,
            settings=context.settings,
        )


def test_failure_is_logged_despite_invalid_settings(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    context = make_context(tmp_path, operator_emails="not an address")
    with caplog.at_level(logging.INFO):
        context.import_records.notify(context.notices, ended(context, OUTAGE), "system-error")
    assert "BAD_RECIPIENT" in caplog.text
    assert "NOT_RECONCILED" in caplog.text
    context.database.close()


def test_secrets_and_urls_are_not_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with receiver() as hook:
        context = make_context(tmp_path)
        add_recipients(context, webhooks=(hook.url + "?token=hush",))
        hook.answers = [500]
        with caplog.at_level(logging.DEBUG):
            context.import_records.notify(context.notices, ended(context), "user-error")
        assert len(hook.requests) == 1
        context.database.close()
    assert "WEBHOOK_FAILED" in caplog.text
    for hidden in ("hush", SECRET.reveal(), signing_key(SECRET, ACME).reveal()):
        assert hidden not in caplog.text


def test_webhooks_wait_for_a_secret(context: Context) -> None:
    with receiver() as hook:
        add_recipients(context, webhooks=(hook.url,))
        job = context.jobs.get(ended(context))
        without = context.settings.with_(webhook_secret=Secret(""))
        [row] = [r for r in context.notices.write_for_job(job, "user-error", 5) if r.channel == "webhook"]
        assert not Courier(context.outbox, without, backoff=Backoff(), dice=random.Random(1)).deliver(row)
        assert hook.requests == []
        [row] = [r for r in context.outbox.by_subject(job.job_id) if r.channel == "webhook"]
        assert (row.state, row.last_error) == ("waiting", "NO_WEBHOOK_SECRET: the setting webhook_secret is not set")
        with pytest.raises(UserError, match="NO_WEBHOOK_SECRET"):
            webhook_key(Context(without).settings, "acme")
        own = context.recipients.get(ACME, AUDIENCE_ID)
        for settings, warned in ((context.settings, 0), (without, 1), (without.with_(webhook_secret_holder="x"), 0)):
            assert sum("webhook" in one for one in hints(settings, own)) == warned


def test_only_existing_notifications_are_resent(context: Context) -> None:
    with pytest.raises(UserError, match="UNKNOWN_NOTIFICATION"):
        resend(context.outbox, ["nothing"], given_up=False)


def ask_for_test(context: Context, channel: str, address: str) -> JobId:
    new = Operation(
        operation_id=fresh_id(),
        tenant=ACME,
        kind="recipient_test",
        action="manage_audiences",
        audience_id=AUDIENCE_ID,
        audience=VIP,
        request={"channel": channel, "address": address},
        created_at_ms=1,
    )
    context.operations.add(new)
    return new.operation_id


def test_test_notification_is_sent_once_and_its_operation_reports_the_outcome(tmp_path: Path) -> None:
    with mail_server(tmp_path / "mail") as mailbox, receiver() as hook:
        context = make_context(
            tmp_path,
            smtp_host="127.0.0.1",
            smtp_port=mailbox.port,
            smtp_security="none",
            smtp_from="muster@example.com",
        )
        tests = control_plane.recipient_tests(context)
        asked = [
            ask_for_test(context, "email", "vip@example.com"),
            *(ask_for_test(context, "webhook", f"{hook.url}?key=hush") for _ in range(2)),
            ask_for_test(context, "webhook", "http://127.0.0.2/hook"),
        ]
        hook.answers = [200, 503]
        for _ in range(2):  # nothing is tried again
            tests.tick(0)
        mail, *hooks, refused = [context.operations.get(ACME, one) for one in asked]
        subject = "[Muster] test notification of audience vip of tenant acme"
        assert [one["Subject"] for one in mailbox.mails()] == [subject]
        assert (mail.state, (mail.result or {})["address"]) == ("done", "vip@example.com")
        assert sorted(one.state for one in hooks) == ["done", "failed"]
        failed = next(one for one in hooks if one.state == "failed")
        assert (failed.error or {})["message"] == "127.0.0.1 answered 503"
        assert "webhook_private_targets" in (refused.error or {})["message"]
        assert len(hook.requests) == 2
        key = signing_key(SECRET, ACME).reveal()
        read = [CHECK.verify([key], r.headers, r.body, now_s=time.time(), seen=set()) for r in hook.requests]
        assert {(one or {})["id"] for one in read} == {one.operation_id for one in hooks}
        assert {((one or {})["outcome"], (one or {})["audience"]) for one in read} == {("test", "vip")}
        trail = context.audit.search()
        assert sorted(str(one.error) for one in trail) == ["None", "None", "WEBHOOK_FAILED", "WEBHOOK_FAILED"]
        assert "hush" not in str(trail)
        assert context.outbox.undelivered() == []
        context.database.close()


def test_test_notification_names_missing_settings(tmp_path: Path) -> None:
    context = make_context(tmp_path)
    asked = ask_for_test(context, "email", "vip@example.com")
    control_plane.recipient_tests(context).tick(0)
    assert (context.operations.get(ACME, asked).error or {})["code"] == "NO_MAIL_SERVER"
    context.database.close()

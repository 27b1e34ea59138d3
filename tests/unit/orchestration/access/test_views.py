"""Views of a tenant by caller, and their audit entries."""

from datetime import UTC, datetime
from typing import Any

import pytest

from orchestration.access.bodies.access import NewPrincipal, NewTenant
from orchestration.access.bodies.segments import SegmentState
from orchestration.access.guard import Entry, View, recorded
from orchestration.access.policy import Action
from orchestration.access.views.account import Account
from orchestration.access.views.audiences import Audiences
from orchestration.access.views.audit import TenantAudit
from orchestration.access.views.everywhere import Everywhere
from orchestration.access.views.grants import TenantGrants
from orchestration.access.views.jobs import Jobs
from orchestration.access.views.principals import Principals
from orchestration.access.views.recipients import Recipients
from orchestration.access.views.schedules import Schedules
from orchestration.access.views.segments import Segments
from orchestration.access.views.tenant import TenantView
from orchestration.access.views.tenants import Tenants
from orchestration.access.views.versions import Versions
from orchestration.catalog.audit import AuditEntry
from orchestration.notifications.recipients import Recipient
from orchestration.records import recipients as answers
from orchestration.records.access import Rights
from orchestration.records.jobs import ImportJobDetail
from schemas.errors import RetriableError, UserError
from schemas.ids import AudienceName, Version
from tests.fakes.tenants import ACME, BETA, CANARY, DUPLICATE, EXPORT, FAILED_JOB, JOB, World, id_of


class Everything(Jobs, Audiences, Versions, Segments, Schedules, Recipients, TenantAudit, TenantGrants):
    """All views of a tenant in one."""


def tenant(world: World, name: str, of: str = ACME) -> Everything:
    return Everything(world.services, world.caller(name), of)


class Deployment(Account, Tenants, Principals):
    """Views of the deployment in one."""


def deployment(world: World, name: str) -> Deployment:
    return Deployment(world.services, world.caller(name))


def refusal(call: Any, *args: Any, **kwargs: Any) -> UserError:
    with pytest.raises(UserError) as refused:
        call(*args, **kwargs)
    return refused.value


def entries(world: World, of: str | None = ACME) -> list[AuditEntry]:
    return [entry for entry in world.services.audit.search() if entry.tenant == of]


@pytest.mark.parametrize("name", ["", "default ", "../acme", "ACME", "a\0", "gone"])
def test_missing_tenant_looks_the_same_with_a_role_in_every_tenant(world: World, name: str) -> None:
    assert refusal(TenantView, world.services, world.caller("deployment-admin"), name).code == "UNKNOWN_TENANT"


def test_refusal_names_the_roles_that_allow_an_action(world: World) -> None:
    refused = refusal(tenant(world, "acme-viewer").rejects, id_of(ACME, JOB))
    assert refused.code == "FORBIDDEN"
    assert "admin or analyst or engineer or operator in tenant acme" in refused.message


def test_last_full_page_has_no_next(world: World) -> None:
    assert tenant(world, "acme-viewer").list_jobs(limit=4).next is None


def test_a_duplicate_shows_its_original(world: World) -> None:
    shown = tenant(world, "acme-viewer").get_job(id_of(ACME, DUPLICATE))
    assert isinstance(shown, ImportJobDetail)
    assert (shown.job, shown.duplicate_of) == (id_of(ACME, JOB), id_of(ACME, JOB))


def test_missing_receipt_error_names_the_state(world: World) -> None:
    view = tenant(world, "acme-viewer")
    assert view.receipt(id_of(ACME, JOB))["rows"] == 5
    assert refusal(view.receipt, id_of(ACME, FAILED_JOB)).code == "NO_RECEIPT"


def test_an_export_has_neither_receipt_nor_rejects(world: World) -> None:
    view = tenant(world, "acme-analyst")
    assert refusal(view.receipt, id_of(ACME, EXPORT)).code == "NO_RECEIPT"
    assert refusal(view.rejects, id_of(ACME, EXPORT)).code == "NO_REJECTS"


def test_job_is_found_by_id_in_every_readable_tenant(world: World) -> None:
    def seen(name: str) -> set[str]:
        view = Everywhere(world.services, world.caller(name))
        for of in (ACME, BETA):
            if id_of(of, JOB) not in str(view.list_all_jobs(limit=99).items):
                assert refusal(view.find_job, id_of(of, JOB)).code == "UNKNOWN_JOB"
            else:
                assert view.find_job(id_of(of, JOB)).tenant == of
        return {item.tenant for item in view.list_all_jobs(limit=99).items}

    callers = ("acme-viewer", "beta-operator", "deployment-operator", "deployment-admin", "stranger")
    assert [seen(name) for name in callers] == [{ACME}, {BETA}, {ACME, BETA}, {ACME, BETA}, set()]
    everywhere = Everywhere(world.services, world.caller("deployment-operator"))
    assert {i.tenant for i in everywhere.list_all_jobs(kind=["export"], audience="vip", limit=99).items} == {ACME, BETA}


@pytest.mark.parametrize("number", [JOB, EXPORT])
def test_only_audience_managers_see_recipients(world: World, number: int) -> None:
    recipient = Recipient(channel="email", address="ann@acme.example")
    world.services.outbox.write(id_of(ACME, number), "ready", [recipient], {}, now_ms=1)

    def reported(name: str) -> list[tuple[str, str | None]]:
        notices = tenant(world, name).get_job(id_of(ACME, number)).notifications
        return [(notice.channel, notice.recipient) for notice in notices]

    assert reported("acme-engineer") == [("email", "ann@acme.example")]
    assert reported("acme-operator") == [("email", None)]


def test_other_tenant_objects_are_read_by_name(world: World) -> None:
    view = tenant(world, "acme-engineer")
    assert [item.audience for item in view.list_audiences(limit=9).items] == ["quiet", "vip"]
    assert view.get_audience("vip").record.spec["id_column"] == "id_plain"
    assert view.list_segments(limit=9).items[0].rule == view.get_segment("buyers").rule == 'ever("plain")'
    assert [version.rule_version for version in view.list_rule_versions("buyers")] == [1]
    assert view.list_schedules(limit=9).items == [view.get_schedule("nightly")]
    assert view.list_recipients().items == [answers.Recipient(channel="email", address="plain@acme.example")]
    assert view.list_recipients(audience="vip").items == []


def test_versions_are_listed_newest_first_with_their_pins(world: World) -> None:
    view = tenant(world, "acme-viewer")
    audience = world.services.audiences.get(ACME, AudienceName("vip"))
    world.services.audiences.pin(audience.audience_id, Version(1), 1)
    first = view.list_versions("vip", limit=1)
    rest = view.list_versions("vip", before=first.next, limit=1)
    shown = [(v.version, v.members, v.reason, v.pinned) for v in (*first.items, *rest.items)]
    assert shown == [(2, 3, "plain", False), (1, 3, "plain", True)]
    assert rest.next is None
    assert view.get_version("vip", 1) == rest.items[0]
    assert refusal(view.get_version, "vip", 3).code == "NO_SUCH_VERSION"


def test_audience_without_a_version_lists_none(world: World) -> None:
    view = tenant(world, "acme-viewer")
    world.services.audiences.ensure(ACME, AudienceName("gold"), new_id=id_of(ACME, 50), now_ms=1)
    assert view.list_versions("gold", limit=9).items == []
    with world.services.database.write() as connection:
        connection.exec_driver_sql("DROP TABLE iceberg_tables")
    assert view.list_versions("vip", limit=9).items == []


def test_metadata_of_another_tenant_is_never_read(world: World) -> None:
    with world.services.database.write() as connection:
        connection.exec_driver_sql("UPDATE iceberg_tables SET table_namespace = 'gamma' WHERE table_namespace = 'acme'")
    assert tenant(world, "acme-viewer").list_versions("vip", limit=9).items == []


def test_read_of_rejects_is_audited_with_principal_and_request(world: World) -> None:
    assert tenant(world, "acme-analyst").rejects(id_of(ACME, JOB)).rejected_by_code == {"BAD_plain": 2}
    caller, (entry,) = world.caller("acme-analyst"), entries(world)
    assert (entry.actor, entry.action, entry.object, entry.job_id) == (
        "acme-analyst",
        "rejects",
        "acme/vip",
        id_of(ACME, JOB),
    )
    assert (entry.principal, entry.token, entry.request_id) == (
        caller.principal_id,
        caller.token and caller.token.token_id,
        caller.request_id,
    )


def test_refused_read_of_users_is_audited(world: World) -> None:
    refusal(tenant(world, "acme-viewer").rejects, id_of(ACME, JOB))
    refusal(tenant(world, "acme-analyst").rejects, id_of(BETA, JOB))
    assert [(e.actor, e.error) for e in entries(world)] == [
        ("acme-viewer", "FORBIDDEN"),
        ("acme-analyst", "UNKNOWN_JOB"),
    ]
    assert CANARY not in str(entries(world))


def test_failed_recorded_method_is_audited(world: World) -> None:
    class Broken(View):
        @recorded(Action.OWN_ACCOUNT, "break")
        def fail(self, note: Entry) -> None:
            note.object = "x"
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        Broken(world.services, world.caller("acme-viewer"), tenant=None).fail()
    assert [(e.action, e.error) for e in entries(world, None)] == [("break", "ZeroDivisionError")]


def test_tenant_sees_its_own_audit_trail_newest_first(world: World) -> None:
    for of in (ACME, BETA):
        for number in (JOB, FAILED_JOB):
            tenant(world, f"{of}-admin", of).rejects(id_of(of, number))
    view = tenant(world, "acme-admin")
    first = view.list_audit(limit=1)
    rest = view.list_audit(before=first.next, limit=9)
    assert [e.job for e in (*first.items, *rest.items)] == [id_of(ACME, FAILED_JOB), id_of(ACME, JOB)]
    assert [e.job for e in view.list_audit(job=id_of(ACME, JOB), limit=9).items] == [id_of(ACME, JOB)]
    assert (
        view.list_audit(audience="gold", limit=9).items
        == view.list_audit(since=datetime.max.replace(tzinfo=UTC), limit=9).items
        == []
    )


def test_me_and_tenants_show_current_rights(world: World) -> None:
    me = deployment(world, "acme-viewer").get_me()
    assert me.rights == Rights(
        deployment=["own_account"], every_tenant=[], tenants={"acme": ["own_account", "read", "read_jobs"]}
    )
    assert [t.tenant for t in deployment(world, "acme-viewer").list_tenants(limit=9).items] == ["acme"]
    assert [t.tenant for t in deployment(world, "deployment-operator").list_tenants(limit=9).items] == ["acme", "beta"]
    assert deployment(world, "stranger").list_tenants(limit=9).items == []
    first = deployment(world, "deployment-admin").list_tenants(limit=1)
    assert (first.next, len(first.items)) == ("acme", 1)


def test_administrator_of_the_deployment_creates_tenants_and_principals(world: World) -> None:
    ann = NewPrincipal(name="ann", kind="person")
    admin = deployment(world, "deployment-admin")
    assert admin.create_tenant(NewTenant(tenant="new")).tenant == "new"
    made = admin.create_principal(ann)
    assert made in admin.list_principals(limit=99).items
    assert refusal(admin.create_principal, ann).code == "PRINCIPAL_EXISTS"
    assert refusal(admin.create_principal, NewPrincipal(name=" ann", kind="person")).code == "BAD_PRINCIPAL"
    assert refusal(admin.create_tenant, NewTenant(tenant="../x")).code == "BAD_NAME"
    assert [e.action for e in entries(world, None)][-5:] == [
        "tenants create",
        "principals create",
        "principals create",
        "principals create",
        "tenants create",
    ]


def test_an_outage_of_the_catalog_is_retriable(world: World) -> None:
    view = tenant(world, "acme-admin")
    with world.services.database.write() as connection:
        connection.exec_driver_sql("ALTER TABLE jobs RENAME TO gone")
    with pytest.raises(RetriableError) as refused:
        view.list_jobs(limit=1)
    assert refused.value.code == "CATALOG_UNAVAILABLE"


def test_workers_are_ensured_after_each_change(world: World) -> None:
    ensured: list[str] = []

    class AtOnce:
        def ensure(self, now_ms: int) -> None:
            del now_ms
            ensured.append(str(world.services.segments.get(ACME, AudienceName("buyers")).state))

    vars(world.services)["scaler"] = AtOnce()
    view = tenant(world, "acme-engineer")
    paused = SegmentState(state="paused")
    view.get_segment("buyers")
    refusal(view.rejects, id_of(ACME, EXPORT))
    refusal(tenant(world, "acme-viewer").change_segment_state, "buyers", paused)
    assert ensured == []
    view.change_segment_state("buyers", paused)
    assert ensured == ["paused"]

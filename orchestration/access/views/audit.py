"""Who did what in a tenant, and in the whole deployment."""

from datetime import datetime
from typing import Annotated

from orchestration.access.bodies.common import GRAPHIC, Named, Since, milliseconds
from orchestration.access.guard import reads
from orchestration.access.pages import Page, first
from orchestration.access.policy import Action
from orchestration.access.views.deployment import DeploymentView
from orchestration.access.views.tenant import TenantView
from orchestration.composition.service import Services
from orchestration.records.audit import AuditEntry
from orchestration.records.fields import About
from schemas.ids import JobId, TenantName, job_id, tenant_name

Job = Annotated[str | None, About(max_length=26)]


class TenantAudit(TenantView):
    """The audit trail of a tenant."""

    @reads(Action.MANAGE_ACCESS, "GET /audit", problems=("BAD_JOB_ID",))
    def list_audit(
        self,
        *,
        audience: Named = None,
        job: Job = None,
        since: Since = None,
        before: str | None = None,
        limit: int,
    ) -> Page[AuditEntry]:
        """Who did what in the tenant, newest first."""
        on = None if audience is None else f"{self._name}/{audience}"
        return _page(self._services, self._name, on=on, job=job, since=since, before=before, limit=limit)


class WholeAudit(DeploymentView):
    """The audit trail of all tenants and of the deployment."""

    @reads(Action.MANAGE_ACCESS, "GET /audit", problems=("BAD_JOB_ID", "BAD_NAME"))
    def list_whole_audit(
        self,
        *,
        tenant: Annotated[str | None, About(max_length=63, pattern=GRAPHIC)] = None,
        on: Annotated[str | None, About("An object, such as acme/vip.", GRAPHIC, max_length=512)] = None,
        job: Job = None,
        since: Since = None,
        before: str | None = None,
        limit: int,
    ) -> Page[AuditEntry]:
        """Who did what in all tenants and in the deployment, newest first."""
        of = None if tenant is None else tenant_name(tenant)
        return _page(self._services, of, on=on, job=job, since=since, before=before, limit=limit)


def _page(
    services: Services,
    tenant: TenantName | None,
    *,
    on: str | None,
    job: str | None,
    since: datetime | None,
    before: str | None,
    limit: int,
) -> Page[AuditEntry]:
    found = services.audit.page(
        tenant,
        object_=on,
        job_id=None if job is None else job_id(job),
        since_ms=milliseconds(since) or 0,
        before=None if before is None else JobId(before),
        limit=limit + 1,
    )
    return first(found, limit, lambda one: one.entry)

"""Every page of the console, as the tests ask for it. A route without a row fails."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from orchestration.access.policy import Action
from orchestration.access.revisions import revision_of
from orchestration.access.views.audiences import Audiences
from orchestration.console.application import PAGES
from orchestration.console.paths import IN_TENANT
from orchestration.records.access import Grants
from orchestration.records.consent import Consent
from tests.fakes.asgi import Answer, AsgiClient
from tests.fakes.tenants import (
    ACME,
    BETA,
    BUYERS,
    DIFFERENCE,
    DOWNLOAD,
    FAILED_JOB,
    JOB,
    MEMBERS,
    NIGHTLY,
    ONLY_BETA,
    OPERATION,
    UPLOAD,
    VIP,
    World,
    id_of,
)

DRAFT: Final = "editor=e&revision=1&0.negated=&0.0.kind=ever&0.0.name=plain"
"""The fields of a rule of one row."""
NO_CONSENT: Final = Consent(policy=0, items=[])
OWN: Final = {"Sec-Fetch-Site": "same-origin"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """`given`: what of the path belongs to a tenant; `form`: of a change, of things as they are in the world.

    `silent`: says the same of what is unknown and what is not; `own_token`: the path has the caller's token.
    """

    action: Action
    given: Callable[[str], Mapping[str, str]] = field(default=lambda _: {})
    query: Mapping[str, str] = field(default_factory=dict)
    method: str = "GET"
    form: str | Callable[[World], str] = ""
    status: int = 200
    silent: bool = False
    own_token: bool = False


def _segment(tenant: str) -> dict[str, str]:
    return {"segment": f"{BUYERS}{ONLY_BETA}" if tenant == BETA else BUYERS}


def _job(tenant: str) -> dict[str, str]:
    return {"job": id_of(tenant, JOB)}


def _failed(tenant: str) -> dict[str, str]:
    return {"job": id_of(tenant, FAILED_JOB)}


def _schedule(tenant: str) -> dict[str, str]:
    return {"schedule": NIGHTLY + (ONLY_BETA if tenant == BETA else "")}


def seen_segment(world: World) -> str:
    """The field of a form with the revision of the segment of acme."""
    found = world.services.segments.one(ACME, BUYERS, partitions=1, now_ms=0)
    return f"seen={revision_of(found, found.revision)}"


def _schedule_revision(world: World) -> str:
    shown = world.services.schedules.shown(world.services.schedules.get(ACME, NIGHTLY))
    return f"revision={revision_of(shown, shown.revision)}"


def _feed(tenant: str) -> dict[str, str]:
    return {"feed": MEMBERS + (ONLY_BETA if tenant == BETA else "")}


def _feed_revision(world: World) -> str:
    shown = world.services.feeds.get(ACME, MEMBERS)
    return f"revision={revision_of(shown, shown.revision)}"


def _audience(tenant: str) -> dict[str, str]:
    return {"audience": VIP + (ONLY_BETA if tenant == BETA else "")}


def _version(tenant: str) -> dict[str, str]:
    return {**_audience(tenant), "version": "1"}


def _settings(world: World) -> str:
    view = Audiences(world.services, world.caller("acme-admin"), ACME)
    return f"seen={view.get_audience(VIP).revision}&mode=append&versions=12&days=40&max_reject_percent=0.5"


def _download(tenant: str) -> dict[str, str]:
    return {"job": id_of(tenant, DOWNLOAD)}


_UPLOAD: Final = f"{IN_TENANT}/uploads/{{upload}}"


def _upload(tenant: str) -> dict[str, str]:
    return {"upload": id_of(tenant, UPLOAD)}


def _check(tenant: str) -> dict[str, str]:
    return {**_upload(tenant), "operation": id_of(tenant, OPERATION)}


def _grant(world: World, principal: str, *roles: str) -> str:
    """The form that gives a principal these roles."""
    seen = revision_of(world.services.principals.grants(ACME), Grants.revision)
    return "&".join(
        [f"principal={world.principals[principal]}", f"revision={seen}", *(f"role_{one}=on" for one in roles)]
    )


ROWS: Final[Mapping[str, Row]] = {
    f"{IN_TENANT}/overview": Row(action=Action.READ_JOBS),
    f"{IN_TENANT}/search": Row(action=Action.READ, query={"q": "vi"}),
    f"{IN_TENANT}/jobs": Row(action=Action.READ_JOBS),
    f"{IN_TENANT}/jobs/new": Row(action=Action.READ_JOBS, query={"after": "0"}),
    f"{IN_TENANT}/jobs/{{job}}/row": Row(action=Action.READ_JOBS, given=_job),
    f"{IN_TENANT}/jobs/{{job}}": Row(action=Action.READ_JOBS, given=_job),
    f"{IN_TENANT}/jobs/{{job}}/part": Row(action=Action.READ_JOBS, given=_job),
    f"{IN_TENANT}/jobs/{{job}}/started": Row(action=Action.READ_JOBS, given=_job, status=204, silent=True),
    f"{IN_TENANT}/jobs/{{job}}/rejects": Row(action=Action.READ_REJECTS, given=_job),
    f"{IN_TENANT}/jobs/{{job}}/rejects/file": Row(action=Action.READ_REJECTS, given=_job, status=303),
    f"{IN_TENANT}/jobs/{{job}}/cancel": Row(action=Action.RUN_JOBS, given=_job, method="POST", status=303),
    f"{IN_TENANT}/jobs/{{job}}/retry": Row(
        action=Action.RUN_JOBS, given=_failed, method="POST", form="key=k&force=1", status=303
    ),
    f"{IN_TENANT}/audiences": Row(action=Action.READ),
    f"{IN_TENANT}/audiences/{{audience}}": Row(action=Action.READ, given=_audience),
    f"{IN_TENANT}/audiences/{{audience}}/operations/{{operation}}": Row(
        action=Action.READ, given=lambda tenant: {**_audience(tenant), "operation": id_of(tenant, OPERATION)}
    ),
    f"{IN_TENANT}/audiences/{{audience}}/versions/{{version}}/pin": Row(
        action=Action.RUN_JOBS, given=_version, method="POST", form="pinned=yes", status=303
    ),
    f"{IN_TENANT}/audiences/{{audience}}/versions/{{version}}/rollback": Row(
        action=Action.RUN_JOBS, given=_version, method="POST", form=f"confirm={VIP}&reason=&key=k", status=303
    ),
    f"{IN_TENANT}/audiences/{{audience}}/differences": Row(
        action=Action.READ_USERS, given=_audience, query={"earlier": "1", "later": "2"}
    ),
    f"{IN_TENANT}/audiences/{{audience}}/differences/begun": Row(
        action=Action.READ_USERS, given=_audience, method="POST", form="earlier=1&later=2"
    ),
    f"{IN_TENANT}/audiences/{{audience}}/differences/{{operation}}": Row(
        action=Action.READ_USERS, given=lambda tenant: {**_audience(tenant), "operation": id_of(tenant, DIFFERENCE)}
    ),
    f"{IN_TENANT}/audiences/{{audience}}/settings": Row(action=Action.MANAGE_AUDIENCES, given=_audience),
    f"POST {IN_TENANT}/audiences/{{audience}}/settings": Row(
        action=Action.MANAGE_AUDIENCES, given=_audience, method="POST", form=_settings, status=303
    ),
    f"{IN_TENANT}/audiences/{{audience}}/export": Row(action=Action.RUN_JOBS, given=_audience),
    f"{IN_TENANT}/audiences/{{audience}}/exports": Row(
        action=Action.RUN_JOBS, given=_audience, method="POST", form="key=k&place=download&format=csv", status=303
    ),
    f"{IN_TENANT}/segments/{{segment}}/export": Row(action=Action.RUN_JOBS, given=_segment),
    f"{IN_TENANT}/segments/{{segment}}/exports": Row(
        action=Action.RUN_JOBS, given=_segment, method="POST", form="key=k&place=download&format=csv", status=303
    ),
    f"{IN_TENANT}/jobs/{{job}}/files": Row(action=Action.RUN_JOBS, given=_download),
    f"{IN_TENANT}/jobs/{{job}}/files/{{file}}": Row(
        action=Action.RUN_JOBS, given=lambda tenant: {**_download(tenant), "file": "1"}, status=303
    ),
    f"{IN_TENANT}/schedules": Row(action=Action.READ),
    f"{IN_TENANT}/schedules/new": Row(action=Action.RUN_JOBS, query={"kind": "export"}),
    f"POST {IN_TENANT}/schedules/new": Row(
        action=Action.RUN_JOBS,
        method="POST",
        form=f"kind=import&name=weekly&audience={VIP}&source=s3://crm/acme/vip-{{date}}.csv&every=week&weekday=2&at=06:30",
        status=303,
    ),
    f"{IN_TENANT}/schedules/times": Row(action=Action.RUN_JOBS, method="POST", form="every=day&at=06:00"),
    f"{IN_TENANT}/schedules/{{schedule}}/edit": Row(action=Action.RUN_JOBS, given=_schedule),
    f"POST {IN_TENANT}/schedules/{{schedule}}/edit": Row(
        action=Action.RUN_JOBS,
        given=_schedule,
        method="POST",
        form=lambda world: f"source=s3://crm/acme/vip.csv&every=day&at=07:00&seen={_schedule_revision(world)[9:]}",
        status=303,
    ),
    f"{IN_TENANT}/schedules/{{schedule}}/state": Row(
        action=Action.RUN_JOBS,
        given=_schedule,
        method="POST",
        form=lambda world: f"enabled=no&{_schedule_revision(world)}",
        status=303,
    ),
    f"{IN_TENANT}/schedules/{{schedule}}/runs": Row(
        action=Action.RUN_JOBS, given=_schedule, method="POST", form="key=" + 32 * "a", status=303
    ),
    f"{IN_TENANT}/schedules/{{schedule}}/deletion": Row(
        action=Action.RUN_JOBS, given=_schedule, method="POST", form=_schedule_revision, status=303
    ),
    f"{IN_TENANT}/feeds": Row(action=Action.READ),
    f"{IN_TENANT}/feeds/new": Row(
        action=Action.RUN_JOBS,
        method="POST",
        form=f"name=new&segment={BUYERS}&to=kafka%3A%2F%2Facme.buyers&shape=state&start=all",
        status=303,
    ),
    f"{IN_TENANT}/feeds/{{feed}}/state": Row(
        action=Action.RUN_JOBS,
        given=_feed,
        method="POST",
        form=lambda world: f"change=pause&{_feed_revision(world)}",
        status=303,
    ),
    f"{IN_TENANT}/feeds/{{feed}}/rewind": Row(
        action=Action.RUN_JOBS, given=_feed, method="POST", form=_feed_revision, status=303
    ),
    f"{IN_TENANT}/feeds/{{feed}}/deletion": Row(
        action=Action.RUN_JOBS, given=_feed, method="POST", form=_feed_revision, status=303
    ),
    f"{IN_TENANT}/audit": Row(action=Action.MANAGE_ACCESS),
    f"{IN_TENANT}/connections": Row(action=Action.OWN_ACCOUNT),
    f"{IN_TENANT}/tokens": Row(action=Action.OWN_ACCOUNT),
    f"{IN_TENANT}/tokens/new": Row(
        action=Action.OWN_ACCOUNT, method="POST", form="name=mine&days=7&role_viewer=on", status=200
    ),
    f"{IN_TENANT}/tokens/{{token}}/revocation": Row(
        action=Action.OWN_ACCOUNT, method="POST", own_token=True, status=303
    ),
    f"{IN_TENANT}/grants": Row(action=Action.MANAGE_ACCESS),
    f"{IN_TENANT}/grants/change": Row(
        action=Action.MANAGE_ACCESS,
        method="POST",
        form=lambda world: _grant(world, "acme-viewer", "analyst"),
        status=303,
    ),
    f"{IN_TENANT}/recipients": Row(action=Action.MANAGE_AUDIENCES),
    f"{IN_TENANT}/recipients/change": Row(
        action=Action.MANAGE_AUDIENCES, method="POST", form="audience=&email=ops%40acme.example", status=303
    ),
    f"{IN_TENANT}/recipients/tests": Row(
        action=Action.MANAGE_AUDIENCES, method="POST", form="channel=email&address=plain%40acme.example"
    ),
    # The one operation of the world is a rollback.
    f"{IN_TENANT}/recipients/tests/{{operation}}": Row(
        action=Action.READ, given=lambda tenant: {"operation": id_of(tenant, OPERATION)}, status=404
    ),
    f"{IN_TENANT}/consent": Row(action=Action.READ),
    f"{IN_TENANT}/consent/change": Row(
        action=Action.MANAGE_AUDIENCES,
        method="POST",
        form=lambda _: f"audience={VIP}&revision={revision_of(NO_CONSENT, NO_CONSENT.revision)}",
        status=303,
    ),
    f"{IN_TENANT}/users": Row(action=Action.READ_USERS),
    f"{IN_TENANT}/users/found": Row(action=Action.READ_USERS, method="POST", form="user=ann&segment=buyers"),
    f"{IN_TENANT}/users/membership": Row(
        action=Action.RUN_JOBS, method="POST", form=f"key=abc&user=ann&audience={VIP}&change=add", status=303
    ),
    f"{IN_TENANT}/overlap": Row(action=Action.READ_USERS),
    f"{IN_TENANT}/overlap/counts": Row(action=Action.READ_USERS),
    f"{IN_TENANT}/sql": Row(action=Action.READ_USERS),
    f"{IN_TENANT}/sql/run": Row(action=Action.READ_USERS, method="POST", form="sql=FROM+vip"),
    f"{IN_TENANT}/sql/build": Row(
        action=Action.MANAGE_AUDIENCES,  # of the roles that have both run_jobs and read_users
        method="POST",
        form=f"key=k&sql=FROM+vip&audience={VIP}&mode=append",
        status=303,
    ),
    f"{IN_TENANT}/sql/csv": Row(action=Action.READ_USERS, method="POST", form="sql=FROM+vip"),
    f"{IN_TENANT}/builder": Row(action=Action.WRITE_SEGMENTS),
    f"{IN_TENANT}/builder/rows": Row(action=Action.WRITE_SEGMENTS, method="POST", form=f"action=group&{DRAFT}"),
    f"{IN_TENANT}/builder/count": Row(action=Action.WRITE_SEGMENTS, method="POST", form=DRAFT),
    f"{IN_TENANT}/builder/names": Row(action=Action.WRITE_SEGMENTS),
    f"{IN_TENANT}/builder/review": Row(action=Action.WRITE_SEGMENTS, method="POST", form=f"segment=buyers&{DRAFT}"),
    f"{IN_TENANT}/builder/save": Row(
        action=Action.WRITE_SEGMENTS, method="POST", form=f"name=fresh&{DRAFT}", status=204
    ),
    f"{IN_TENANT}/segments": Row(action=Action.READ),
    f"{IN_TENANT}/segments/{{segment}}": Row(action=Action.READ, given=_segment),
    f"{IN_TENANT}/segments/{{segment}}/now": Row(action=Action.READ, given=_segment),
    f"{IN_TENANT}/segments/{{segment}}/row": Row(action=Action.READ, given=_segment),
    f"{IN_TENANT}/segments/{{segment}}/state": Row(
        action=Action.WRITE_SEGMENTS, given=_segment, method="POST", form="state=paused", status=303
    ),
    f"{IN_TENANT}/segments/{{segment}}/snapshots": Row(
        action=Action.RUN_JOBS, given=_segment, method="POST", form="key=a-new-snapshot&audience=", status=303
    ),
    f"{IN_TENANT}/segments/{{segment}}/deletion": Row(
        action=Action.WRITE_SEGMENTS,
        given=_segment,
        method="POST",
        form=lambda world: f"confirm={BUYERS}&{seen_segment(world)}",
        status=303,
    ),
    f"{IN_TENANT}/upload": Row(action=Action.RUN_JOBS),
    _UPLOAD: Row(action=Action.RUN_JOBS, given=_upload),
    f"{_UPLOAD}/check": Row(action=Action.RUN_JOBS, given=_upload, method="POST"),
    f"{_UPLOAD}/try": Row(action=Action.RUN_JOBS, given=_upload, method="POST", form="audience=vip"),
    f"{_UPLOAD}/start": Row(
        action=Action.RUN_JOBS, given=_upload, method="POST", form="key=k&audience=vip&keep-0=1&name-0=a", status=303
    ),
    f"{_UPLOAD}/again": Row(
        action=Action.RUN_JOBS,
        given=_upload,
        method="POST",
        form=lambda _: f"key=k&like={id_of(ACME, JOB)}",
        status=303,
    ),
    # The one operation of the world is a rollback, which is no look at a file.
    f"{_UPLOAD}/checks/{{operation}}": Row(action=Action.READ, given=_check, status=404),
}
"""By path; where one path is read and changed, the change stands below `POST path`."""
ROUTES: Final = [route for module in PAGES for route in module.ROUTES if route.path.startswith(IN_TENANT)]


def ask(
    client: AsgiClient,
    world: World,
    route: str,
    *,
    caller: str | None = "acme-admin",
    tenant: str = "acme",
    owner: str = "acme",
    language: str = "en",
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """A page of a tenant, with ids that belong to `owner`."""
    row = ROWS[route]
    form = row.form if isinstance(row.form, str) else row.form(world)
    given = {**row.given(owner), **({"token": world.tokens[caller or "acme-admin"].token_id} if row.own_token else {})}
    token: Any = None if caller is None else world.tokens[caller].text.reveal()
    sent = {"Accept-Language": language, **OWN, **(headers or {})}
    if row.method != "GET":
        sent["Content-Type"] = "application/x-www-form-urlencoded"
    return client.send(
        row.method,
        route.removeprefix("POST ").format(tenant=tenant, **given),
        token=token,
        query=dict(row.query),
        headers=sent,
        raw=[form.encode()] if row.method != "GET" else None,
    )

"""All pages: both languages, who may see them, and nothing of another tenant."""

import re
from html.parser import HTMLParser

import pytest

from orchestration.access.policy import IN_A_TENANT, TENANT_ROLES
from orchestration.catalog.records import JobError
from orchestration.console.frame import SECTIONS
from orchestration.console.paths import IN_TENANT, in_tenant
from tests.fakes.asgi import Answer, AsgiClient
from tests.fakes.tenants import ACME, AT_MS, BETA, CANARY, JOB, World, id_of
from tests.unit.orchestration.console.pages import OWN, ROUTES, ROWS, ask

VOID = {"meta", "link", "input", "img", "br", "hr", "rect", "path", "line"}


class WellFormed(HTMLParser):
    """Finds tags that are not closed, and what the CSP would refuse."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.faults: list[str] = []
        self.ids: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.faults += [f"{tag} {name}" for name in given if name == "style" or name.startswith(("on", "hx-on"))]
        self.ids += [str(given["id"])] if "id" in given else []
        if tag == "style" or (tag == "script" and "src" not in given):
            self.faults.append(f"inline {tag}")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.faults.append(f"</{tag}>")


def plain(answer: Answer) -> str:
    """A body without what differs between any two requests, and between two names."""
    text = re.sub(r"[0-9a-hjkmnp-tv-z]{26}", "ID", answer.body.decode())
    return text.replace("beta", "TENANT").replace("nobody", "TENANT").replace("acme", "TENANT")


def test_every_route_has_a_row() -> None:
    paths = [route.path for route in ROUTES]
    assert sorted(paths) == sorted(row.removeprefix("POST ") for row in ROWS)


@pytest.mark.parametrize("language", ["en", "ja"])
@pytest.mark.parametrize("route", ROWS)
def test_page_is_well_formed_obeys_the_csp_and_is_isolated(
    client: AsgiClient, world: World, route: str, language: str
) -> None:
    answer = ask(client, world, route, language=language)
    assert answer.status == ROWS[route].status, answer.body[:2000]
    assert CANARY not in answer.body.decode()
    if answer.status != 200 or "html" not in answer.headers["content-type"]:
        return
    found = WellFormed(answer.body.decode())
    assert (found.faults, found.open) == ([], [])
    assert len(found.ids) == len(set(found.ids))
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'; script-src 'self'; style-src 'self'; " in policy
    assert "unsafe" not in policy
    assert [name for name, _ in answer.pairs].count("content-security-policy") == 1
    assert answer.headers["cache-control"] == "no-store"
    assert ("日本語" in answer.body.decode()) == (language == "en" and "<!doctype" in answer.body.decode())


@pytest.mark.parametrize("route", ROWS)
def test_page_redirects_to_the_login(client: AsgiClient, world: World, route: str) -> None:
    answer = ask(client, world, route, caller=None)
    assert answer.status == 303
    assert answer.headers["location"].startswith("/console/login?return_to=%2Fconsole")
    part = ask(client, world, route, caller=None, headers={"HX-Request": "true"})
    assert (part.status, part.headers["hx-redirect"]) == (401, "/console/login?return_to=%2Fconsole")


@pytest.mark.parametrize("route", ROWS)
def test_another_tenant_is_unknown(client: AsgiClient, world: World, route: str) -> None:
    foreign = ask(client, world, route, tenant="beta", owner="beta")
    unknown = ask(client, world, route, tenant="nobody", owner="beta")
    assert (foreign.status, unknown.status) == (404, 404)
    assert "UNKNOWN_TENANT" in foreign.body.decode()
    assert plain(foreign) == plain(unknown)


@pytest.mark.parametrize("route", [route for route, row in ROWS.items() if row.given("acme") and not row.silent])
def test_a_thing_of_another_tenant_is_unknown(client: AsgiClient, world: World, route: str) -> None:
    answer = ask(client, world, route, owner=BETA)
    assert answer.status == 404
    text = answer.body.decode()
    for name in ROWS[route].given(BETA).values():
        text = text.replace(name, "what was asked for")
    assert CANARY not in text


@pytest.mark.parametrize("route", ROWS)
def test_page_requires_the_right_to_its_action(client: AsgiClient, world: World, route: str) -> None:
    for role in TENANT_ROLES:
        answer = ask(client, world, route, caller=f"acme-{role}")
        allowed = role in IN_A_TENANT[ROWS[route].action]
        assert answer.status == (ROWS[route].status if allowed else 403), role
        world.reset()


def test_menu_shows_only_accessible_pages(client: AsgiClient, world: World) -> None:
    for role in TENANT_ROLES:
        text = ask(client, world, f"{IN_TENANT}/jobs", caller=f"acme-{role}").body.decode()
        shown = re.findall(r'href="/console/tenants/acme/(\w+)"', text.partition("<nav")[2].partition("</nav>")[0])
        assert shown == [one.name for one in SECTIONS if role in IN_A_TENANT[one.action]]


def test_cross_site_change_is_refused(client: AsgiClient, world: World) -> None:
    answer = client.send(
        "POST", "/console/logout", headers={"Cookie": "muster-18480=x", "Sec-Fetch-Site": "cross-site"}
    )
    assert answer.status == 403
    assert "CROSS_ORIGIN" in answer.body.decode()


@pytest.mark.parametrize(
    ("form", "shown"),
    [
        ("theme=dark", '<html lang="en" data-theme="dark">'),
        ("theme=light", '<html lang="en" data-theme="light">'),
        ("theme=system", '<html lang="en">'),
        ("language=ja", '<html lang="ja">'),
    ],
)
def test_header_choice_is_kept_in_a_cookie(client: AsgiClient, world: World, form: str, shown: str) -> None:
    path = "/console/login"
    headers = {**OWN, "Content-Type": "application/x-www-form-urlencoded"}
    sent = f"{form}&return_to={path}"
    answer = client.send("POST", "/console/preferences", headers=headers, raw=[sent.encode()])
    assert (answer.status, answer.headers["location"]) == (303, path)
    cookie = answer.headers["set-cookie"].partition(";")[0]
    assert shown in client.get(path, headers={"Cookie": cookie, "Accept-Language": "en"}).body.decode()
    assert client.send("POST", "/console/preferences", headers=headers, raw=[b"theme=pink"]).status == 400


def test_search_finds_by_part_of_a_name_and_by_id_of_a_job(client: AsgiClient, world: World) -> None:
    token, path, job = world.tokens["acme-admin"].text.reveal(), in_tenant(ACME, "search"), id_of(ACME, JOB)

    def found(text: str) -> list[str]:
        body = client.get(path, token=token, query={"q": [text]}, headers={"HX-Request": "true"}).body.decode()
        assert "<html" not in body
        return re.findall(r'href="/console/tenants/acme/([^"]*)"', body)

    assert "audiences/vip" in found("VI")
    assert "segments/buyers" in found("uyer")
    assert "schedules/nightly/edit" in found("night")
    assert found(job) == [f"jobs/{job}"]
    assert f"jobs/{job}" in found(job[-6:])
    assert found("nothing-like-this") == found("") == []


def test_error_of_a_form_stays_within_it_and_names_its_field(client: AsgiClient, world: World) -> None:
    token, path = world.tokens["acme-admin"].text.reveal(), in_tenant(ACME, "schedules", "new")
    headers = {**OWN, "Content-Type": "application/x-www-form-urlencoded", "Muster-Form": "1"}

    def sent(form: str) -> Answer:
        return client.send("POST", path, token=token, headers=headers, raw=[form.encode()])

    for form, field in (
        ("kind=import&name=No+Name&audience=vip&source=s3://crm/acme/vip.csv", "name"),
        ("kind=import&name=weekly&audience=vip&source=s3://elsewhere/vip.csv", "source"),
        ("kind=import&name=weekly&audience=vip&source=s3://crm/acme/vip.csv&timezone=Mars", "timezone"),
        ("kind=import&name=weekly&audience=vip&source=s3://crm/acme/vip.csv&at=soon", "at"),
    ):
        refused = sent(form)
        assert (refused.status >= 400, refused.headers["muster-field"]) == (True, field)
        assert "<html" not in refused.body.decode()
    made = sent("kind=import&name=weekly&audience=vip&source=s3://crm/acme/vip.csv")
    assert (made.status, made.headers["muster-location"]) == (204, in_tenant(ACME, "schedules"))


@pytest.mark.parametrize(
    ("code", "choices"), [("AUDIENCE_WOULD_SHRINK", (1, 0)), ("TOO_MANY_REJECTS", (0, 1))], ids=["shrink", "other"]
)
def test_an_intended_shrink_is_a_check_box_of_the_retry(
    client: AsgiClient, world: World, code: str, choices: tuple[int, int]
) -> None:
    job, token = id_of(ACME, JOB), world.tokens["acme-operator"].text.reveal()
    world.services.jobs.fail(job, JobError(kind="user", code=code, message="why", detail={}), now_ms=AT_MS + 1)
    text = client.get(in_tenant(ACME, "jobs", job), token=token, headers=OWN).body.decode()
    assert (text.count('name="allow_shrink"'), text.count('name="force"')) == choices
    headers = {**OWN, "Content-Type": "application/x-www-form-urlencoded"}
    form = [b"key=k&allow_shrink=yes"]
    sent = client.send("POST", in_tenant(ACME, "jobs", job, "retry"), token=token, headers=headers, raw=form)
    assert sent.status == (303 if choices[0] else 422)

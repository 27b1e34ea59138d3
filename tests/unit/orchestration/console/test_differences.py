"""The difference of two versions: nothing is compared before it is asked for, and what is not named is said."""

import html
import re
import time
from urllib.parse import parse_qsl, unquote_plus, urlencode, urlsplit

from orchestration.catalog.tables import async_operations
from orchestration.readers.questions import CompareVersions
from tests.fakes.asgi import AsgiClient
from tests.fakes.tenants import DIFFERENCE, OPERATION, World, id_of
from tests.unit.orchestration.console.test_segments import send, text_of

VIP = "/console/tenants/acme/audiences/vip"
FOUND = f"{VIP}/differences/{id_of('acme', DIFFERENCE)}"


def test_versions_link_to_their_difference_with_the_right_to_read_users(client: AsgiClient, world: World) -> None:
    link = f"{VIP}/differences?earlier=1&later=2"
    assert html.unescape(send(client, world, VIP).body.decode()).count(link) == 1
    assert "/differences" not in send(client, world, VIP, caller="acme-operator").body.decode()


def test_page_compares_exactly_the_versions_of_its_address(client: AsgiClient, world: World) -> None:
    token = world.tokens["acme-analyst"].text.reveal()
    for query, begins in (({}, 0), ({"earlier": "1", "later": "2"}, 1), ({"earlier": "1", "later": "9"}, 0)):
        page = client.get(f"{VIP}/differences", token=token, query=query).body.decode()
        assert page.count(f'hx-post="{VIP}/differences/begun"') == begins
        assert re.findall(r'<option value="(\d)" selected', page) == ["1", "2"]
    assert world.services.audit.search() == []
    begun = send(client, world, f"{VIP}/differences/begun", "earlier=1&later=2").body.decode()
    assert f'hx-get="{VIP}/differences/' in begun
    (entry,) = world.services.audit.search()
    assert (entry.action, entry.object) == ("audiences diff", "acme/vip")
    assert send(client, world, f"{VIP}/differences/begun", "earlier=x&later=2").status == 404
    while world.services.background.pending:
        time.sleep(0.005)
    asked = world.services.readers.asked  # type: ignore[attr-defined]  # a fake
    assert [(one.earlier, one.later) for one in asked if isinstance(one, CompareVersions)] == [(1, 2)]


def test_members_are_paged_by_change(client: AsgiClient, world: World) -> None:
    token = world.tokens["acme-analyst"].text.reveal()

    def people(**query: str) -> list[str]:
        return re.findall(r'name="user" value="([^"]+)"', client.get(FOUND, token=token, query=query).body.decode())

    text = text_of(send(client, world, FOUND))
    assert "4 members of version 1 = 2 unchanged + 1 changed + 1 left" in text
    assert "2,003 members of version 2 = 2 unchanged + 1 changed + 2,000 joined" in text
    assert "1 to 100 of 2,000" in text
    assert (people()[0], people()[-1], len(people())) == ("plain-0", "plain-99", 100)
    assert ("Joined 2,000" in text, "Left 1" in text, "Changed 1" in text) == (True, True, True)
    second = people(change="added", **{"from": "100"})
    assert (second[0], len(second)) == ("plain-100", 50)
    assert people(change="removed") == ["left-plain"]
    assert people(change="changed") == ["moved-plain"]
    assert "moved-plain city none → <plain>" in text_of(client.get(FOUND, token=token, query={"change": "changed"}))
    for query, pages in (({}, ["100"]), ({"change": "added", "from": "100"}, ["0"])):
        shown = client.get(FOUND, token=token, query=query).body.decode()
        assert re.findall(r"[?;]from=(\d+)", shown) == pages
        [sql] = re.findall(r'sql\?sql=([^"]+)"', shown)
        assert re.findall(r"version => (\d)", unquote_plus(sql)) == ["2", "1"], "those of the later version alone"


def test_repeated_comparison_continues_after_the_last_shown_member(client: AsgiClient, world: World) -> None:
    token = world.tokens["acme-analyst"].text.reveal()
    query = {"change": "added", "from": "100"}
    forms = client.get(FOUND, token=token, query=query).body.decode().split("<form")[1:]
    [form] = [one for one in forms if 'name="after"' in one]
    fields = dict(re.findall(r'name="(\w+)" value="([^"]*)"', form))
    assert fields == {"earlier": "1", "later": "2", "change": "added", "after": "plain-149", "skipped": "150"}
    begun = send(client, world, f"{VIP}/differences/begun", urlencode(fields)).body.decode()
    [path] = re.findall(r'hx-get="([^"]+)"', html.unescape(begun))
    assert path.endswith("?change=added&skipped=150")
    assert "plain-149" not in path, "ids of users are in no address"
    while world.services.background.pending:
        time.sleep(0.005)
    asked = world.services.readers.asked  # type: ignore[attr-defined]  # a fake
    [one] = [one for one in asked if isinstance(one, CompareVersions)]
    assert (one.after, one.change, one.values) == ("plain-149", "added", True)
    found = {"audience": "vip", "tenant": "acme", "earlier": 1, "later": 2, "kept": 2, "changed": 0, "removed": 1}
    rest = {**found, "added": 2000, "sample": {"added": ["plain-150"]}, "changes": []}
    operation = urlsplit(path).path.rpartition("/")[2]
    with world.services.database.write() as connection:
        row = async_operations.c.operation_id == operation
        connection.execute(async_operations.update().where(row).values(state="done", result=rest))
    shown = client.get(urlsplit(path).path, token=token, query=dict(parse_qsl(urlsplit(path).query)))
    text = shown.body.decode()
    assert "151 to 151 of 2,000" in text_of(shown)
    assert 'value="removed"' in text, "of the other kinds another comparison is begun"
    assert (text.count("From the beginning"), text.count('name="skipped" value="151"')) == (1, 1)


def test_another_operation_or_audience_has_no_difference(client: AsgiClient, world: World) -> None:
    assert send(client, world, f"{VIP}/differences/{id_of('acme', OPERATION)}").status == 404
    assert send(client, world, FOUND.replace("/vip/", "/quiet/")).status == 404


def test_comparison_after_an_id_that_no_user_has_is_refused(client: AsgiClient, world: World) -> None:
    refused = send(client, world, f"{VIP}/differences/begun", f"earlier=1&later=2&after={'x' * 5000}")
    assert (refused.status, "INVALID_REQUEST" in refused.body.decode()) == (422, True)

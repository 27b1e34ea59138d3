"""Edits of segments: what they would change is shown."""

from tests.fakes.asgi import AsgiClient
from tests.fakes.tenants import BUYERS, World

PATH = f"/v1/tenants/acme/segments/{BUYERS}"
RULE = 'never("x")'


def test_preview_names_users_and_what_depends(client: AsgiClient, world: World, token: str) -> None:
    for name, body in (
        ("of-buyers", {"snapshot": {"segment": BUYERS, "audience": "vip"}}),
        ("sent", {"export": {"audience": "vip", "to": "s3://crm/acme/out/{date}/"}}),
        ("other", {"snapshot": {"segment": BUYERS, "audience": "vip"}}),
    ):
        made = {"name": name, "expression": "rate(1 day)", **body}
        created = client.send("POST", "/v1/tenants/acme/schedules", token=token, body=made)
        assert created.status == 201, created.json
    shown = client.send("POST", f"{PATH}/edit-previews", token=token, body={"rule": RULE, "users": 1}).json
    own, depending = shown["changes"]
    assert (own["segment"], own["entering"], own["leaving"], own["staying"]) == (BUYERS, 3, 1, 2)
    assert (own["entering_users"], own["leaving_users"], depending["entering_users"]) == (["plain"], ["plain"], [])
    assert [name for name in shown["schedules"] if name in {"of-buyers", "sent", "other"}] == [
        "of-buyers",
        "other",
        "sent",
    ]
    assert (shown["rule"], shown["rule_version"]) == (RULE, 1)
    assert client.get(PATH, token=token).json["rule_version"] == 1
    (entry,) = [one for one in world.services.audit.search() if one.action == "segments preview edit"]
    assert entry.arguments == {"rule": RULE, "users": 1}

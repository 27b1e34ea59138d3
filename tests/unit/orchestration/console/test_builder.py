"""The builder: rules and rows say the same, faults stand at their rows, and counts of old revisions fill nothing."""

import html
import json
import re
from typing import Any
from urllib.parse import urlencode

import pytest

from orchestration.console.count_texts import figure_of
from orchestration.console.language import Language, Texts
from orchestration.console.row_rules import rule_of
from orchestration.console.rule_form import changed, draft_of
from orchestration.console.rule_rows import MAX_ROWS, Row, RowGroup, RowStep, RowTest, groups_of
from orchestration.platform.clock import now_ms
from orchestration.readers.questions import CountUsers, PreviewEdit
from orchestration.records.questions import ConditionCount
from schemas.errors import RetriableError, UserError
from segmentation.rules.canonical import rule_hash
from segmentation.rules.parser import parse_rule
from segmentation.rules.records import rule_record
from segmentation.rules.templates import TEMPLATES
from tests.fakes.asgi import Answer, AsgiClient
from tests.fakes.readers import ANSWERS
from tests.fakes.tenants import World
from tests.unit.orchestration.console.pages import DRAFT, OWN, seen_segment
from tests.unit.orchestration.console.test_segments import send

BUILDER = "/console/tenants/acme/builder"


@pytest.mark.parametrize(
    "text",
    [
        'count(purchase where amount >= 100.5 and plan in ("a, b", "x", "12"), 36h) >= 2 and not (a < 2 or ok = true)',
        "count(x, 90s) = 0 or count(x, 7d) <= 3 or count(x, 61m) >= 1",
        "first(x) < 2026-11-01T00:00:00Z and last(x where p is not set) >= 2026-11-01T09:30:00.000001Z",
        "born = 2026-11-01 and seen >= 2026-11-01T09:00:00Z and born in (2026-11-01, 2026-11-02) and name is set",
        r'e = "tr\"ue" or e = "true" or e = " x" or e = "" or e = "1e5" or e = "\\" or e in ("", "2026-11-01")',
        '"a b" = "日本" or never("where") or in audience vip or in segment "count"',
        "n = -0.5 or n = 1e300 or n in (1, 2.5)",
        'rule 2: split(winter) < 0.5 and not split("2026-holdout") >= 99.99',
        "a in last 7d or a in next 12h or a 30d..90d ago or a over 90d ago or a > now or a <= now - 1d12h",
        "a in next 7d..30d or a = today or a < today + 7d or a between today - 7d and 2026-11-01",
        'a between 18 and 30 or a between "x and y" and "z" or a between "and" and "today" or a = "now"',
        "anniversary(born) = today or anniversary(born) in next 7d or anniversary(born) in last 90d",
        "first(x) in last 7d or last(x where p = 1) 30d..90d ago or last(x) over 90d ago",
        "count(x where p = 1 between 2026-11-01 and 2026-11-30) >= 2 or never(x between 2026-11-01 and 2026-11-02)",
        "sequence(a then b within 1d, 7d) or sequence(a where p = 1 and q in (1, 2) then not b within 90s, 36h)",
        'sequence(a then "b" where p = 1 between 2026-11-01 and 2026-11-03 within 1h..1d12h then not a within 2d, 9s)',
        "not sequence(a between 2026-11-01 and 2026-11-02 then not within within 1d then then within 1s same same, 9d)",
        'sequence(sequence then not "not" within 1d same "product id", 61m) and sequence is set and sequence = 1',
    ],
)
def test_rule_round_trips_through_rows(text: str) -> None:
    rule = parse_rule(text, timezone="Asia/Tokyo")
    groups = groups_of(rule)
    assert groups is not None
    form = {f"{g}.negated": "not" if group.negated else "" for g, group in enumerate(groups)}
    for g, group in enumerate(groups):
        for r, row in enumerate(group.rows):
            form |= fields_of(row, f"{g}.{r}")
            for n, step in enumerate(row.steps):
                form |= fields_of(step, f"{g}.{r}.then{n}")
    again, faults = draft_of({**form, "timezone": "Asia/Tokyo"}).rule()
    assert (again, faults) == (rule, {})


def fields_of(row: Row | RowStep, prefix: str) -> dict[str, str]:
    fields = {name: getattr(row, name) for name in row.__slots__ if name not in {"tests", "steps"}}
    fields |= {f"{n}.{name}": getattr(test, name) for n, test in enumerate(row.tests) for name in RowTest.__slots__}
    return {f"{prefix}.{name}": value for name, value in fields.items()}


def test_sequence_is_built_step_by_step(client: AsgiClient, world: World) -> None:
    draft = draft_of({"0.negated": "", "0.0.kind": "sequence", "0.0.name": "add_to_cart", "0.0.window": "7"})
    for action in ("then.0.0", "test.0.0.1", "test.0.0.0", "untest.0.0.0.0", "unthen.0.0.0"):
        draft = changed(draft, action, {})
    assert draft.groups[0].rows[0].steps == (RowStep(tests=(RowTest(),)),)
    for action in ("unthen.0.0.7", "test.0.0.-1", "untest.0.0.0.9", "then.0.0.0"):
        with pytest.raises(UserError, match="load the page again"):
            changed(draft, action, {})
    first = {"0.negated": "", "0.0.kind": "sequence", "0.0.name": "add_to_cart", "0.0.window": "7", "0.0.unit": "d"}
    step = {"name": "purchase", "negated": "not", "within": "1d", "0.name": "amount", "0.operator": ">", "0.value": "5"}
    fields = {**first, "0.0.same": "product_id", **{f"0.0.then0.{name}": value for name, value in step.items()}}
    text = "sequence(add_to_cart then not purchase where amount > 5 within 1d same product_id, 7d)"
    assert draft_of(fields).rule() == (parse_rule(text), {})
    shown = send(client, world, f"{BUILDER}/rows", urlencode({**fields, "editor": "e", "action": "then.0.0"}))
    found = dict(re.findall(r'name="(0\.0\.[a-z0-9.]+)" value="([^"]*)"', shown.body.decode()))
    assert (found["0.0.then0.0.value"], found["0.0.then1.within"], found["0.0.same"]) == ("5", "1d", "product_id")
    assert '<option value="not" selected>then did not do</option>' in shown.body.decode()
    assert '"action":"then.0.0"' not in shown.body.decode()  # three steps are all


def test_row_of_an_aggregate_has_its_fields(client: AsgiClient, world: World) -> None:
    fields = {"0.negated": "", "0.0.kind": "sum", "0.0.of": "amount", "0.0.name": "purchase", "0.0.operator": ">"}
    assert draft_of({**fields, "0.0.times": "2.5", "0.0.window": "7"}).rule() == (
        parse_rule("sum(amount of purchase, 7d) > 2.5"),
        {},
    )
    assert draft_of({**fields, "0.0.times": "-1", "0.0.window": ""}).rule() == (
        parse_rule("sum(amount of purchase) > -1"),
        {},
    )
    for changes in ({"0.0.times": "x"}, {"0.0.times": "0.00001"}, {"0.0.of": ""}, {"0.0.window": "1) or (a"}):
        rule, faults = draft_of({**fields, "0.0.times": "1", **changes}).rule()
        assert rule is None
        assert set(faults) == {(0, 0)}
    shown = send(client, world, f"{BUILDER}/rows", urlencode({**fields, "editor": "e", "action": "kind"})).body.decode()
    assert re.findall(r'name="0\.0\.(of|name|times|window)" value="([^"]*)"', shown) == [
        *(("of", "amount"), ("name", "purchase"), ("times", "1"), ("window", "30")),
    ]
    assert '<option value="&gt;" selected>more than</option>' in shown


def test_fault_of_a_step_appears_at_its_row() -> None:
    fields = {"0.negated": "", "0.0.kind": "sequence", "0.0.name": "a", "0.0.then0.name": "b"}
    for within in ("", "1d, 3d) or ever(x", "0s", "2d..1d", "366d"):
        assert draft_of({**fields, "0.0.then0.within": within}).rule()[1].keys() == {(0, 0)}


@pytest.mark.parametrize("name", TEMPLATES)
def test_template_becomes_rows(name: str) -> None:
    draft = changed(draft_of({"timezone": "Asia/Tokyo", "name": "mine"}), f"template.{name}", {})
    rule, faults = draft.rule()
    assert (rule and rule_hash(rule), faults) == (rule_hash(TEMPLATES[name].rule({}, "Asia/Tokyo")), {})
    assert (draft.name, draft.source) == ("mine", "rows")
    assert changed(draft_of({}), f"template.{name}", {}).timezone == ""


def test_template_takes_typed_parameters() -> None:
    typed = {"cart": " basket ", "purchase": 'buy"', "same": "", "within": "2h", "period": "1w"}
    given = {f"abandoned_cart.{name}": value for name, value in typed.items()}
    text = r'sequence(basket then not "buy\"" within 2h, 7d)'
    assert changed(draft_of({}), "template.abandoned_cart", given).rule() == (parse_rule(text), {})
    holdout = {"holdout.audience": "gold", "holdout.split": "winter", "holdout.percent": "0.5"}
    text = "rule 2: in audience gold and split(winter) >= 0.5"
    assert changed(draft_of({}), "template.holdout", holdout).rule() == (parse_rule(text), {})


@pytest.mark.parametrize(
    ("typed", "fault"),
    [
        ({"abandoned_cart.cart": " "}, "cart is not given"),
        ({"abandoned_cart.within": "soon"}, "within is not a length of time, as in 7d, 12h or 30m"),
        ({"abandoned_cart.period": "400d"}, "the window of a sequence and the times of its steps are up to 366d"),
        ({"win_back.silent": "0s"}, "all events have happened"),
        ({"birthday.days": "0"}, "days of an anniversary begin or end today"),
        ({"birthday.days": "9" * 5_000}, "days is not a whole number"),
        ({"birthday.days": "91"}, "days of an anniversary are at most 90"),
        ({"spenders.least": "nan"}, "least is not a number"),
        ({"spenders.times": "1001"}, "a count is compared with 0 to 1,000 times, not 1,001"),
        ({"holdout.percent": "100"}, "a split is below or from 0.01 to 99.99 percent"),
        ({"holdout.audience": "No Name"}, "not a valid"),
        ({"nothing.at_all": ""}, "load the page again"),
    ],
)
def test_template_with_an_invalid_parameter_says_which(
    typed: dict[str, str], fault: str, client: AsgiClient, world: World
) -> None:
    [(name, value)] = typed.items()
    form = urlencode({**typed, "editor": "e", "action": f"template.{name.partition('.')[0]}"})
    shown = html.unescape(send(client, world, f"{BUILDER}/rows", form).body.decode())
    assert fault in shown
    assert f'name="{name}" value="{value}"' in shown or "load the page again" in fault


def test_split_row_has_its_fields_and_makes_a_rule_of_form_2(client: AsgiClient, world: World) -> None:
    fields = {"0.negated": "", "0.0.kind": "split", "0.0.name": "winter", "0.0.bound": "from", "0.0.times": "5"}
    rule, faults = draft_of(fields).rule()
    assert (rule, faults) == (parse_rule("rule 2: split(winter) >= 5"), {})
    assert draft_of({**fields, "0.0.times": "5 or ever(x)"}).rule()[1].keys() == {(0, 0)}
    form = urlencode({**fields, "editor": "e", "action": "kind"})
    shown = send(client, world, f"{BUILDER}/rows", form).body.decode()
    assert 'name="0.0.times" value="5"' in shown
    assert '<option value="from" selected>from</option>' in shown


def test_typed_text_is_one_value_not_rule_syntax() -> None:
    typed = Row(kind="attribute", tests=(RowTest(name='a" or b', value='1 or in audience "vip"'),))
    rule, _ = rule_of((RowGroup(rows=(typed,)),), None)
    assert rule == parse_rule(r'"a\" or b" = "1 or in audience \"vip\""')
    for row in (Row(name="x", times="1 or b"), Row(name="x", window="3d, 4"), Row(kind="first", name="x", moment="z")):
        assert rule_of((RowGroup(rows=(row,)),), None)[1].keys() == {(0, 0)}


def test_buttons_change_the_form() -> None:
    draft = draft_of({"0.negated": "not", "0.0.kind": "ever", "0.0.name": "x"})
    for action in ("row.0", "test.0.0", "test.0.0", "untest.0.0.1", "group", "unrow.0.1"):
        draft = changed(draft, action, {})
    assert draft.groups == (
        RowGroup(rows=(Row(kind="ever", name="x", tests=(RowTest(),)),), negated=True),
        RowGroup(rows=(Row(),)),
    )
    assert changed(changed(draft, "unrow.0.0", {}), "unrow.0.0", {}).groups == (RowGroup(),)
    for action in ("row.7", "unrow.0.-1", "row.x", "explode", "test.0", "untest.0.0.9"):
        with pytest.raises(UserError, match="load the page again"):
            changed(draft, action, {})
    rule = rule_record(parse_rule("age >= 3"))
    assert changed(draft, "json", {"json": str(rule).replace("'", '"').replace("None", "null")}).rule()[0] is not None


def test_a_rule_with_too_many_rows_is_edited_as_text() -> None:
    text = " or ".join(f"ever(e{number})" for number in range(MAX_ROWS + 1))
    draft = changed(draft_of({}), "text", {"text": text})
    assert (draft.source, draft.rule()[0]) == ("text", parse_rule(text))
    assert changed(draft, "text", {"text": "ever(x)"}).source == "rows"


@pytest.mark.parametrize("text", ["avg(n of x, 7d, latest 5) > 1", "not sequence(a then b within 1d, 7d, latest 1)"])
def test_a_rule_that_rows_cannot_show_is_edited_as_text(text: str, client: AsgiClient, world: World) -> None:
    draft = changed(draft_of({}), "json", {"json": json.dumps(rule_record(parse_rule(text)))})
    assert (draft.source, draft.text, draft.rule()[0]) == ("text", text, parse_rule(text))
    form = urlencode({"action": "text", "text": text, "editor": "e"})
    shown = html.unescape(send(client, world, f"{BUILDER}/rows", form).body.decode())
    assert "Rows cannot show this rule, so edit it as text:" in shown
    assert f'class="code">{text}</textarea>' in shown


def test_faults_appear_at_their_rows_without_a_count(client: AsgiClient, world: World) -> None:
    form = {"0.negated": "", "0.0.kind": "ever", "0.0.name": "", "0.1.kind": "count", "0.1.name": "x", "0.1.times": "-"}
    answer = send(client, world, f"{BUILDER}/count", urlencode({**form, "editor": "e"}))
    faults = dict(re.findall(r'<p id="e-([0-9-]+)" class="fault"[^>]*>([^<]+)', answer.body.decode()))
    assert faults.keys() == {"0-0", "0-1"}
    assert faults["0-0"] == "Choose a name to continue"
    untouched = send(client, world, f"{BUILDER}/count", urlencode({"0.negated": "", "0.0.kind": "ever", "editor": "e"}))
    assert re.findall(r'<p id="e-0-0" class="fault"[^>]*>([^<]*)<', untouched.body.decode()) == [""]
    assert asked(world) == []


def asked(world: World) -> list[Any]:
    return list(world.services.readers.asked)  # type: ignore[attr-defined]  # a fake


def test_exact_count_follows_an_estimate_and_members_are_shown_on_request(client: AsgiClient, world: World) -> None:
    first = send(client, world, f"{BUILDER}/count", DRAFT).body.decode()
    assert "≈ 3" in first
    assert "between 1 and 9" in first
    assert "Estimate from a sample" in first
    assert re.findall(r'id="n-(\S+)" class="figure"[^>]*>(≈ \d+)', first) == [("0", "≈ 3"), ("0-0", "≈ 3")]
    exact = send(client, world, f"{BUILDER}/count", f"{DRAFT}&precision=exact&users=1").body.decode()
    assert '<li class="code wrap">plain</li>' in exact
    assert "Exact</span> ·" in exact
    follows = 'hx-trigger="load delay:400ms"'  # without a click
    assert (first.count(follows), exact.count(follows)) == (1, 0)
    assert [text.count("<time datetime=") for text in (first, exact)] == [1, 1]
    assert [(one.exact, one.users, one.notes) for one in asked(world)] == [(False, 0, False), (True, 5, True)]
    assert [(entry.action, entry.arguments.get("users")) for entry in world.services.audit.search()] == [
        ("counts", None),
        ("counts", 5),
    ]


@pytest.mark.parametrize(("language", "words"), [("en", ("≈ 1,230", "<10")), ("ja", ("≈ 1,230", "10 人未満"))])
def test_a_rounded_number_does_not_look_exact(language: Language, words: tuple[str, str]) -> None:
    shown = [
        figure_of(ConditionCount(condition="a", members=members, interval=interval), Texts(language), 10).text
        for members, interval in ((1230, [1210, 1250]), (None, [0, 20]))
    ]
    assert shown == list(words)


def test_property_used_as_an_attribute_gets_a_suggested_condition(
    client: AsgiClient, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    of_event = {"attribute": "a", "condition": "a = 1", "events": ["e"], "instead": ["ever(e where a = 1)", "-"]}
    by_id = {"attribute": "user_id", "condition": '"user_id" = 1', "events": [], "instead": ["in audience chosen"]}
    plain = ANSWERS[CountUsers]
    monkeypatch.setitem(
        ANSWERS, CountUsers, lambda asked, mark: {**plain(asked, mark), "suggestions": [of_event, by_id]}
    )
    shown = html.unescape(send(client, world, f"{BUILDER}/count", DRAFT).body.decode())
    assert "The event e has a property of this name. Instead of a = 1, use: ever(e where a = 1)<" in shown
    assert 'Import the ids as an audience and, instead of "user_id" = 1, use: in audience chosen<' in shown


def test_count_of_an_older_revision_is_ignored(client: AsgiClient, world: World) -> None:
    other = DRAFT.replace("editor=e", "editor=of-two-revisions")
    assert send(client, world, f"{BUILDER}/count", other.replace("revision=1", "revision=7")).status == 200
    assert send(client, world, f"{BUILDER}/count", other.replace("revision=1", "revision=6")).status == 204


def test_edit_previews_who_would_enter_and_leave(client: AsgiClient, world: World) -> None:
    token, seen = world.tokens["acme-analyst"].text.reveal(), seen_segment(world)
    page = client.send("GET", BUILDER, token=token, headers=OWN, query={"segment": "buyers"}).body.decode()
    assert f'name="seen" value="{seen.removeprefix("seen=")}"' in page
    form = f"segment=buyers&{seen}&{DRAFT}"
    shown = html.unescape(send(client, world, f"{BUILDER}/review", form).body.decode())
    assert "Would enter" in shown
    assert [(one.rule, one.users) for one in asked(world)] == [("ever(plain)", 100)]
    assert re.findall(r'<dd class="num">(?:<strong>)?(\S+?)<', shown) == ["+3", "−1", "2"]
    assert re.findall(r'name="user" value="(\w+)"', shown) == ["plain", "plain"]
    assert "Would enter: the first 1 of 3 by id" in shown
    assert "Would leave: 1 by id" in shown
    assert "(+1, 0)" in shown
    assert saved(client, world, form.replace("plain", "other")).status == 204
    assert world.services.segments.rules_of("acme", "buyers")[-1].rule == "ever(other)"  # type: ignore[arg-type]
    assert "this has changed since it was read" in saved(client, world, form).body.decode()


def test_review_approves_the_numbers_that_it_showed(
    client: AsgiClient, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, leaving = ANSWERS[PreviewEdit], [5000]

    def answer(question: PreviewEdit, mark: str) -> Any:
        found = plain(question, mark)
        return {**found, "changes": [{**found["changes"][0], "leaving": leaving[0]}]}

    monkeypatch.setitem(ANSWERS, PreviewEdit, answer)
    form = f"segment=buyers&{seen_segment(world)}&{DRAFT.replace('plain', 'other')}"
    shown = send(client, world, f"{BUILDER}/review", form).body.decode()
    assert "Saving approves these numbers" in shown
    [token] = re.findall(r'name="approve" value="([^"]+)"', shown)
    refused = saved(client, world, form).body.decode()  # as if the button had sent no approval
    assert "the numbers have changed" in refused
    assert len(world.services.segments.rules_of("acme", "buyers")) == 1  # type: ignore[arg-type]
    leaving[0] = 9000
    moved = html.unescape(saved(client, world, f"{form}&approve={token}").body.decode())
    assert "the numbers have changed" in moved
    assert "−9,000" in moved
    [token] = re.findall(r'name="approve" value="([^"]+)"', moved)
    assert saved(client, world, f"{form}&approve={token}").status == 204
    assert len(world.services.segments.rules_of("acme", "buyers")) == 2  # type: ignore[arg-type]
    monkeypatch.setitem(ANSWERS, PreviewEdit, gone)
    away = saved(client, world, f"segment=buyers&{seen_segment(world)}&{DRAFT.replace('plain', 'x')}")
    assert "could not be counted" in away.body.decode()


def gone(*_: Any) -> Any:
    raise RetriableError("LAKE_UNAVAILABLE", "the lake does not answer")


def saved(client: AsgiClient, world: World, form: str) -> Answer:
    return send(client, world, f"{BUILDER}/save", form)


def test_new_segment_is_created_or_its_fault_shown(client: AsgiClient, world: World) -> None:
    assert "not allowed" in saved(client, world, f"name=No Name&{DRAFT}").body.decode()
    assert "buyers" in saved(client, world, f"name=buyers&{DRAFT}").body.decode()
    answer = send(client, world, f"{BUILDER}/review", f"name=fresh&{DRAFT}")
    assert answer.headers["hx-redirect"] == "/console/tenants/acme/segments/fresh"


def test_abandoned_change_is_not_carried_out_later(client: AsgiClient, world: World) -> None:
    token, form = world.tokens["acme-analyst"].text.reveal(), [f"name=late&{DRAFT}".encode()]
    headers = {**OWN, "Content-Type": "application/x-www-form-urlencoded"}
    for expires, status in ((now_ms() - 1, 408), (now_ms() + 60_000, 204)):
        given = {**headers, "Muster-Expires": str(expires)}
        answer = client.send("POST", f"{BUILDER}/review", token=token, headers=given, raw=form)
        assert answer.status == status
        assert (status == 408) == ("REQUEST_EXPIRED" in answer.body.decode())

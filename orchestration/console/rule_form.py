"""The form of the builder: its fields, and what its buttons do to them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final, Literal, TypeVar

from orchestration.access.bodies.segments import NewSegment
from orchestration.access.revisions import revision_of
from orchestration.console.row_rules import rule_of
from orchestration.console.rule_rows import (
    KINDS,
    MAX_ROWS,
    OF_EVENTS,
    Row,
    RowGroup,
    RowStep,
    RowTest,
    groups_of,
    size_of,
)
from orchestration.console.segment_texts import parsed_rule
from orchestration.records.segments import Segment
from schemas.errors import UserError
from segmentation.rules.nodes import Form, Rule
from segmentation.rules.parser import parse_rule
from segmentation.rules.printer import rule_text
from segmentation.rules.record_reader import rule_from_json
from segmentation.rules.templates import TEMPLATES

Source = Literal["rows", "text"]
ItemT = TypeVar("ItemT")
RowT = TypeVar("RowT", Row, RowStep)
ROW_FIELDS: Final = (
    *("kind", "name", "quantity", "times", "window", "unit", "bound", "moment", "during", "same", "of", "operator"),
)
STEP_FIELDS: Final = ("name", "negated", "within", "during")


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A segment being edited. `segment`, `seen`: its name and revision; empty for a new one, which has a `name`.

    `form`: of the rule of the rows. `source`: `text` if the rule has no rows, and `text` is the rule.
    """

    segment: str = ""
    seen: str = ""
    name: str = ""
    editor: str
    timezone: str = ""
    form: Form = 1
    source: Source = "rows"
    groups: tuple[RowGroup, ...] = (RowGroup(),)
    text: str = ""

    @property
    def zone(self) -> str | None:
        """The time zone, if one was typed."""
        return self.timezone.strip() or None

    def rule(self) -> tuple[Rule | None, dict[tuple[int, int], UserError]]:
        """The rule, or the faults of its rows. Raises `UserError` BAD_RULE, BAD_TIMEZONE."""
        if self.source == "text":
            return parse_rule(self.text, timezone=self.zone), {}
        return rule_of(self.groups, self.zone, self.form)

    def body(self, rule: Rule) -> NewSegment:
        """What is sent to create the segment or to edit it, with the rule of this draft."""
        text = self.text if self.source == "text" else rule_text(rule)
        return NewSegment(segment=self.segment or self.name, rule=text, timezone=rule.timezone)

    def with_segment(self, segment: Segment) -> "Draft":
        """As a segment is now."""
        seen, zone = revision_of(segment, segment.revision), segment.timezone or ""
        return replace(self, segment=segment.segment, seen=seen, timezone=zone).with_rule(parsed_rule(segment))

    def with_rule(self, rule: Rule) -> "Draft":
        """With another rule, as rows if they fit."""
        groups, zone = groups_of(rule), rule.timezone or self.timezone
        if groups is None:
            return replace(self, source="text", text=rule_text(rule), timezone=zone)
        return replace(self, source="rows", groups=groups, text="", timezone=zone, form=rule.form)

    def with_template(self, name: str, form: Mapping[str, str]) -> "Draft":
        """With the rule of a template. The time zone stays; rows that need one say so."""
        if (template := TEMPLATES.get(name)) is None:
            raise _unknown()
        given = {one.name: form[key] for one in template.parameters if (key := f"{name}.{one.name}") in form}
        return replace(self.with_rule(template.rule(given, self.zone or "UTC")), timezone=self.timezone)


def draft_of(form: Mapping[str, str]) -> Draft:
    """The draft in a form."""
    groups: list[RowGroup] = []
    while f"{(g := len(groups))}.negated" in form:
        rows: list[Row] = []
        while f"{g}.{len(rows)}.kind" in form:
            rows.append(_row(form, f"{g}.{len(rows)}"))
        groups.append(RowGroup(rows=tuple(rows) or (Row(),), negated=form[f"{g}.negated"] == "not"))
    return Draft(
        segment=form.get("segment", ""),
        seen=form.get("seen", ""),
        name=form.get("name", "").strip(),
        editor=form.get("editor", "")[:64] or "console",
        timezone=form.get("timezone", ""),
        form=2 if form.get("form") == "2" else 1,
        source="text" if form.get("source") == "text" else "rows",
        groups=tuple(groups) or (RowGroup(),),
        text=form.get("rule", ""),
    )


def _row(form: Mapping[str, str], prefix: str) -> Row:
    given, tests = _fields(form, prefix, ROW_FIELDS), _tests(form, prefix)
    kind = given.get("kind", "count")
    row = Row(**{**given, "kind": kind if kind in KINDS else "count"}, tests=tests, steps=())
    if row.kind == "attribute":
        return replace(row, name="", tests=row.tests[:1] or (RowTest(name=row.name),))
    if row.kind == "sequence":
        return replace(row, steps=_steps(form, prefix) or (RowStep(),))
    return row if row.kind in OF_EVENTS else replace(row, tests=())


def _steps(form: Mapping[str, str], prefix: str) -> tuple[RowStep, ...]:
    steps: list[RowStep] = []
    while f"{(of := f'{prefix}.then{len(steps)}')}.name" in form:
        steps.append(RowStep(**_fields(form, of, STEP_FIELDS), tests=_tests(form, of)))
    return tuple(steps)


def _fields(form: Mapping[str, str], prefix: str, names: tuple[str, ...]) -> dict[str, str]:
    return {name: form[f"{prefix}.{name}"] for name in names if f"{prefix}.{name}" in form}


def _tests(form: Mapping[str, str], prefix: str) -> tuple[RowTest, ...]:
    tests: list[RowTest] = []
    while f"{prefix}.{(n := len(tests))}.name" in form:
        one = {name: form.get(f"{prefix}.{n}.{name}", "") for name in ("name", "operator", "value")}
        tests.append(RowTest(**one))
    return tuple(tests)


def changed(draft: Draft, action: str, form: Mapping[str, str]) -> Draft:
    """The draft after a button: `row.G`, `unrow.G.R`, `test.G.R`, `untest.G.R.T`, `group`, or a rule in other words.

    `template.NAME` takes a template, with its parameters as `NAME.PARAMETER` of the form.

    Of a sequence, also `then.G.R` for another step, `unthen.G.R.S`, and of its tests `test.G.R.S`, `untest.G.R.S.T`.
    Raises `UserError` BAD_RULE, BAD_TIMEZONE, BAD_BODY.
    """
    what, *at = action.split(".")
    if what == "template" and len(at) == 1:
        return draft.with_template(at[0], form)
    try:
        place = [int(number) for number in at]
    except ValueError as exc:
        raise _unknown() from exc
    if what == "text":
        return draft.with_rule(parse_rule(form.get("text", ""), timezone=draft.zone))
    if what == "json":
        return draft.with_rule(rule_from_json(form.get("json", "").encode("utf-8", "surrogatepass")))
    groups = draft.groups
    match what, place:
        case "group", []:
            groups = (*groups, RowGroup())
        case "row", [g]:
            groups = _at(groups, g, lambda one: (replace(one, rows=(*one.rows, Row())),))
        case "unrow", [g, r]:
            groups = _at(groups, g, lambda one: _without(one, r))
        case "kind", []:
            pass
        case _, [g, r, *inside]:
            groups = _rows(groups, g, r, lambda row: _changed_row(row, what, inside))
        case _:
            raise _unknown()
    if size_of(groups) > MAX_ROWS:
        raise UserError("BAD_RULE", f"a form has at most {MAX_ROWS} rows; edit the rule as text")
    return replace(draft, groups=groups or (RowGroup(),))


def _at(items: tuple[ItemT, ...], at: int, change: Callable[[ItemT], tuple[ItemT, ...]]) -> tuple[ItemT, ...]:
    if not 0 <= at < len(items):
        raise _unknown()
    return (*items[:at], *change(items[at]), *items[at + 1 :])


def _without(group: RowGroup, at: int) -> tuple[RowGroup, ...]:
    """The group without a row; no group without its last one."""
    rows = _at(group.rows, at, lambda _: ())
    return (replace(group, rows=rows),) if rows else ()


def _rows(groups: tuple[RowGroup, ...], g: int, r: int, change: Callable[[Row], Row]) -> tuple[RowGroup, ...]:
    return _at(groups, g, lambda one: (replace(one, rows=_at(one.rows, r, lambda row: (change(row),))),))


def _changed_row(row: Row, what: str, at: list[int]) -> Row:
    match what, at:
        case "test", []:
            return _with_test(row)
        case "untest", [n]:
            return _without_test(row, n)
        case "then", []:
            return replace(row, steps=(*row.steps, RowStep()))
        case "unthen", [n]:
            return replace(row, steps=_at(row.steps, n, lambda _: ()))
        case "test", [n]:
            return replace(row, steps=_at(row.steps, n, lambda step: (_with_test(step),)))
        case "untest", [n, test]:
            return replace(row, steps=_at(row.steps, n, lambda step: (_without_test(step, test),)))
    raise _unknown()


def _with_test(row: RowT) -> RowT:
    return replace(row, tests=(*row.tests, RowTest()))


def _without_test(row: RowT, at: int) -> RowT:
    return replace(row, tests=_at(row.tests, at, lambda _: ()))


def _unknown() -> UserError:
    return UserError("BAD_BODY", "the form does not fit; load the page again")

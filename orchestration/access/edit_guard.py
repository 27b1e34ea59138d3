"""The guard on edits of segments: an edit that would change many members needs an approval of its numbers.

1. Readers evaluate both rules over the archive (`PreviewEdit`), whenever an edit changes the meaning of a rule.
2. If more than `LEAST` users and more than `segment_edit_max_percent` of the members would change, in the segment or in
   one that depends on it, the edit is refused with a token.
3. The token is a MAC of the numbers and of all rules that they follow from. Nothing is stored.
4. With the token, the edit is counted again, and made unless the numbers are a tenth off.

An edit that cannot be counted is refused, too, with a token that approves it uncounted.
"""

import base64
import hmac
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, TypeAlias

from orchestration.access.bodies.segments import SegmentRule
from orchestration.access.opaque import urlsafe
from orchestration.composition.service import Services
from orchestration.platform.clock import now_ms
from orchestration.readers.questions import PreviewEdit
from orchestration.records.questions import EditPreview, MembersChange
from schemas.errors import FatalError, MusterError, RetriableError, UserError
from schemas.ids import AudienceName, TenantName
from segmentation.rules.canonical import rule_hash
from segmentation.rules.references import dependents, names

LEAST: Final = 1000
"""Users. A smaller change of a segment needs no approval, whatever its share of the members."""
APPROVED_S: Final = 24 * 3600
NAMED: Final = 5
"""Segments in the message of a refusal; its values have all."""
OFF: Final = 10
"""An approval holds while the numbers are less than a tenth off."""
TOO_BIG: Final = frozenset({"QUESTION_TOO_BIG", "RULE_TOO_BIG"})
NOT_OF_READERS: Final = frozenset({"CATALOG_UNAVAILABLE", "CLIENT_GONE", "SERVICE_STOPS"})
Numbers: TypeAlias = Sequence[tuple[int, int]]
"""Users who enter and who leave, by segment in the order of `EditPreview.changes`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """What a token approves. `numbers`: None for an edit that could not be counted."""

    numbers: Numbers | None


@dataclass(frozen=True, slots=True, kw_only=True)
class EditGuard:
    """Previews edits of a tenant's segments and requires their approval. `ask`: what readers answer."""

    services: Services
    tenant: TenantName
    ask: Callable[[PreviewEdit], EditPreview]

    def preview(self, segment: AudienceName, body: SegmentRule, users: int) -> EditPreview:
        """What an edit would change, what depends on it, and the token if it needs an approval. Raises as `ask`."""
        question = PreviewEdit(
            tenant=self.tenant, segment=segment, rule=body.text(), timezone=body.timezone, users=users
        )
        found = self.ask(question)
        changed = [change.segment for change in found.changes]
        feeds = self.services.feeds.of_segments(self.tenant, changed)
        found = replace(found, schedules=self._schedules_of(changed), feeds=feeds)
        if found.same or not any(map(self._is_large, found.changes)):
            return found
        return replace(found, approve=self._token(self._about(segment, body), _numbers(found)))

    def approved(self, segment: AudienceName, body: SegmentRule, token: str | None) -> Mapping[str, Any]:
        """The numbers of an edit that may be made, for the audit trail. Nothing is counted if no meaning changes.

        Raises `UserError` EDIT_WOULD_CHANGE; EDIT_NOT_COUNTED, a `RetriableError` unless the rule is too big to be
        counted; and as `ask`.
        """
        same = rule_hash(body.given().rule) == rule_hash(self.services.segments.rules(self.tenant)[segment])
        if same or not self.services.settings.segment_edit_max_percent:
            return {}
        approval = None if token is None else self._approval(self._about(segment, body), token)
        try:
            found = self.preview(segment, body, users=0)
        except MusterError as exc:
            if exc.code not in TOO_BIG if isinstance(exc, UserError) else exc.code in NOT_OF_READERS:
                raise
            if approval is not None and approval.numbers is None:
                return {"uncounted": exc.code}
            raise self._not_counted(segment, body, exc) from exc
        recorded = {"changes": [_counts(change) for change in found.changes]}
        if found.approve is None:
            return recorded
        if approval is None or approval.numbers is None:
            why = "" if token is None else "the approval has expired, or is for another change; "
            raise _would_change(segment, found, why)
        if _are_off(approval.numbers, _numbers(found)):
            raise _would_change(segment, found, "the numbers that were approved are a tenth off; ")
        return {**recorded, "approved": True}

    def _is_large(self, change: MembersChange) -> bool:
        changed, members = change.entering + change.leaving, change.leaving + change.staying
        most = self.services.settings.segment_edit_max_percent
        return most > 0 and changed > LEAST and changed * 100 > most * members

    def _schedules_of(self, segments: Collection[str]) -> list[str]:
        """Schedules that take snapshots of segments, or export these."""
        schedules = self.services.schedules.all(self.tenant)
        snapshots = [one for one in schedules if one.kind == "snapshot" and one.request["segment"] in segments]
        audiences = {one.request["audience"] for one in snapshots}
        exports = [one for one in schedules if one.kind == "export" and one.request["audience"] in audiences]
        return sorted(one.name for one in (*snapshots, *exports))

    def _about(self, segment: AudienceName, body: SegmentRule) -> bytes:
        """What an approval is about: the edit, and the present rules of all segments that its numbers follow from."""
        rules, new = self.services.segments.rules(self.tenant), body.given().rule
        involved: dict[str, str] = {}
        waiting = [*dependents(segment, rules), *names(new).segments]
        while waiting:
            if (name := waiting.pop()) in rules and name not in involved:
                involved[name] = rule_hash(rules[name])
                waiting += names(rules[name]).segments
        return _canonical([self.tenant, segment, rule_hash(new), involved])

    def _token(self, about: bytes, numbers: Numbers | None) -> str:
        content = urlsafe(_canonical([now_ms() // 1000 + APPROVED_S, numbers]))
        return f"{content}.{self._mac(about, content)}"

    def _mac(self, about: bytes, content: str) -> str:
        key = self.services.settings.approvals_secret()
        return urlsafe(hmac.digest(key, about + b"\0" + content.encode(), "sha256")[:15])

    def _approval(self, about: bytes, token: str) -> Approval | None:
        """None if it is for another edit, or has expired."""
        content, _, mac = token.partition(".")
        if not hmac.compare_digest(self._mac(about, content).encode(), mac.encode()):
            return None
        expires_s, numbers = json.loads(base64.urlsafe_b64decode(content + "=" * (-len(content) % 4)))
        return Approval(numbers=numbers) if now_ms() // 1000 <= expires_s else None

    def _not_counted(self, segment: AudienceName, body: SegmentRule, cause: MusterError) -> MusterError:
        why = cause.code if isinstance(cause, FatalError) else str(cause)
        token = self._token(self._about(segment, body), None)
        message = (
            f"segment {segment} has not been changed, since it could not be counted who would enter and leave ({why}). "
            f"Try again later; to change it without knowing, give --approve {token}"
        )
        detail = {"segment": segment, "cause": cause.code, "approve": token}
        if isinstance(cause, UserError):
            return UserError("EDIT_NOT_COUNTED", message, **detail)
        return RetriableError("EDIT_NOT_COUNTED", message, **detail)


def _would_change(segment: AudienceName, found: EditPreview, why: str) -> UserError:
    changes = ", ".join(
        f"{one.segment} ({one.entering:,} would enter, {one.leaving:,} leave, {one.staying:,} stay)"
        for one in found.changes[:NAMED]
    )
    if len(found.changes) > NAMED:
        changes += f" and {len(found.changes) - NAMED} more segments that depend on it"
    users = [*(f"schedule {name}" for name in found.schedules), *(f"feed {name}" for name in found.feeds)]
    used = f"; used by {', '.join(users)}" if users else ""
    return UserError(
        "EDIT_WOULD_CHANGE",
        f"segment {segment} has not been changed: {why}the rule would change many members of {changes}{used}. If that "
        f"is intended, repeat the edit with --approve {found.approve} within 24 hours",
        segment=segment,
        changes=[_counts(change) for change in found.changes],
        schedules=list(found.schedules),
        feeds=list(found.feeds),
        approve=found.approve,
    )


def _are_off(approved: Numbers, found: Numbers) -> bool:
    """Whether the numbers of a segment differ by a tenth of its change, or of `LEAST` if that is more."""
    return len(approved) != len(found) or any(
        OFF * sum(abs(now - before) for before, now in zip(then, counted, strict=True)) >= max(LEAST, sum(then))
        for then, counted in zip(approved, found, strict=True)
    )


def _numbers(found: EditPreview) -> Numbers:
    return [(change.entering, change.leaving) for change in found.changes]


def _counts(change: MembersChange) -> dict[str, Any]:
    return {name: getattr(change, name) for name in ("segment", "entering", "leaving", "staying")}


def _canonical(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()

"""Standing consent: no export contains a member of a list that applies, and each can prove it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from orchestration.catalog.consent import ConsentPolicy, StandingList
from orchestration.catalog.records import Audience, Export
from orchestration.kinds.consent import checked_destination, checked_lists
from orchestration.operations.audiences import delete
from schemas.digest import Digest
from schemas.errors import UserError
from schemas.export_shape import ConsentLists, ExportShape
from schemas.ids import AudienceName
from tests.fakes.import_log import InMemoryTopicLog
from tests.integration.lake.export_steps import ACME, Exports
from tests.integration.lake.support import BUCKET
from tests.integration.lake.test_export_steps import error_of
from tests.integration.lake.test_recurring_exports import delta, hourly, registered
from tests.raising import code_of

NOW = datetime.now(UTC)
USERS = tuple(f"user-{n:03d}" for n in range(40))


@pytest.fixture
def quiet(exports: Exports) -> Audience:
    """An audience that is left out of all exports."""
    found = exports.audience("unsubscribed")
    consent(exports, standing(found))
    return found


def standing(audience: Audience, destination: str | None = None, **more: Any) -> StandingList:
    return StandingList(audience_id=audience.audience_id, audience=audience.name, destination=destination, **more)


def consent(exports: Exports, *lists: StandingList) -> ConsentPolicy:
    wanted = [replace(one, destination=checked_destination(one.destination)) for one in lists]
    return exports.context.consent.replace(ACME, checked_lists(wanted), now_ms=1, check=lambda _: None)


def exported(exports: Exports, **request: Any) -> Export:
    export = exports.run(exports.register(**request))
    assert export.state == "READY", export.error
    return export


def users(exports: Exports, export: Export) -> list[str]:
    return exports.users(str(export.request["to"]))


def test_members_of_a_standing_list_are_left_out_and_accounted_for(exports: Exports, quiet: Audience) -> None:
    exports.publish(*USERS)
    exports.publish(*USERS[:5], order="1", audience=quiet)
    forged = ConsentLists(policy=9)
    export = exported(exports, shape=ExportShape(where='user_id < "user-030"'), consent=forged)
    assert users(exports, export) == sorted(USERS[5:30])
    manifest = exports.manifest(str(export.request["to"]))
    assert manifest["policy"] == 1
    [found] = manifest["selection"]["suppression_lists"]
    assert (found["audience"], found["version"], found["standing"]) == ("unsubscribed", 1, True)
    assert manifest["selection"]["rows_suppressed"] == 5
    assert not exports.held(audience=quiet)


def test_list_is_pinned_at_registration_and_in_a_retry_anew(exports: Exports, quiet: Audience) -> None:
    exports.publish(*USERS)
    exports.publish(*USERS[:5], order="1", audience=quiet)
    export = exports.at("WRITING")
    exports.publish(*USERS[:9], order="2", audience=quiet)
    assert users(exports, exports.run(export)) == sorted(USERS[5:])
    failed = exports.at("WRITING")
    exports.context.exports.move(failed.job_id, "CANCELLED", now_ms=1)
    exports.publish(*USERS[:11], order="3", audience=quiet)
    again = exports.context.export_jobs.retry(failed.job_id)
    [event] = [exports.workflow.started[-1]]
    assert "consent" not in event
    request = exports.request(export_id=again, retry_of=failed.job_id)
    assert users(exports, exports.run(exports.register(request))) == sorted(USERS[11:])


def test_list_without_a_version_or_too_old_stops_all_exports(exports: Exports, quiet: Audience) -> None:
    exports.publish(*USERS)
    assert error_of(exports.register()) == "NOTHING_PUBLISHED"
    consent(exports, standing(quiet, max_age_s=3600))
    exports.publish(*USERS[:5], audience=quiet, published_at=NOW - timedelta(hours=2))
    refused = exports.register()
    assert error_of(refused) == "SUPPRESSION_STALE"
    assert exports.files(str(refused.request["to"])) == []
    exports.publish(*USERS[:6], order="2", audience=quiet, published_at=NOW)
    assert users(exports, exported(exports)) == sorted(USERS[6:])


def test_closest_entry_decides_for_a_destination(exports: Exports, quiet: Audience) -> None:
    exports.publish(*USERS)
    exports.publish(*USERS[:5], audience=quiet)
    consent(
        exports,
        standing(quiet),
        standing(quiet, f"s3://{BUCKET}/exports/processor/", exempt=True),
        standing(quiet, f"s3://{BUCKET}/exports/processor/crm/", max_age_s=10**9),
    )
    for to, left in (("other/1", 35), ("processor/1", 40), ("processor/crm/1", 35), ("processor-2/1", 35)):
        export = exported(exports, to=f"s3://{BUCKET}/exports/{to}")
        assert len(users(exports, export)) == left, to
        assert exports.manifest(str(export.request["to"]))["policy"] == 2


def test_list_cannot_be_exported_to_where_it_applies(exports: Exports, quiet: Audience) -> None:
    exports.publish(*USERS, audience=quiet)
    assert error_of(exports.register(audience="unsubscribed")) == "BAD_CONSENT"
    consent(exports, standing(quiet), standing(quiet, f"s3://{BUCKET}/exports/", exempt=True))
    assert users(exports, exported(exports, audience="unsubscribed")) == sorted(USERS)


def test_list_in_use_is_not_deleted(exports: Exports, quiet: Audience) -> None:
    c = exports.context

    def remove() -> None:
        delete(quiet, audiences=c.audiences, jobs=c.jobs, segments=c.segments, versions=c.versions, consent=c.consent)

    assert code_of(UserError, remove) == "AUDIENCE_IN_USE"
    consent(exports)
    exports.publish("a", audience=quiet)
    remove()


def test_contradicting_entries_are_refused(exports: Exports, quiet: Audience) -> None:
    for wrong in (
        [standing(quiet), standing(quiet, max_age_s=60)],
        [standing(quiet, "download"), standing(quiet, "download", exempt=True)],
        [standing(quiet, exempt=True)],
        [standing(quiet, "download", exempt=True, max_age_s=60)],
        [replace(standing(quiet), audience=AudienceName(f"list-{n}")) for n in range(17)],
    ):
        assert code_of(UserError, lambda wrong=wrong: checked_lists(wrong)) == "BAD_CONSENT"  # type: ignore[misc]
    for place in ("*", "s3:/x", "/tmp/x", "profile:a b"):
        assert code_of(UserError, lambda place=place: checked_destination(place)) == "BAD_PLACE"  # type: ignore[misc]
    assert exports.context.consent.of(ACME).policy == 1


def test_each_change_is_the_next_policy_and_repeats_are_none(exports: Exports, quiet: Audience) -> None:
    assert consent(exports, standing(quiet)).policy == 1
    assert consent(exports, standing(quiet, max_age_s=60)).policy == 2
    assert consent(exports).policy == 3
    assert exports.context.consent.of(ACME) == ConsentPolicy(policy=3)


def test_schedule_continues_from_what_its_receiver_has(exports: Exports, quiet: Audience) -> None:
    schedule = hourly(exports)
    exports.publish(*USERS[:9], order="1")
    exports.publish("user-001", order="1", audience=quiet)
    whole = exports.run(registered(exports, schedule, 0))
    exports.publish("user-002", "user-100", order="2", audience=quiet)
    changes = exports.run(registered(exports, schedule, 1))
    assert delta(exports, changes) == (1, 1, [("added", "user-001"), ("removed", "user-002")])
    first, second = (exports.manifest(str(export.request["to"])) for export in (whole, changes))
    assert second["delta"]["export"] == whole.job_id
    assert second["delta"]["policy"] == second["policy"] == 1
    kept = {account["view"]: Digest.parse(account["exported"]) for account in second["selection"]["accounts"]}
    assert str(kept["base"]) == second["delta"]["kept"] == first["selection"]["accounts"][0]["exported"]
    sums = {change: Digest(schema_id=second["schema_id"]) for change in ("added", "removed")}
    for file in second["files"]:
        sums[file["change"]] += Digest.parse(file["digest"])
    assert kept["version"] == kept["base"] - sums["removed"] + sums["added"]
    consent(exports)
    exports.publish(*USERS[:9], "user-100", order="2")
    released = exports.run(registered(exports, schedule, 2))
    assert delta(exports, released) == (2, 1, [("added", "user-002"), ("added", "user-100")])
    assert delta(exports, exports.run(registered(exports, schedule, 3))) == (2, 2, [])


def test_schedule_whose_base_is_gone_exports_a_whole_view(exports: Exports, quiet: Audience) -> None:
    schedule = hourly(exports)
    exports.publish("a", "b", order="1")
    exports.publish("a", order="1", audience=quiet)
    exports.run(registered(exports, schedule, 0))
    exports.publish("b", order="2", audience=quiet)
    exports.expire(quiet, versions=1, days=0)
    whole = exports.run(registered(exports, schedule, 1))
    assert delta(exports, whole) == (1, None, [("None", "a")])
    assert exports.manifest(str(whole.request["to"]))["delta"] is None
    assert error_of(exports.register(delta_from=str(next(iter(_ready(exports, 1)))))) == "BASE_VIEW_UNKNOWN"


def _ready(exports: Exports, number: int) -> list[str]:
    return [str(one.job_id) for one in exports.context.exports.search()][number:]


def test_delta_from_an_export_by_its_id_the_last_or_its_version(exports: Exports, quiet: Audience) -> None:
    folder = f"s3://{BUCKET}/exports/crm-{NOW.timestamp()}"
    exports.publish(*USERS[:4], order="1")
    exports.publish("user-000", order="1", audience=quiet)
    first = exported(exports, to=f"{folder}/1")
    exported(exports)  # to somebody else
    exports.publish(*USERS[1:5], order="2")
    exports.publish("user-001", order="2", audience=quiet)
    expected = (2, 1, [("added", "user-004"), ("removed", "user-001")])
    for number, base in enumerate(("last", first.job_id, 1)):
        found = exports.register(to=f"{folder}/delta-{number}", delta_from=base)
        assert delta(exports, exports.run(found)) == expected
    last = exports.register(to=f"{folder}/after", delta_from="last")
    assert delta(exports, exports.run(last)) == (2, 2, [])


def test_delta_from_a_view_that_nobody_has_is_refused(exports: Exports, quiet: Audience) -> None:
    exports.publish("a", order="1")
    exports.publish("b", order="1", audience=quiet)
    other = exports.audience("other")
    exports.publish("a", audience=other)
    cancelled = exports.at("WRITING")
    exports.context.exports.move(cancelled.job_id, "CANCELLED", now_ms=1)
    elsewhere = exported(exports, audience="other")
    for base in (1, "last", cancelled.job_id, elsewhere.job_id, "01j00000000000000000000000"):
        assert error_of(exports.register(delta_from=base)) == "BASE_VIEW_UNKNOWN", base


def test_versions_alone_are_a_base_where_nobody_was_ever_left_out(exports: Exports) -> None:
    exports.publish("a", order="1")
    exports.publish("b", order="2")
    found = exported(exports, delta_from=1)
    assert delta(exports, found) == (2, 1, [("added", "b"), ("removed", "a")])
    quiet = exports.audience("unsubscribed")
    exports.publish("c", audience=quiet)
    consent(exports, standing(quiet))
    consent(exports)
    assert error_of(exports.register(delta_from=1)) == "BASE_VIEW_UNKNOWN"


@pytest.fixture
def topic(monkeypatch: pytest.MonkeyPatch) -> InMemoryTopicLog:
    """The topic for exports to `kafka://members`."""
    log = InMemoryTopicLog(3)
    monkeypatch.setattr("orchestration.kinds.export.topics.open_topic", lambda *_, **__: log)
    return log


def test_topic_gets_the_same_rows(exports: Exports, quiet: Audience, topic: InMemoryTopicLog) -> None:
    exports.publish(*USERS[:4], order="1")
    exports.publish("user-000", order="1", audience=quiet)
    first = exported(exports, to="kafka://members")
    exports.publish("user-001", order="2", audience=quiet)
    second = exported(exports, to="kafka://members", delta_from="last")
    assert first.outcome is not None
    assert second.outcome is not None
    assert (first.outcome["rows"], second.outcome["rows"]) == (3, 2)
    assert first.outcome["kept"] != second.outcome["kept"]
    assert second.outcome["rows_suppressed"] == 1

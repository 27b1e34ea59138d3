"""`muster jobs` for jobs of all kinds, and its old names for exports, as far as they need no stack."""

from dataclasses import replace
from typing import Any

import pytest

from orchestration.cli.main import main
from orchestration.composition.context import Context
from schemas.errors import UserError
from tests.contract.test_catalog import job_number, new_job
from tests.contract.test_catalog_exports import new_export
from tests.unit.orchestration.cli.conftest import answer
from tests.unit.orchestration.notifications.test_notices import FAULT, ended

EXPORT = new_export(5001).job_id


pytestmark = pytest.mark.usefixtures("service")


@pytest.fixture
def context(context: Context) -> Context:
    ended(context, FAULT)
    context.exports.register(replace(new_export(5001), execution=None))
    return context


def ids(records: list[dict[str, Any]]) -> list[str]:
    return [record.get("job") or record["export"] for record in records]


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        ([], {EXPORT, job_number(1)}),
        (["--kind", "export"], {EXPORT}),
        (["--kind", "audience"], {job_number(1)}),
        (["--kind", "audience", "--kind", "export"], {EXPORT, job_number(1)}),
        (["--kind", "snapshot"], set()),
        (["--state", "failed"], {job_number(1)}),
        (["--state", "registered"], {EXPORT}),
        (["--state", "writing"], set()),
        (["--audience", "vip"], {EXPORT, job_number(1)}),
        (["--audience", "other"], set()),
    ],
)
def test_list_contains_the_requested_kinds(
    context: Context, capsys: pytest.CaptureFixture[str], arguments: list[str], found: set[str]
) -> None:
    assert set(ids(answer(capsys, "jobs", "list", *arguments))) == found


def test_newest_jobs_of_all_kinds_are_listed(context: Context) -> None:
    for number in range(2, 9):
        context.jobs.register(new_job(number, f"{number:064}"))
        context.exports.register(new_export(5000 + number))
    found = context.all_jobs.search(limit=5)
    everything = context.all_jobs.search(limit=100)
    newest = sorted((job.job_id for job in everything), reverse=True)
    assert len(newest) == 16
    assert [job.job_id for job in everything] == newest
    assert found == everything[:5]


def test_jobs_of_one_kind_are_found_among_many_others(context: Context) -> None:
    oldest = context.jobs.get(context.jobs.register(replace(new_job(0, "0" * 64), source={"segment": "buyers"})))
    for number in range(2, 40):
        context.jobs.register(new_job(number, f"{number:064}"))
    [job] = context.all_jobs.search(kinds=["snapshot"], limit=2)
    assert (job.shown_kind, job.created_at_ms) == ("snapshot", oldest.created_at_ms)  # type: ignore[union-attr]


@pytest.mark.parametrize(("kinds", "state"), [(["export"], "VERIFYING"), (["audience"], "WRITING"), ([], "ASLEEP")])
def test_state_unknown_to_the_kinds_is_refused(context: Context, kinds: Any, state: str) -> None:
    with pytest.raises(UserError, match=f"is ever '{state}'"):
        context.all_jobs.search(kinds=kinds, states=[state], limit=1)


def test_unknown_kind_is_a_usage_error(context: Context) -> None:
    assert main(["jobs", "list", "--kind", "lies"]) == 2


def test_text_output_shows_kind_and_export_destination(context: Context, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["jobs", "list"]) == 0
    header, *rows = capsys.readouterr().out.splitlines()
    assert header.split() == ["JOB", "AGE", "KIND", "STATE", "AUDIENCE", "RESULT", "TO"]
    shown = {row.split()[0]: row.split() for row in rows}
    assert shown[EXPORT][3:] == ["export", "REGISTERED", "acme/vip", "s3://b/x"]
    assert shown[job_number(1)][3:] == ["audience", "FAILED", "acme/vip", FAULT.code]
    assert main(["jobs", "list", "--kind", "audience"]) == 0
    assert capsys.readouterr().out.split()[:6] == ["JOB", "AGE", "KIND", "STATE", "AUDIENCE", "RESULT"]


@pytest.mark.parametrize(
    ("outcome", "result"),
    [({"version": 3, "rows": 1, "bytes": 2000}, "v3, 1 row, 2.0 kB"), ({"rows": 2, "manifest": None}, "2 rows")],
)
def test_export_result_equals_its_outcome(
    context: Context, capsys: pytest.CaptureFixture[str], outcome: dict[str, Any], result: str
) -> None:
    for state in ("WRITING", "FINISHING"):
        context.exports.move(EXPORT, state, now_ms=2)
    context.exports.move(EXPORT, "READY", now_ms=5, outcome=outcome)
    assert main(["jobs", "list", "--kind", "export"]) == 0
    assert f" {result}  " in capsys.readouterr().out


def test_an_export_is_shown_cancelled_and_waited_for_by_its_id(
    context: Context, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = answer(capsys, "jobs", "show", EXPORT)
    assert (shown["export"], shown["state"], shown["groups"], shown["notifications"]) == (EXPORT, "REGISTERED", [], [])
    cancelled = answer(capsys, "jobs", "cancel", EXPORT)
    assert (cancelled["export"], cancelled["state"], cancelled["already"]) == (EXPORT, "CANCELLED", False)
    assert main(["jobs", "cancel", EXPORT]) == 0
    assert capsys.readouterr().out == f"export {EXPORT} was already cancelled\n"
    assert main(["jobs", "wait", EXPORT]) == 5
    assert capsys.readouterr().out == f"export {EXPORT} is CANCELLED\n"
    first, second = context.audit.search(job_id=EXPORT)
    assert (first.action, first.object, first.error) == ("jobs cancel", "acme/vip", None)
    assert (first.before, first.after) == ({"state": "REGISTERED"}, {"state": "CANCELLED"})
    assert (second.before, second.after) == ({"state": "CANCELLED"}, {"state": "CANCELLED"})


def test_waiting_for_an_export_can_be_limited(context: Context, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["jobs", "wait", EXPORT, "--timeout", "0"]) == 6
    captured = capsys.readouterr()
    assert (captured.out, "the export continues. `muster jobs wait" in captured.err) == ("", True)


def test_unknown_id_is_reported(context: Context, capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("show", "wait", "cancel"):
        assert main(["jobs", command, "0" * 26]) == 3
        assert capsys.readouterr().err.startswith("UNKNOWN_JOB: ")


def test_job_is_found_by_a_unique_id_prefix(context: Context, capsys: pytest.CaptureFixture[str]) -> None:
    one, other = str(job_number(1)), str(EXPORT)
    shared = next(n for n in range(26) if one[n] != other[n])
    assert answer(capsys, "jobs", "show", one[: shared + 1].upper())["job"] == one
    [newest] = answer(capsys, "jobs", "list", "--limit", "1")
    assert answer(capsys, "jobs", "show", "--latest")["created_at"] == newest["created_at"]
    assert answer(capsys, "rejects", one[: shared + 1])["job"] == one
    for given, code in ((one[:shared], "AMBIGUOUS_JOB"), ("zz", "UNKNOWN_JOB"), ("nonsense!", "BAD_JOB_ID")):
        assert main(["jobs", "show", given]) == 3
        assert capsys.readouterr().err.startswith(f"{code}: ")
    for wrong in ([], [one, "--latest"]):
        assert main(["receipt", *wrong]) == 2

"""Receipts as sums: literal receipts, literal bars. And rejected rows, where there is no receipt."""

import re

from orchestration.catalog.records import JobError
from orchestration.console.language import Texts
from orchestration.console.paths import IN_TENANT
from orchestration.console.receipts import Column, columns_of, sums_of
from tests.fakes.asgi import AsgiClient
from tests.fakes.tenants import ACME, AT_MS, JOB, World, id_of
from tests.unit.orchestration.console.pages import ask

RECEIPT = {
    "rows": 1000,
    "accepted": 999,
    "rejected": 1,
    "distinct": 990,
    "duplicates": 9,
    "members": 990,
    "membership": {"base": 500, "kept": 400, "removed": 100, "added": 590, "members": 990},
    "columns": [
        {"name": "age", "type": "long"},
        {"name": "city", "type": "string"},
        {"name": "plan", "type": "string"},
    ],
    "column_changes": {
        "added": [{"name": "city", "type": "string"}],
        "dropped": [{"name": "score", "type": "double"}],
        "retyped": [{"name": "age", "from": "string", "to": "long"}],
    },
}
EN = Texts("en")


def test_bars_share_one_scale_and_show_single_rows() -> None:
    drawn = [(s.total, [(p.look, p.count, p.x, p.width) for p in s.parts]) for s in sums_of(RECEIPT, EN)]
    assert drawn == [
        (1000, [("kept", 999, 0, 999), ("rejected", 1, 999, 4)]),
        (999, [("kept", 990, 0, 990), ("duplicate", 9, 990, 9)]),
        (500, [("kept", 400, 0, 400), ("removed", 100, 400, 100)]),
        (990, [("kept", 400, 0, 400), ("added", 590, 400, 590)]),
    ]
    assert all(one.total == sum(part.count for part in one.parts) for one in sums_of(RECEIPT, EN))


def test_changed_members_are_part_of_the_kept_ones() -> None:
    *_, before, now = sums_of({**RECEIPT, "membership": {**RECEIPT["membership"], "updated": 30}}, EN)  # type: ignore[dict-item]
    assert [(part.look, part.count) for part in before.parts] == [("kept", 370), ("changed", 30), ("removed", 100)]
    assert [(part.look, part.count) for part in now.parts] == [("kept", 370), ("changed", 30), ("added", 590)]


def test_record_receipt_shows_stored_rows_instead_of_members() -> None:
    found = sums_of({"rows": 3, "accepted": 3, "rejected": 0, "stored": 2, "duplicates": 1}, EN)
    assert [(one.name, one.total, [part.count for part in one.parts]) for one in found] == [
        ("rows in the file", 3, [3, 0]),
        ("accepted", 3, [2, 1]),
    ]


def test_an_empty_receipt_draws_nothing() -> None:
    (found,) = sums_of({"rows": 0, "accepted": 0, "rejected": 0}, EN)
    assert [part.width for part in found.parts] == [0, 0]


def test_columns_show_their_change() -> None:
    assert columns_of(RECEIPT, EN) == (
        Column(name="age", type="long", change="was string"),
        Column(name="city", type="string", change="new"),
        Column(name="plan", type="string", change=""),
        Column(name="score", type="double", change="dropped"),
    )


def test_columns_show_null_counts_and_emptied_ones() -> None:
    found = columns_of({**RECEIPT, "nulls_by_column": {"age": 3, "city": 990}, "emptied_columns": ["city"]}, EN)
    assert [(one.nulls, one.emptied) for one in found] == [(3, False), (990, True), (None, False), (None, False)]


def test_job_failed_by_rejects_counts_them_by_reason(client: AsgiClient, world: World) -> None:
    job = id_of(ACME, JOB)
    detail = {"rows": 600, "rejected": 133, "rejected_by_code": {"field_count": 66, "id_empty": 67}}
    error = JobError(kind="user", code="TOO_MANY_REJECTS", message="133 of 600 rows were rejected", detail=detail)
    world.services.jobs.put(job, evidence=None)
    world.services.jobs.fail(job, error, now_ms=AT_MS)
    page = ask(client, world, f"{IN_TENANT}/jobs/{{job}}").body.decode()
    rejects = ask(client, world, f"{IN_TENANT}/jobs/{{job}}/rejects").body.decode()
    assert "133 rejected rows" in page
    assert f"rejects(&#39;{job}&#39;)" in ask(client, world, f"{IN_TENANT}/sql").body.decode()
    assert page.index(f'/{job}/rejects?code=id_empty">') < page.index(f'/{job}/rejects?code=field_count">')
    assert re.findall(r'<span class="num">(\d+)</span></a>', rejects) == ["133", "67", "66"]

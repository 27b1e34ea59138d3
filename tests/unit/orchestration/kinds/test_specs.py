"""What an audience keeps of its imports: how its files are read, and the columns of its versions."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from connectors.storage.pinned import SourceObject
from connectors.verification.evidence import Evidence
from connectors.verification.verifier import verify_file
from orchestration.catalog.records import Audience, Job, JobError
from orchestration.catalog.references import audience_ref, ref_of
from orchestration.composition import administration
from orchestration.operations import audiences as operations
from orchestration.platform.clock import now_ms
from schemas.columns import Column, RowSchema
from schemas.errors import UserError
from schemas.ids import AudienceName, Version
from schemas.import_spec import ImportSpec
from segmentation.columns import ColumnChanges, check_change, updated_spec, with_version_columns
from tests.fakes.deployment import ACME, Deployment

TIMED_OUT = {"Error": "States.Timeout", "Cause": ""}

VIP = AudienceName("vip")
AGE, CITY, SEEN = Column(name="age", type="long"), Column(name="city"), Column(name="seen", type="date", source="Seen")


def columns(*given: Column) -> list[dict[str, Any]]:
    return [{"name": c.name, "type": c.type, "source": c.source} for c in given]


def imported(deployment: Deployment, number: int, **overrides: Any) -> Job:
    """Import another object."""
    return deployment.run(deployment.register(deployment.request(key=f"acme/vip/{number}.csv", overrides=overrides)))


def vip(deployment: Deployment) -> Audience:
    return deployment.context.audiences.get(ACME, VIP)


def shapes(deployment: Deployment) -> list[tuple[str, ...]]:
    return [v.row_schema.names[1:] for v in deployment.context.versions.versions(ref_of(vip(deployment)))]


def code_of(job: Job) -> str:
    assert job.error is not None, job.state
    assert job.error.kind == "user"
    return job.error.code


def test_first_import_saves_the_file_settings_of_its_audience(deployment: Deployment) -> None:
    given = {"columns": columns(AGE, SEEN), "id_column": "id", "mode": "append", "timezone": "Asia/Tokyo"}
    assert imported(deployment, 1, **given, max_reject_share=0.5, max_shrink_percent=None).state == "READY"
    kept = vip(deployment).spec
    assert (kept.columns, kept.id_column, kept.mode, kept.timezone) == ((AGE, SEEN), "id", "append", "Asia/Tokyo")
    assert (kept.max_reject_share, kept.max_shrink_percent) == (0.0, 50.0)  # these were given for that file alone
    assert deployment.uploaded("acme/vip/2.csv").spec == kept


def test_losing_or_retyping_a_column_is_refused_unless_requested(deployment: Deployment) -> None:
    imported(deployment, 1, columns=columns(AGE, CITY))
    fewer = imported(deployment, 2, columns=columns(AGE))
    assert (code_of(fewer), fewer.failed_in) == ("COLUMNS_WOULD_CHANGE", "REGISTERED")
    assert "would lose city (string)" in str(fewer.error)
    text = replace(AGE, type="string")
    assert code_of(imported(deployment, 2, columns=columns(text, CITY))) == "COLUMNS_WOULD_CHANGE"
    assert code_of(imported(deployment, 2, retype_columns=["size"])) == "BAD_SPEC"
    assert imported(deployment, 2, drop_columns=["city"]).state == "READY"
    changed = imported(deployment, 3, columns=columns(CITY, text), retype_columns=["age"])
    assert shapes(deployment) == [("age", "city"), ("age",), ("age", "city")]  # in the order of the audience
    assert vip(deployment).spec.columns == (text, CITY)
    assert vip(deployment).spec.drop_columns == vip(deployment).spec.retype_columns == ()
    receipt = deployment.context.jobs.receipt(changed.job_id)
    assert receipt is not None
    assert receipt["columns"] == [{"name": "age", "type": "string"}, {"name": "city", "type": "string"}]
    assert receipt["column_changes"] == {
        "added": [{"name": "city", "type": "string"}],
        "dropped": [],
        "retyped": [{"name": "age", "from": "long", "to": "string"}],
    }


def test_column_added_during_an_import_is_kept(deployment: Deployment) -> None:
    imported(deployment, 1, columns=columns(AGE))
    first = deployment.run(deployment.register(deployment.request(key="acme/vip/2.csv")), until="AWAITING")
    assert imported(deployment, 3, columns=columns(AGE, CITY)).state == "READY"
    deployment.context.jobs.put(first.job_id, order_key="9")  # as if its file were the newer one
    assert code_of(deployment.run(first)) == "COLUMNS_WOULD_CHANGE"
    assert shapes(deployment) == [("age",), ("age", "city")]


def configured(deployment: Deployment, **changes: Any) -> ImportSpec:
    return operations.configure(
        ACME,
        VIP,
        changes,
        {},
        audiences=deployment.context.audiences,
        specs=deployment.context.specs,
        versions=lambda: deployment.context.versions,
    ).spec


def test_settings_drop_a_column_once_for_unattended_files(deployment: Deployment) -> None:
    imported(deployment, 1, columns=columns(AGE, CITY))

    with pytest.raises(UserError, match=r"would lose city .*configure vip --drop-column city") as refused:
        configured(deployment, columns=columns(AGE))
    assert refused.value.code == "COLUMNS_WOULD_CHANGE"
    with pytest.raises(UserError, match="NO_SUCH_COLUMN: audience vip has no column town; it has age, city"):
        configured(deployment, drop_columns=["town"])
    assert configured(deployment, drop_columns=["city"]).drop_columns == ("city",)
    assert configured(deployment, columns=columns(AGE, CITY)).drop_columns == ()  # given again, it stays
    configured(deployment, drop_columns=["city"])
    assert deployment.run(deployment.uploaded("acme/vip/2.csv")).state == "READY"
    assert shapes(deployment) == [("age", "city"), ("age",)]
    assert vip(deployment).spec.drop_columns == ()


def test_file_can_lack_a_column_declared_optional(deployment: Deployment) -> None:
    first = imported(deployment, 1, columns=columns(AGE, CITY), allow_missing_columns=["age"])
    assert [c.name for c in first.spec.needed_columns] == ["city"]
    assert vip(deployment).spec.allow_missing_columns == ()  # given for that file alone
    assert configured(deployment, allow_missing_columns=["city"]).needed_columns == (AGE,)
    second = imported(deployment, 2, allow_missing_columns=["age"])
    assert second.spec.allow_missing_columns == ("age", "city")
    failed = deployment.register(deployment.request(overrides={"allow_missing_columns": ["age"]}))
    deployment.context.jobs.fail(failed.job_id, JobError(kind="system", code="AWAY", message="", detail={}), now_ms=1)
    assert deployment.retry(failed).spec == second.spec
    assert imported(deployment, 3, allow_missing_columns=[]).spec.needed_columns == (AGE, CITY)
    removal = deployment.register(deployment.request(key="acme/vip/4.csv", overrides={"mode": "remove"}))
    assert removal.spec.needed_columns == ()
    assert vip(deployment).spec.allow_missing_columns == ("city",)  # used, and not used up
    assert code_of(imported(deployment, 5, allow_missing_columns=["town"])) == "BAD_SPEC"
    with pytest.raises(UserError, match="NO_SUCH_COLUMN: audience vip has no column town"):
        configured(deployment, allow_missing_columns=["town"])
    assert configured(deployment, allow_missing_columns=None).allow_missing_columns == ()
    configured(deployment, allow_missing_columns=["city"])
    assert imported(deployment, 6, drop_columns=["city"]).state == "READY"
    assert vip(deployment).spec.allow_missing_columns == ()


def test_a_renamed_field_fails_the_whole_job(
    deployment: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def verify(source: SourceObject, *given: Any, **named: Any) -> Evidence:
        file = tmp_path / source.key.rpartition("/")[2]
        file.write_bytes(deployment.objects.get(source.bucket, source.key))
        return verify_file(file, *given, **named)

    monkeypatch.setattr("orchestration.kinds.verify.verify_side_by_side", verify)

    def uploaded(number: int, field: str) -> Job:
        key = f"acme/vip/{number}.jsonl"
        deployment.objects.put("inbox", key, b'{"user_id":"ann","%s":1}' % field.encode())
        return deployment.register(deployment.request(key=key, overrides={"columns": columns(AGE)}))

    job = uploaded(1, "Age")
    with pytest.raises(Exception, match=r"MISSING_COLUMN.*no row has 'age'; 'Age' is in 1") as refused:
        deployment.run(job)
    deployment.step(job, "mark_failed", failure={"Error": "UserError", "Cause": str(refused.value)})
    assert code_of(deployment.context.jobs.get(job.job_id)) == "MISSING_COLUMN"
    assert deployment.versions(job) == []
    assert deployment.run(uploaded(2, "age"), until="IMPORTING").state == "IMPORTING"


def test_settings_changed_during_an_import_are_kept(deployment: Deployment) -> None:
    imported(deployment, 1, columns=columns(AGE))
    running = deployment.register(deployment.request(key="acme/vip/2.csv"))
    operations.configure(
        ACME,
        VIP,
        {"columns": columns(AGE, SEEN), "timezone": "UTC"},
        {},
        audiences=deployment.context.audiences,
        specs=deployment.context.specs,
        versions=lambda: deployment.context.versions,
    )
    assert deployment.run(running).state == "READY"
    assert (vip(deployment).spec.columns, vip(deployment).spec.timezone) == ((AGE, SEEN), "UTC")


def test_failed_import_leaves_no_audience_but_is_found_by_its_name(deployment: Deployment) -> None:
    job = deployment.run(deployment.register(overrides={"columns": columns(AGE)}), until="IMPORTING")
    context = deployment.context
    assert context.audiences.all() == []
    with pytest.raises(UserError, match="nothing was published under that name yet; `muster jobs list --audience vip`"):
        context.audiences.get(ACME, VIP)
    deployment.step(job, "mark_failed", failure=TIMED_OUT)
    assert context.audiences.all() == []
    assert [j.job_id for j in context.jobs.search(tenant=ACME, audience=VIP)] == [job.job_id]
    assert deployment.run(deployment.retry(job)).state == "READY"
    assert vip(deployment).spec.columns == (AGE,)


def test_version_unknown_to_its_job_creates_its_audience(deployment: Deployment) -> None:
    job = deployment.run(deployment.register(overrides={"columns": columns(AGE)}))
    context, ref = deployment.context, audience_ref(job)
    context.audiences.delete(ref.audience_id)
    context.audiences.for_import(ACME, VIP, new_id=ref.audience_id, now_ms=now_ms())  # as before the commit
    administration.job_repair(context).repair(job, context.versions.version(ref, Version(1)))
    assert vip(deployment).spec.columns == (AGE,)


def test_older_audience_takes_columns_from_its_newest_version(deployment: Deployment) -> None:
    imported(deployment, 1, columns=columns(AGE, SEEN))
    context, audience = deployment.context, vip(deployment)

    def from_before(spec: ImportSpec) -> None:
        context.audiences.configure(audience.audience_id, spec=spec, retention=audience.retention)
        with context.database.write() as connection:
            connection.exec_driver_sql("UPDATE audiences SET state = 'before'")

    from_before(ImportSpec(timezone="UTC"))
    assert context.specs.stored(vip(deployment)) == ImportSpec(columns=(AGE, SEEN), timezone="UTC")
    operations.configure(
        ACME,
        VIP,
        {"max_reject_share": 0.1},
        {},
        audiences=context.audiences,
        specs=context.specs,
        versions=lambda: context.versions,
    )
    assert vip(deployment).state == "before"  # its columns were not given
    assert code_of(imported(deployment, 2, columns=columns(AGE))) == "COLUMNS_WOULD_CHANGE"
    assert deployment.run(deployment.uploaded("acme/vip/3.csv")).state == "READY"
    assert (vip(deployment).state, vip(deployment).spec.columns) == ("standing", (AGE, SEEN))
    from_before(ImportSpec(columns=(CITY,)))
    assert operations.configure(
        ACME,
        VIP,
        {"drop_columns": ["seen"]},
        {},
        audiences=context.audiences,
        specs=context.specs,
        versions=lambda: context.versions,
    ).spec.columns == (AGE, CITY)


def at_fault(deployment: Deployment, number: int, **overrides: Any) -> Job:
    """An import whose file was at fault."""
    request = deployment.request(key=f"acme/vip/{number}.csv", overrides=overrides)
    job = deployment.run(deployment.register(request), until="IMPORTING")
    error = JobError(kind="user", code="TOO_MANY_REJECTS", message="no", detail={})
    return deployment.context.jobs.fail(job.job_id, error, now_ms=now_ms())[1]


def test_retry_uses_the_current_audience_settings(deployment: Deployment) -> None:
    context = deployment.context
    imported(deployment, 1, columns=columns(AGE))
    job = at_fault(deployment, 2)
    # the audience's settings are still those of the job
    with pytest.raises(UserError, match=r"FILE_AT_FAULT: .*configure vip -t acme` and add --with-audience-sett"):
        deployment.retry(job)
    with pytest.raises(
        UserError, match=r"settings of vip are the same\. Change them first with .*configure vip -t acme`"
    ):
        deployment.retry(job, with_audience_settings=True)
    operations.configure(
        ACME,
        VIP,
        {"max_reject_share": 0.1},
        {},
        audiences=context.audiences,
        specs=context.specs,
        versions=lambda: context.versions,
    )
    with pytest.raises(
        UserError, match="--with-audience-settings uses the present settings of the audience"
    ) as refused:
        deployment.retry(job)
    assert refused.value.detail["settings_changed"] is True
    again = deployment.retry(job, with_audience_settings=True)
    assert (again.retry_of, again.spec) == (job.job_id, vip(deployment).spec)
    assert deployment.run(again).state == "READY"


def test_retry_of_a_first_import_uses_settings_of_a_later_audience(deployment: Deployment) -> None:
    job = at_fault(deployment, 1, columns=columns(CITY))
    with pytest.raises(UserError, match=r"NO_SETTINGS: there is no audience 'vip'.*audiences create vip -t acme"):
        deployment.retry(job, with_audience_settings=True)
    with pytest.raises(UserError, match=r"FILE_AT_FAULT: .*audiences create vip -t acme"):
        deployment.retry(job)
    made = operations.create(deployment.context.audiences, ACME, VIP, {"columns": columns(AGE)}, {})
    assert made.audience_id == job.audience_id
    assert deployment.retry(job, with_audience_settings=True).spec.columns == (AGE,)


def test_a_refused_import_is_retried_with_the_settings_of_its_audience(deployment: Deployment) -> None:
    imported(deployment, 1, columns=columns(AGE))
    refused = imported(deployment, 2, columns=[])
    assert code_of(refused) == "COLUMNS_WOULD_CHANGE"
    again = deployment.retry(refused, with_audience_settings=True)
    assert deployment.run(again).state == "READY"


def test_columns_are_compared_by_name_and_type() -> None:
    before, after = RowSchema(columns=(AGE, CITY)), RowSchema(columns=(replace(AGE, type="double"), SEEN))
    found = ColumnChanges.between(before, after)
    assert (found.added, found.dropped, [c.name for c in found.retyped]) == ((SEEN,), (CITY,), ["age"])
    check_change("vip", before, after, drop={"city"}, retype={"age"})
    with pytest.raises(UserError, match="A snapshot has no columns: give it its own audience"):
        check_change("vip", before, RowSchema(), drop={"age"}, retype=set(), from_file=False)


def test_removal_adds_no_columns_and_versions_record_given_sources() -> None:
    kept = ImportSpec(columns=(AGE,), drop_columns=("city",))
    assert updated_spec(kept, ImportSpec(mode="remove", columns=(SEEN,))) == kept
    bare = replace(SEEN, source=None)
    found = with_version_columns(ImportSpec(), RowSchema(columns=(AGE, bare)), ImportSpec(columns=(SEEN,)))
    assert found.columns == (AGE, SEEN)
    assert with_version_columns(ImportSpec(), RowSchema(columns=(bare,)), None).columns == (bare,)


def test_permission_to_round_is_kept_for_later_files() -> None:
    price, plain = (Column(name="price", type="double", rounded=rounded) for rounded in (True, False))
    imported = ImportSpec(columns=(price,))
    assert with_version_columns(ImportSpec(), RowSchema(columns=(plain,)), imported).columns == (price,)
    text = RowSchema(columns=(Column(name="price"),))
    assert with_version_columns(ImportSpec(), text, imported).columns == (Column(name="price"),)
    assert updated_spec(ImportSpec(), imported).columns == (price,)

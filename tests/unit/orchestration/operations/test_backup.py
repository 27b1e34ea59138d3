"""The catalog out of a database and back, and backup locations that refuse."""

from dataclasses import replace
from pathlib import Path

import pytest

from orchestration.catalog import copying
from orchestration.catalog.engine import Database
from orchestration.composition import administration
from orchestration.operations.backup import MANIFEST
from orchestration.operations.backup_location import DirectoryLocation
from orchestration.platform.settings import Secret
from schemas.errors import UserError
from schemas.ids import JobId
from tests.contract.test_catalog import new_job
from tests.contract.test_catalog_exports import new_export
from tests.fakes.catalog import migrated
from tests.unit.orchestration.notifications.test_notices import FAULT, ended, make_context


def test_catalog_is_restored_unchanged(tmp_path: Path) -> None:
    context = make_context(tmp_path)
    job = context.jobs.get(ended(context, FAULT))
    copying.dump(context.settings.catalog_url, tmp_path / "dump.sqlite")
    url = Secret(f"sqlite:///{tmp_path / 'other.db'}")
    migrated(url)
    other = Database(url)
    assert copying.is_empty(other)
    copying.load(tmp_path / "dump.sqlite", other)
    assert not copying.is_empty(other)
    copied = context.jobs.__class__(other)
    assert copied.get(job.job_id) == job
    assert copied.history(job.job_id) == context.jobs.history(job.job_id)
    other.close()
    context.database.close()


def test_restored_running_jobs_fail_by_name(tmp_path: Path) -> None:
    context = make_context(tmp_path)
    context.jobs.register(new_job())
    context.exports.register(new_export())
    context.exports.register(new_export(2, execution="e2"))
    for state in ("WRITING", "FINISHING"):
        context.exports.move(new_export(2).job_id, state, now_ms=1, cause="")
    waiting = replace(new_export(3, execution="e3"), audience_id=None, leases=(), snapshot=new_job(3).job_id)
    context.exports.register(waiting)
    assert context.exports.get(waiting.job_id).state == "AWAITING"
    ended = administration.backups(context)._end_live()
    assert ended == (new_job().job_id, new_export().job_id, waiting.job_id)
    errors = [context.jobs.get(new_job().job_id).error, *(context.exports.get(JobId(one)).error for one in ended[1:])]
    assert [error.code for error in errors if error is not None] == ["RESTORED"] * 3
    assert context.exports.get(new_export(2).job_id).state == "FINISHING"  # its manifest may be there
    context.database.close()


@pytest.mark.parametrize(
    ("manifest", "code"),
    [
        ('{"format": 2}', "NO_BACKUP"),
        ('{"format": 1, "lake_bucket": "other"}', "OTHER_BUCKET"),
    ],
)
def test_incompatible_backup_is_refused(tmp_path: Path, manifest: str, code: str) -> None:
    context = make_context(tmp_path)
    (tmp_path / "place").mkdir()
    (tmp_path / "place" / MANIFEST).write_text(manifest)
    with pytest.raises(UserError, match=code):
        administration.backups(context).restore(str(tmp_path / "place"))
    context.database.close()


def test_unwritable_backup_target_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match="NOT_WRITABLE"):
        DirectoryLocation(tmp_path / "file").put("a/b", tmp_path / "file")

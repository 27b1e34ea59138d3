"""Folders of the inbox that are one import, and those that nobody imports."""

from datetime import timedelta

import pytest

from orchestration.composition import control_plane
from orchestration.kinds.inbox import InboxFolder
from orchestration.notifications.mail import wording
from schemas.file_lists import Folders
from schemas.ids import AudienceName
from schemas.import_spec import ImportSpec
from tests.fakes.deployment import ACME, EXECUTION, Deployment

FOLDER = "acme/vip/day/"


def audience(deployment: Deployment, folders: Folders = "sets") -> None:
    store = deployment.context.audiences
    made = store.create(ACME, AudienceName("vip"), new_id=deployment.request().job_id, now_ms=1, spec=ImportSpec())
    store.configure(made.audience_id, spec=made.spec, retention=made.retention, folders=folders)


def put(deployment: Deployment, *names: str) -> None:
    for name in names:
        content = b"" if name == "_SUCCESS" else f"user_id\n{name}\n".encode()
        deployment.objects.put("inbox", FOLDER + name, content)


def event(deployment: Deployment, name: str) -> dict[str, object]:
    """The view that the event of an object gets."""
    detail = {"bucket": {"name": "inbox"}, "object": {"key": FOLDER + name, "sequencer": "0A"}}
    execution = EXECUTION + deployment.request().job_id
    deployment.workflow.statuses[execution] = "RUNNING"
    return deployment.call("register_import", input={"detail": detail}, execution=execution)


def test_a_folder_is_imported_once_its_success_has_come(deployment: Deployment) -> None:
    audience(deployment)
    put(deployment, "part-0.csv", "part-1.csv", "sub/part-2.csv", "sub/_SUCCESS")
    for part in ("part-0.csv", "sub/part-2.csv", "sub/_SUCCESS"):
        assert event(deployment, part)["state"] == "DUPLICATE"
    assert deployment.context.jobs.search() == []
    put(deployment, "_SUCCESS")
    view = event(deployment, "_SUCCESS")
    [job] = deployment.context.jobs.search()
    assert (view["state"], job.state, job.files, job.source["key"]) == ("VERIFYING", "VERIFYING", 3, FOLDER)
    assert job.order_key.split("/")[1].endswith("0A")
    assert event(deployment, "_SUCCESS")["state"] == "DUPLICATE"
    put(deployment, "part-3.csv")
    event(deployment, "_SUCCESS")
    assert sorted(one.files for one in deployment.context.jobs.search()) == [3, 4]


def test_other_audiences_import_file_by_file(deployment: Deployment) -> None:
    audience(deployment, "files")
    put(deployment, "part-0.csv")
    assert event(deployment, "part-0.csv")["state"] == "VERIFYING"
    assert deployment.uploaded("acme/new/day/part-0.csv").source["key"] == "acme/new/day/part-0.csv"


def test_an_object_right_in_the_inbox_of_the_audience_is_an_import(deployment: Deployment) -> None:
    audience(deployment)
    assert deployment.uploaded("acme/vip/a.csv").source["key"] == "acme/vip/a.csv"


@pytest.mark.parametrize("key", ["acme/vip/a.csv", "acme/vip/day/", "acme/vip//a.csv", "acme/other/day/a.csv"])
def test_other_keys_lie_in_no_folder(key: str) -> None:
    assert InboxFolder.of(key, "acme/vip/") is None


def noticed(deployment: Deployment) -> list[tuple[str, str]]:
    """Codes and tenants of what was written for folders."""
    rows = deployment.context.notices.outbox.due(10**15, 100)
    return sorted((str(row.body["cause"]["code"]), str(row.body["source"])) for row in rows)


def look(deployment: Deployment, **later: float) -> list[tuple[str, str]]:
    at = deployment.objects.now + timedelta(**later)
    control_plane.inbox_folders(deployment.context).tick(int(at.timestamp() * 1000))
    return noticed(deployment)


def test_a_folder_without_success_is_noticed_after_a_day(deployment: Deployment) -> None:
    audience(deployment)
    put(deployment, "part-0.csv")
    assert look(deployment, hours=23) == []
    assert look(deployment, days=8) == []  # it was there before the audience had the setting
    found = [("FOLDER_UNFINISHED", f"s3://inbox/{FOLDER}")]
    assert look(deployment, hours=25) == found
    assert look(deployment, hours=26) == found  # once
    deployment.objects.now += timedelta(hours=30)
    put(deployment, "part-1.csv")
    assert look(deployment, hours=1) == found
    assert look(deployment, hours=25) == found * 2  # more has come since


def test_files_after_their_success_are_noticed_once(deployment: Deployment) -> None:
    audience(deployment)
    put(deployment, "part-0.csv", "_SUCCESS")
    assert look(deployment, hours=48) == []
    deployment.objects.now += timedelta(minutes=1)
    put(deployment, "part-1.csv")
    found = [("LATE_FILES", f"s3://inbox/{FOLDER}")]
    assert look(deployment) == found
    assert look(deployment) == found
    put(deployment, "_SUCCESS")
    assert look(deployment, hours=48) == found


def test_folders_of_other_audiences_are_not_looked_at(deployment: Deployment) -> None:
    audience(deployment, "files")
    put(deployment, "part-0.csv")
    assert look(deployment, hours=48) == []


def test_the_mail_about_a_folder_names_it_and_what_to_do(deployment: Deployment) -> None:
    audience(deployment)
    put(deployment, "part-0.csv")
    look(deployment, hours=25)
    [row] = deployment.context.notices.outbox.due(10**15, 100)
    subject, lines = wording(row.body)
    assert subject == "[Muster] acme/vip: a folder in the inbox is not imported (FOLDER_UNFINISHED)"
    assert f"source    s3://inbox/{FOLDER}" in lines
    assert any(f"`muster import s3://inbox/{FOLDER}`" in line for line in lines)
    assert not any(line.startswith("job") for line in lines)

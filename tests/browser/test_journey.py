"""What people do in the console, in a real browser, on a real stack."""

import re
from pathlib import Path
from typing import Final

import pytest
from playwright.sync_api import Page, expect

from muster import Client
from muster.following import follow
from orchestration.console.paths import in_tenant
from tests.browser.conftest import Open

pytestmark = pytest.mark.browser
TENANT: Final = "newcomer"
JOBS: Final = in_tenant(TENANT, "jobs")
BAD = "user_id,plan,age\nann,pro,30\n,free,31\nbob,pro,32\nann,pro,30\n"
GOOD = "user_id,plan,age\nann,pro,30\ncid,free,31\nbob,pro,32\n"


def upload(page: Page, file: Path) -> None:
    """Choose the file, and wait for what the service has found in it."""
    page.get_by_label("Drop a file here").set_input_files(file)
    page.get_by_role("button", name="Upload and inspect").click()
    expect(page.get_by_role("button", name="Start the import")).to_be_visible()


def test_a_file_is_uploaded_refused_corrected_and_published(open_console: Open, muster: Client, tmp_path: Path) -> None:
    muster.create_tenant(TENANT)
    tab = open_console(JOBS, locale="en-GB")
    page = tab.page
    expect(page.get_by_role("heading", name="No jobs yet")).to_be_visible()
    tab.check("jobs-empty")
    page.get_by_role("link", name="Upload a file").first.click()
    page.get_by_label("Audience").fill("vip")
    tab.check("upload")
    bad, good = tmp_path / "bad.csv", tmp_path / "good.csv"
    bad.write_text(BAD)
    good.write_text(GOOD)
    upload(page, bad)
    expect(page.get_by_role("heading", name="1 row would be rejected")).to_be_visible()
    tab.check("upload-checked")
    page.get_by_role("button", name="Start the import").click()
    expect(page.get_by_role("status").filter(has_text="Failed")).to_be_visible()
    tab.check("job-failed")
    page.get_by_role("link", name="Show the rows").click()
    expect(page.get_by_role("cell", name=",free,31")).to_be_visible()
    tab.check("rejects")
    page.go_back()
    page.get_by_role("link", name="Fix the file and import again").click()
    expect(page.get_by_label("Audience")).to_have_value("vip")
    upload(page, good)
    page.get_by_role("button", name="Show what would change").click()
    expect(page.get_by_text("This import would be published.")).to_be_visible()
    expect(page.locator("#tried")).to_contain_text("3 joined")
    tab.check("upload-tried")
    page.get_by_role("button", name="Start the import").click()
    expect(page.get_by_role("heading", name="Receipt")).to_be_visible()  # live: the page was not loaded again
    tab.check("job-ready")


def test_nightly_export_is_scheduled_run_and_downloaded_by_clicks(
    open_console: Open, muster: Client, tmp_path: Path
) -> None:
    muster.create_tenant(TENANT)
    file = tmp_path / "nightly.csv"
    file.write_text(GOOD)
    *_, job = follow(muster, muster.import_file(TENANT, file, audience="nightly")["job"])
    assert job["state"] == "READY"
    page = open_console(in_tenant(TENANT, "audiences", "nightly"), locale="en-GB").page
    page.get_by_role("link", name="Export", exact=True).click()
    page.get_by_role("link", name="Repeat it by a schedule").click()
    page.get_by_label("Name").fill("every-night")
    page.get_by_label("How often").select_option("weekdays")
    page.get_by_label("Time", exact=True).fill("23:30")
    expect(page.locator("#times")).to_contain_text("from Monday to Friday at 23:30")
    expect(page.get_by_label("Time zone")).to_have_value("Asia/Tokyo")
    expect(page.get_by_label("Address")).to_be_hidden()
    page.get_by_role("button", name="Create the schedule").click()
    row = page.locator(".row").filter(has_text="every-night")
    expect(row).to_contain_text("from Monday to Friday at 23:30")
    row.get_by_role("button", name="Run now").click()
    page.get_by_role("link", name="Download the files").click()
    with page.expect_download() as download:
        page.get_by_role("link", name=".csv").first.click()
    assert download.value.path().read_text() == "user_id\nann\nbob\ncid\n"


def test_list_announces_news_without_moving_rows(open_console: Open, muster: Client, tmp_path: Path) -> None:
    muster.create_tenant(TENANT)
    tab = open_console(JOBS, locale="en-GB")
    page = tab.page
    before = page.locator(".row").count()
    file = tmp_path / "new.csv"
    file.write_text(GOOD + "dan,pro,5\n")
    muster.import_file(TENANT, file, audience="vip")
    expect(page.get_by_role("link", name="1 new job")).to_be_visible()
    assert page.locator(".row").count() == before
    page.get_by_role("link", name="1 new job").click()
    expect(page.locator(".row").first).to_contain_text("4 members")
    tab.check("jobs")
    part = page.get_by_label("Audience or id, in part")
    part.press_sequentially("nothing-like-this")
    expect(page.get_by_role("heading", name="No job matches the filters")).to_be_visible()
    expect(part).to_be_focused()
    part.fill("VI")
    expect(page.locator(".row").first).to_contain_text("4 members")
    expect(page).to_have_url(re.compile("q=VI"))
    tab.check("jobs-filtered")
    page.reload()
    expect(part).to_have_value("VI")


def test_a_query_is_run_by_keyboard_and_cancelled(open_console: Open) -> None:
    tab = open_console(JOBS, locale="en-GB")
    page = tab.page
    tab.expected += ["htmx:afterRequest", "htmx:sendAbort"]  # htmx calls an abort an error
    page.get_by_role("link", name="SQL").click()
    editor = page.get_by_label("One SELECT")
    editor.fill("SELECT count(*) FROM range(1000000000000)")
    editor.press("Control+Enter")
    page.get_by_role("button", name="Cancel").click()
    expect(page.get_by_text("Cancelled.")).to_be_visible()
    editor.fill("SELEC user_id FROM ")
    page.get_by_role("button", name="audience('vip')").click()
    expect(editor).to_have_value("SELEC user_id FROM audience('vip')")
    page.get_by_role("button", name="Run").click()
    expect(page.get_by_role("alert").filter(has_text="LINE 1: SELEC user_id")).to_be_visible()
    tab.check("sql-error")
    editor.fill("SELECT user_id, plan, age FROM audience('vip') ORDER BY user_id")
    editor.press("Control+Enter")
    expect(page.get_by_role("cell", name="bob")).to_be_visible()
    tab.check("sql")
    with page.expect_download() as download:
        page.get_by_role("button", name="Download as CSV").click()
    assert download.value.path().read_text().startswith("user_id,plan,age\nann,pro,30\n")


def test_versions_are_compared_and_rolled_back_after_typing_the_name(
    open_console: Open, muster: Client, tmp_path: Path
) -> None:
    file = tmp_path / "gold.csv"
    for users in ("ann\nbob\n", "ann\neve\nzoe\n"):
        file.write_text(f"user_id\n{users}")
        *_, job = follow(muster, muster.import_file("default", file, audience="gold")["job"])
        assert job["state"] == "READY"
    tab = open_console(in_tenant("default", "audiences"), locale="en-GB")
    page = tab.page
    page.get_by_role("link", name="gold").click()
    page.locator(".version").filter(has_text="Version 2").get_by_role("link", name="Compare").click()
    expect(page.locator("#difference .card").first).to_be_visible()
    expect(page.get_by_role("button", name="eve")).to_be_visible()
    tab.check("difference")
    page.get_by_role("button", name="Left").press("Enter")
    chosen = page.locator("#difference [aria-current]").filter(has_text="Left")
    expect(chosen).to_be_focused()  # the part with the button was replaced
    page.go_back()
    first = page.locator(".version").filter(has_text="Version 1")
    for name, said in (("glod", False), ("gold", True)):
        first.get_by_text("Roll back", exact=True).click()
        first.get_by_label("Type gold to confirm").fill(name)
        first.get_by_label("Reason").fill("eve is no member")
        tab.check("audience-rollback")
        tab.expected += ["422"]
        first.get_by_role("button", name="Roll back now").click()
        if not said:
            expect(first.locator(".problem")).to_contain_text("The name does not match")
            expect(first.get_by_label("Reason")).to_have_value("eve is no member")  # what was typed stays
            tab.check("audience-not-confirmed")
            assert len(list(muster.versions("default", "gold"))) == 2
            page.reload()
    expect(page.get_by_text("Version 3 is published.")).to_be_visible()
    newest = page.locator(".version").filter(has_text="Version 3")
    expect(newest).to_contain_text("2 members")
    expect(newest).to_contain_text("eve is no member")
    tab.check("audience-rolled-back")

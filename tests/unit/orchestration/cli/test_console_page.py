"""`muster console` hands its address to the browser in a file: command lines are no secret on a shared machine."""

import os
import subprocess
import webbrowser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from orchestration.cli.console_page import KEPT_S, REMOVE
from orchestration.cli.main import main
from orchestration.composition.service import Services


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Command lines that were started."""
    seen: list[list[str]] = []
    monkeypatch.setattr(subprocess, "Popen", lambda argv, **_: seen.append(list(argv)))
    return seen


def files(home: Path) -> list[Path]:
    return sorted((home / "api" / "console").glob("*"))


def test_the_browser_gets_a_file_that_only_its_user_can_read(
    service: Services,
    started: list[list[str]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    given: list[str] = []

    def browser(url: str) -> bool:
        given.append(url)
        return True

    monkeypatch.setattr(webbrowser, "open", browser)
    left = tmp_path / "api" / "console" / "left.html"
    left.parent.mkdir(mode=0o700)
    left.touch()
    os.utime(left, (0, 0))
    assert main(["console"]) == 0
    (page,) = files(tmp_path)
    assert given == [page.as_uri()]
    assert (page.stat().st_mode & 0o777, page.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    address = capsys.readouterr().out.strip()
    assert "/console/open?code=" in address
    text = page.read_text()
    assert f'<meta http-equiv="refresh" content="0; url={address}">' in text
    assert '<meta name="referrer" content="no-referrer">' in text
    ((*_, script, removed),) = started
    assert (removed, str(KEPT_S) in script) == (str(page), True)
    assert "code=" not in str(started) + unquote(urlsplit(given[0]).path)


def test_the_page_is_removed_within_a_minute(tmp_path: Path) -> None:
    page = tmp_path / "it's; a page.html"
    page.touch()
    subprocess.run([*(part.replace(f"sleep {KEPT_S}", "sleep 0") for part in REMOVE), str(page)], check=True)
    assert not page.exists()


@pytest.mark.parametrize("arguments", [[], ["--no-browser"]])
def test_missing_browser_prints_the_address_and_leaves_no_file(
    service: Services,
    started: list[list[str]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    arguments: list[str],
) -> None:
    def no_browser(_: str) -> Any:
        assert not arguments
        return False

    monkeypatch.setattr(webbrowser, "open", no_browser)
    assert main(["console", *arguments]) == 0
    printed = capsys.readouterr()
    assert ("/login/code?code=" if arguments else "/console/open?code=") in printed.out
    assert "Paste it into the address bar" in printed.err
    assert (files(tmp_path), started) == ([], [])

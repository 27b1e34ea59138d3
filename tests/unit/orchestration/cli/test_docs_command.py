import webbrowser
from pathlib import Path

import pytest

from orchestration.cli import docs_command
from orchestration.cli.main import main


def test_docs_open_once_they_are_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    site, opened = tmp_path / "index.html", list[str]()
    monkeypatch.setattr(docs_command, "SITE", site)
    monkeypatch.setattr(webbrowser, "open", opened.append)
    assert main(["docs"]) == 3
    assert capsys.readouterr().err.startswith("NO_DOCS: ")
    site.touch()
    assert main(["docs", "--no-browser"]) == 0
    assert opened == []
    assert main(["docs"]) == 0
    assert opened == [site.as_uri()]
    assert capsys.readouterr().out.split() == [site.as_uri()] * 2

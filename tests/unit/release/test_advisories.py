"""The lock files of this checkout against databases that speak the protocols of OSV and of npm's registry."""

import gzip
import json
import shutil
from collections.abc import Iterator
from datetime import date
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from release.advisories import FILE, NPM_LOCKS, UV_LOCK, Databases, Verdict, check, last_checked

ROOT = Path(__file__).parents[3]
DAY = date(2026, 12, 1)
NOWHERE = "http://127.0.0.1:9"


class Database(BaseHTTPRequestHandler):
    """Answers for OSV and npm. `known`: packages with a vulnerability."""

    known: frozenset[str] = frozenset()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        asked = json.loads(gzip.decompress(body) if self.headers.get("content-encoding") == "gzip" else body)
        if self.path.endswith("/querybatch"):
            vulnerable = {"vulns": [{"id": "GHSA-1", "modified": "2026-01-01T00:00:00Z"}]}
            named = [query["package"]["name"] in self.known for query in asked["queries"]]
            self._answer({"results": [vulnerable if one else {} for one in named]})
        else:
            advisory = {"id": 2, "url": "https://npm.example/GHSA-2", "title": "Bad escaping", "severity": "high"}
            advisory |= {"vulnerable_versions": "*", "cwe": [], "cvss": {"score": 7, "vectorString": None}}
            self._answer({name: [advisory] for name in asked if name in self.known})

    def do_GET(self) -> None:
        if self.path.startswith("/v1/vulns/"):
            at = {"modified": "2026-01-01T00:00:00Z", "published": "2026-01-01T00:00:00Z"}
            self._answer({"id": "GHSA-1", "summary": "Bad templates", **at, "affected": []})
        else:
            self._answer({"name": self.path[1:], "versions": {}, "dist-tags": {}})

    def log_message(self, *_: Any) -> None:
        """Be silent."""

    def _answer(self, record: Any) -> None:
        content = json.dumps(record).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


@pytest.fixture
def databases(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Databases]:
    monkeypatch.setenv("npm_config_cache", str(tmp_path / "npm"))
    server = ThreadingHTTPServer(("127.0.0.1", 0), Database)
    Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    yield Databases(osv=address, npm=address)
    server.shutdown()
    server.server_close()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The lock files of this checkout, and what their tools need beside them."""
    described = (str(Path(lock).with_name("package.json")) for lock in NPM_LOCKS)
    for file in ("pyproject.toml", "muster/pyproject.toml", UV_LOCK, *NPM_LOCKS, *described):
        copy = tmp_path / "checkout" / file
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / file, copy)
    (tmp_path / "checkout" / FILE).parent.mkdir()
    (tmp_path / "checkout" / FILE).write_text('{"checked": "2026-11-01"}')
    return tmp_path / "checkout"


@pytest.mark.parametrize(
    ("known", "verdict", "said"),
    [
        (frozenset(), "clean", ""),
        (frozenset({"jinja2"}), "vulnerable", "GHSA-1: Bad templates"),
        (frozenset({"htmx.org"}), "vulnerable", "htmx.org: Bad escaping, https://npm.example/GHSA-2 (high)"),
    ],
    ids=["nothing known", "a Python package", "an npm package"],
)
def test_known_vulnerabilities_are_named_and_the_day_is_kept(
    checkout: Path,
    databases: Databases,
    monkeypatch: pytest.MonkeyPatch,
    known: frozenset[str],
    verdict: Verdict,
    said: str,
) -> None:
    monkeypatch.setattr(Database, "known", known)
    lines: list[str] = []
    assert check(checkout, DAY, lines.append, databases) == verdict
    assert said in "\n".join(lines)
    assert last_checked(checkout) == "2026-12-01"


def test_unreachable_databases_are_named_and_keep_the_day(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    lines: list[str] = []
    assert check(checkout, DAY, lines.append, Databases(osv=NOWHERE, npm=NOWHERE)) == "not checked"
    assert [line.partition(": ")[2].partition("\n")[0] for line in lines[:3]] == ["not checked"] * 3
    assert lines[-1].endswith("Last complete check: 2026-11-01.")

"""Known vulnerabilities in what the lock files pin: `make advisories`, and a step of each release.

`uv audit` asks OSV about uv.lock, `npm audit` its registry about the package-lock.json files. `advisories.json` keeps
the day of the last complete check. Where a database cannot be reached, that is said, with this day. Exit codes: 0
nothing is known, 1 something is, 3 not every lock file could be checked.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Final, Literal

from web.__main__ import NODE, NPM

FILE: Final = "release/advisories.json"
UV_LOCK: Final = "uv.lock"
NPM_LOCKS: Final = ("web/package-lock.json", "tests/servers/oidc/package-lock.json")
UV_FOUND: Final = 1
"""Exit code of `uv audit` that means vulnerabilities; others are failures."""
NOT_CHECKED: Final = 3
Verdict = Literal["clean", "vulnerable", "not checked"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """The result for a lock file. `lines`: the vulnerabilities, or why the file was not checked."""

    lock: str
    verdict: Verdict
    lines: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Databases:
    """Addresses of the databases. None: the default of uv and npm."""

    osv: str | None = None
    npm: str | None = None


def audits(root: Path, databases: Databases) -> list[Audit]:
    """Check every lock file of a checkout."""
    return [_uv(root, databases.osv), *(_npm(root, lock, databases.npm) for lock in NPM_LOCKS)]


def check(root: Path, day: date, say: Callable[[str], None], databases: Databases) -> Verdict:
    """Check every lock file, say what is known, and keep the day of a complete check. Returns the worst verdict."""
    found = audits(root, databases)
    for audit in found:
        say("\n  ".join((f"{audit.lock}: {audit.verdict}", *audit.lines)))
    verdicts = {audit.verdict for audit in found}
    if "not checked" in verdicts:
        say(f"No advisory database was reachable for all lock files. Last complete check: {last_checked(root)}.")
    else:
        (root / FILE).write_text(json.dumps({"checked": day.isoformat()}) + "\n", encoding="utf-8")
    return "vulnerable" if "vulnerable" in verdicts else "not checked" if "not checked" in verdicts else "clean"


def last_checked(root: Path) -> str:
    """The day of the last complete check, or `never`."""
    return str(json.loads((root / FILE).read_text(encoding="utf-8"))["checked"] or "never")


def _uv(root: Path, database: str | None) -> Audit:
    uv = Path(sys.executable).with_name("uv")
    at = () if database is None else ("--service-url", database)
    done = _run([uv, "audit", "--frozen", "--preview-features", "audit-command", *at], root)
    if done.returncode == 0:
        return Audit(lock=UV_LOCK, verdict="clean")
    if done.returncode == UV_FOUND:
        return Audit(lock=UV_LOCK, verdict="vulnerable", lines=_lines(done.stdout))
    return Audit(lock=UV_LOCK, verdict="not checked", lines=_lines(done.stderr)[-1:])


def _npm(root: Path, lock: str, database: str | None) -> Audit:
    at = () if database is None else ("--registry", database)
    command = [NODE, NPM, "audit", "--package-lock-only", "--json", "--fetch-retries=0", "--loglevel=silent", *at]
    done = _run(command, (root / lock).parent)
    try:
        answer = json.loads(done.stdout)
        known = answer["vulnerabilities"]
    except (ValueError, KeyError):
        why = answer.get("message") or answer.get("error", {}).get("summary") if done.stdout else done.stderr
        return Audit(lock=lock, verdict="not checked", lines=_lines(str(why))[:1])
    lines = tuple(f"{name}: {', '.join(_titles(one['via']))} ({one['severity']})" for name, one in known.items())
    return Audit(lock=lock, verdict="vulnerable" if lines else "clean", lines=lines)


def _titles(via: Iterable[object]) -> list[str]:
    """What npm says of a package: its advisories, and the names of packages through which it is concerned."""
    return [f"{one['title']}, {one['url']}" if isinstance(one, dict) else f"through {one}" for one in via]


def _lines(text: str) -> tuple[str, ...]:
    return tuple(line.strip() for line in text.splitlines() if line.strip())


def _run(command: list[str | Path], folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "NO_COLOR": "1"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def main() -> int:
    """Check this checkout."""
    verdict = check(Path(__file__).parents[1], datetime.now(UTC).date(), print, Databases())
    return {"clean": 0, "vulnerable": 1, "not checked": NOT_CHECKED}[verdict]


if __name__ == "__main__":
    sys.exit(main())

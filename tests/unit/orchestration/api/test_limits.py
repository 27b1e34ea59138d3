"""Limits are numbers that clients rely on: the pages name those of the code."""

from pathlib import Path

import pytest

from connectors.storage.presigned import GET_S, PUT_S
from orchestration.access import console_codes
from orchestration.access.oidc import cli_tokens, id_tokens, logins
from orchestration.access.uploading import GIB, MIB, ONE_PUT_BYTES, UNFINISHED_BYTES
from orchestration.api.bodies import BODY_TIMEOUT_S, MAX_BODY_BYTES, MAX_PUBLIC_BODY_BYTES
from orchestration.api.paging import DEFAULT_LIMIT
from orchestration.api.server import HEAD_TIMEOUT_S, MAX_HEAD_BYTES, STALL_TIMEOUT_S
from orchestration.api.service import LOGINS_PER_MINUTE
from orchestration.api.streams.watcher import Pace
from orchestration.catalog.idempotency import KEPT_MS, LEASE_MS
from orchestration.platform.budget import BURST, PER_S
from orchestration.readers.reader import KILL_AFTER_S
from orchestration.readers.turns import AT_ONCE

DOCS = Path(__file__).parents[4] / "docs"
MINUTE_MS, HOUR_MS = 60_000, 3_600_000
WORDS = {1: "a", 5: "five", 10: "ten", 12: "twelve", 30: "half a minute"}
PACE = Pace()


@pytest.mark.parametrize(
    ("page", "promise"),
    [
        ("api", f"{PER_S:g} requests a second for each principal, beyond a burst of {BURST}"),
        ("api", f"bodies up to {MAX_BODY_BYTES // MIB} MiB within {BODY_TIMEOUT_S:g} s"),
        ("api", f"of paths that need no token up to {MAX_PUBLIC_BODY_BYTES // 1024} KiB"),
        ("api", f"heads up to {MAX_HEAD_BYTES // 1024} KiB within {HEAD_TIMEOUT_S:g} s"),
        ("api", f"`limit` ({DEFAULT_LIMIT}, at most 500)"),
        ("api", f"{PACE.per_principal} streams for each principal, and {PACE.most} for one process"),
        ("api", f"`alive` comes after {PACE.alive_s:g} s"),
        ("api", f"{AT_ONCE} questions of a principal that run or wait"),
        ("api", f"Keys are kept for {KEPT_MS // HOUR_MS} hours"),
        ("api", f"After 409 REQUEST_IN_PROGRESS, wait at most {WORDS[LEASE_MS // 1000]}"),
        ("api", f"It is valid for {PUT_S // 60} minutes, and accepts this size"),
        ("api", f"each valid for {WORDS[GET_S // 60]} minutes"),
        ("api", f"Files above {ONE_PUT_BYTES // GIB} GiB are sent in parts"),
        ("api", f"a tenant has at most {UNFINISHED_BYTES // GIB} GiB of them"),
        ("access", f"an open event stream notices within {PACE.check_s:g} seconds"),
        ("access", f"one-time code from your token, valid for {WORDS[console_codes.LIFE_MS // MINUTE_MS]} minute"),
        ("access", f"keeps a token for {WORDS[cli_tokens.TOKEN_MS // HOUR_MS]} hours"),
        ("access", f"More than {WORDS[LOGINS_PER_MINUTE]} logins a minute from one address"),
        ("access", f"they may differ by {WORDS[id_tokens.SKEW_S // 60]} minutes"),
        ("security", f"is used once, and lasts {WORDS[logins.LIFE_MS // MINUTE_MS]} minutes"),
        ("failure-modes", f"was given up | it is killed after {KILL_AFTER_S:g} s"),
        ("failure-modes", f"after {STALL_TIMEOUT_S:g} s without reading its connection is closed"),
    ],
)
def test_documented_limit_matches_the_code(page: str, promise: str) -> None:
    assert promise in " ".join((DOCS / f"{page}.md").read_text(encoding="utf-8").split())

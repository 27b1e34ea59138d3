"""The scripts without a browser: a stream that falls silent, a query that is cancelled, counts that come late."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from tests.servers.identity_provider import NODE

STATIC = Path(__file__).parents[4] / "orchestration" / "console" / "static"


def run(script: str, *files: str) -> Any:
    command = [NODE, Path(__file__).with_name(script), *(STATIC / one for one in ("console.js", *files))]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, "TZ": "UTC"})
    return json.loads(done.stdout)


def test_clocks_pause_while_the_stream_is_silent() -> None:
    connected, silent, lost, still_lost, reconnecting, found = run("lost_connection.mjs", "live.js")
    assert connected == {"clock": "5 sec", "lost": False, "text": "", "streams": 1}
    assert (silent["clock"], silent["lost"]) == ("24 sec", False)
    # 20 s after it was last heard, at 10:00:05, which is what the page says; its clock stands.
    assert lost == {"clock": "25 sec", "lost": True, "text": "since 10:00:05", "streams": 1}
    assert still_lost == lost
    assert (reconnecting["clock"], reconnecting["lost"], reconnecting["streams"] > 1) == ("25 sec", True, True)
    assert (found["clock"], found["lost"]) == ("1 min 3 sec", False)


def test_cancelled_query_aborts_its_request_and_is_reported() -> None:
    assert run("cancelled_query.mjs") == {
        "running": {"running": True, "result": ""},
        "told": [True],
        "cancelled": {"running": False, "result": "Cancelled."},
    }


def test_outdated_numbers_are_grey_until_the_last_edit_is_answered() -> None:
    found = run("unconfirmed_counts.mjs")
    assert found["named"] == {"grey": False, "said": False}, "a name changes no number"
    assert found["edited"] == found["earlier"] == {"grey": True, "said": False}, "the answer belongs to an earlier rule"
    assert found["waited"] == {"grey": True, "said": True}
    assert found["confirmed"] == {"grey": False, "said": False}


def test_change_expires_after_ten_seconds_of_the_services_clock() -> None:
    found = run("unconfirmed_counts.mjs")
    assert (found["limited"], found["others"]) == (7_200_000 + 10_000, None)
    assert found["late"] == ["No answer in time.", False]

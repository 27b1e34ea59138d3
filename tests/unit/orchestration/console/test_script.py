"""console.js without a browser: what it does when the stream falls silent, and when a query is cancelled."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from tests.servers.identity_provider import NODE

PAGE = Path(__file__).parents[4] / "orchestration" / "console" / "static" / "console.js"


def run(script: str) -> Any:
    command = [NODE, Path(__file__).with_name(script), PAGE]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, "TZ": "UTC"})
    return json.loads(done.stdout)


def test_clocks_stop_when_the_stream_is_silent_and_go_on_when_it_is_heard_again() -> None:
    connected, silent, lost, still_lost, reconnecting, found = run("lost_connection.mjs")
    assert connected == {"clock": "5 sec", "lost": False, "text": "", "streams": 1}
    assert (silent["clock"], silent["lost"]) == ("24 sec", False)
    # 20 s after it was last heard, at 10:00:05, which is what the page says; its clock stands.
    assert lost == {"clock": "25 sec", "lost": True, "text": "since 10:00:05", "streams": 1}
    assert still_lost == lost
    assert (reconnecting["clock"], reconnecting["lost"], reconnecting["streams"] > 1) == ("25 sec", True, True)
    assert (found["clock"], found["lost"]) == ("1 min 3 sec", False)


def test_a_query_that_is_cancelled_gives_up_its_request_and_says_so() -> None:
    assert run("cancelled_query.mjs") == {
        "running": {"running": True, "result": ""},
        "told": [True],
        "cancelled": {"running": False, "result": "Cancelled."},
    }

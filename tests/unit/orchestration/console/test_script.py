"""console.js without a browser: what it does when the stream falls silent."""

import json
import os
import subprocess
from pathlib import Path

from tests.servers.identity_provider import NODE

ROOT = Path(__file__).parents[4]


def test_clocks_stop_when_the_stream_is_silent_and_go_on_when_it_is_heard_again() -> None:
    script = Path(__file__).with_name("lost_connection.mjs")
    page = ROOT / "orchestration" / "console" / "static" / "console.js"
    done = subprocess.run(
        [NODE, script, page], capture_output=True, text=True, check=True, env={**os.environ, "TZ": "UTC"}
    )
    connected, silent, lost, still_lost, reconnecting, found = json.loads(done.stdout)
    assert connected == {"clock": "5 sec", "lost": False, "text": "", "streams": 1}
    assert (silent["clock"], silent["lost"]) == ("24 sec", False)
    # 20 s after it was last heard, at 10:00:05, which is what the page says; its clock stands.
    assert lost == {"clock": "25 sec", "lost": True, "text": "since 10:00:05", "streams": 1}
    assert still_lost == lost
    assert (reconnecting["clock"], reconnecting["lost"], reconnecting["streams"] > 1) == ("25 sec", True, True)
    assert (found["clock"], found["lost"]) == ("1 min 3 sec", False)

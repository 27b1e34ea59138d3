"""console.js without a browser: a stream that falls silent, a query that is cancelled, counts that come late."""

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


def test_numbers_of_an_earlier_rule_are_grey_until_the_answer_to_the_last_edit() -> None:
    found = run("unconfirmed_counts.mjs")
    assert found["named"] == {"grey": False, "said": False}, "a name changes no number"
    assert found["edited"] == found["earlier"] == {"grey": True, "said": False}, "the answer belongs to an earlier rule"
    assert found["waited"] == {"grey": True, "said": True}
    assert found["confirmed"] == {"grey": False, "said": False}


def test_a_change_may_arrive_for_ten_seconds_by_the_clock_of_the_service() -> None:
    found = run("unconfirmed_counts.mjs")
    assert (found["limited"], found["others"]) == (7_200_000 + 10_000, None)
    assert found["late"] == ["No answer in time.", False]

"""The segment "count(add_to_cart, 3d) >= 3" in the style of Faust's tutorial: an agent and a Table of users.

`python -m benchmarks.segments.faust_agent BOOTSTRAP TOPIC CHANGES PARTITIONS EVENTS DIRECTORY` prints one line of JSON.
The table keeps the three latest times of each user and whether the user is a member; members leave at their deadline,
in event time. It uses the memory store, its fastest, with a changelog, without which nothing survives a restart.
"""

import heapq
import json
import os
import sys
import time
from typing import Any, Final

import faust

from streams.logon import faust_options

TIMES: Final = 3
WINDOW_MS: Final = 3 * 24 * 60 * 60 * 1000


class Segment:
    """Handles events and returns the changes to send."""

    def __init__(self, table: Any) -> None:
        self._table = table
        self._deadlines: list[tuple[int, str]] = []
        self._now = 0
        self.entered = self.left = 0

    def take(self, event: dict[str, Any]) -> list[tuple[str, str]]:
        """Changes (user, "entered" or "left") caused by an event."""
        self._now = max(self._now, event["occurred_at"])
        changes = self._sweep()
        if event["event"] != "add_to_cart":
            return changes
        user = event["user_id"]
        state = self._table[user]
        times = sorted({*state["times"], event["occurred_at"]}, reverse=True)[:TIMES]
        inside = len(times) == TIMES and times[-1] > self._now - WINDOW_MS
        if inside != state["inside"]:
            self.entered += inside
            self.left += not inside
            changes.append((user, "entered" if inside else "left"))
        if inside:
            heapq.heappush(self._deadlines, (times[-1] + WINDOW_MS, user))
        self._table[user] = {"times": times, "inside": inside}
        return changes

    def _sweep(self) -> list[tuple[str, str]]:
        changes = []
        while self._deadlines and self._deadlines[0][0] <= self._now:
            _, user = heapq.heappop(self._deadlines)
            state = self._table[user]
            if state["inside"] and state["times"][-1] <= self._now - WINDOW_MS:
                self._table[user] = {**state, "inside": False}
                self.left += 1
                changes.append((user, "left"))
        return changes


def main(bootstrap: str, topic: str, changes: str, partitions: int, events: int, directory: str) -> None:
    """Run until `events` events have been read."""
    app = faust.App(
        f"bench-{topic}",
        **faust_options(bootstrap),
        store="memory://",
        topic_partitions=partitions,
        topic_disable_leader=True,
        web_enabled=False,
        consumer_auto_offset_reset="earliest",
        datadir=f"{directory}/{topic}",
    )
    table = app.Table("carts", default=lambda: {"times": [], "inside": False}, partitions=partitions)
    segment = Segment(table)
    source = app.topic(topic, value_type=bytes, value_serializer="raw", key_serializer="raw")
    sink = app.topic(changes, key_serializer="raw", value_serializer="raw")

    async def count(stream: Any) -> None:
        seen, began = 0, 0.0
        async for value in stream:
            began = began or time.perf_counter()
            for user, what in segment.take(json.loads(value)):
                await sink.send(key=user.encode(), value=what.encode())
            seen += 1
            if seen == events:
                seconds = time.perf_counter() - began
                out = {"events": seen, "seconds": seconds, "entered": segment.entered, "left": segment.left}
                print(json.dumps(out), flush=True)
                os._exit(0)  # a Faust worker does not end on its own

    app.agent(source)(count)
    worker = faust.Worker(app, loglevel="error", redirect_stdouts=False)
    worker.execute_from_commandline()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5]), sys.argv[6])

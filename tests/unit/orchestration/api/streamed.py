"""What a stream has sent."""

import json
from typing import Any

Event = tuple[str, dict[str, Any]]
"""Name and data."""


def received(body: bytes) -> list[Event]:
    """Whole events: names and data."""
    parts = [part for part in body.decode().split("\n\n")[:-1] if part.startswith("event: ")]
    lines = [part.splitlines() for part in parts]
    return [(name.removeprefix("event: "), json.loads(data.removeprefix("data: "))) for name, data in lines]

"""Log format of a process: one JSON object per line (`MUSTER_LOG=json`, the default), or text for people.

Every line has `time` (UTC), `level`, `logger`, `message`, the name of the process (`part`) if it runs under a
supervisor, and the ids bound at that point (`job`, `attempt`, `partition`, `tenant`, `audience`, `execution`,
`request_id`, `trace_id`); exceptions add `exception` with the traceback, and the control plane's summary adds
`metrics`, numbers by name.
"""

import json
import logging
from datetime import UTC, datetime
from typing import Final

from orchestration.platform.settings import Settings
from schemas import tracing
from schemas.errors import UserError
from schemas.log_ids import current

TEXT: Final = "%(asctime)s %(levelname)s %(name)s %(message)s"
NOISY: Final = ("faust", "mode", "aiokafka", "kafka", "botocore", "boto3", "urllib3", "pyiceberg", "streams.guards")
"""`pyiceberg` logs each table and each connection that it opens.

`streams.guards` subclasses services of mode, which log each start and stop under its name."""


class JsonFormatter(logging.Formatter):
    """Formats any record as one JSON object on one line."""

    def __init__(self, part: str = "") -> None:
        super().__init__()
        self._part = {"part": part} if part else {}

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **self._part,
            **_ids(),
        }
        if (metrics := getattr(record, "metrics", None)) is not None:
            line["metrics"] = metrics
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


class TextFormatter(logging.Formatter):
    """Formats a record as text, with the bound ids at the end."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, and the lines that follow it."""
        ids = " ".join(f"{name}={value}" for name, value in _ids().items())
        line = super().format(record)
        return f"{line} [{ids}]" if ids else line


def _ids() -> dict[str, object]:
    found = {name: value for name, value in current().items() if value is not None}
    return found if (trace := tracing.current()) is None else {**found, "trace_id": trace.trace_id}


def configure(settings: Settings) -> None:
    """Make this process log to stderr as the settings say. Raises `UserError` BAD_SETTINGS."""
    if settings.log not in {"json", "text"}:
        raise UserError("BAD_SETTINGS", f"setting log: {settings.log!r} is neither json nor text", name="log")
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter(settings.part) if settings.log == "json" else TextFormatter(TEXT))
    # Forced, because the Lambda runtime has installed a handler of its own.
    logging.basicConfig(level=settings.log_level, handlers=[handler], force=True)
    for noisy in NOISY:
        logging.getLogger(noisy).setLevel(logging.WARNING)

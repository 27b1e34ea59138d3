"""How a process writes its log: one JSON object a line (`MUSTER_LOG=json`, the default), or text for a person's eye.

Every line has `time` (UTC), `level`, `logger`, `message`, and the ids that are bound where it is written (`job`,
`attempt`, `partition`, `tenant`, `audience`); an exception has `exception`, its traceback, and the relay's summary
`metrics`, numbers by their names.
"""

import json
import logging
from datetime import UTC, datetime
from typing import Final

from orchestration.platform.settings import Settings
from schemas.errors import UserError
from schemas.log_ids import current

TEXT: Final = "%(asctime)s %(levelname)s %(name)s %(message)s"
NOISY: Final = ("faust", "mode", "aiokafka", "kafka", "botocore", "boto3", "urllib3", "streams.guards")
"""`streams.guards` subclasses services of mode, which log each start and stop under its name."""


class JsonFormatter(logging.Formatter):
    """A record as one JSON object on one line, whatever is in it."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **{name: value for name, value in current().items() if value is not None},
        }
        if (metrics := getattr(record, "metrics", None)) is not None:
            line["metrics"] = metrics
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


class TextFormatter(logging.Formatter):
    """The line of old, with the bound ids at its end."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, and what follows it."""
        ids = " ".join(f"{name}={value}" for name, value in current().items() if value is not None)
        line = super().format(record)
        return f"{line} [{ids}]" if ids else line


def configure(settings: Settings) -> None:
    """Make this process log to stderr as the settings say. Raises `UserError` BAD_SETTINGS."""
    if settings.log not in {"json", "text"}:
        raise UserError("BAD_SETTINGS", f"setting log: {settings.log!r} is neither json nor text", name="log")
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter() if settings.log == "json" else TextFormatter(TEXT))
    # Forced: the runtime of Lambda has put a handler of its own there.
    logging.basicConfig(level=settings.log_level, handlers=[handler], force=True)
    for noisy in NOISY:
        logging.getLogger(noisy).setLevel(logging.WARNING)

"""Addresses of exports to topics: `kafka://TOPIC`, on the broker of this deployment."""

import re
from typing import Final

from schemas.errors import UserError
from schemas.topics import OWN_PREFIX

SCHEME: Final = "kafka://"
TOPIC_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,249}", re.ASCII)
"""Kafka's rule (`org.apache.kafka.common.internals.Topic`), which also refuses `.` and `..`."""

RESERVED_PREFIXES: Final = (OWN_PREFIX, "__")
"""Topics of Muster itself, and of the broker."""


def topic_of(uri: str) -> str:
    """The topic of `kafka://TOPIC`, on the broker of this deployment; `kafka_topic.partitions_of` requires it to exist.

    Raises `UserError` BAD_URI, and DESTINATION_NOT_WRITABLE for a reserved topic.
    """
    topic = uri.removeprefix(SCHEME)
    if topic == uri or not TOPIC_NAME.fullmatch(topic) or topic in {".", ".."}:
        raise UserError(
            "BAD_URI",
            f"{uri[:300]!r} is not of the form kafka://TOPIC (a topic name of 1 to 249 of A-Z, a-z, 0-9, '.', '_' and "
            "'-', without a host: Muster's own broker is used)",
            uri=uri[:300],
        )
    if topic.startswith(RESERVED_PREFIXES):
        raise UserError(
            "DESTINATION_NOT_WRITABLE",
            f"{topic} belongs to {'Muster' if topic.startswith(OWN_PREFIX) else 'the broker'} itself: choose a topic "
            "of your own",
            topic=topic,
        )
    return topic

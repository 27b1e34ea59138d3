"""`health PART`: check the part that this container runs.

The runtime calls it every few seconds as long as the container lives, so it loads only what the check needs: for parts
that speak HTTP, a fifth of what serving them takes.
"""

import json
import socket
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Final
from urllib.parse import urlsplit

from orchestration.local.answering import API_HEALTH_PATH, HEALTH_PATH, responds, storage_registered
from orchestration.local.home import SIGN_OF_LIFE, Home
from orchestration.local.ports import LOOPBACK, Ports
from orchestration.local.status import PartState, read_status
from orchestration.platform.settings import Settings
from orchestration.platform.worker_identity import host_of
from schemas.errors import MusterError
from schemas.topics import RELAY_GROUP, SEGMENT_WORKER_GROUP, WORKER_GROUP
from segmentation.scaling import Scaled

TIMEOUT_S: Final = 5.0
FAILED: Final = 1
ALIVE_S: Final = 60.0
"""Signs of life come every ten seconds."""
GROUPS: Final[Mapping[str, str]] = {
    Scaled.WORKER: WORKER_GROUP,
    Scaled.SEGMENT_WORKER: SEGMENT_WORKER_GROUP,
    Scaled.RELAY: RELAY_GROUP,
}


def s3_works(settings: Settings) -> bool:
    """Whether gateway and storage respond."""
    port = urlsplit(settings.s3_endpoint).port or Ports().s3
    return responds(f"http://{LOOPBACK}:{port}/healthz", timeout_s=TIMEOUT_S) and storage_registered(Ports(s3=port))


def engine_works(settings: Settings) -> bool:
    """Whether the workflow is registered, requests are served, and every part that is wanted here works."""
    port = urlsplit(settings.engine_url).port
    if port is None:
        return True  # the engine is AWS, not a part of the stack
    status = read_status(Home(path=settings.home))
    wanted = Counter(part.kind for part in status.parts if part.state is PartState.READY and part.kind in GROUPS)
    return (
        status.ready
        and responds(f"http://{LOOPBACK}:{port}{HEALTH_PATH}", timeout_s=TIMEOUT_S)
        and all(_members(settings, GROUPS[kind]) >= count for kind, count in wanted.items())
    )


def relay_works(settings: Settings) -> bool:
    """Whether the control plane of this container reads the progress topic."""
    return _members(settings, RELAY_GROUP) > 0


def api_works(settings: Settings) -> bool:
    """Whether the service and the catalog answer."""
    return responds(f"http://{LOOPBACK}:{urlsplit(settings.api_url).port}{API_HEALTH_PATH}", timeout_s=TIMEOUT_S)


def worker_works(settings: Settings) -> bool:
    """Whether the worker of this container is a member of its group: the broker has heard from it recently."""
    return _members(settings, WORKER_GROUP) > 0


def segment_worker_works(settings: Settings) -> bool:
    """As `worker_works`, for a segment worker."""
    return _members(settings, SEGMENT_WORKER_GROUP) > 0


def feeder_works(settings: Settings) -> bool:
    """Whether the feeder of this container has looked at the catalog of late, whether or not there is a feed."""
    sign = settings.home / SIGN_OF_LIFE
    return sign.exists() and time.time() - sign.stat().st_mtime < ALIVE_S


def _members(settings: Settings, group: str) -> int:
    """Members of a group in this container."""
    from connectors.kafka.worker_group import member_ids  # noqa: PLC0415 - loads librdkafka

    # By the name that the member gave itself: behind NAT or PrivateLink the broker sees an address that is not ours.
    return sum(host_of(one) == socket.gethostname() for one in member_ids(settings.kafka_bootstrap, group))


CHECKS: Final[Mapping[str, Callable[[Settings], bool]]] = {
    "s3": s3_works,
    "engine": engine_works,
    "relay": relay_works,
    "api": api_works,
    "worker": worker_works,
    "segment-worker": segment_worker_works,
    Scaled.FEEDER: feeder_works,
}


def main(arguments: Sequence[str]) -> int:
    """Return 0 if the part works. Errors go to the container's log as a line of JSON."""
    if len(arguments) != 1 or arguments[0] not in CHECKS:
        sys.stderr.write(f"usage: health {'|'.join(CHECKS)}\n")
        return FAILED
    try:
        return 0 if CHECKS[arguments[0]](Settings.load()) else FAILED
    except MusterError as exc:
        sys.stderr.write(f"{json.dumps(exc.as_record(), default=str)}\n")
        return FAILED


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Names of workers: unique in a home while their process lives, and readable in Kafka's member list."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from connectors.kafka.groups import GroupMember
from orchestration.cli.admin.stack import ranges
from orchestration.operations.workers import _worker
from orchestration.platform.worker_identity import WorkerIdentity, claim_identity
from schemas.errors import UserError
from schemas.topics import WORKER_GROUP

TAKES = "import sys; from pathlib import Path; from orchestration.platform.worker_identity import claim_identity as t; "
HOLDS = f"{TAKES}print(t(Path(sys.argv[1]), 'worker', '1').name, flush=True); sys.stdin.read()"


def test_each_worker_of_a_home_has_a_unique_name(tmp_path: Path) -> None:
    arguments = [sys.executable, "-c", HOLDS, str(tmp_path)]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "worker-1\n"
        with pytest.raises(UserError, match=r"WORKER_RUNS: worker-1 is already running in "):
            claim_identity(tmp_path, "worker", "1")
        assert claim_identity(tmp_path, "worker", "1+").name == "worker-2"
        assert claim_identity(tmp_path, "worker", "1+").name == "worker-3"
        assert claim_identity(tmp_path, "segment-worker", "1").name == "segment-worker-1"
        first.kill()
        first.wait()
    assert claim_identity(tmp_path, "worker", "1").name == "worker-1"


@pytest.mark.parametrize("wanted", ["", "0", "x", "-1", "1++", "01"])
def test_invalid_worker_number_is_refused(tmp_path: Path, wanted: str) -> None:
    with pytest.raises(UserError, match="BAD_NUMBER"):
        claim_identity(tmp_path, "worker", wanted)


def test_identity_is_read_from_the_consumer_group(tmp_path: Path) -> None:
    identity = claim_identity(tmp_path, "worker", "7+")
    assert str(identity) == f"{socket.gethostname()}/worker-7/{os.getpid()}"
    assert WorkerIdentity.parse(str(identity)) == identity
    partitions = [(topic, p) for topic in "ab" for p in (0, 1, 2, 5)]
    member = GroupMember(client_id=str(identity), host="10.0.0.7", partitions=partitions)
    found = _worker(WORKER_GROUP, member)
    assert (found.worker, found.host, found.pid, found.address) == ("worker-7", identity.host, os.getpid(), "10.0.0.7")
    assert ranges(found.partitions) == "0-2, 5"


def test_worker_of_an_earlier_release_is_listed_by_client_id() -> None:
    found = _worker(WORKER_GROUP, GroupMember(client_id="faust-0.15.3", host="10.0.0.7", partitions=()))
    assert (found.worker, found.host, found.pid, found.partitions) == ("faust-0.15.3", "10.0.0.7", None, ())

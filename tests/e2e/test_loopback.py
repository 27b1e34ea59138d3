"""Only this machine can reach the parts of the stack."""

from contextlib import suppress
from dataclasses import astuple

import psutil
import pytest

from orchestration.local import processes
from orchestration.local import stack as local_stack
from orchestration.local.home import Home
from orchestration.local.ports import Ports
from orchestration.platform.settings import Settings

pytestmark = [pytest.mark.e2e, pytest.mark.integration]
LOOPBACK = {"127.0.0.1", "::1", "::ffff:127.0.0.1"}


def places(process: psutil.Process) -> set[tuple[str, int, str]]:
    """Addresses on which a process listens; empty if it has ended."""
    with suppress(psutil.NoSuchProcess):
        return {
            (connection.laddr.ip, connection.laddr.port, process.name())
            for connection in process.net_connections("inet")
            if connection.status in {psutil.CONN_LISTEN, psutil.CONN_NONE}  # NONE: UDP
        }
    return set()


def test_every_port_of_every_process_is_bound_to_loopback(deployment: Settings) -> None:
    supervisor = local_stack.status(deployment).supervisor_pid
    assert supervisor is not None
    tree = {*processes.marked(deployment.home), *psutil.Process(supervisor).children(recursive=True)}
    listening = {place for process in tree for place in places(process)}
    assert [place for place in sorted(listening) if place[0] not in LOOPBACK] == []
    ports = set(astuple(Ports.load(Home(path=deployment.home).ports_file, deployment)))
    assert ports - {port for _, port, _ in listening} == set(), "a port of the stack without a listener"

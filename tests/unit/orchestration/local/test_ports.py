"""Free ports: chosen by one process, and by no other before the first listens."""

import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from orchestration.local import ports
from orchestration.local.ports import LOOPBACK, claim_free_ports
from schemas.errors import UserError


@pytest.fixture
def few_ports(monkeypatch: pytest.MonkeyPatch) -> range:
    """A small range of ports, unused by stacks and outgoing connections."""
    few = range(64_100, 64_140)
    monkeypatch.setattr(ports, "FREE_RANGE", few)
    return few


def test_concurrent_choices_never_share_a_port(few_ports: range, tmp_path: Path) -> None:
    free = sum(ports.is_free(port) for port in few_ports)
    with ThreadPoolExecutor(8) as threads:
        chosen = [*threads.map(lambda _: claim_free_ports(1, tmp_path / "claims"), range(free))]
    assert len({port for (port,) in chosen}) == free
    with pytest.raises(UserError, match="NO_FREE_PORTS"):
        claim_free_ports(1, tmp_path / "claims")


def test_port_claim_expires(few_ports: range, tmp_path: Path) -> None:
    claims = tmp_path / "claims"
    claims.write_text("".join(f"{port} 1\n" for port in few_ports) + "64100")  # the last line is truncated
    (port,) = claim_free_ports(1, claims)
    assert [line.split()[0] for line in claims.read_text().splitlines()] == [str(port)]


def test_a_port_with_a_listener_is_not_chosen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with socket.create_server((LOOPBACK, 0)) as server:
        monkeypatch.setattr(ports, "FREE_RANGE", range(server.getsockname()[1], server.getsockname()[1] + 1))
        with pytest.raises(UserError, match="NO_FREE_PORTS"):
            claim_free_ports(1, tmp_path / "claims")

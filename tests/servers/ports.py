"""Ports for servers that tests start themselves."""

from orchestration.local.ports import claim_free_ports


def free_ports(count: int) -> list[int]:
    """Loopback ports below the ephemeral range, claimed for this process.

    The kernel would choose an ephemeral port: any outgoing connection of a busy machine may take it before the server
    listens, or while it is down.
    """
    return claim_free_ports(count)


def free_port() -> int:
    """One such port."""
    return free_ports(1)[0]

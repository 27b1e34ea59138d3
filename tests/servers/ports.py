"""Ports for servers that tests start themselves."""

from dataclasses import astuple

from orchestration.local.ports import pick_free_ports


def free_ports(count: int) -> list[int]:
    """Up to eleven loopback ports below the ephemeral ones.

    A port that the kernel chooses is an ephemeral one: any outgoing connection of a busy machine may take it before the
    server listens, or while it is down.
    """
    return list(astuple(pick_free_ports())[:count])


def free_port() -> int:
    """One of them."""
    return free_ports(1)[0]

"""Allowed targets of webhooks: public addresses over https, and those in the operator's setting.

The engine, the catalog and metadata services trust every client inside, so a tenant's URL must not lead there: not by
its name, not by what the name resolves to, not by an IPv6 address that wraps an IPv4 one. A name is resolved once, and
the connection goes to the address that was checked.
"""

import ipaddress
import re
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Self

from schemas.errors import UserError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Endpoint = tuple[socket.AddressFamily, tuple[str, int]]
"""What a socket connects to."""
_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")
_NOT_PUBLIC: Final = tuple(
    ipaddress.ip_network(network)
    for networks in (
        "0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24 192.0.2.0/24",
        "192.88.99.0/24 192.168.0.0/16 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 224.0.0.0/4 240.0.0.0/4",
        "::/96 ::ffff:0:0/96 ::ffff:0:0:0/96 64:ff9b:1::/48 100::/64 2001:2::/48 2001:10::/28 2001:20::/28",
        "2001:db8::/32 3fff::/20 5f00::/16 fc00::/7 fe80::/10 fec0::/10 ff00::/8",
    )
    for network in networks.split()
)
"""IANA's special-purpose addresses, multicast, and what wraps an IPv4 address without a public use. Python's own list
(`is_global`) differs by its version, and lacks the deprecated ones that routers still know."""
_ENTRY: Final = re.compile(r"(?P<host>\[[^\]]+\](/\d+)?|[^:\s]+)(:(?P<port>\d{1,5}))?", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    """`network` is None for a name. `port` None means every port."""

    host: str
    network: Network | None
    port: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PrivateTargets:
    """Targets that may be called although they are not public, over plain http too."""

    entries: tuple[_Entry, ...] = ()
    everything: bool = False

    @classmethod
    def parse(cls, text: str) -> Self:
        """`host`, `host:port`, `10.0.0.0/8`, `[fd00::]/8`, separated by blanks or commas. Raises `UserError`."""
        return cls(entries=tuple(_entry(part) for part in re.split(r"[\s,]+", text) if part))

    def has(self, host: str, port: int, address: Address | None = None) -> bool:
        """Whether a target is listed, by its name or by its address."""
        return self.everything or any(
            entry.port in {None, port}
            and (
                entry.host == host.lower()
                or (entry.network is not None and address is not None and address in entry.network)
            )
            for entry in self.entries
        )


ANYWHERE: Final = PrivateTargets(everything=True)
"""For the operator's own URLs."""


def _entry(text: str) -> _Entry:
    if (found := _ENTRY.fullmatch(text)) is None or (found["port"] and not 0 < int(found["port"]) < 65536):
        raise UserError(
            "BAD_SETTINGS",
            f"setting webhook_private_targets: {text[:100]!r} is not like host, host:port or 10.0.0.0/8",
            name="webhook_private_targets",
        )
    host = found["host"].replace("[", "").replace("]", "").lower()
    try:
        network = ipaddress.ip_network(host, strict=False)
    except ValueError:
        network = None
    return _Entry(host=host, network=network, port=int(found["port"]) if found["port"] else None)


def literal(host: str) -> Address | None:
    """The address that `host` is written as. None for a name."""
    try:
        return ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None


def is_public(address: Address) -> bool:
    """Whether an address, and every address wrapped in it, belongs to the public Internet."""
    return not any(one in network for one in (address, *_wrapped(address)) for network in _NOT_PUBLIC)


def _wrapped(address: Address) -> Iterable[Address]:
    if isinstance(address, ipaddress.IPv4Address):
        return
    if address.sixtofour is not None:
        yield address.sixtofour
    if address.teredo is not None:
        yield from address.teredo
    if address in _NAT64:
        yield ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)


def refused(host: str, port: int, address: Address, *, https: bool, private: PrivateTargets) -> str | None:
    """Why a target may not be called. None if it may."""
    unwrapped = getattr(address, "ipv4_mapped", None) or address
    if private.has(host, port, unwrapped):
        return None
    if not is_public(unwrapped):
        return _NOT_REACHABLE.format(host)
    return None if https else "it is not https"


_NOT_REACHABLE: Final = "{} has no public address, and the operator's setting webhook_private_targets does not list it"
"""Whatever it resolves to, and if to nothing: a tenant must not learn the names and addresses of internal hosts."""


def resolve(host: str, port: int, *, https: bool, private: PrivateTargets) -> list[Endpoint]:
    """The addresses of a host that may be called, in the resolver's order. Raises `OSError` if there are none."""
    allowed: list[Endpoint] = []
    why = _NOT_REACHABLE.format(host)
    try:
        answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except socket.gaierror as exc:
        if private.everything:
            raise
        raise OSError(why) from exc
    for family, _, _, _, (found, *_) in answers:
        if (address := literal(str(found))) is None:
            continue
        if (fault := refused(host, port, address, https=https, private=private)) is None:
            allowed.append((family, (str(found), port)))
        else:
            why = fault
    if not allowed:
        raise OSError(why)
    return allowed

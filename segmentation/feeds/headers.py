"""Reads which change a membership message is without decoding its users: a feed drops those of all other segments."""

from typing import Final, NamedTuple

from schemas.codec import CODEC, HEADER_BYTES
from schemas.segment_messages import MembershipChanges, OwnerStarted

CHANGES: Final = CODEC.headers(MembershipChanges)
STARTED: Final = CODEC.headers(OwnerStarted)


class ChangeHeader(NamedTuple):
    """`names`: tenant and segment as they are encoded (`encoded_names`)."""

    names: bytes
    generation: int
    seq: int


def encoded_names(tenant: str, segment: str) -> bytes:
    """Tenant and segment as a message has them."""
    return b"".join(_long(len(text)) + text for text in (tenant.encode(), segment.encode()))


def change_header(value: bytes) -> ChangeHeader:
    """The header of a `MembershipChanges`. Raises IndexError if its bytes end before."""
    at = HEADER_BYTES
    for _ in range(2):  # tenant, segment
        length, at = _read(value, at)
        at += length
    names = value[HEADER_BYTES:at]
    _, at = _read(value, at)  # rule_version
    _, at = _read(value, at)  # partition
    generation, at = _read(value, at)
    seq, _ = _read(value, at)
    return ChangeHeader(names, generation, seq)


def _read(value: bytes, at: int) -> tuple[int, int]:
    """An Avro long (zigzag, 7 bits a byte) and where the next field begins."""
    number = shift = 0
    while True:
        byte = value[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return (number >> 1) ^ -(number & 1), at
        shift += 7


def _long(number: int) -> bytes:
    """A natural number as an Avro long."""
    number <<= 1
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes((*found, number))

"""Messages between the engine and a Lambda worker: a 4-byte big-endian length, then JSON in UTF-8."""

import json
import socket
import struct
from collections.abc import Mapping
from typing import Any, Final

HEADER: Final = struct.Struct(">I")


def send(connection: socket.socket, message: Mapping[str, Any]) -> None:
    """Send one message. Raises `OSError`."""
    body = json.dumps(message).encode()
    connection.sendall(HEADER.pack(len(body)) + body)


def receive(connection: socket.socket) -> dict[str, Any]:
    """Await one message. Raises `EOFError` if the other side has closed, `TimeoutError` according to the socket."""
    (length,) = HEADER.unpack(_exactly(connection, HEADER.size))
    message: dict[str, Any] = json.loads(_exactly(connection, length))
    return message


def _exactly(connection: socket.socket, size: int) -> bytes:
    chunks = bytearray()
    while len(chunks) < size:
        chunk = connection.recv(size - len(chunks))
        if not chunk:
            raise EOFError("the other side has closed the connection")
        chunks += chunk
    return bytes(chunks)

"""AWS services on loopback, by moto's server: clients find it through `AWS_ENDPOINT_URL`, with any credentials."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import boto3

REGION: Final = "eu-west-1"


@contextmanager
def moto_server() -> Iterator[str]:
    """Start a server; yields its address. Resources created in it are gone when the next one starts."""
    from moto.backends import get_backend  # noqa: PLC0415  # slow
    from moto.server import ThreadedMotoServer  # noqa: PLC0415

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    try:
        yield f"http://{host}:{port}"
    finally:
        server.stop()
        for service in ("secretsmanager", "sns", "sqs"):
            get_backend(service).reset()


def environment(endpoint: str) -> dict[str, str]:
    """Environment that directs every AWS SDK of a process to it."""
    return {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": REGION,
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def client(service: str, endpoint: str) -> Any:
    """A client of one of its services."""
    return boto3.client(  # type: ignore[call-overload]  # the service is a variable
        service, endpoint_url=endpoint, region_name=REGION, aws_access_key_id="test", aws_secret_access_key="test"
    )

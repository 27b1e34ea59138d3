"""Access to an object store: one set of plain values for boto3, Arrow, pyiceberg and DuckDB, and its clients."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

if TYPE_CHECKING:
    import pyarrow.fs as pafs
    from botocore.config import _S3Dict
    from mypy_boto3_s3 import S3Client

TIMEOUT_S: Final = 60.0
LAKE_ATTEMPTS: Final = 5
HTTP_PORT: Final = 80
HTTPS_PORT: Final = 443
OCTETS: Final = "binary/octet-stream"
"""S3's default for an object without a content type. Without one, SeaweedFS inspects the object and gzips text: reading
that costs the server six times as much."""
ICEBERG: Final[Mapping[str, str]] = MappingProxyType(
    {
        "endpoint": "s3.endpoint",
        "region": "s3.region",
        "access_key": "s3.access-key-id",
        "secret_key": "s3.secret-access-key",
        "session_token": "s3.session-token",
    }
)
"""pyiceberg's names of these fields."""


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Key:
    """A key of the embedded S3 server."""

    access_key: str
    secret_key: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Access:
    """Endpoint and credentials of an object store. An empty `endpoint` means AWS, empty keys its credential chain.

    `timeout_s`: how long `client` waits without a byte, while it connects or waits for a response; boto3 then retries,
    four times.
    """

    endpoint: str
    region: str
    access_key: str = ""
    secret_key: str = field(default="", repr=False)
    session_token: str = field(default="", repr=False)
    timeout_s: float = TIMEOUT_S

    @property
    def host(self) -> str:
        """Host and port of the endpoint."""
        return urlsplit(self.endpoint).netloc

    @property
    def port(self) -> int:
        """TCP port of the endpoint."""
        return urlsplit(self.endpoint).port or (HTTPS_PORT if self.secure else HTTP_PORT)

    @property
    def secure(self) -> bool:
        """Whether the endpoint speaks TLS."""
        return urlsplit(self.endpoint).scheme != "http"

    def with_keys(self) -> "S3Access":
        """The same access with the current keys of AWS's credential chain, if it has no keys of its own.

        For a process that lives for one query. Longer processes follow the chain, since its keys expire (`role_keys`).
        """
        if self.access_key:
            return self
        import boto3

        found = boto3.Session().get_credentials()
        if found is None:
            return self
        keys = found.get_frozen_credentials()
        return replace(
            self,
            access_key=keys.access_key or "",
            secret_key=keys.secret_key or "",
            session_token=keys.token or "",
        )

    def iceberg_properties(self) -> Mapping[str, str]:
        """Properties for a pyiceberg catalog."""
        properties = {name: getattr(self, field) for field, name in ICEBERG.items()}
        return {name: value for name, value in properties.items() if value}

    @classmethod
    def from_iceberg(cls, properties: Mapping[str, str]) -> "S3Access":
        """Inverse of `iceberg_properties`; other properties of a table are ignored."""
        found: dict[str, Any] = {field: properties.get(name, "") for field, name in ICEBERG.items()}
        return cls(**found)

    def client(self) -> "S3Client":
        """A boto3 client; shared per process, since creating one takes 0.2 s."""
        return _client(self)

    def filesystem(self) -> "pafs.S3FileSystem":
        """An Arrow file system; paths are `bucket/key`."""
        return _filesystem(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientOptions:
    """How a boto3 client sends requests.

    `attempts`: tries of one request, including the first. `connections`: at most this many stay open between requests.
    `checksums`: objects are sent with a checksum, and read objects are compared with theirs. A bucket with object lock
    requires them, but not every S3 server supports the trailers that carry them.
    `signed_bodies`: the signature covers the body, which costs a SHA-256 of it if the endpoint has no TLS.
    """

    connect_timeout_s: float = 20.0
    read_timeout_s: float = 20.0
    attempts: int = 4
    connections: int = 10
    checksums: bool = False
    signed_bodies: bool = True


DEFAULT_OPTIONS: Final = ClientOptions()


def new_client(access: S3Access, options: ClientOptions) -> "S3Client":
    """A new boto3 client; creating one takes 0.2 s, and the first one of a process imports boto3."""
    import boto3  # slow to import, and not every command needs it
    from botocore.config import Config

    checksums: Final = "when_supported" if options.checksums else "when_required"
    s3_options: _S3Dict = {"addressing_style": "path" if access.endpoint else "auto"}  # AWS has a host per bucket
    if not options.signed_bodies:
        s3_options["payload_signing_enabled"] = False
    client = boto3.client(
        "s3",
        endpoint_url=access.endpoint or None,
        region_name=access.region,
        aws_access_key_id=access.access_key or None,
        aws_secret_access_key=access.secret_key or None,
        aws_session_token=access.session_token or None,
        config=Config(
            signature_version="s3v4",  # by default, boto3 presigns with version 2, which signs no headers
            connect_timeout=options.connect_timeout_s,
            read_timeout=options.read_timeout_s,
            retries={"total_max_attempts": options.attempts, "mode": "standard"},
            max_pool_connections=options.connections,
            s3=s3_options,
            request_checksum_calculation=checksums,
            response_checksum_validation=checksums,
        ),
    )
    for operation in ("PutObject", "CreateMultipartUpload", "UploadPart"):  # boto3 has no argument for parts
        client.meta.events.register(f"before-call.s3.{operation}", _declare_type)
    return client


def _declare_type(params: dict[str, Any], **_: object) -> None:
    params["headers"].setdefault("Content-Type", OCTETS)


@cache
def _client(access: S3Access) -> "S3Client":
    return new_client(
        access,
        ClientOptions(
            connect_timeout_s=access.timeout_s, read_timeout_s=access.timeout_s, attempts=LAKE_ATTEMPTS, checksums=True
        ),
    )


@cache
def _filesystem(access: S3Access) -> "pafs.S3FileSystem":
    import pyarrow.fs as pafs  # starts Arrow's AWS SDK

    options: dict[str, Any] = {"region": access.region}
    if access.endpoint:
        options |= {"endpoint_override": access.host, "scheme": "https" if access.secure else "http"}
    if access.access_key:
        options |= {"access_key": access.access_key, "secret_key": access.secret_key}
    if access.session_token:
        options["session_token"] = access.session_token
    return pafs.S3FileSystem(**options)

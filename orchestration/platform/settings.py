"""Settings: read once, at the entry point, and passed down. Nothing else reads the environment.

Order of precedence: environment (`MUSTER_<FIELD>`), then
`<home>/settings.toml` (written by `muster up`), then defaults.
"""

import hmac
import math
import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import Field, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Final, Self, TypedDict

from schemas.errors import UserError
from schemas.kafka_address import hosts, with_ca, with_credentials

ENV_PREFIX: Final = "MUSTER_"
SETTINGS_FILE: Final = "settings.toml"
DESTINATIONS_FILE: Final = "destinations.toml"
KAFKA_CREDENTIALS: Final = Path("kafka", "muster.json")
"""Below the home: user and password of Muster at the embedded broker, which creates them."""
KAFKA_CLIENT: Final = Path("kafka", "client.json")
"""The same for external programs."""
OTLP_ENDPOINT: Final = "OTEL_EXPORTER_OTLP_ENDPOINT"
"""OpenTelemetry's own variable, which counts where the setting `otlp_endpoint` is not given."""
MIB: Final = 1024 * 1024
AS_MANY: Final = -1
AS_MANY_FIELDS: Final = ("min_workers", "min_segment_workers")
"""With this value, as many as `workers` and `segment_workers`: the count is fixed."""
LEAST: Final = {
    "api_readers": 1,
    "counts_per_day": 0,
    "function_calls": 1,
    "idle_minutes": 0,
    "min_segment_workers": 0,
    "min_workers": 0,
    "segment_edit_max_percent": 0,
    "unit_bytes": 1,
    "units_at_once": 0,
}
"""The lowest value of numbers."""
TASK_RUNNERS: Final = ("process", "docker")
SANDBOX_REQUIRED: Final = "required"
THROTTLE: Final = "throttle"
OVERLOADS: Final = ("queue", THROTTLE)
DUCKDB: Final = "duckdb"
SPARK: Final = "spark"
ENGINES: Final = (DUCKDB, SPARK)
SANDBOXES: Final = ("auto", SANDBOX_REQUIRED)
PLACES: Final = ("function", "task", "machine")
IMAGE_NAME: Final = re.compile(r"[a-zA-Z0-9][\w.:/@-]*", re.ASCII)
"""Docker checks the rest; a name that starts with a dash would be taken for an option."""
MACHINE_PREFIX: Final = re.compile(r"[a-zA-Z0-9_-]{0,40}", re.ASCII)
"""Step Functions allows names of 80 characters; the machine and the suffix of an execution need their share."""


class Secret:
    """A string that does not print itself; call `reveal()` only where the secret is used."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The secret itself."""
        return self._value

    def __repr__(self) -> str:
        return "Secret(***)"

    def __bool__(self) -> bool:
        return bool(self._value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)


class EngineKeys(TypedDict):
    """Arguments of boto3."""

    aws_access_key_id: str
    aws_secret_access_key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything that differs between two deployments. Sizes are bytes, times seconds.

    An empty `s3_endpoint` or `engine_url` means AWS in its region; empty keys mean those of the process's role.
    """

    home: Path = Path(".muster")
    kafka_bootstrap: str = "127.0.0.1:19092"
    kafka_credentials_file: Path = Path()
    kafka_ca_file: Path = Path()  # certificates (PEM) to trust instead of the system's
    partitions: int = 8
    replication_factor: int = 1
    listen_host: str = "127.0.0.1"
    s3_endpoint: str = "http://127.0.0.1:18333"
    s3_public_endpoint: str = ""  # how clients reach s3_endpoint, if by another address
    s3_region: str = "us-east-1"
    s3_access_key: str = "muster"
    s3_secret_key: Secret = Secret("")
    inbox_bucket: str = "inbox"
    inbox_prefix: str = ""
    staging_bucket: str = "staging"
    lake_bucket: str = "lake"
    catalog_url: Secret = Secret("")
    engine_url: str = "http://127.0.0.1:18180"
    api_url: str = "http://127.0.0.1:18480"
    api_public_url: str = ""  # as browsers know the service; without it, the console has a host of its own
    api_hosts: str = ""  # further names in the header Host, separated by blanks
    api_keep_alive_s: int = 10  # how long an idle connection stays open; longer than a proxy in front keeps it
    api_readers: int = 2  # processes that answer what needs DuckDB, pyiceberg or Kafka
    counts_per_day: int = 200  # rounded numbers, of a principal that may not read users
    api_reader_memory_bytes: int = 1024 * MIB  # of DuckDB in each, with the files that it keeps
    oidc_issuer: str = ""
    oidc_client_id: str = ""
    oidc_client_secret: Secret = Secret("")
    oidc_algorithms: str = "RS256 PS256 ES256 EdDSA"
    oidc_scopes: str = "openid profile email"
    oidc_groups_claim: str = "groups"
    oidc_grants: str = ""  # JSON: roles by group (`access.oidc.settings`)
    machine_prefix: str = ""
    job_events_topic: str = ""
    job_events_group: str = ""
    aws_region: str = "us-east-1"
    account_id: str = "123456789012"
    workers: int = 1
    segment_workers: int = 1
    min_workers: int = AS_MANY  # the fewest that run while there is no work
    min_segment_workers: int = AS_MANY
    idle_minutes: float = 10  # how long workers outlast the work
    small_file_bytes: int = 16 * MIB
    # A function has 900 s. Sending is the slowest step: it gets 300 s plus one second per 0.5 MiB, a tenth of the rate
    # measured on two cores (`kinds.timeouts`): 256 MiB take at most 812 s.
    lambda_file_bytes: int = 256 * MIB
    # Fargate gives a task 16 vCPU, 120 GB and 200 GiB of disk, without a time limit. Building needs the disk: the data
    # to merge lies there up to three times, unpacked, while it is sorted. 3 x 64 GiB = 192 GiB.
    fargate_file_bytes: int = 64 * 1024 * MIB
    unit_bytes: int = 256 * MIB  # of the files of an import that one unit verifies and sends
    units_at_once: int = 0  # of one import or export; 0: half of `function_calls`
    part: str = ""  # the name of this process in its logs; its supervisor sets it
    place: str = "function"  # where this process runs; the state machine tells tasks (`kinds.compute_target`)
    task_runner: str = "process"
    task_image: str = "muster:local"
    sandbox: str = "auto"
    parse_memory_bytes: int = 4096 * MIB
    parse_cpu_s: int = 120
    parse_wall_s: int = 120
    worker_buffer_bytes: int = 40 * MIB
    worker_session_timeout_s: int = 10  # a killed worker's partitions wait this long; Kafka's minimum is 6
    segment_checkpoint_s: int = 60
    segment_check_minutes: int = 10  # 0: never
    segment_edit_max_percent: float = 20  # of the members; a larger edit needs an approval; 0: none does
    duckdb_memory_bytes: int = 512 * MIB
    duckdb_threads: int = 2
    duckdb_temp_bytes: int = 64 * 1024 * MIB
    engine: str = DUCKDB  # that counts rules exactly
    spark_remote: Secret = Secret("")  # sc://host:port, of Spark Connect; it may carry a token
    spark_catalog: str = "muster"  # the catalog with the lake's tables, as the cluster calls it
    upload_keep_hours: int = 72
    prices_file: Path = Path()  # none: the list prices shipped with the product
    destinations_file: Path = Path()
    function_calls: int = 8  # at once; at AWS, as many as the database has connections for
    engine_overload: str = "queue"  # further calls wait in the embedded engine, or are refused as at AWS: throttle
    engine_tasks: int = 0  # the embedded engine's tasks at once; 0: any number
    max_jobs: int = 0  # 0: these four follow from the capacity (`segmentation.admission.lanes_for`)
    max_jobs_per_tenant: int = 0
    max_small_jobs: int = 0
    max_small_jobs_per_tenant: int = 0
    log: str = "json"
    log_level: str = "INFO"
    otlp_endpoint: str = ""  # of a collector of traces, such as http://127.0.0.1:4318; none: no traces
    metrics_host: str = "127.0.0.1"
    metrics_port: int = 19900
    metrics_token: Secret = Secret("")
    smtp_host: str = ""
    smtp_port: int = 587
    smtp_security: str = "starttls"
    smtp_user: str = ""
    smtp_password: Secret = Secret("")
    smtp_from: str = ""
    webhook_secret: Secret = Secret("")
    webhook_secret_holder: str = ""  # the process that has the secret, where this one has not
    smtp_user_holder: str = ""  # the process that has user and password, where this one has not
    webhook_private_targets: str = ""
    operator_emails: str = ""
    operator_webhooks: str = ""
    notify_tries: int = 12
    notify_first_retry_s: int = 30
    variables: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)
    """No setting: all variables of the process, to which profiles of destinations refer. Children read their own."""

    @property
    def units_side_by_side(self) -> int:
        """Units or groups of one job at once: as set, else half of the functions, so that other jobs go on."""
        return self.units_at_once or max(1, self.function_calls // 2)

    @classmethod
    def load(cls, env: Mapping[str, str] | None = None) -> Self:
        """Settings of this process. Raises `UserError` BAD_SETTINGS naming the field that cannot be read or used."""
        env = os.environ if env is None else env
        home = Path(env.get(ENV_PREFIX + "HOME", ".muster")).absolute()
        values: dict[str, Any] = {"home": home}
        path = home / SETTINGS_FILE
        if path.exists():
            try:
                values |= tomllib.loads(path.read_text(encoding="utf-8"))
            except tomllib.TOMLDecodeError as exc:
                raise UserError("BAD_SETTINGS", f"{path} is not valid TOML: {exc}", path=str(path)) from exc
        known = cls._known()
        values |= _given(env, known)
        if unknown := sorted(values.keys() - known.keys()):
            raise UserError("BAD_SETTINGS", f"{path}: unknown setting(s) {', '.join(unknown)}", names=unknown)
        settings = cls(**{name: _convert(name, value, known[name].type) for name, value in values.items()})
        if not settings.otlp_endpoint:
            settings = replace(settings, otlp_endpoint=env.get(OTLP_ENDPOINT, ""))
        if settings.kafka_credentials_file == Path() and (home / KAFKA_CREDENTIALS).exists():
            settings = replace(settings, kafka_credentials_file=home / KAFKA_CREDENTIALS)
        settings = replace(settings, kafka_bootstrap=_with_files(settings))
        _check(settings)
        if not settings.catalog_url:
            settings = replace(settings, catalog_url=Secret(f"sqlite:///{home / 'catalog.db'}"))
        if settings.destinations_file == Path():
            settings = replace(settings, destinations_file=home / DESTINATIONS_FILE)
        return replace(settings, variables=env)

    @classmethod
    def of_environment(cls, env: Mapping[str, str]) -> Self:
        """Inverse of `environment`; no file is read. Raises `UserError` BAD_SETTINGS."""
        known = cls._known()
        values: dict[str, Any] = {n: _convert(n, text, known[n].type) for n, text in _given(env, known).items()}
        return cls(**values | {"home": Path(env[ENV_PREFIX + "HOME"])})

    def environment(self) -> dict[str, str]:
        """The settings as environment variables, for a child process. Holds secrets: never print it."""
        values = {name: getattr(self, name) for name in self._known()}
        return {
            ENV_PREFIX + name.upper(): value.reveal() if isinstance(value, Secret) else str(value)
            for name, value in values.items()
        }

    @classmethod
    def _known(cls) -> dict[str, Field[Any]]:
        return {one.name: one for one in fields(cls) if one.compare}

    @property
    def deployment(self) -> str:
        """The name of a deployment at AWS, which begins the names of its state machines."""
        return self.machine_prefix.removesuffix("-")

    def engine_keys(self) -> EngineKeys:
        """Keys for a client of the embedded workflow engine, which checks signatures.

        Derived from the secret of the store, so that every home and container with that secret has them too.
        """
        secret = hmac.digest(self.s3_secret_key.reveal().encode(), b"workflow engine", "sha256").hex()
        return {"aws_access_key_id": self.s3_access_key, "aws_secret_access_key": secret}

    def counts_secret(self) -> bytes:
        """The key of the noise in rounded counts; at AWS, where the store has no secret, derived from the catalog's."""
        return self._derived_secret(b"rounded counts")

    def approvals_secret(self) -> bytes:
        """The key of approvals of edits."""
        return self._derived_secret(b"approvals of edits")

    def audit_secret(self) -> bytes:
        """The key of the hashes by which the audit trail names users."""
        return self._derived_secret(b"users in the audit trail")

    def _derived_secret(self, purpose: bytes) -> bytes:
        secret = self.s3_secret_key.reveal() or self.catalog_url.reveal()
        return hmac.digest(secret.encode(), purpose, "sha256")

    def with_(self, **changes: Any) -> Self:
        """A copy with some fields changed."""
        return replace(self, **changes)


def _given(env: Mapping[str, str], known: Iterable[str]) -> dict[str, str]:
    """The settings that an environment has, except the home."""
    names = {name: ENV_PREFIX + name.upper() for name in known if name != "home"}
    return {name: env[variable] for name, variable in names.items() if variable in env}


def _check(settings: Settings) -> None:
    # Processes without Kafka need no credentials for it; those with it fail at logon if they are missing.
    hosts(settings.kafka_bootstrap)
    runner, image = settings.task_runner, settings.task_image
    if runner not in TASK_RUNNERS:
        known = " or ".join(TASK_RUNNERS)
        raise UserError("BAD_SETTINGS", f"setting task_runner: {runner!r} is not {known}", name="task_runner")
    if settings.sandbox not in SANDBOXES:
        known = " or ".join(SANDBOXES)
        raise UserError("BAD_SETTINGS", f"setting sandbox: {settings.sandbox!r} is not {known}", name="sandbox")
    if settings.engine_overload not in OVERLOADS:
        known = " or ".join(OVERLOADS)
        given = settings.engine_overload
        raise UserError("BAD_SETTINGS", f"setting engine_overload: {given!r} is not {known}", name="engine_overload")
    if settings.engine not in ENGINES:
        raise UserError(
            "BAD_SETTINGS", f"setting engine: {settings.engine!r} is not {' or '.join(ENGINES)}", name="engine"
        )
    remote = settings.spark_remote.reveal()
    if remote and not remote.startswith("sc://"):
        raise UserError("BAD_SETTINGS", "setting spark_remote: not like sc://host:15002", name="spark_remote")
    if settings.engine == SPARK and not remote:
        raise UserError("BAD_SETTINGS", "setting engine: spark needs the setting spark_remote", name="engine")
    for name, least in LEAST.items():
        value = getattr(settings, name)
        as_many = name in AS_MANY_FIELDS and value == AS_MANY
        if not as_many and not (math.isfinite(value) and value >= least):
            raise UserError("BAD_SETTINGS", f"setting {name}: at least {least}", name=name)
    if settings.place not in PLACES:
        known = ", ".join(PLACES)
        raise UserError("BAD_SETTINGS", f"setting place: {settings.place!r} is not one of {known}", name="place")
    if not IMAGE_NAME.fullmatch(image):
        raise UserError("BAD_SETTINGS", f"setting task_image: {image!r} is not the name of an image", name="task_image")
    prefix = settings.inbox_prefix
    if prefix and (prefix.startswith("/") or not prefix.endswith("/") or "//" in prefix):
        raise UserError(
            "BAD_SETTINGS",
            f"setting inbox_prefix: {prefix!r} is not like incoming/ (no leading slash, one trailing slash)",
            name="inbox_prefix",
        )
    if not MACHINE_PREFIX.fullmatch(settings.machine_prefix):
        raise UserError(
            "BAD_SETTINGS",
            f"setting machine_prefix: {settings.machine_prefix!r} must be at most 40 letters, digits, - and _",
            name="machine_prefix",
        )


def _with_files(settings: Settings) -> str:
    """`kafka_bootstrap` with the files of credentials and certificates, where it needs them and names none."""
    address, credentials, ca = settings.kafka_bootstrap, settings.kafka_credentials_file, settings.kafka_ca_file
    address = address if credentials == Path() else with_credentials(address, str(credentials))
    return address if ca == Path() else with_ca(address, str(ca))


def _convert(name: str, value: object, type_: object) -> Any:
    if type_ is int:
        try:
            return int(str(value))
        except ValueError as exc:
            raise UserError("BAD_SETTINGS", f"setting {name}: {value!r} is not a whole number", name=name) from exc
    if type_ is float:
        try:
            return float(str(value))
        except ValueError as exc:
            raise UserError("BAD_SETTINGS", f"setting {name}: {value!r} is not a number", name=name) from exc
    if type_ is Path:
        return Path(str(value))
    if type_ is Secret:
        return value if isinstance(value, Secret) else Secret(str(value))
    return str(value)

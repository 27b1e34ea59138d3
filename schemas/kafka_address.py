"""Kafka's address and logon: the format of the setting `kafka_bootstrap`. Pure: no file is read here.

    host:port[,host:port...]                                          unencrypted, without a logon
    ssl://host:port,...[?ca=FILE]                                     TLS
    sasl_ssl://host:port,...?mechanism=M&credentials=FILE[&ca=FILE]   TLS, and a user with a password
    sasl_plaintext://host:port,...?mechanism=M&credentials=FILE       a user with a password, unencrypted
    sasl_ssl://host:port,...?mechanism=AWS_MSK_IAM&region=REGION      TLS, and the process's role at AWS (Amazon MSK)

M is SCRAM-SHA-512, SCRAM-SHA-256 or PLAIN. `credentials` is a file with {"username": ..., "password": ...} (JSON, the
format of AWS Secrets Manager for MSK), `ca` one with the certificates (PEM) to trust instead of the system's.
File names are percent-encoded as in every URL. An address never holds a secret, so it may be printed.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal, NoReturn, Self
from urllib.parse import quote, unquote, urlsplit

from schemas.errors import FatalError, UserError

Protocol = Literal["plaintext", "ssl", "sasl_plaintext", "sasl_ssl"]
SETTING: Final = "kafka_bootstrap"
PASSWORD_MECHANISMS: Final = ("SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN")
IAM: Final = "AWS_MSK_IAM"
"""No mechanism of SASL: OAUTHBEARER with a token that the role of the process signs, as Amazon MSK takes it."""
MECHANISMS: Final = (*PASSWORD_MECHANISMS, IAM)
_SCHEMES: Final[Mapping[str, Protocol]] = {
    "ssl": "ssl",
    "sasl_plaintext": "sasl_plaintext",
    "sasl_ssl": "sasl_ssl",
}
_PARAMETERS: Final = ("mechanism", "credentials", "region", "ca")
_SCHEME_END: Final = "://"


@dataclass(frozen=True, slots=True, kw_only=True)
class KafkaAddress:
    """The parsed setting: `hosts` are `host:port`, at least one.

    `mechanism` is set if and only if the protocol has a logon, with `credentials` or, for IAM, `region`; `ca` only with
    TLS.
    """

    hosts: tuple[str, ...]
    protocol: Protocol = "plaintext"
    mechanism: str | None = None
    credentials: str | None = None
    region: str | None = None
    ca: str | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse the setting. Raises `UserError` BAD_SETTINGS, which names the setting and the fault, and no secret."""
        if _SCHEME_END not in text:
            return cls(hosts=_hosts(text))
        scheme, _, rest = text.partition(_SCHEME_END)
        protocol = _SCHEMES.get(scheme)
        if protocol is None:
            _refuse(
                f"the scheme {scheme!r} is not one of {', '.join(_SCHEMES)}; without TLS and logon, write host:port"
            )
        servers, _, query = rest.partition("?")
        given = _parameters(query)
        address = cls(hosts=_hosts(servers.removesuffix("/")), protocol=protocol, **given)
        address._check()
        return address

    @property
    def with_tls(self) -> bool:
        """True if the connection is encrypted and the broker presents a certificate."""
        return self.protocol in {"ssl", "sasl_ssl"}

    @property
    def with_logon(self) -> bool:
        """True if the broker requires a user and a password, or a token."""
        return self.protocol in {"sasl_ssl", "sasl_plaintext"}

    @property
    def servers(self) -> str:
        """The hosts in the format of clients, `host:port,host:port`."""
        return ",".join(self.hosts)

    def __str__(self) -> str:
        """The address in the format of `parse`."""
        if self.protocol == "plaintext":
            return self.servers
        given = {name: value for name in _PARAMETERS if (value := getattr(self, name)) is not None}
        query = "&".join(f"{name}={quote(value, safe='/')}" for name, value in given.items())
        return f"{self.protocol}{_SCHEME_END}{self.servers}{'?' if query else ''}{query}"

    def _check(self) -> None:
        if self.with_logon and self.mechanism is None:
            _refuse(f"{self.protocol} needs mechanism=, one of {', '.join(MECHANISMS)}")
        if not self.with_logon and self.mechanism is not None:
            _refuse(f"mechanism={self.mechanism} is for sasl_ssl:// and sasl_plaintext://, not for {self.protocol}://")
        if self.mechanism is not None and self.mechanism not in MECHANISMS:
            _refuse(f"the mechanism {self.mechanism!r} is not one of {', '.join(MECHANISMS)}")
        if self.mechanism == IAM:
            if self.protocol != "sasl_ssl":
                _refuse(f"mechanism={IAM} is for sasl_ssl://, not for {self.protocol}://")
            if self.region is None:
                _refuse(f"mechanism={IAM} needs region=, the region of the cluster, such as eu-central-1")
            if self.credentials is not None:
                _refuse(f"credentials= is not for mechanism={IAM}, which logs on with the role of the process")
            self._check_ca()
            return
        if self.region is not None:
            _refuse(f"region= is for mechanism={IAM}")
        if self.with_logon and self.credentials is None:
            _refuse(f"{self.protocol} needs credentials=FILE, a file with username and password as JSON")
        if not self.with_logon and self.credentials is not None:
            _refuse(f"credentials= is for sasl_ssl:// and sasl_plaintext://, not for {self.protocol}://")
        self._check_ca()

    def _check_ca(self) -> None:
        if not self.with_tls and self.ca is not None:
            _refuse(f"ca= is for ssl:// and sasl_ssl://, not for {self.protocol}://")


def with_credentials(text: str, path: str) -> str:
    """The address with this file as its credentials, if it needs one and names none. Raises as `parse`."""
    scheme, found, rest = text.partition(_SCHEME_END)
    given = _parameters(rest.partition("?")[2])
    if not found or not scheme.startswith("sasl_") or "credentials" in given or given.get("mechanism") == IAM:
        return text
    return _with(text, "credentials", path)


def with_ca(text: str, path: str) -> str:
    """The address with this file as its certificates, if it has TLS and names no file. Raises as `parse`."""
    scheme, found, rest = text.partition(_SCHEME_END)
    if not found or not scheme.endswith("ssl") or "ca" in _parameters(rest.partition("?")[2]):
        return text
    return _with(text, "ca", path)


def _with(text: str, name: str, path: str) -> str:
    return f"{text}{'&' if '?' in text else '?'}{name}={quote(path, safe='/')}"


def hosts(text: str) -> tuple[str, ...]:
    """The `host:port` of an address, even if its credentials are not set yet. Raises as `parse`."""
    return KafkaAddress.parse(with_credentials(text, "none")).hosts


@dataclass(frozen=True, slots=True, kw_only=True)
class KafkaCredentials:
    """A user and a password; the password is not printed."""

    username: str
    password: str

    def __repr__(self) -> str:
        return f"KafkaCredentials(username={self.username!r})"

    @classmethod
    def read(cls, path: str, contents: Callable[[], bytes]) -> Self:
        """Parse the file at `path`, which `contents` reads. Raises as `parse`."""
        try:
            text = contents().decode()
        except OSError as exc:
            raise unusable(path, exc.strerror or type(exc).__name__) from exc
        except UnicodeDecodeError:
            raise unusable(path, "it is not UTF-8") from None
        return cls.parse(text, path)

    @classmethod
    def parse(cls, text: str, path: str) -> Self:
        """Parse a file's text. Raises `FatalError` CREDENTIALS_UNUSABLE with the path, and no part of the contents."""
        try:
            found = json.loads(text)
        except ValueError:
            raise unusable(path, "it is not JSON") from None  # the cause would hold the contents
        if not isinstance(found, dict):
            raise unusable(path, "it is not a JSON object")
        for name in ("username", "password"):
            if not isinstance(value := found.get(name), str) or not value:
                raise unusable(path, f"its {name} is missing or not a string")
        return cls(username=found["username"], password=found["password"])


def unusable(path: str, why: str) -> FatalError:
    """The error for an unusable file of credentials or certificates. `why` must not repeat its contents."""
    return FatalError(
        "CREDENTIALS_UNUSABLE",
        f"{path} (from the setting {SETTING}) cannot be used: {why}. "
        'Credentials are JSON, {"username": ..., "password": ...}; certificates are PEM',
        path=path,
    )


def logon_refused(address: KafkaAddress, broker: str, why: str) -> FatalError:
    """The broker refuses the user, the password, the token or the mechanism. Retrying cannot help."""
    origin = (
        f"The user and the password are read from {address.credentials}"
        if address.mechanism != IAM
        else f"The token is signed by the role of this process, for {address.region}"
    )
    return FatalError(
        "LOGON_REFUSED",
        f"Kafka at {broker} refuses the logon with {address.mechanism}: {why}. {origin}",
        broker=broker,
        mechanism=address.mechanism,
        credentials=address.credentials,
    )


def broker_not_trusted(address: KafkaAddress, broker: str, why: str) -> FatalError:
    """The broker's certificate has no trusted issuer, or is not for the name that was connected to."""
    trusted = f"the certificates in {address.ca}" if address.ca else "the system's certificates"
    return FatalError(
        "BROKER_NOT_TRUSTED",
        f"the certificate of Kafka at {broker} is rejected: {why}. It must be trusted by {trusted} (ca= in {SETTING}) "
        "and issued for the host in the address or in the broker's advertised listener",
        broker=broker,
        ca=address.ca,
    )


def _parameters(query: str) -> dict[str, str]:
    given: dict[str, str] = {}
    for part in filter(None, query.split("&")):
        name, _, value = part.partition("=")
        if name not in _PARAMETERS:
            _refuse(f"the parameter {name!r} is not one of {', '.join(_PARAMETERS)}")
        if name in given:
            _refuse(f"{name}= is given twice")
        if not value:
            _refuse(f"{name}= is empty")
        given[name] = unquote(value)
    return given


def _hosts(text: str) -> tuple[str, ...]:
    if "@" in text:
        _refuse("an address cannot contain a user or password: write them to a file, and give it as credentials=FILE")
    return tuple(_host(server.strip()) for server in text.split(","))


def _host(server: str) -> str:
    try:
        parts = urlsplit(f"//{server}")
        host, port = parts.hostname, parts.port
    except ValueError:
        _refuse(f"{server!r} is not host:port, with a port from 1 to 65535")
    if not host:
        _refuse(f"{server!r} has no host: write host:port, separated by commas")
    if not port or parts.netloc != server or any(letter.isspace() for letter in server):
        _refuse(f"{server!r} is not host:port, with a port from 1 to 65535")
    return server


def _refuse(why: str) -> NoReturn:
    raise UserError("BAD_SETTINGS", f"setting {SETTING}: {why}", name=SETTING)

"""Findings for the settings of the API's service."""

import re
from collections.abc import Iterator
from dataclasses import fields
from ipaddress import AddressValueError, IPv4Network, NetmaskValueError
from typing import Final

from orchestration.access.oidc.settings import OidcSettings
from orchestration.deploy.environment import api_environment
from orchestration.deploy.forms import CERTIFICATE, KEY, SECRET, check_arn, finding
from orchestration.deploy.settings import Api, DeploySettings
from orchestration.deploy.sizes import fargate
from orchestration.deploy.toml_reader import Finding
from orchestration.platform.settings import ENV_PREFIX, Secret, Settings
from schemas.errors import UserError

HOST: Final = re.compile(r"(?=.{4,253}$)(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,63}")


def check_api(settings: DeploySettings) -> Iterator[Finding]:
    """All findings; without a host no other setting may be given."""
    api, plain = settings.api, Api()
    if not api.host:
        given = [one.name for one in fields(api) if getattr(api, one.name) != getattr(plain, one.name)]
        if given:
            yield finding("api.host", f"is missing, but api.{given[0]} is set: without a host there is no service")
        return
    if not HOST.fullmatch(api.host):
        yield finding("api.host", f"{api.host!r} is not a host name in lower case, such as muster.example.com")
    if not api.certificate:
        yield finding("api.certificate", "is missing: the balancer only speaks TLS")
    yield from check_arn(settings, "api.certificate", api.certificate, CERTIFICATE, "a certificate of ACM")
    yield from _clients(api.clients)
    yield from fargate("api", api.cpu, api.memory_mib)
    yield from check_arn(settings, "api.oidc_secret", api.oidc_secret, SECRET, "a secret of Secrets Manager")
    yield from check_arn(settings, "api.oidc_secret_key", api.oidc_secret_key, KEY, "a KMS key")
    if api.oidc_secret_key and not api.oidc_secret:
        yield finding("api.oidc_secret_key", "is the key of a secret, but the secret is not set")
    yield from _provider(settings)


def _clients(clients: tuple[str, ...]) -> Iterator[Finding]:
    if not clients:
        yield finding("api.clients", "is empty: list the ranges from which the service is reached, such as 10.0.0.0/8")
    for cidr in clients:
        try:
            network = IPv4Network(cidr)
        except (AddressValueError, NetmaskValueError, ValueError):
            yield finding("api.clients", f"{cidr!r} is not a range such as 10.0.0.0/8")
            continue
        if network.prefixlen == 0:
            yield finding("api.clients", f"{cidr} admits everyone; list the ranges of your own networks")


def _provider(settings: DeploySettings) -> Iterator[Finding]:
    """As the service itself reads them, so that it starts."""
    values = {name.removeprefix(ENV_PREFIX).lower(): value for name, value in api_environment(settings, 1).items()}
    own = {name: value for name, value in values.items() if name.startswith(("oidc_", "api_public"))}
    secret = Secret("secret" if settings.api.oidc_secret else "")
    try:
        OidcSettings.of(Settings(**own, oidc_client_secret=secret))  # type: ignore[arg-type]  # texts, all of them
    except UserError as exc:
        yield finding("api.oidc_issuer", exc.message)

"""All checks of an account, in the order in which their findings are worked off."""

from collections.abc import Callable, Iterator
from typing import Any, Final

from orchestration.deploy.account.asking import AccountFinding, Clients, asking, checked, ok, unavailable, wrong
from orchestration.deploy.account.image import check_image
from orchestration.deploy.account.kafka import check_kafka
from orchestration.deploy.account.names import check_buckets, check_certificate, check_linked_roles, check_stack
from orchestration.deploy.account.network import check_network
from orchestration.deploy.account.quotas import check_quotas
from orchestration.deploy.account.secrets import check_secrets
from orchestration.deploy.settings import DeploySettings
from schemas.errors import RetriableError

TIMEOUT_S: Final = 20.0
CHECKS: Final[tuple[tuple[str, Callable[[DeploySettings, Clients], Iterator[AccountFinding]]], ...]] = (
    ("network", check_network),
    ("secrets", check_secrets),
    ("kafka", check_kafka),
    ("quotas", check_quotas),
    ("service-linked roles", check_linked_roles),
    ("api.certificate", check_certificate),
    ("buckets", check_buckets),
    ("name", check_stack),
)


def check_account(
    settings: DeploySettings, clients: Clients, fetch: Callable[[str], bytes]
) -> Iterator[AccountFinding]:
    """Findings of every check. Without usable credentials for the account nothing else is asked.

    Raises `RetriableError` AWS_UNAVAILABLE, also without credentials.
    """
    with asking():
        account = clients("sts").get_caller_identity()["Account"]
    if account != settings.account:
        yield wrong("account", f"the credentials are of {account}, not of {settings.account}", "use others")
        return
    yield ok("account", f"credentials of {account}, region {settings.region}")
    yield from checked("image", lambda: check_image(settings, clients, fetch))
    for where, check in CHECKS:
        yield from checked(where, lambda check=check: check(settings, clients))  # type: ignore[misc]  # a default


def account_clients(settings: DeploySettings) -> Clients:
    """Clients of boto3 with the credentials of the process, in the region of the settings."""

    def client(service: str) -> Any:
        import boto3
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError

        config = Config(connect_timeout=TIMEOUT_S, read_timeout=TIMEOUT_S, retries={"total_max_attempts": 3})
        try:
            return boto3.client(service, region_name=settings.region, config=config)  # type: ignore[call-overload]  # the service varies
        except BotoCoreError as exc:
            raise unavailable(exc) from exc

    return client


def fetch_url(url: str) -> bytes:
    """The body behind a presigned URL of AWS. Raises `RetriableError` AWS_UNAVAILABLE."""
    from urllib.error import URLError
    from urllib.request import urlopen

    try:
        with urlopen(url, timeout=TIMEOUT_S) as answer:  # noqa: S310  # https, from ECR's own answer
            body: bytes = answer.read()
    except (URLError, TimeoutError) as exc:
        raise RetriableError("AWS_UNAVAILABLE", f"the image's configuration cannot be read: {exc}") from exc
    return body

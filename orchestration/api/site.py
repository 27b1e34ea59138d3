"""The address by which browsers know the service, its cookie and its origin."""

from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final, Self
from urllib.parse import urlsplit

from starlette.types import Scope

from orchestration.platform.settings import Settings
from schemas.errors import UserError

SESSION_S: Final = 24 * 3600
ENDED: Final = "ended"


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """`url`: without a slash at the end; sessions begin and count at its host alone.

    Over https there is a proxy in front, which names the client.

    `published`: where clients on this machine reach a service in a container, as the setting `api_url` says.
    """

    url: str = "http://127.0.0.1:18480"
    published: str = "127.0.0.1:18480"

    @classmethod
    def of(cls, settings: Settings, console_host: str | None = None) -> Self:
        """The site of a deployment. `console_host`: of one on loopback. Raises `UserError` BAD_SETTINGS."""
        if settings.oidc_issuer and not settings.api_public_url:
            raise UserError(
                "BAD_SETTINGS",
                "setting api_public_url: logins by the identity provider of oidc_issuer need the https address that "
                "browsers use",
                name="api_public_url",
            )
        own = urlsplit(settings.api_url)
        on_loopback = settings.api_url if console_host is None else f"http://{console_host}:{own.port}"
        return cls(url=(settings.api_public_url or on_loopback).rstrip("/"), published=own.netloc)

    def listener(self, scope: Scope) -> str:
        """The address where the client of a request has reached the service.

        A container sees an address of its own network instead: the service cannot know which port of the machine was
        mapped to it, unless it is told.
        """
        host, port = scope["server"]
        return f"{host}:{port}" if ip_address(host).is_loopback else self.published

    @property
    def secure(self) -> bool:
        """Whether browsers come over https."""
        return urlsplit(self.url).scheme == "https"

    @property
    def host(self) -> str:
        """The host name, in lower case."""
        return urlsplit(self.url).hostname or ""

    def serves(self, host: str) -> bool:
        """Whether pages and sessions are for this host. Over https, the proxy in front may call the service by any."""
        return self.secure or host == self.host

    def address(self, scope: Scope) -> str:
        """The address of a client: that of the connection, or the last one that the proxy in front added."""
        forwarded = [value for name, value in scope["headers"] if name == b"x-forwarded-for"]
        if self.secure and forwarded:
            return str(forwarded[-1].decode("latin-1").rpartition(",")[2].strip())
        return str(scope["client"][0]) if scope.get("client") else ""

    @property
    def cookie_name(self) -> str:
        """`__Host-`: browsers take it only over https, for this host and all of it. Cookies know no ports."""
        return "__Host-muster" if self.secure else f"muster-{urlsplit(self.url).port or 80}"

    def origin(self, host: str) -> str:
        """The origin of pages of the service that were requested with this header Host."""
        return f"{'https' if self.secure else 'http'}://{host}".lower()

    @property
    def login_cookie(self) -> str:
        """The name of the cookie that a browser has during a login."""
        return f"{self.cookie_name}-login"

    def cookie(self, value: str, *, name: str | None = None, seconds: int = SESSION_S) -> str:
        """The header `Set-Cookie`."""
        flags = "; Secure" if self.secure else ""
        return f"{name or self.cookie_name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Lax{flags}"

    @property
    def no_cookie(self) -> str:
        """The header `Set-Cookie` that takes the cookie away."""
        return self.cookie(ENDED, seconds=0)

    def session_in(self, cookies: list[str]) -> str | None:
        """The value of the session's cookie in the headers `Cookie`. None without one, or with two."""
        return self.value_in(cookies, self.cookie_name)

    @staticmethod
    def value_in(cookies: list[str], wanted: str) -> str | None:
        """The value of a cookie in the headers `Cookie`. None without one, or with two."""
        pairs = [pair.partition("=") for header in cookies for pair in header.split(";")]
        found = [value.strip() for name, _, value in pairs if name.strip() == wanted]
        return found[0] if len(found) == 1 else None

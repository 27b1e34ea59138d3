"""The identity provider: its metadata and keys, which are kept, and the exchange of a code for an ID token."""

import base64
import http.client
import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote_plus, urlencode

from orchestration.access.oidc.id_tokens import Claims, key_id, key_of, refused, verify
from orchestration.access.oidc.settings import OidcSettings, usable
from orchestration.notifications.outbound import exchange
from orchestration.notifications.targets import ANYWHERE
from orchestration.platform.deferred import deferred
from schemas.errors import RetriableError

if TYPE_CHECKING:
    from joserfc.jwk import KeySet

with deferred(__name__):
    import joserfc.errors
    from joserfc import jwk

KEPT_S: Final = 3600.0
UNKNOWN_KEY_S: Final = 60.0
"""Keys are fetched again for a token with an unknown one, at most this often: tokens can name any key."""
MAX_ANSWER: Final = 1024 * 1024
ENDPOINTS: Final = ("authorization_endpoint", "token_endpoint", "jwks_uri")

Fetch = Callable[[str, str, bytes | None, Mapping[str, str]], tuple[int, bytes]]
"""Method, address, body and headers of a request; status and body of its answer. Raises as `outbound.exchange`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Metadata:
    """The provider's metadata. `names_issuer`: its answers have `iss` (RFC 9207)."""

    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    names_issuer: bool
    takes_basic: bool


class Provider:
    """Thread-safe. Every call raises `RetriableError` IDENTITY_PROVIDER_FAILED if the provider does not answer."""

    def __init__(
        self, settings: OidcSettings, *, fetch: Fetch | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.settings: Final = settings
        self._fetch = fetch or _fetch
        self._clock = clock
        self._lock = threading.Lock()
        self._metadata: tuple[float, Metadata] | None = None
        self._keys: tuple[float, KeySet] | None = None

    def authorization_url(self, *, redirect_uri: str, state: str, nonce: str, challenge: str) -> str:
        """Where the browser goes to log in."""
        query = {
            "response_type": "code",
            "client_id": self.settings.client_id,
            "redirect_uri": redirect_uri,
            "scope": self.settings.scopes,
            "state": state,
            "nonce": nonce,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        endpoint = self.metadata().authorization_endpoint
        return f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(query)}"

    def metadata(self) -> Metadata:
        """Its metadata, at most an hour old."""
        with self._lock:
            if self._metadata is None or self._clock() - self._metadata[0] > KEPT_S:
                self._metadata = (self._clock(), self._discover())
            return self._metadata[1]

    def claims(self, *, code: str, verifier: str, redirect_uri: str, nonce: str, now_s: float) -> Claims:
        """Who has logged in. Raises `UserError` LOGIN_REFUSED."""
        token = self._exchange(code, verifier, redirect_uri)
        kid = key_id(token)
        key = key_of(self._key_set(kid), kid)
        if key is None:
            raise refused("its token is signed by a key that it does not publish")
        settings = self.settings
        return verify(
            token,
            key,
            issuer=settings.issuer,
            client_id=settings.client_id,
            nonce=nonce,
            algorithms=settings.algorithms,
            groups_claim=settings.groups_claim,
            now_s=now_s,
        )

    def _exchange(self, code: str, verifier: str, redirect_uri: str) -> str:
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect_uri,
            "code_verifier": verifier,
        }
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        metadata, secret = self.metadata(), self.settings.client_secret.reveal()
        if secret and metadata.takes_basic:
            pair = f"{quote_plus(self.settings.client_id)}:{quote_plus(secret)}"
            headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        else:
            form |= {"client_id": self.settings.client_id, **({"client_secret": secret} if secret else {})}
        status, answer = self._call("POST", metadata.token_endpoint, urlencode(form).encode(), headers)
        if 400 <= status < 500:
            raise refused(f"it refuses the code, or Muster's credentials (status {status})")
        token = self._json(status, answer).get("id_token")
        if not isinstance(token, str):
            raise refused("it has no ID token")
        return token

    def _discover(self) -> Metadata:
        url = f"{self.settings.issuer.rstrip('/')}/.well-known/openid-configuration"
        found = self._json(*self._call("GET", url))
        if found.get("issuer") != self.settings.issuer:
            raise _failed("its metadata name another issuer than the setting oidc_issuer; they must be equal")
        addresses = {name: str(found.get(name, "")) for name in ENDPOINTS}
        if bad := sorted(name for name, one in addresses.items() if not usable(one, self.settings.issuer)):
            raise _failed(f"{bad[0]} in its metadata is not an https address")
        methods = found.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
        return Metadata(
            **addresses,
            names_issuer=found.get("authorization_response_iss_parameter_supported") is True,
            takes_basic=not isinstance(methods, list) or "client_secret_basic" in methods,
        )

    def _key_set(self, kid: str | None) -> "KeySet":
        """Keys that are fetched again after an hour, and for an unknown key."""
        address = self.metadata().jwks_uri
        with self._lock:
            age = float("inf") if self._keys is None else self._clock() - self._keys[0]
            unknown = self._keys is None or key_of(self._keys[1], kid) is None
            if self._keys is None or age > KEPT_S or (unknown and age > UNKNOWN_KEY_S):
                self._keys = (self._clock(), self._fetch_keys(address))
            return self._keys[1]

    def _fetch_keys(self, address: str) -> "KeySet":
        found = self._json(*self._call("GET", address)).get("keys")
        keys = []
        for one in found if isinstance(found, list) else []:
            try:  # a provider may have keys of kinds that we do not know
                if isinstance(one, dict) and one.get("use", "sig") == "sig" and one.get("kty") != "oct":
                    keys.append(jwk.import_key(one))
            except (joserfc.errors.JoseError, ValueError, TypeError, KeyError):
                continue
        return jwk.KeySet(keys)

    def _call(
        self, method: str, url: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, bytes]:
        sent = {"Accept": "application/json", **(headers or {})}
        try:
            return self._fetch(method, url, body, sent)
        except (OSError, http.client.HTTPException, ValueError) as exc:
            raise _failed(f"{type(exc).__name__}: {exc}"[:300]) from exc

    @staticmethod
    def _json(status: int, answer: bytes) -> Mapping[str, Any]:
        try:
            found = json.loads(answer)
        except (ValueError, RecursionError):
            found = None
        if status != 200 or not isinstance(found, dict):
            raise _failed(f"it answers {status}, or no JSON object")
        return found


def _fetch(method: str, url: str, body: bytes | None, headers: Mapping[str, str]) -> tuple[int, bytes]:
    """The operator has named the provider, and the provider its addresses: they may be private ones."""
    return exchange(method, url, body, headers, private=ANYWHERE, max_bytes=MAX_ANSWER)


def _failed(why: str) -> RetriableError:
    return RetriableError("IDENTITY_PROVIDER_FAILED", f"the identity provider does not answer as it should: {why}")

